/*
 * rejudge: goes through the live flows in pieces, by a walk that stays good while they come and go.
 */
#include "proxy/rejudge.h"

#include "config/settings.h"
#include "mesh/hash.h"
#include "metrics.h"
#include "proxy/strict.h"
#include "proxy/verdict.h"
#include "proxy/worker.h"

static void ask_again(struct worker *worker, struct flow *flow)
{
	const char *texts[FLOW_TEXTS] = { NULL };
	struct policy_query query = {
		.src = flow_src(flow),
		.identity = flow_text(flow, FLOW_SRC_IDENTITY),
		.dst = flow->direction == FLOW_INBOUND ? *flow_orig_dst(flow) : *flow_dst(flow),
	};
	struct pod *pod = flow_pod(flow);
	struct verdict_words words;

	if (!flow->judged || !pod->workload || verdict_again(pod, &query, &words) == 0)
		return;
	flow->judged = false; /* once is enough, its end may take a moment */
	texts[FLOW_POLICY] = words.by;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
	metrics_count(worker->metrics, METRIC_POLICY_ENDED, NULL);
	flow_abort(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY_CHANGED));
}

static void begin(struct rejudge *rejudge)
{
	struct worker *worker = rejudge->worker;

	rejudge->again = false;
	hb_clutch_walk_begin(&worker->flows.live, &rejudge->walk);
	worker->flows.live.walk = &rejudge->walk; /* it stays good, whichever flows end */
	hb_loop_timer_start(worker->loop, &rejudge->timer, 0);
}

static void on_time(struct hb_timer *timer)
{
	struct rejudge *rejudge = hb_container_of(timer, struct rejudge, timer);
	struct hb_clutches *live = &rejudge->worker->flows.live;
	struct flow *flow;

	for (unsigned i = 0; i < REJUDGE_FLOWS; i++) {
		flow = hb_clutch_walk_next(live, &rejudge->walk);
		if (!flow)
			break;
		ask_again(rejudge->worker, flow); /* it may end in here */
	}
	if (rejudge->walk.clutch) {
		hb_loop_timer_start(rejudge->worker->loop, timer, 0);
		return;
	}
	live->walk = NULL;
	if (rejudge->again)
		begin(rejudge);
}

void rejudge_init(struct rejudge *rejudge, struct worker *worker)
{
	rejudge->worker = worker;
	rejudge->seen = snapshot_generation(worker->snapshot);
	hb_timer_init(&rejudge->timer, on_time);
}

/* The newest generation in which an answer may have changed. */
static uint64_t last_change(const struct worker *worker)
{
	uint64_t last = snapshot_policies_changed(worker->snapshot);

	hb_list_for_each (node, &worker->pods) {
		const struct workload *w = hb_container_of(node, struct pod, node)->workload;

		if (w && w->policies_changed > last)
			last = w->policies_changed;
	}
	return last;
}

/* All pods': one that comes or goes is a change too, which costs a round and no more. */
static uint64_t print_strict(const struct worker *worker)
{
	uint64_t print = 0;

	if (!worker->options.settings->waypoint_strict)
		return 0;
	hb_list_for_each (node, &worker->pods) {
		const struct workload *w = hb_container_of(node, struct pod, node)->workload;

		if (w)
			print = hash_mix(
			    print, hash_mix(hash_text(w->uid), strict_print(worker->snapshot, w)));
	}
	return print;
}

void rejudge_look(struct rejudge *rejudge)
{
	struct worker *worker = rejudge->worker;
	uint64_t last = last_change(worker), strict = print_strict(worker);

	if (last <= rejudge->seen && strict == rejudge->seen_strict)
		return;
	rejudge->seen = last;
	rejudge->seen_strict = strict;
	if (worker->flows.live.walk)
		rejudge->again = true;
	else
		begin(rejudge);
}

void rejudge_stop(struct rejudge *rejudge)
{
	hb_loop_timer_stop(rejudge->worker->loop, &rejudge->timer);
	rejudge->worker->flows.live.walk = NULL;
}
