/*
 * outbound_names: the address of an endpoint that the mesh knows by its host name only.
 */
#include <stdio.h>

#include "node/resolver.h"
#include "proxy/outbound_own.h"

static void name_failed(struct outbound *out, int err)
{
	struct hb_end why = hb_end(HB_LAYER_TCP, HB_SIDE_US, HB_E_NAME);
	char words[512];

	if (outbound_try_elsewhere(out, why))
		return;
	snprintf(words, sizeof(words), "no ip addresses were resolved for workload: %.150s: %s: %s",
	         out->route.workload->uid, out->route.lookup,
	         err ? resolver_strerror(err) : "all of them were tried");
	outbound_fail_early(out, why, words);
}

static void on_resolved(void *ctx, int err, const struct hb_ip *ips, size_t count)
{
	struct outbound *out = ctx;
	struct route_query query = outbound_query_of(out);
	struct route route;
	char words[256];

	hb_loop_timer_stop(out->worker->loop, &out->try_time);
	out->question = NULL;
	if (out->snapshot != out->worker->snapshot) {
		/* The name is known by now; but whose it was, the mesh may have changed. */
		err = outbound_decide_again(out, &route, words, sizeof(words));
		if (err < 0)
			outbound_fail_early(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err),
			                    *words ? words : NULL);
		else
			outbound_begin_with(out, &route);
		return;
	}
	outbound_ask(flow_pod(out->flow), out->flow, &query);
	if (err < 0 || !route_resolve(&out->route, &query, ips, count))
		name_failed(out, err);
	else
		outbound_start(out);
}

void outbound_look_up(struct outbound *out)
{
	struct worker *worker = out->worker;

	outbound_count_lookup(worker->metrics, out->src, &out->route);
	out->state = OUTBOUND_RESOLVING;
	out->question = resolver_ask(worker->options.resolver, worker->loop, out->route.lookup,
	                             on_resolved, out);
	if (!out->question)
		outbound_fail_early(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM), NULL);
	else if (outbound_has_another_try(out))
		hb_loop_timer_start(worker->loop, &out->try_time, OUTBOUND_TRY_MS);
}

void outbound_look_up_late(struct outbound *out)
{
	resolver_cancel(hb_take(&out->question));
	name_failed(out, -ETIMEDOUT);
}

void outbound_look_up_cancel(struct outbound *out)
{
	hb_loop_timer_stop(out->worker->loop, &out->try_time);
	resolver_cancel(hb_take(&out->question));
}
