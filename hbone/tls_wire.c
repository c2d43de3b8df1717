/*
 * tls_wire: the BIO between OpenSSL's records and our slots.
 */
#include "tls_wire.h"

#include <string.h>

#define RECORD_MAX (16384 + 256) /* RFC 8446 5.2: the largest length a header may say */

/* RFC 8446 5.1: change_cipher_spec, alert, handshake, application_data. */
static bool is_type(uint8_t type)
{
	return type >= 20 && type <= 23;
}

/* Type, legacy version 3.x, length. */
static bool is_header(const uint8_t header[HB_TLS_HEADER])
{
	return is_type(header[0]) && header[1] == 3;
}

static void peek(const struct hb_bufq *q, uint8_t *out, size_t len)
{
	for (const struct hb_buf *buf = q->head; len > 0; buf = buf->next) {
		size_t n = hb_min_size(len, buf->len);

		memcpy(out, buf->data, n);
		out += n;
		len -= n;
	}
}

size_t hb_tls_wire_next(const struct hb_tls_wire *wire)
{
	uint8_t header[HB_TLS_HEADER];
	size_t len;

	if (wire->in.bytes < sizeof(header))
		return 0;
	peek(&wire->in, header, sizeof(header));
	len = (size_t)header[3] << 8 | header[4];
	if (!is_header(header) || len > RECORD_MAX)
		return wire->in.bytes;
	return wire->in.bytes >= sizeof(header) + len ? sizeof(header) + len : 0;
}

bool hb_tls_wire_has_room(const struct hb_buf *buf)
{
	return buf->len <= HB_BUF_PAYLOAD && hb_buf_is_sole_owner(buf) &&
	       hb_buf_headroom(buf) >= HB_TLS_HEADER && hb_buf_tailroom(buf) >= HB_TLS_TRAILER;
}

static int on_read(BIO *bio, char *out, size_t len, size_t *ret_len)
{
	struct hb_tls_wire *wire = BIO_get_data(bio);
	size_t got = 0;

	BIO_clear_retry_flags(bio);
	if (wire->record_left == 0)
		wire->record_left = hb_tls_wire_next(wire);
	len = hb_min_size(len, wire->record_left);
	if (len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	while (got < len) {
		size_t n = hb_min_size(len - got, wire->in.head->len);

		memcpy(out + got, wire->in.head->data, n);
		hb_bufq_consume(&wire->in, n);
		got += n;
	}
	wire->record_left -= got;
	*ret_len = got;
	return 1;
}

static bool copy_out(struct hb_tls_wire *wire, const char *data, size_t len)
{
	while (len > 0) {
		struct hb_buf *buf = wire->copied;
		size_t n;

		if (!buf || hb_buf_tailroom(buf) == 0) {
			buf = hb_buf_new(wire->pool);
			if (!buf)
				return false;
			n = hb_min_size(len, hb_buf_tailroom(buf));
			memcpy(buf->data, data, n);
			buf->len = (uint32_t)n;
			hb_bufq_push(&wire->out, buf);
			wire->copied = buf;
		} else {
			n = hb_min_size(len, hb_buf_tailroom(buf));
			memcpy(buf->data + buf->len, data, n);
			buf->len += (uint32_t)n;
			wire->out.bytes += n;
		}
		data += n;
		len -= n;
	}
	return true;
}

bool hb_tls_wire_refuse_foreign(struct hb_tls_wire *wire)
{
	static const char decode_error[] = { 21, 3, 3, 0, 2, 2 /* fatal */, 50 };
	uint8_t type;

	if (wire->record_left > 0 || wire->in.bytes == 0)
		return false;
	peek(&wire->in, &type, 1);
	if (is_type(type))
		return false;
	(void)copy_out(wire, decode_error, sizeof(decode_error)); /* without memory it just ends */
	return true;
}

static int on_write(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
	struct hb_tls_wire *wire = BIO_get_data(bio);
	struct hb_buf *buf = wire->target;

	BIO_clear_retry_flags(bio);
	if (buf && len == buf->len + HB_TLS_HEADER + HB_TLS_TRAILER) {
		wire->target = NULL;
		wire->copied = NULL;
		buf->data -= HB_TLS_HEADER;
		buf->len = (uint32_t)len;
		memcpy(buf->data, data, len);
		hb_bufq_push(&wire->out, buf);
	} else if (!copy_out(wire, data, len)) {
		wire->no_memory = true;
		return 0;
	}
	*ret_len = len;
	return 1;
}

static long on_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH; /* nothing is held back here; all other wishes are unknown */
}

BIO_METHOD *hb_tls_wire_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "slots");

	if (!method)
		return NULL;
	if (!BIO_meth_set_read_ex(method, on_read) || !BIO_meth_set_write_ex(method, on_write) ||
	    !BIO_meth_set_ctrl(method, on_ctrl)) {
		BIO_meth_free(method);
		return NULL;
	}
	return method;
}

BIO *hb_tls_wire_bio_new(const BIO_METHOD *method, struct hb_tls_wire *wire)
{
	BIO *bio = BIO_new(method);

	if (!bio)
		return NULL;
	BIO_set_data(bio, wire);
	BIO_set_init(bio, 1);
	return bio;
}

struct hb_buf *hb_tls_wire_take(struct hb_tls_wire *wire)
{
	wire->copied = NULL;
	return hb_bufq_take(&wire->out);
}

void hb_tls_wire_clear(struct hb_tls_wire *wire)
{
	hb_bufq_clear(&wire->in);
	hb_bufq_clear(&wire->out);
	wire->copied = NULL;
	wire->record_left = 0;
}
