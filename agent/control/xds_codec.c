/*
 * xds_codec: resources and requests, and what all codecs of xDS share.
 */
#include "control/xds_codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/xds_codec_parts.h"
#include "discovery.pb-c.h"

#define INVALID_ARGUMENT 3 /* google.rpc.Code */

int xds_fail(struct xds_reader *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->why, r->why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* How many bytes of a character stand at @at, of at most @left; 0: none does (RFC 3629). */
static size_t utf8_len(const uint8_t *at, size_t left)
{
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t len = at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > left)
		return 0;
	if (at[0] == 0xe0)
		low = 0xa0; /* shorter ones have their own form */
	else if (at[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	return len;
}

static bool is_text(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t step = bytes[i] >= ' ' && bytes[i] < 0x7f ? 1 : utf8_len(bytes + i, len - i);

		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

int xds_text(struct xds_reader *r, const char *field, const uint8_t *bytes, size_t len,
             const char **ret_text)
{
	const char *text;

	if (len == 0) {
		*ret_text = "";
		return 0;
	}
	if (!is_text(bytes, len))
		return xds_fail(r, "%s has bytes that are no text, expected UTF-8 without controls",
		                field);
	text = hb_arena_text(r->arena, (const char *)bytes, len);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

int xds_ip(struct xds_reader *r, const char *field, const uint8_t *bytes, size_t len,
           struct hb_ip *ret_ip)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (len == 16) {
		memcpy(ret_ip->b, bytes, 16);
		return 0;
	}
	if (len != 4)
		return xds_fail(r, "%s has an address of %zu bytes, expected 4 or 16", field, len);
	memcpy(ret_ip->b, mapped, sizeof(mapped));
	memcpy(ret_ip->b + sizeof(mapped), bytes, 4);
	return 0;
}

int xds_cidr(struct hb_ip *ip, size_t address_len, uint32_t length, uint8_t *ret_prefix)
{
	if (length > address_len * 8)
		return -EINVAL;
	/* As in meshfile's cidr_parse(): ::ffff:10.0.0.0/8 is of IPv6 and must not look like IPv4.
	 */
	if (address_len == 16 && hb_ip_is_v4(ip) && length < 96) {
		memset(ip->b + (length + 7) / 8, 0, sizeof(ip->b) - (length + 7) / 8);
		if (length % 8)
			ip->b[length / 8] &= (uint8_t)(0xff00u >> (length % 8));
	}
	*ret_prefix = (uint8_t)length;
	return 0;
}

int xds_port(struct xds_reader *r, const char *field, uint32_t number, uint16_t *ret_port)
{
	if (number > UINT16_MAX)
		return xds_fail(r, "%s is %u, expected 0 to 65535", field, number);
	*ret_port = (uint16_t)number;
	return 0;
}

int xds_enum(struct xds_reader *r, const char *field, int number, int known)
{
	if (number >= 0 && number < known)
		return 0;
	return xds_fail(r, "%s is %d, expected 0 to %d", field, number, known - 1);
}

void *xds_array(struct xds_reader *r, size_t count, size_t size)
{
	return hb_arena_array(r->arena, count ? count : 1, size);
}

int xds_told(struct xds_reader *r, int err)
{
	return err == -EINVAL ? xds_fail(r, "%s", store_why(r->store)) : err;
}

void *xds_alloc(void *reader, size_t size)
{
	struct xds_reader *r = reader;
	void *bytes = hb_arena_alloc(r->arena, size ? size : 1);

	if (!bytes)
		r->no_memory = true;
	return bytes;
}

/* The arena ends all at once. */
void xds_alloc_free(void *reader, void *bytes)
{
	(void)reader;
	(void)bytes;
}

static int read_resource(struct xds_reader *r, const Envoy__Service__Discovery__V3__Resource *in,
                         struct xds_resource *out)
{
	const char **aliases = xds_array(r, in->n_aliases, sizeof(*aliases));
	int err = xds_text(r, "name", in->name.data, in->name.len, &out->name);

	if (!err)
		err = xds_text(r, "version", in->version.data, in->version.len, &out->version);
	if (!err && !aliases)
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_aliases && !err; i++)
		err = xds_text(r, "aliases", in->aliases[i].data, in->aliases[i].len, &aliases[i]);
	out->aliases = aliases;
	out->aliases_count = in->n_aliases;
	if (in->resource) { /* of no bytes, too: an empty message is one */
		out->value =
		    in->resource->value.len ? in->resource->value.data : (const uint8_t *)"";
		out->value_size = in->resource->value.len;
	}
	return err;
}

int xds_decode_resource(struct xds_reader *r, const uint8_t *bytes, size_t size,
                        struct xds_resource *ret_resource)
{
	ProtobufCAllocator allocator = { xds_alloc, xds_alloc_free, r };
	Envoy__Service__Discovery__V3__Resource *resource;

	*ret_resource = (struct xds_resource){ .name = "", .version = "" };
	if (size > XDS_RESOURCE_MAX)
		return xds_fail(r, "the resource has %zu bytes, expected at most %u", size,
		                XDS_RESOURCE_MAX);
	r->no_memory = false;
	resource = envoy__service__discovery__v3__resource__unpack(&allocator, size, bytes);
	if (!resource)
		return r->no_memory ? -ENOMEM : xds_fail(r, "the resource is no such message");
	return read_resource(r, resource, ret_resource);
}

static ProtobufCBinaryData data_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

uint8_t *xds_encode_request(const struct xds_request *request, size_t room, size_t *ret_size)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest out =
	    ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Envoy__Service__Discovery__V3__Status status = ENVOY__SERVICE__DISCOVERY__V3__STATUS__INIT;
	ProtobufCBinaryData subscribe, unsubscribe;
	uint8_t *bytes;

	out.type_url = data_of(request->type_url);
	if (request->node_size)
		out.node = (ProtobufCBinaryData){ request->node_size,
			                          (uint8_t *)(uintptr_t)request->node };
	if (request->nonce)
		out.response_nonce = data_of(request->nonce);
	if (request->subscribe) {
		subscribe = data_of(request->subscribe);
		out.n_resource_names_subscribe = 1;
		out.resource_names_subscribe = &subscribe;
	}
	if (request->unsubscribe) {
		unsubscribe = data_of(request->unsubscribe);
		out.n_resource_names_unsubscribe = 1;
		out.resource_names_unsubscribe = &unsubscribe;
	}
	if (request->error) {
		status.code = INVALID_ARGUMENT;
		status.message = data_of(request->error);
		out.error_detail = &status;
	}
	*ret_size = envoy__service__discovery__v3__delta_discovery_request__get_packed_size(&out);
	bytes = malloc(*ret_size + room + 1);
	if (bytes)
		envoy__service__discovery__v3__delta_discovery_request__pack(&out, bytes);
	return bytes;
}
