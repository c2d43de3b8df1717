/*
 * outbound_demand: a connection to what the mesh does not know yet: an address, or the waypoint or
 * gateway that leads there (reference/datapath 2.4, 2.8). It waits while the control plane is
 * asked, decides again, and may find that the next thing is not known; all within DEMAND_WAIT_MS.
 *
 * Without an answer it is refused: what nobody has spoken for may be somebody of the mesh, whom
 * nothing may reach around TLS and waypoint.
 */
#include <string.h>

#include "proxy/outbound_own.h"

bool outbound_lacks(const struct worker *worker, const struct route *route,
                    const struct route_query *query, char missing[ROUTE_MISSING_SIZE])
{
	return demand_is_on(&worker->demand) && route_missing(route, query, missing) &&
	       !demand_is_nothing(&worker->demand, missing);
}

static void asked_for(const struct outbound *out, char missing[ROUTE_MISSING_SIZE])
{
	struct route_query query = outbound_query_of(out);

	missing[0] = 0;
	outbound_ask(flow_pod(out->flow), out->flow, &query);
	(void)route_missing(&out->route, &query, missing); /* it does lack something */
}

static void fail_unanswered(struct outbound *out, int err)
{
	int code = err == -ENOBUFS ? HB_E_LIMIT : HB_E_NO_ROUTE;
	char missing[ROUTE_MISSING_SIZE], words[DEMAND_WORDS];

	asked_for(out, missing);
	outbound_fail_early(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, code),
	                    demand_words(missing, err, words));
}

static void ask(struct outbound *out, const char *missing, uint64_t now_ms);

static void on_answer(struct demand_wait *wait, int err)
{
	struct outbound *out = hb_container_of(wait, struct outbound, demand);
	struct route_query query = outbound_query_of(out);
	uint64_t now_ms = hb_loop_now_ms(out->worker->loop);
	char words[256], asked[ROUTE_MISSING_SIZE], missing[ROUTE_MISSING_SIZE];
	struct route route = { .kind = ROUTE_REFUSE };

	if (err < 0) {
		fail_unanswered(out, err);
		return;
	}
	err = outbound_decide_again(out, &route, words, sizeof(words));
	outbound_ask(flow_pod(out->flow), out->flow, &query);
	asked_for(out, asked);
	if (route_missing(&route, &query, missing) && strcmp(missing, asked) == 0)
		demand_set_nothing(&out->worker->demand, asked);
	if (outbound_lacks(out->worker, &route, &query, missing)) {
		outbound_take(out, &route);
		if (now_ms < out->asking_until_ms)
			ask(out, missing, now_ms);
		else
			fail_unanswered(out, -ETIMEDOUT);
	} else if (err < 0) {
		outbound_fail_early(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err),
		                    *words ? words : NULL);
	} else {
		outbound_begin_with(out, &route);
	}
}

static void ask(struct outbound *out, const char *missing, uint64_t now_ms)
{
	demand_wait(&out->worker->demand, &out->demand, missing,
	            (uint32_t)(out->asking_until_ms - now_ms), on_answer);
}

void outbound_await(struct outbound *out, const char *missing)
{
	uint64_t now_ms = hb_loop_now_ms(out->worker->loop);

	out->state = OUTBOUND_ASKING;
	out->asking_until_ms = now_ms + DEMAND_WAIT_MS;
	ask(out, missing, now_ms);
}
