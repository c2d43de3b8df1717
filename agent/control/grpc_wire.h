/*
 * grpc_wire: gRPC's bytes: messages with their prefix of five bytes, and what a status says (the
 * gRPC protocol over HTTP/2). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_PREFIX 5 /* bytes: compressed or not, length */

/* Messages that come. Zeroed is ready, once max is set. */
struct grpc_reader {
	uint32_t max;     /* of one message, bytes */
	uint8_t *message; /* as much as has come */
	uint32_t size, len, room;
	uint8_t prefix[GRPC_PREFIX], prefix_len;
};

enum grpc_read {
	GRPC_READ_ALL,        /* nothing is left of what came */
	GRPC_READ_MESSAGE,    /* one is whole */
	GRPC_READ_TOO_LARGE,  /* its prefix says so; reader->size is what it would be */
	GRPC_READ_COMPRESSED, /* which was not asked for */
	GRPC_READ_NO_MEMORY,
};

/*
 * Goes on at *@data for *@len bytes, moving both, up to the end of one message at most; that is
 * @ret_message, the caller's to free() (not NULL where @ret_size is 0). Memory is taken for what
 * has come, and as much again at most. After an error the reader is only good for done().
 */
enum grpc_read grpc_reader_take(struct grpc_reader *reader, const uint8_t **data, size_t *len,
                                uint8_t **ret_message, size_t *ret_size);
bool grpc_reader_is_inside(const struct grpc_reader *reader); /* part of a message has come */
void grpc_reader_done(struct grpc_reader *reader);

void grpc_prefix_encode(uint8_t out[GRPC_PREFIX], uint32_t size);

/* Of "grpc-status"; -1: it is no number of at most 9 digits. */
int grpc_status_decode(const char *text, size_t len);
/* Of "grpc-message": %XX is undone, what is not printable ASCII is '?', all of it ends with NUL
 * inside @size. Returns the length. */
size_t grpc_message_decode(const char *text, size_t len, char *out, size_t size);
/* What stands for an answer without a status of its own; @http is not 200. */
int grpc_code_of_http(int http);
/* And for RST_STREAM with this code (RFC 9113 7). */
int grpc_code_of_reset(int reset);
