/*
 * grpc_rig: a channel over a pair in memory, and a server that is written frame by frame. One rig
 * at a time; each row has one connection.
 */
#pragma once

#include "control/grpc_internal.h"

#include "support/frames.h"
#include "support/pair.h"

/* clang-format off */
/* HPACK (RFC 7541): literals without indexing. */
#define TYPE    "\x0f\x10\x10" "application/grpc" /* content-type is 31 of the static table */
#define OK      "\x88"
#define STATUS(code) "\x00\x0b" "grpc-status" "\x01" code
#define MESSAGE(len, text) "\x00\x0c" "grpc-message" len text
/* clang-format on */

#define CALLS 8

/* A call's owner. */
struct heard {
	struct grpc_call *call; /* NULL once it is gone */
	unsigned opens, messages, ends;
	uint8_t *last;
	size_t last_size, bytes;
	struct grpc_status status;
	char text[1024];
	/* What it does at each message. */
	bool pauses, cancels, closes, answers;
	/* And at its end. */
	bool closes_at_end, calls_at_end;
};

struct grpc_rig {
	struct hb_loop *loop;
	struct hb_stream *wires[2]; /* ours, the server's */
	struct frames server;
	struct grpc_channel *channel; /* NULL: a row has closed it */
	unsigned connections, closes;
	struct heard calls[CALLS];
	unsigned calls_count;
};
extern struct grpc_rig rig;

void rig_setup_with(struct grpc_channel_config config, uint32_t window);
void rig_setup(void);
void rig_teardown(void); /* checks the buffers, too */
/* Turns until all has happened that can without waiting. */
void settle(void);
struct heard *call_with(struct grpc_call_options options);
struct heard *call(void);
void say_headers(void); /* of a good answer to the first call */
void check_end(const struct heard *heard, enum grpc_kind kind, int code, const char *text);

#define SAY(type, flags, id, text) frames_say(&rig.server, type, flags, id, text, sizeof(text) - 1)
