/*
 * outbound_own: what the files of outbound share: the connection, and the steps that one of them
 * takes in another. See outbound.c for its states.
 */
#pragma once

#include <hbone/dial.h>
#include <hbone/headers.h>
#include <hbone/pool.h>

#include "proxy/outbound_failover.h"
#include "proxy/outbound_route.h"
#include "proxy/worker.h"

struct resolver_question;

enum outbound_state {
	OUTBOUND_ASKING,
	OUTBOUND_RESOLVING,
	OUTBOUND_CREDENTIAL,
	OUTBOUND_TUNNEL,
	OUTBOUND_DIALLING,
	OUTBOUND_DONE
};

struct outbound {
	struct flow_opening opening;
	struct worker *worker;
	struct flow *flow;     /* NULL: ended, or carried by its relay now */
	struct hb_stream *app; /* paused until it is carried; NULL: closed, or given on */
	enum outbound_state state;
	struct snapshot *snapshot;
	const struct workload *src; /* of it */
	struct route route;
	struct demand_wait demand;          /* OUTBOUND_ASKING */
	uint64_t asking_until_ms;           /* the same; the loop's time */
	struct resolver_question *question; /* OUTBOUND_RESOLVING */
	struct credential_wait credential;
	struct hb_pool_wait wait;
	struct hb_pool_key key;
	struct hb_pool_inner inner; /* behind a gateway */
	struct hb_tunnel_request request;
	struct hb_dial dial;
	struct hb_end why;        /* DIALLING, being cancelled: the reason */
	struct hb_timer try_time; /* RESOLVING, TUNNEL: with another endpoint to turn to */
	uint64_t random;
	uint64_t tried[OUTBOUND_TRIES]; /* keys of routes and of their addresses that failed */
	size_t tried_count;
	char authority[ROUTE_AUTHORITY_SIZE];
	char forwarded[HB_FORWARDED_SIZE];
	char traceparent[HB_TRACEPARENT_LEN + 1];
	char *baggage;
};

/*
 * outbound.c
 */
/* The app is reset; it came to nothing before it was known where it goes: ztunnel says no more of
 * these either. @out may be gone. */
void outbound_fail_early(struct outbound *out, struct hb_end why, const char *words);
/* @why: the endpoint of out->route failed. True: another one is under way. */
bool outbound_try_elsewhere(struct outbound *out, struct hb_end why);
bool outbound_has_another_try(const struct outbound *out);
/* By what the mesh says now. 0; or a code, with words: then nothing is changed. */
int outbound_decide_again(struct outbound *out, struct route *route, char *words, size_t size);
/* @route of the worker's snapshot; nothing begins. */
void outbound_take(struct outbound *out, const struct route *route);
/* The same, from the beginning. */
void outbound_begin_with(struct outbound *out, const struct route *route);
/* To out->route.next_hop, whose address is known. */
void outbound_start(struct outbound *out);
struct route_query outbound_query_of(const struct outbound *out);

/*
 * outbound_demand.c
 */
/* Does it make sense to ask what @route lacks? Then the name is in @missing. */
bool outbound_lacks(const struct worker *worker, const struct route *route,
                    const struct route_query *query, char missing[ROUTE_MISSING_SIZE]);
/* What out->route lacks is asked for: OUTBOUND_ASKING, until it goes on by itself. */
void outbound_await(struct outbound *out, const char *missing);

/*
 * outbound_names.c
 */
/* out->route.lookup is looked up: OUTBOUND_RESOLVING, until it goes on by itself. */
void outbound_look_up(struct outbound *out);
/* It took longer than another endpoint would. */
void outbound_look_up_late(struct outbound *out);
void outbound_look_up_cancel(struct outbound *out); /* nothing goes on */
