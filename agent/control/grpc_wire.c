/*
 * grpc_wire: gRPC's bytes.
 */
#include "control/grpc_wire.h"

#include <stdlib.h>
#include <string.h>

#include <hbone/base.h>

#include "control/grpc.h"

#define ROOM_FIRST 4096u

/* ---- messages ---- */

/* Room for at least one byte more of the message. */
static bool grow(struct grpc_reader *reader)
{
	uint32_t room = reader->room > reader->size / 2 ? reader->size : reader->room * 2;
	uint8_t *message;

	if (room < ROOM_FIRST)
		room = hb_min_u32(ROOM_FIRST, reader->size);
	message = realloc(reader->message, room ? room : 1);
	if (!message)
		return false;
	reader->message = message;
	reader->room = room;
	return true;
}

/* The prefix, which may come in pieces. False: it is not whole. */
static bool take_prefix(struct grpc_reader *reader, const uint8_t **data, size_t *len)
{
	size_t n = hb_min_size(GRPC_PREFIX - reader->prefix_len, *len);
	const uint8_t *prefix = reader->prefix;

	memcpy(reader->prefix + reader->prefix_len, *data, n);
	reader->prefix_len += (uint8_t)n;
	*data += n;
	*len -= n;
	if (reader->prefix_len < GRPC_PREFIX)
		return false;
	reader->size = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 |
	               (uint32_t)prefix[3] << 8 | prefix[4];
	return true;
}

enum grpc_read grpc_reader_take(struct grpc_reader *reader, const uint8_t **data, size_t *len,
                                uint8_t **ret_message, size_t *ret_size)
{
	if (*len == 0)
		return GRPC_READ_ALL;
	if (reader->prefix_len < GRPC_PREFIX && !take_prefix(reader, data, len))
		return GRPC_READ_ALL;
	if (reader->prefix[0] != 0)
		return GRPC_READ_COMPRESSED;
	if (reader->size > reader->max)
		return GRPC_READ_TOO_LARGE;
	while (reader->len<reader->size && * len> 0) {
		size_t n;

		if (reader->len == reader->room && !grow(reader))
			return GRPC_READ_NO_MEMORY;
		n = hb_min_size(reader->room - reader->len, *len);
		memcpy(reader->message + reader->len, *data, n);
		reader->len += (uint32_t)n;
		*data += n;
		*len -= n;
	}
	if (reader->len < reader->size)
		return GRPC_READ_ALL;
	if (!reader->message && !grow(reader))
		return GRPC_READ_NO_MEMORY;
	*ret_message = hb_take(&reader->message);
	*ret_size = reader->size;
	*reader = (struct grpc_reader){ .max = reader->max };
	return GRPC_READ_MESSAGE;
}

bool grpc_reader_is_inside(const struct grpc_reader *reader)
{
	return reader->prefix_len > 0;
}

void grpc_reader_done(struct grpc_reader *reader)
{
	free(reader->message);
	*reader = (struct grpc_reader){ .max = reader->max };
}

void grpc_prefix_encode(uint8_t out[GRPC_PREFIX], uint32_t size)
{
	out[0] = 0;
	for (int i = 1; i < GRPC_PREFIX; i++)
		out[i] = (uint8_t)(size >> (8 * (GRPC_PREFIX - 1 - i)));
}

/* ---- status ---- */

int grpc_status_decode(const char *text, size_t len)
{
	int code = 0;

	if (len == 0 || len > 9)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		code = code * 10 + (text[i] - '0');
	}
	return code;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t grpc_message_decode(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		int high = -1, low = -1;
		char c = text[i];

		if (c == '%' && i + 2 < len) {
			high = hex(text[i + 1]);
			low = hex(text[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			c = (char)(high * 16 + low);
			i += 2;
		}
		out[n++] = c >= ' ' && c <= '~' ? c : '?';
	}
	out[n] = '\0';
	return n;
}

int grpc_code_of_http(int http)
{
	switch (http) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

int grpc_code_of_reset(int reset)
{
	switch (reset) {
	case 7: /* REFUSED_STREAM */
		return GRPC_UNAVAILABLE;
	case 8: /* CANCEL */
		return GRPC_CANCELLED;
	case 11: /* ENHANCE_YOUR_CALM */
		return GRPC_RESOURCE_EXHAUSTED;
	case 12: /* INADEQUATE_SECURITY */
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

const char *grpc_code_name(int code)
{
	static const char *const names[] = {
		"Ok",
		"Cancelled",
		"Unknown",
		"InvalidArgument",
		"DeadlineExceeded",
		"NotFound",
		"AlreadyExists",
		"PermissionDenied",
		"ResourceExhausted",
		"FailedPrecondition",
		"Aborted",
		"OutOfRange",
		"Unimplemented",
		"Internal",
		"Unavailable",
		"DataLoss",
		"Unauthenticated",
	};

	return code >= 0 && (size_t)code < HB_ARRAY_LEN(names) ? names[code] : NULL;
}

const char *grpc_kind_name(enum grpc_kind kind)
{
	static const char *const names[GRPC_END_KINDS] = {
		[GRPC_END_SERVER] = "server",
		[GRPC_END_CONNECT] = "could not connect",
		[GRPC_END_TOKEN] = "no token",
		[GRPC_END_LOST] = "connection lost",
		[GRPC_END_GOAWAY] = "server going away",
		[GRPC_END_DEADLINE] = "deadline",
		[GRPC_END_TOO_LARGE] = "message too large",
		[GRPC_END_PROTOCOL] = "protocol",
		[GRPC_END_LOCAL] = "local",
	};

	return names[kind];
}
