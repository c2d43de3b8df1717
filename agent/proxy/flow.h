/*
 * flow: one app connection end to end: who, where, how much, since when, and how it ended.
 *
 * Every accepted connection, and every CONNECT of a peer, is one flow from its first moment to its
 * one line in the access log. Live flows are in a list; the last FLOWS_RECENT ended ones stay in a
 * ring, for people who ask why. The few texts it needs are copies, shared among flows (facts.h), so
 * that a connection that lives for weeks does not keep an old snapshot alive; its addresses are
 * shared as well (flow_path.h). It is small, as there are many that say nothing for hours.
 *
 * Knows nothing of routes, policies or sockets. Thread: the worker's own.
 *
 *   OPENING --flow_join--> OPEN --relay is done--> CLOSED
 *      '-----flow_end (it came to nothing)----------^
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/clutch.h>
#include <hbone/relay.h>

#include "proxy/flow_metrics.h"
#include "proxy/flow_path.h"

enum flow_direction { FLOW_OUTBOUND, FLOW_INBOUND, FLOW_PASSTHROUGH, FLOW_DIRECTIONS };
enum flow_state { FLOW_OPENING, FLOW_OPEN, FLOW_CLOSED };

struct flow;

/* While a flow is opening: what its owner has under way. Embedded there. */
struct flow_opening {
	/* Ends it; flow_end() follows, now or later. */
	void (*abort)(struct flow_opening *opening, struct hb_end why);
};

/* How it ended. */
struct flow_outcome {
	uint64_t end_ms;
	struct hb_end why;
	const char *error; /* the log's words; "": none */
};

struct flow {                         /* in a clutch of flows->live; ended ones are copies */
	const struct flow_path *path; /* see flow_text(), flow_src() and their kin */
	uint64_t id : 48;             /* unique in the process */
	uint64_t balance_slot : 16; /* where the worker counts it, see balance_slot(); 0: nowhere */
	uint64_t start_ms : 38;
	uint64_t src_port : 16;
	uint64_t place : 4; /* in its clutch */
	uint64_t direction : 2, state : 2;
	uint64_t early : 1;  /* it failed before anything about its ends was known */
	uint64_t judged : 1; /* policy allowed it to come to the pod: it is asked again when that
	                        changes */
	union {
		struct hb_relay relay;        /* OPEN, CLOSED; its group from flow_opened() on */
		struct flow_opening *opening; /* OPENING; its owner sets it; over relay.a */
		struct {
			struct hb_relay_side sides[2];
			const struct flow_outcome *outcome; /* CLOSED; over relay.why */
		};
	};
};

/* Ended flows that are kept: so many, and so many bytes of them. */
#define FLOWS_RECENT       256u
#define FLOWS_RECENT_BYTES (256u * 1024)

/* A copy: live flows lie among each other, and one that is kept for people to ask after would keep
 * the memory of all its neighbours. */
struct flow_ended {
	struct flow flow;
	struct flow_outcome outcome;
};

struct flows {
	struct flow_metrics *metrics;   /* NULL: nobody counts */
	struct hb_clutches live;        /* in no order */
	size_t count;                   /* live ones */
	size_t counts[FLOW_DIRECTIONS]; /* of these */
	struct hb_relay_group rest;     /* of those that count nowhere */
	struct flow_paths paths;
	struct flow_ended ring[FLOWS_RECENT];
	size_t ended; /* ever; the next goes to ring[ended % FLOWS_RECENT] */
	size_t kept;  /* the newest of them, in the ring */
	size_t kept_bytes;
	struct hb_loop *loop;
	struct hb_relay_limits limits; /* of what flow_join() joins; all 0 at first */
	uint64_t next_id, id_step;
	/* The flow's pod, still that of its path, may let go of it now; it is logged already. */
	void (*on_end)(void *owner, struct flow *flow);
	void *owner;
};

/* Ids are first_id, first_id + id_step, ... so that several threads' never meet. */
void flows_init(struct flows *flows, struct hb_loop *loop, uint64_t first_id, uint64_t id_step);
/* Forgets the ended ones; none may live. */
void flows_done(struct flows *flows);

/* A live flow in state OPENING, or NULL without memory. @name: of @pod, for FLOW_POD. */
struct flow *flow_new(struct flows *flows, struct pod *pod, const char *name,
                      enum flow_direction direction);
/* Valid until it has ended; NULL then. */
struct pod *flow_pod(const struct flow *flow);
/* Where it comes from and goes to, as the access log means it; and what was dialled, before
 * routing. The pointers are valid until the next flow_set_path(). */
struct hb_addr flow_src(const struct flow *flow);
const struct hb_addr *flow_dst(const struct flow *flow);
const struct hb_addr *flow_orig_dst(const struct flow *flow);
/* Sets what is not NULL. 0 or -ENOMEM, nothing changed. */
int flow_set_path(struct flow *flow, const struct hb_addr *src, const struct hb_addr *dst,
                  const struct hb_addr *orig_dst);
/* Sets the texts that are not NULL in @texts (FLOW_TEXTS of them). 0 or -ENOMEM, nothing changed.
 */
int flow_set_texts(struct flow *flow, const char *const *texts);
/* Never NULL. Valid until the next flow_set_texts(). */
const char *flow_text(const struct flow *flow, enum flow_text which);
/* It is known who its parties are, and it will be tried: counted, and logged at debug. Once; what
 * ends without it counts as one that failed early, if it is marked so. */
void flow_opened(struct flow *flow, const struct flow_parties *parties);
/* Joins both streams (taken, as hb_relay_start() does) and ends the flow when they have ended. For
 * outbound @a is the app; for the others @a is the client's side and @b the app. */
void flow_join(struct flow *flow, struct hb_stream *a, struct hb_stream *b);
/* Ends what is opening or open with @why, code < 0. The end is told later, from the loop. */
void flow_abort(struct flow *flow, struct hb_end why);
/* The end of a flow that never opened; it is gone then, as one is whose streams have ended. @error:
 * the words for the log; NULL: from @why. */
void flow_end(struct flow *flow, struct hb_end why, const char *error);

/* What has been carried so far, or in all. */
uint64_t flow_bytes_sent(const struct flow *flow);
uint64_t flow_bytes_recv(const struct flow *flow);
uint64_t flow_duration_ms(const struct flow *flow, uint64_t now_ms);
/* The ended flow number @index, newest first, or NULL. */
const struct flow *flows_recent(const struct flows *flows, size_t index);

/* The words that the access log has for an end (reference/operations 4.3); "" for a clean one.
 * @opening: it ended before both sides were joined. */
void flow_explain(struct hb_end why, bool opening, enum flow_direction direction, char *out,
                  size_t size);
/* What went wrong below all words: hb_strerror(), and of the kernel's errors the number, too. */
const char *flow_error_text(int code, char *out, size_t size);
/* @tunnelled: it went, or was to go, through a tunnel of ours. */
enum response_flag flow_response_flag(struct hb_end why, bool opening, bool tunnelled);
