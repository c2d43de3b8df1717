/*
 * flow: one app connection end to end: who, where, how much, since when, and how it ended.
 *
 * Every accepted connection, and every CONNECT of a peer, is one flow from its first moment to its
 * one line in the access log. Live flows are in a list; the last FLOWS_RECENT ended ones stay in a
 * ring, for people who ask why. A flow keeps copies of the few texts it needs, packed in one block,
 * so that a connection that lives for weeks does not keep an old snapshot alive.
 *
 * Knows nothing of routes, policies or sockets. Thread: the worker's own.
 *
 *   OPENING --flow_join--> OPEN --relay is done--> CLOSED
 *      '-----flow_end (it came to nothing)----------^
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/relay.h>

struct pod;
struct flow;

enum flow_direction { FLOW_OUTBOUND, FLOW_INBOUND, FLOW_PASSTHROUGH };
enum flow_state { FLOW_OPENING, FLOW_OPEN, FLOW_CLOSED };

enum flow_text {
	FLOW_POD, /* "ns/name" of the enrolled pod */
	FLOW_SRC_WORKLOAD,
	FLOW_SRC_NS,
	FLOW_SRC_IDENTITY,
	FLOW_SRC_CLUSTER,
	FLOW_DST_SERVICE, /* its hostname */
	FLOW_DST_WORKLOAD,
	FLOW_DST_NS,
	FLOW_DST_IDENTITY,
	FLOW_DST_CLUSTER,
	FLOW_AUTHORITY, /* of the CONNECT; "" without a tunnel */
	FLOW_POLICY,    /* key of the policy that decided, or "" */
	FLOW_TEXTS,
};

struct flow {
	struct hb_list node;
	struct flows *flows;
	struct pod *pod; /* valid until it has ended */
	/* While it is opening: ends what its owner has under way; flow_end() follows. */
	void (*abort)(struct flow *flow, struct hb_end why);
	void *setup; /* abort's owner's, which alone reads it */
	uint64_t id; /* unique in the process */
	uint64_t start_ms, end_ms;
	uint64_t bytes_sent, bytes_recv; /* as the access log means them; final once CLOSED */
	struct hb_addr src, dst;         /* as the access log means them */
	struct hb_addr orig_dst;         /* what was dialled, before routing */
	struct hb_end why;               /* CLOSED */
	uint8_t direction, state;
	bool early; /* it failed before anything about its ends was known */
	uint16_t at[FLOW_TEXTS];
	char *texts;
	char *error; /* NULL: none */
	struct hb_relay relay;
};

#define FLOWS_RECENT  256u
#define FLOW_TEXT_MAX 1024u /* bytes kept of one text; longer ones are cut */

struct flows {
	struct hb_list live; /* oldest first */
	size_t count;        /* live ones */
	struct flow *ring[FLOWS_RECENT];
	size_t ended; /* ever; the next goes to ring[ended % FLOWS_RECENT] */
	struct hb_loop *loop;
	uint64_t next_id, id_step;
	/* The flow's pod may let go of it now; it is logged and in the ring already. */
	void (*on_end)(void *owner, struct flow *flow);
	void *owner;
};

/* Ids are first_id, first_id + id_step, ... so that several threads' never meet. */
void flows_init(struct flows *flows, struct hb_loop *loop, uint64_t first_id, uint64_t id_step);
/* Forgets the ended ones; none may live. */
void flows_done(struct flows *flows);

/* A live flow in state OPENING, or NULL without memory. @abort: see above. */
struct flow *flow_new(struct flows *flows, struct pod *pod, enum flow_direction direction,
                      void (*abort)(struct flow *flow, struct hb_end why));
/* Sets the texts that are not NULL in @texts (FLOW_TEXTS of them). 0 or -ENOMEM, nothing changed.
 */
int flow_set_texts(struct flow *flow, const char *const *texts);
/* Never NULL. Valid until the next flow_set_texts(). */
const char *flow_text(const struct flow *flow, enum flow_text which);
/* Joins both streams (taken, as hb_relay_start() does) and ends the flow when they have ended. For
 * outbound @a is the app; for the others @a is the client's side and @b the app. */
void flow_join(struct flow *flow, struct hb_stream *a, struct hb_stream *b);
/* Ends what is opening or open with @why, code < 0. The end is told later, from the loop. */
void flow_abort(struct flow *flow, struct hb_end why);
/* The end of a flow that never opened. @error: the words for the log; NULL: from @why. */
void flow_end(struct flow *flow, struct hb_end why, const char *error);

/* What has been carried so far, or in all. */
uint64_t flow_bytes_sent(const struct flow *flow);
uint64_t flow_bytes_recv(const struct flow *flow);
uint64_t flow_duration_ms(const struct flow *flow, uint64_t now_ms);
/* The ended flow number @index, newest first, or NULL. */
const struct flow *flows_recent(const struct flows *flows, size_t index);

/* The words that the access log has for an end (reference/operations 4.3); "" for a clean one.
 * @opening: it ended before both sides were joined. */
void flow_explain(struct hb_end why, bool opening, char *out, size_t size);
/* The metric's flag: "-", "DENY", "CONNECT", ... */
const char *flow_response_flags(struct hb_end why, bool opening);
