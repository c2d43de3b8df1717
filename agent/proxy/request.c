/*
 * request: from a CONNECT to a relay.
 *
 *   told --no--> REFUSED (answered; the stream ends by itself)
 *     '--yes--> DIALLING --app took it--> joined (flow, relay)
 *                  | app refused: 503 and REFUSED; peer left or pod left: DONE after the dial
 */
#include "proxy/request.h"

#include <stdio.h>
#include <string.h>

#include <hbone/tunnel.h>

#include "config/settings.h"
#include "mesh/policy.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/worker.h"

struct request {
	struct flow_opening opening;
	struct hb_dial dial;
	struct worker *worker;
	struct pod *pod;          /* valid while flow is */
	struct flow *flow;        /* NULL: ended, or carried by its relay now */
	struct hb_stream *tunnel; /* NULL: closed, or given on */
	bool dialling;
	struct hb_end why; /* why the dial is being cancelled */
};

struct refusal {
	int status; /* 0: none */
	int code;
	char words[256]; /* "": the code's own */
};

static void let_go(struct request *request)
{
	if (request->dialling || request->tunnel)
		return;
	request->worker->setups--;
	worker_settle(request->worker);
	free(request);
}

static void give_up(struct request *request, struct hb_end why)
{
	request->why = why;
	hb_dial_cancel(&request->dial);
}

static void on_abort(struct flow_opening *opening, struct hb_end why)
{
	give_up(hb_container_of(opening, struct request, opening), why);
}

/* The peer has left, or our refusal is done with. */
static void on_tunnel_closed(struct hb_stream *tunnel, struct hb_end why)
{
	struct request *request = tunnel->owner;

	request->tunnel = NULL;
	hb_stream_free(tunnel);
	if (request->dialling)
		give_up(request,
		        why.code ? why : hb_end(HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CANCELLED));
	else
		let_go(request);
}

static void on_tunnel_data(struct hb_stream *tunnel, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_tunnel_nothing(struct hb_stream *tunnel)
{
}

/* Until the relay takes it over it is paused: nothing but its end can come. */
static const struct hb_stream_events tunnel_events = {
	.on_open = on_tunnel_nothing,
	.on_data = on_tunnel_data,
	.on_finish = on_tunnel_nothing,
	.on_full = on_tunnel_nothing,
	.on_drained = on_tunnel_nothing,
	.on_closed = on_tunnel_closed,
};

static void refuse(struct request *request, int status, struct hb_end why, const char *words)
{
	if (request->tunnel)
		hb_tunnel_refuse(request->tunnel, status);
	flow_end(hb_take(&request->flow), why, words && *words ? words : NULL);
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct request *request = hb_container_of(dial, struct request, dial);
	struct worker *worker = request->worker;
	struct hb_stream *app = NULL;

	request->dialling = false;
	if (fd >= 0) {
		app = hb_tcp_new(worker->loop, fd, &worker->app_leg);
		fd = app ? 0 : -ENOMEM;
	}
	if (app) {
		struct hb_stream *tunnel = hb_take(&request->tunnel);

		hb_tunnel_accept(tunnel, request->pod->baggage);
		flow_join(hb_take(&request->flow), tunnel, app);
	} else if (fd == -ECANCELED) {
		refuse(request, 503, request->why, NULL);
	} else {
		refuse(request, 503, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd), NULL);
	}
	let_go(request);
}

/* A name stands for a service of which this pod is an endpoint. Target port, or 0: nothing. */
static uint16_t port_of_host(const struct pod *pod, const struct hb_tunnel_authority *authority)
{
	const struct service *service;
	char host[256];

	if (authority->host_len >= sizeof(host))
		return 0;
	memcpy(host, authority->host, authority->host_len);
	host[authority->host_len] = 0;
	service = snapshot_service_by_host(pod->worker->snapshot, host, pod->workload->ns);
	for (size_t i = 0; service && i < service->endpoints_count; i++)
		if (service->endpoints[i].workload == pod->workload)
			return endpoint_target(service, &service->endpoints[i], authority->port);
	return 0;
}

/* Is it for this pod, and for which port of its app? */
static void validate(const struct inbound *in, const struct hb_tunnel_authority *authority,
                     struct hb_addr *app, struct refusal *refusal)
{
	char ours[HB_IP_STRLEN], theirs[HB_IP_STRLEN];

	app->ip = in->local.ip;
	app->port = authority->is_ip ? authority->addr.port : port_of_host(in->pod, authority);
	if (authority->is_ip && !hb_ip_equal(&authority->addr.ip, &in->local.ip)) {
		refusal->status = 400;
		refusal->code = HB_E_BAD_REQUEST;
		snprintf(refusal->words, sizeof(refusal->words), "ip mismatch: %s != %s",
		         hb_ip_format(&in->local.ip, ours, sizeof(ours)),
		         hb_ip_format(&authority->addr.ip, theirs, sizeof(theirs)));
	} else if (app->port == 0) {
		refusal->status = 503;
		refusal->code = HB_E_NO_ROUTE;
		snprintf(refusal->words, sizeof(refusal->words),
		         authority->is_ip ? "port 0 cannot be connected to"
		                          : "no service of this pod by that name and port");
	} else if (pod_port_is_ours(in->pod, app->port)) {
		refusal->status = 503;
		refusal->code = HB_E_RECURSIVE;
	}
}

static void judge(const struct inbound *in, struct flow *flow, struct refusal *refusal)
{
	struct pod *pod = in->pod;
	struct worker *worker = pod->worker;
	const struct settings *settings = worker->options.settings;
	struct policy_query query = {
		.src = in->src,
		.identity = in->identity,
		.dst = flow->orig_dst,
	};
	const char *texts[FLOW_TEXTS] = { NULL };
	const struct service *service;
	struct policy_verdict verdict;
	char by[320];
	int len;

	policy_judge(worker->snapshot, pod->workload, &query, &verdict);
	ends_describe(snapshot_workload_at(worker->snapshot, settings->network, &in->src.ip),
	              pod->workload, texts);
	service = snapshot_service_of(worker->snapshot, pod->workload, flow->orig_dst.port);
	texts[FLOW_SRC_IDENTITY] = in->identity;
	texts[FLOW_DST_IDENTITY] = pod->workload->identity;
	texts[FLOW_DST_SERVICE] = service ? service->hostname : NULL;
	policy_verdict_explain(&verdict, by, sizeof(by));
	texts[FLOW_POLICY] = by;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
	if (verdict.allowed)
		return;
	refusal->status = 401;
	refusal->code = HB_E_POLICY;
	len = snprintf(refusal->words, sizeof(refusal->words),
	               "connection closed due to policy rejection: ");
	policy_verdict_format(&verdict, refusal->words + len, sizeof(refusal->words) - (size_t)len);
}

/* Reads and weighs what is asked for; the app's address is then flow->orig_dst. */
static void consider(struct inbound *in, struct hb_stream *tunnel, struct flow *flow,
                     struct refusal *refusal)
{
	const struct hb_header *said = hb_h2_header(tunnel, ":authority");
	const char *texts[FLOW_TEXTS] = { NULL };
	struct hb_tunnel_authority authority;
	char text[300];

	flow->early = true;
	refusal->code = HB_E_BAD_REQUEST;
	refusal->status = hb_tunnel_request_parse(tunnel, &authority);
	if (refusal->status)
		return;
	if (!in->pod->workload) { /* it left the mesh while the connection stood */
		refusal->status = 503;
		refusal->code = HB_E_UNKNOWN_WORKLOAD;
		pod_unknown_text(in->pod, refusal->words, sizeof(refusal->words));
		return;
	}
	validate(in, &authority, &flow->orig_dst, refusal);
	if (refusal->status)
		return;
	if (said) {
		snprintf(text, sizeof(text), "%.*s", (int)hb_min_size(said->value_len, 255),
		         said->value);
		texts[FLOW_AUTHORITY] = text;
		(void)flow_set_texts(flow, texts); /* as above */
	}
	flow->early = false;
	judge(in, flow, refusal);
}

static int dial_app(struct request *request, struct inbound *in)
{
	struct appdial_target target = {
		.pod = in->pod->spec,
		.app = &request->flow->orig_dst,
		.client = &in->src,
		.turn = in->pod->worker->turn++,
	};

	return appdial_start(&request->dial, in->pod->worker->loop, &target, on_dialled);
}

void request_start(struct hb_h2 *h2, struct hb_stream *tunnel)
{
	struct inbound *in = hb_h2_owner(h2);
	struct request *request = calloc(1, sizeof(*request));
	struct refusal refusal = { 0 };
	struct flow *flow = pod_flow_new(in->pod, FLOW_INBOUND);
	int err;

	if (!request || !flow) {
		free(request);
		if (flow)
			flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM), NULL);
		discard_stream(tunnel, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
		return;
	}
	request->opening.abort = on_abort;
	flow->opening = &request->opening;
	flow->src = in->src;
	flow->dst = in->local;
	request->worker = in->pod->worker;
	request->pod = in->pod;
	request->flow = flow;
	request->tunnel = tunnel;
	request->worker->setups++;
	tunnel->owner = request;
	tunnel->events = &tunnel_events;

	consider(in, tunnel, flow, &refusal);
	if (refusal.status) {
		refuse(request, refusal.status, hb_end(HB_LAYER_AGENT, HB_SIDE_US, refusal.code),
		       refusal.words);
		return;
	}
	err = dial_app(request, in);
	if (err < 0)
		refuse(request, 503, hb_end(HB_LAYER_TCP, HB_SIDE_US, err), NULL);
	else
		request->dialling = true;
}
