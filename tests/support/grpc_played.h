/*
 * grpc_played: control/grpc.h without a network, for what makes calls: they are kept, and the test
 * says what the server answers, and when. Link it in place of grpc.c.
 */
#pragma once

#include "control/grpc.h"

#define GRPC_PLAYED_CALLS 32

struct grpc_call {
	char path[96];
	struct grpc_call_options options;
	const struct grpc_events *events;
	void *ctx;
	uint8_t *sent; /* the last message */
	size_t sent_size;
	unsigned messages;
	bool finished, cancelled, ended;
};

struct grpc_channel { /* make one, zeroed: it needs nothing else */
	struct grpc_call calls[GRPC_PLAYED_CALLS];
	unsigned count;          /* of calls, ever */
	bool no_memory, no_room; /* grpc_call_new() and grpc_call_send() fail */
};

/* The server says so; what it sends is copied. */
void grpc_played_message(struct grpc_call *call, const void *bytes, size_t size);
void grpc_played_end(struct grpc_call *call, int code, enum grpc_kind kind, const char *message);
void grpc_played_done(struct grpc_channel *channel); /* frees what calls have kept */
