/*
 * grpc_internal: what grpc.c (channels), grpc_conn.c (connections) and grpc_call.c (calls) share.
 *
 * A channel has at most one connection that takes calls, its current one. Calls made while that is
 * on its way wait for it. A connection that the server gives up (GOAWAY) is no longer current, and
 * carries on the calls that it has.
 */
#pragma once

#include <hbone/dial.h>
#include <hbone/h2.h>
#include <hbone/list.h>

#include "control/grpc_config.h"
#include "control/grpc_wire.h"

#define GRPC_WHY_SIZE 1024 /* of any sentence */

struct grpc_conn {
	struct grpc_channel *channel;
	struct hb_list node;   /* in channel->conns */
	struct hb_timer timer; /* connecting: the time for all of it. open: without a call */
	struct hb_ip ips[GRPC_ADDRESSES];
	size_t ips_count, tried; /* addresses */
	struct hb_dial dial;
	struct hb_addr peer; /* dialled last */
	uint64_t due_ms;     /* when connecting has to be done */
	struct hb_tls_ctx *tls_ctx;
	struct hb_stream *tls; /* until h2 has it */
	struct hb_h2 *h2;
	enum { CONN_BEGUN, CONN_RESOLVING, CONN_DIALLING, CONN_SHAKING, CONN_OPEN } state;
	bool gone; /* it was told to end */
};

struct grpc_channel {
	struct hb_loop *loop;
	struct grpc_settings settings;
	struct hb_list conns, calls;
	struct hb_list ended;      /* calls whose on_end is due */
	struct grpc_conn *current; /* NULL: there is none; borrowed from conns */
	struct hb_task task;
	unsigned calls_count;
	size_t turn; /* which address is tried first: the next where TLS has failed */
	bool closing;
	void (*on_closed)(void *owner);
	void *owner;
	/* Set by a test: in place of name, TCP and TLS, the stream below HTTP/2. */
	struct hb_stream *(*make_lower)(void *ctx);
	void *make_lower_ctx;
};

enum call_state {
	CALL_WAITS,    /* for the connection, or for room on it */
	CALL_LIVES,    /* has a stream */
	CALL_ANSWERED, /* the server has said its end, which is in status */
	CALL_ENDED,    /* on_end is due */
};

struct grpc_call {
	struct grpc_channel *channel;
	struct grpc_conn *conn;   /* LIVES: of the stream */
	struct hb_list node;      /* in channel->calls, ENDED: in channel->ended */
	struct hb_stream *stream; /* NULL: none, or not any more */
	const struct grpc_events *events;
	void *ctx;
	struct grpc_call_options options;
	char *path;
	struct hb_timer deadline;
	struct hb_task work; /* send what waits; tell what came */
	struct hb_bufq tx;   /* not the stream's yet */
	struct hb_bufq rx;   /* came, and waits for resume() */
	struct grpc_reader reader;
	int http, code;
	enum grpc_kind kind;
	enum call_state state;
	bool paused, full, finished, finish_said;
	bool telling, cancelled; /* inside on_open or on_message; and cancelled in there */
	char message[GRPC_WHY_SIZE];
};

/* grpc.c */
/* Looks at the calls that wait, after something has changed. */
void grpc_channel_look(struct grpc_channel *channel);
/* All that wait end by @kind, and by the sentence @why. */
void grpc_channel_fail_waiting(struct grpc_channel *channel, enum grpc_kind kind, const char *why);

/* grpc_conn.c */
/* Becomes current; that it failed is told later. False: no memory. */
bool grpc_conn_start(struct grpc_channel *channel);
/* Is not current any more; what it carries goes on. */
void grpc_conn_retire(struct grpc_conn *conn);
void grpc_conn_close(struct grpc_conn *conn);

/* grpc_call.c */
/* Waits; in channel->calls. NULL: no memory. */
struct grpc_call *grpc_call_alloc(struct grpc_channel *channel, const char *path,
                                  const struct grpc_call_options *options);
/* On channel->current, which is open and has room. */
void grpc_call_start(struct grpc_call *call);
/* on_end is due, unless it was already. */
void grpc_call_end(struct grpc_call *call, enum grpc_kind kind, int code, const char *why, ...)
    __attribute__((format(printf, 4, 5)));
void grpc_call_free(struct grpc_call *call);
