/*
 * passthrough: one plaintext connection to a pod, until the app has taken it.
 *
 *   accepted --our own port, unknown pod, policy--> reset
 *      '--> DIALLING --> joined (flow, relay); the client may go, the app may refuse: DONE
 */
#include "proxy/passthrough.h"

#include <stdio.h>

#include "config/settings.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/pod.h"
#include "proxy/verdict.h"
#include "proxy/worker.h"

struct passthrough {
	struct flow_opening opening;
	struct hb_dial dial;
	struct worker *worker;
	struct flow *flow;        /* NULL: ended, or carried by its relay now */
	struct hb_stream *client; /* paused until it is carried; NULL: closed, or given on */
	bool dialling;
	struct hb_end why; /* why the dial is being cancelled */
};

static void let_go(struct passthrough *in)
{
	if (in->dialling || in->client)
		return;
	in->worker->setups--;
	worker_settle(in->worker);
	free(in);
}

static void give_up(struct passthrough *in, struct hb_end why)
{
	in->why = why;
	hb_dial_cancel(&in->dial);
}

static void on_abort(struct flow_opening *opening, struct hb_end why)
{
	give_up(hb_container_of(opening, struct passthrough, opening), why);
}

static void on_client_closed(struct hb_stream *client, struct hb_end why)
{
	struct passthrough *in = client->owner;

	in->client = NULL;
	hb_stream_free(client);
	if (in->dialling)
		give_up(in, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, HB_E_CANCELLED));
	else
		let_go(in);
}

static void on_client_data(struct hb_stream *client, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_client_nothing(struct hb_stream *client)
{
}

/* It is paused: nothing but its end can come. */
static const struct hb_stream_events client_events = {
	.on_data = on_client_data,
	.on_finish = on_client_nothing,
	.on_full = on_client_nothing,
	.on_drained = on_client_nothing,
	.on_closed = on_client_closed,
};

static void fail(struct passthrough *in, struct hb_end why)
{
	if (in->client)
		hb_stream_close(in->client, why);
	flow_end(hb_take(&in->flow), why, NULL);
	let_go(in);
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct passthrough *in = hb_container_of(dial, struct passthrough, dial);
	struct hb_stream *app;

	in->dialling = false;
	if (fd < 0) {
		fail(in, fd == -ECANCELED ? in->why : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd));
		return;
	}
	app = hb_tcp_new(in->worker->loop, fd, &in->worker->app_leg);
	if (!app) {
		fail(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM));
		return;
	}
	flow_join(hb_take(&in->flow), hb_take(&in->client), app);
	let_go(in);
}

/* 0; or a code, with words for the log in @words ("": the code's own). */
static int judge(struct pod *pod, struct flow *flow, char *words, size_t size)
{
	struct policy_query query = { .src = flow_src(flow), .dst = *flow_dst(flow) };
	const char *texts[FLOW_TEXTS] = { NULL };
	struct verdict_words said;
	const struct service *service;
	const struct workload *src;
	int err;

	flow->early = true;
	if (pod_port_is_ours(query.dst.port, pod->spec->net->socks5))
		return HB_E_RECURSIVE;
	if (!pod->workload) {
		pod_unknown_text(pod, words, size);
		return HB_E_UNKNOWN_WORKLOAD;
	}
	flow->early = false;
	err = verdict_first(pod, &query, &said);
	src = snapshot_workload_at(pod->worker->snapshot, pod->worker->options.settings->network,
	                           &query.src.ip);
	service = snapshot_service_of(pod->worker->snapshot, pod->workload, query.dst.port);
	ends_describe(src, pod->workload, texts);
	texts[FLOW_DST_SERVICE] = service ? service->hostname : NULL;
	texts[FLOW_POLICY] = said.by;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
	flow_opened(flow,
	            &(struct flow_parties){ .src = src, .dst = pod->workload, .service = service });
	flow->judged = err == 0;
	snprintf(words, size, "%s", said.error);
	return err;
}

/* Takes @fd. 0; or -ENOMEM, and the flow is still to be ended. */
static int start(struct pod *pod, struct flow *flow, int fd)
{
	struct passthrough *in = calloc(1, sizeof(*in));
	struct hb_addr src = flow_src(flow);
	struct appdial_target target = {
		.pod = pod->spec,
		.app = flow_dst(flow),
		.client = &src,
		.turn = pod->worker->turn++,
	};
	int err;

	if (in)
		in->client = hb_tcp_new(pod->worker->loop, fd, &pod->worker->mesh_leg);
	else
		discard_fd(fd);
	if (!in || !in->client) {
		free(in);
		return -ENOMEM;
	}
	in->client->owner = in;
	in->client->events = &client_events;
	in->worker = pod->worker;
	in->flow = flow;
	in->opening.abort = on_abort;
	flow->opening = &in->opening;
	pod->worker->setups++;
	err = appdial_start(&in->dial, pod->worker->loop, &target, on_dialled);
	if (err < 0)
		fail(in, hb_end(HB_LAYER_TCP, HB_SIDE_US, err));
	else
		in->dialling = true;
	return 0;
}

void passthrough_accept(struct pod *pod, int fd)
{
	struct flow *flow = pod_flow_new(pod, FLOW_PASSTHROUGH);
	struct hb_addr src = { .port = 0 }, dst = { .port = 0 };
	char words[256] = "";
	int err;

	if (!flow) {
		discard_fd(fd);
		return;
	}
	err = hb_addr_of_peer(fd, &src);
	if (err == 0)
		err = pod_orig_dst(pod, fd, &dst);
	if (flow_set_path(flow, &src, &dst, &dst) < 0)
		err = -ENOMEM;
	if (err == 0)
		err = judge(pod, flow, words, sizeof(words));
	if (err < 0)
		discard_fd(fd);
	else
		err = start(pod, flow, fd);
	if (err < 0)
		flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err), *words ? words : NULL);
}
