/*
 * zds_codec: protobuf-c's structs onto ours, and every text checked on the way.
 */
#include "control/zds_codec.h"

#include <errno.h>
#include <string.h>

#include "zds.pb-c.h"

#define ERROR_MAX 900u /* bytes of an ack's error: with its headers it stays below a packet */

struct texts {
	char *at, *end;
};

static bool is_good(const ProtobufCBinaryData *data, bool is_name)
{
	for (size_t i = 0; i < data->len; i++)
		if (data->data[i] <= ' ' || data->data[i] > '~' ||
		    (is_name && data->data[i] == '/'))
			return false;
	return true;
}

static int copy_text(struct texts *texts, const ProtobufCBinaryData *data, bool is_name,
                     const char **ret_text)
{
	if (!is_good(data, is_name) || data->len + 1 > (size_t)(texts->end - texts->at))
		return -EBADMSG;
	if (data->len)
		memcpy(texts->at, data->data, data->len);
	texts->at[data->len] = 0;
	*ret_text = texts->at;
	texts->at += data->len + 1;
	return 0;
}

static int read_add(const Culvert__Zds__AddWorkload *add, struct texts *texts,
                    struct zds_request *request)
{
	const Culvert__Zds__WorkloadInfo *info = add->workload_info;
	int err = copy_text(texts, &add->uid, false, &request->uid);

	request->kind = ZDS_ADD;
	request->has_info = info;
	if (err || !info)
		return err;
	err = copy_text(texts, &info->name, true, &request->name);
	if (!err)
		err = copy_text(texts, &info->namespace_, true, &request->ns);
	return err ? err
	           : copy_text(texts, &info->service_account, true, &request->service_account);
}

static int read_payload(const Culvert__Zds__WorkloadRequest *message, struct zds_request *request)
{
	struct texts texts = { request->text, request->text + sizeof(request->text) };

	switch (message->payload_case) {
	case CULVERT__ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD:
		return read_add(message->add, &texts, request);
	case CULVERT__ZDS__WORKLOAD_REQUEST__PAYLOAD_KEEP:
		request->kind = ZDS_KEEP;
		return copy_text(&texts, &message->keep->uid, false, &request->uid);
	case CULVERT__ZDS__WORKLOAD_REQUEST__PAYLOAD_DEL:
		request->kind = ZDS_DEL;
		return copy_text(&texts, &message->del->uid, false, &request->uid);
	case CULVERT__ZDS__WORKLOAD_REQUEST__PAYLOAD_SNAPSHOT_SENT:
		request->kind = ZDS_SNAPSHOT_SENT;
		return 0;
	default:
		return -EBADMSG;
	}
}

int zds_decode(const uint8_t *bytes, size_t len, struct zds_request *ret_request)
{
	Culvert__Zds__WorkloadRequest *message;
	int err;

	*ret_request =
	    (struct zds_request){ .uid = "", .name = "", .ns = "", .service_account = "" };
	if (len > ZDS_PACKET_MAX)
		return -EMSGSIZE;
	message = culvert__zds__workload_request__unpack(NULL, len, bytes);
	if (!message)
		return -EBADMSG;
	err = read_payload(message, ret_request);
	culvert__zds__workload_request__free_unpacked(message, NULL);
	return err;
}

size_t zds_encode_hello(uint8_t out[ZDS_PACKET_MAX])
{
	Culvert__Zds__ZdsHello hello = CULVERT__ZDS__ZDS_HELLO__INIT;

	hello.version = 1;
	return culvert__zds__zds_hello__pack(&hello, out);
}

size_t zds_encode_ack(const char *error, uint8_t out[ZDS_PACKET_MAX])
{
	Culvert__Zds__WorkloadResponse response = CULVERT__ZDS__WORKLOAD_RESPONSE__INIT;
	Culvert__Zds__Ack ack = CULVERT__ZDS__ACK__INIT;
	uint8_t text[ERROR_MAX];

	ack.error.len = strnlen(error, sizeof(text));
	ack.error.data = text;
	/* It may name a process, which may be called anything; the other side takes UTF-8 only. */
	for (size_t i = 0; i < ack.error.len; i++)
		text[i] = error[i] >= ' ' && error[i] <= '~' ? (uint8_t)error[i] : '?';
	response.payload_case = CULVERT__ZDS__WORKLOAD_RESPONSE__PAYLOAD_ACK;
	response.ack = &ack;
	return culvert__zds__workload_response__pack(&response, out);
}
