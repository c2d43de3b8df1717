/*
 * passthrough: one plaintext connection to a pod, until the app has taken it.
 *
 *   accepted --our own port, unknown pod, policy--> reset
 *      '--> DIALLING --> joined (flow, relay); the client may go, the app may refuse: DONE
 */
#include "proxy/passthrough.h"

#include <stdio.h>

#include "config/settings.h"
#include "mesh/policy.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/hangup.h"
#include "proxy/pod.h"
#include "proxy/worker.h"

struct passthrough {
	struct hangup hangup;
	struct hb_dial dial;
	struct worker *worker;
	struct flow *flow; /* NULL: ended, or carried by its relay now */
	int client_fd;     /* -1: given on */
	bool dialling, quiet;
	struct hb_end why; /* why the dial is being cancelled */
};

static void let_go(struct passthrough *in)
{
	if (in->dialling || !in->quiet)
		return;
	in->worker->setups--;
	worker_settle(in->worker);
	free(in);
}

static void on_quiet(struct hangup *hangup)
{
	struct passthrough *in = hb_container_of(hangup, struct passthrough, hangup);

	in->quiet = true;
	let_go(in);
}

static void give_up(struct passthrough *in, struct hb_end why)
{
	in->why = why;
	hb_dial_cancel(&in->dial);
}

static void on_hangup(struct hangup *hangup)
{
	give_up(hb_container_of(hangup, struct passthrough, hangup),
	        hb_end(HB_LAYER_TCP, HB_SIDE_PEER, HB_E_CANCELLED));
}

static void on_abort(struct flow *flow, struct hb_end why)
{
	give_up(flow->setup, why);
}

static void fail(struct passthrough *in, struct hb_end why)
{
	hangup_stop(&in->hangup);
	hangup_reset(in->client_fd);
	in->client_fd = -1;
	flow_end(hb_take(&in->flow), why, NULL);
	let_go(in);
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct passthrough *in = hb_container_of(dial, struct passthrough, dial);
	struct worker *worker = in->worker;
	struct hb_end no_memory = hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM);
	struct hb_stream *client, *app;

	in->dialling = false;
	if (fd < 0) {
		fail(in, fd == -ECANCELED ? in->why : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd));
		return;
	}
	app = hb_tcp_new(worker->loop, fd, &worker->app_leg);
	if (!app) {
		fail(in, no_memory);
		return;
	}
	client = hb_tcp_new(worker->loop, in->client_fd, &worker->mesh_leg);
	in->client_fd = -1;
	hangup_stop(&in->hangup);
	if (client) {
		flow_join(hb_take(&in->flow), client, app);
	} else {
		discard(app, no_memory);
		flow_end(hb_take(&in->flow), no_memory, NULL);
	}
	let_go(in);
}

/* 0; or a code, with words for the log in @words ("": the code's own). */
static int judge(struct pod *pod, struct flow *flow, char *words, size_t size)
{
	struct policy_query query = { .src = flow->src, .dst = flow->dst };
	const char *texts[FLOW_TEXTS] = { NULL };
	struct policy_verdict verdict;
	const struct workload *src;
	int len;

	flow->early = true;
	if (pod_port_is_ours(flow->dst.port))
		return HB_E_RECURSIVE;
	if (!pod->workload) {
		pod_unknown_text(pod, words, size);
		return HB_E_UNKNOWN_WORKLOAD;
	}
	flow->early = false;
	policy_judge(pod->worker->snapshot, pod->workload, &query, &verdict);
	src = snapshot_workload_at(pod->worker->snapshot, pod->worker->options.settings->network,
	                           &flow->src.ip);
	ends_describe(src, pod->workload, texts);
	texts[FLOW_POLICY] = verdict.key;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
	if (verdict.allowed)
		return 0;
	len = snprintf(words, size, "connection closed due to policy rejection: ");
	policy_verdict_format(&verdict, words + len, size - (size_t)len);
	return HB_E_POLICY;
}

static int start(struct pod *pod, struct flow *flow, int fd)
{
	struct passthrough *in = calloc(1, sizeof(*in));
	struct appdial_target target = {
		.netns_fd = pod->spec->netns_fd,
		.redirect = pod->worker->options.redirect,
		.app = &flow->dst,
		.client = &flow->src,
		.turn = pod->worker->turn++,
	};
	int err;

	if (!in)
		return -ENOMEM;
	err = appdial_start(&in->dial, pod->worker->loop, &target, on_dialled);
	if (err < 0) {
		free(in);
		return err;
	}
	in->worker = pod->worker;
	in->flow = flow;
	in->client_fd = fd;
	in->dialling = true;
	flow->setup = in;
	pod->worker->setups++;
	hangup_start(&in->hangup, pod->worker->loop, fd, on_hangup, on_quiet);
	return 0;
}

void passthrough_accept(struct pod *pod, int fd)
{
	struct flow *flow = pod_flow_new(pod, FLOW_PASSTHROUGH, on_abort);
	char words[256] = "";
	int err;

	if (!flow) {
		hangup_reset(fd);
		return;
	}
	err = hb_addr_of_peer(fd, &flow->src);
	if (err == 0)
		err = hb_addr_of_local(fd, &flow->dst);
	flow->orig_dst = flow->dst;
	if (err == 0)
		err = judge(pod, flow, words, sizeof(words));
	if (err == 0)
		err = start(pod, flow, fd);
	if (err < 0) {
		hangup_reset(fd);
		flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err), *words ? words : NULL);
	}
}
