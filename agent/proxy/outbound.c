/*
 * outbound: one dialled connection of a pod, until both its legs stand.
 *
 *   accepted --refused by route--> reset
 *      |
 *      +--HBONE--> CREDENTIAL --> TUNNEL --+    (single or double: the pool knows the way)
 *      |                                   +--> joined (flow, relay)
 *      '--plain--> DIALLING ---------------'
 *
 * In each of the three the app may go, the pod may be taken away, or the far side fail: then DONE,
 * and the app is reset. The struct is freed when it is DONE and holds the app's stream no more.
 */
#include "proxy/outbound.h"

#include <stdio.h>
#include <string.h>

#include "config/settings.h"
#include "mesh/route.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/pod.h"
#include "proxy/worker.h"
#include <hbone/headers.h>

#define CREDENTIAL_DEADLINE_MS 10000u

enum state { CREDENTIAL, TUNNEL, DIALLING, DONE };

struct outbound {
	struct flow_opening opening;
	struct worker *worker;
	struct flow *flow;     /* NULL: ended, or carried by its relay now */
	struct hb_stream *app; /* paused until it is carried; NULL: closed, or given on */
	enum state state;
	struct snapshot *snapshot;
	struct route route;
	struct credential_wait credential;
	struct hb_pool_wait wait;
	struct hb_pool_key key;
	struct hb_pool_inner inner; /* behind a gateway */
	struct hb_tunnel_request request;
	struct hb_dial dial;
	struct hb_end why; /* DIALLING, being cancelled: the reason */
	char authority[ROUTE_AUTHORITY_SIZE];
	char forwarded[HB_FORWARDED_SIZE];
	char traceparent[HB_TRACEPARENT_LEN + 1];
	char *baggage;
};

/* Frees it once nothing refers to it. */
static void let_go(struct outbound *out)
{
	if (out->state != DONE || out->app)
		return;
	out->worker->setups--;
	worker_settle(out->worker);
	snapshot_unref(out->snapshot);
	free(out->baggage);
	free(out);
}

static bool is_tunnel(const struct route *route)
{
	return route->kind == ROUTE_HBONE || route->kind == ROUTE_DOUBLE;
}

/* It came to nothing: the app is reset, the flow told. */
static void fail(struct outbound *out, struct hb_end why)
{
	struct flow *flow = hb_take(&out->flow);
	char words[192];
	bool blocked =
	    is_tunnel(&out->route) && why.layer == HB_LAYER_TCP && why.code == -ETIMEDOUT;

	out->state = DONE;
	if (out->app)
		hb_stream_close(out->app, why);
	if (blocked)
		snprintf(words, sizeof(words),
		         "connection timed out, maybe a NetworkPolicy is blocking HBONE port "
		         "%u: %s",
		         out->route.next_hop.port, hb_strerror(why.code));
	flow_end(flow, why, blocked ? words : NULL);
	let_go(out);
}

/* Ends what is under way; the flow ends now, or when the kernel has let go of the dial. */
static void give_up(struct outbound *out, struct hb_end why)
{
	switch (out->state) {
	case CREDENTIAL:
		credential_cancel(&out->credential);
		fail(out, why);
		break;
	case TUNNEL:
		hb_pool_cancel(&out->wait);
		fail(out, why);
		break;
	case DIALLING:
		out->why = why;
		hb_dial_cancel(&out->dial);
		break;
	case DONE:
		break;
	}
}

static void on_app_closed(struct hb_stream *app, struct hb_end why)
{
	struct outbound *out = app->owner;

	out->app = NULL;
	hb_stream_free(app);
	if (out->state == DONE)
		let_go(out);
	else
		give_up(out, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, HB_E_CANCELLED));
}

static void on_app_data(struct hb_stream *app, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_app_nothing(struct hb_stream *app)
{
}

/* It is paused: nothing but its end can come. */
static const struct hb_stream_events app_events = {
	.on_data = on_app_data,
	.on_finish = on_app_nothing,
	.on_full = on_app_nothing,
	.on_drained = on_app_nothing,
	.on_closed = on_app_closed,
};

static void on_abort(struct flow_opening *opening, struct hb_end why)
{
	give_up(hb_container_of(opening, struct outbound, opening), why);
}

/* Both legs stand. Takes @far. */
static void join(struct outbound *out, struct hb_stream *far)
{
	out->state = DONE;
	flow_join(hb_take(&out->flow), hb_take(&out->app), far);
	let_go(out);
}

/* Who it is that was reached: proven, and behind a gateway also by its own words, as there the
 * gateway has chosen (reference/datapath 1.14). */
static void learn(struct outbound *out, const struct hb_stream *tunnel, const char *peer)
{
	const char *texts[FLOW_TEXTS] = { [FLOW_DST_IDENTITY] = peer };
	struct hb_tunnel_said read;
	struct ends_said said;

	if (out->route.kind == ROUTE_DOUBLE) {
		hb_tunnel_read(tunnel, &read);
		if (read.has_baggage)
			ends_said_dst(&read.baggage, &said, texts);
	} else if (strcmp(peer, flow_text(out->flow, FLOW_DST_IDENTITY)) == 0) {
		return;
	}
	(void)flow_set_texts(out->flow, texts); /* without memory the line lacks words */
}

static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                      struct hb_end why)
{
	struct outbound *out = hb_container_of(wait, struct outbound, wait);

	if (!tunnel) {
		fail(out, why);
		return;
	}
	learn(out, tunnel, peer);
	join(out, tunnel);
}

static void open_tunnel(struct outbound *out, struct hb_tls_ctx *ctx)
{
	out->state = TUNNEL;
	out->wait.on_tunnel = on_tunnel;
	hb_pool_get(out->worker->pool, &out->wait, &out->key, ctx, &out->request);
}

static void on_credential(struct credential_wait *wait, struct hb_tls_ctx *ctx)
{
	struct outbound *out = hb_container_of(wait, struct outbound, credential);

	if (ctx)
		open_tunnel(out, ctx);
	else
		fail(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_NO_CREDENTIAL));
}

/* Random for each connection of an app. */
static void make_traceparent(struct worker *worker, char out[HB_TRACEPARENT_LEN + 1])
{
	uint64_t id[3] = { worker_random(worker), worker_random(worker), worker_random(worker) };
	struct hb_traceparent parent = { .flags = 0 };

	memcpy(parent.trace_id, id, sizeof(parent.trace_id));
	memcpy(parent.parent_id, id + 2, sizeof(parent.parent_id));
	hb_traceparent_format(&parent, out);
}

/* The CONNECT, and who is to answer it. */
static void make_request(struct outbound *out, const struct pod *pod)
{
	const struct route *route = &out->route;
	const struct service *service = route->service;

	route_authority(route, out->authority);
	hb_forwarded_format(&out->flow->src, service ? service->hostname : NULL, out->forwarded);
	make_traceparent(out->worker, out->traceparent);
	out->request = (struct hb_tunnel_request){
		.authority = out->authority,
		.baggage = out->baggage,
		.forwarded = out->forwarded,
		.traceparent = out->traceparent,
	};
	out->key = (struct hb_pool_key){
		.scope = pod->spec->index,
		.identity = pod->workload->identity, /* of out->snapshot */
		.peers = route->identities,
		.peers_count = route->identities_count,
		.dst = route->next_hop,
	};
	if (route->kind != ROUTE_DOUBLE)
		return;
	out->request.network = out->worker->options.settings->network;
	out->inner = (struct hb_pool_inner){
		.authority = out->authority,
		.peers = route->inner_identities,
		.peers_count = route->inner_identities_count,
	};
	out->key.inner = &out->inner;
}

static void start_tunnel(struct outbound *out, struct pod *pod)
{
	struct worker *worker = out->worker;

	make_request(out, pod);
	if (pod->credential && pod->credential->ctx) {
		open_tunnel(out, pod->credential->ctx);
	} else if (pod->credential) {
		out->state = CREDENTIAL;
		credential_wait(&worker->credentials, pod->credential, &out->credential,
		                CREDENTIAL_DEADLINE_MS, on_credential);
	} else {
		fail(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM));
	}
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct outbound *out = hb_container_of(dial, struct outbound, dial);
	struct hb_stream *far;

	if (fd < 0) {
		fail(out, fd == -ECANCELED ? out->why : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd));
		return;
	}
	far = hb_tcp_new(out->worker->loop, fd, &out->worker->mesh_leg);
	if (far)
		join(out, far);
	else
		fail(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM));
}

static void start_dial(struct outbound *out, struct pod *pod)
{
	const struct hb_addr *to = &out->route.next_hop;
	int fd = pod_socket(pod, hb_ip_is_v4(&to->ip) ? AF_INET : AF_INET6);

	if (fd < 0) {
		fail(out, hb_end(HB_LAYER_TCP, HB_SIDE_US, fd));
		return;
	}
	out->state = DIALLING;
	hb_dial_start(&out->dial, out->worker->loop, fd, to, DIAL_DEADLINE_MS, on_dialled);
}

/* Where it goes. 0; or a code, with words for the log in @words ("": the code's own). */
static int decide(struct pod *pod, struct flow *flow, struct route *route, char *words, size_t size)
{
	struct worker *worker = pod->worker;
	struct route_query query = {
		.src = pod->workload,
		.src_ip = flow->src.ip,
		.network = worker->options.settings->network,
		.dst = flow->orig_dst,
		.random = worker_random(worker),
	};

	words[0] = 0;
	if (hb_ip_is_loopback(&flow->orig_dst.ip) &&
	    pod_port_is_ours(flow->orig_dst.port, pod->spec->net->socks5))
		return HB_E_RECURSIVE;
	if (!pod->workload) {
		pod_unknown_text(pod, words, size);
		return HB_E_UNKNOWN_WORKLOAD;
	}
	route_decide(worker->snapshot, &query, route);
	if (route->kind != ROUTE_REFUSE)
		return 0;
	snprintf(words, size, "%s", route->error);
	return HB_E_NO_ROUTE;
}

/* What the log will say of both ends. Identities only where they are proven: by mutual TLS. */
static void describe(struct flow *flow, const struct pod *pod, const struct route *route)
{
	/* Behind a gateway nobody knows yet whom it will choose. */
	const struct workload *dst = route->kind == ROUTE_DOUBLE ? NULL : route->workload;
	const char *texts[FLOW_TEXTS] = { NULL };
	char authority[ROUTE_AUTHORITY_SIZE];

	ends_describe(pod->workload, dst, texts);
	if (route->service)
		texts[FLOW_DST_SERVICE] = route->service->hostname;
	if (is_tunnel(route)) {
		texts[FLOW_SRC_IDENTITY] = pod->workload->identity;
		texts[FLOW_DST_IDENTITY] = dst ? dst->identity : NULL;
		texts[FLOW_AUTHORITY] = route_authority(route, authority);
	}
	flow->dst = route->next_hop;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
}

/* Takes @fd, also on failure (NULL: no memory). */
static struct outbound *outbound_new(struct pod *pod, struct flow *flow, int fd,
                                     const struct route *route)
{
	struct outbound *out = calloc(1, sizeof(*out));

	if (!out) {
		discard_fd(fd);
		return NULL;
	}
	out->app = hb_tcp_new(pod->worker->loop, fd, &pod->worker->app_leg);
	if (!out->app) {
		free(out);
		return NULL;
	}
	out->app->owner = out;
	out->app->events = &app_events;
	out->worker = pod->worker;
	out->flow = flow;
	out->snapshot = snapshot_ref(pod->worker->snapshot);
	out->route = *route;
	out->baggage = strdup(pod->baggage ? pod->baggage : "");
	out->opening.abort = on_abort;
	flow->opening = &out->opening;
	pod->worker->setups++;
	return out;
}

void outbound_accept(struct pod *pod, int fd, const struct hb_addr *dst)
{
	struct flow *flow = pod_flow_new(pod, FLOW_OUTBOUND);
	struct outbound *out = NULL;
	struct route route;
	char words[256] = "";
	int err;

	if (!flow) {
		discard_fd(fd);
		return;
	}
	err = hb_addr_of_peer(fd, &flow->src);
	if (dst)
		flow->orig_dst = *dst;
	else if (err == 0)
		err = pod_orig_dst(pod, fd, &flow->orig_dst);
	if (err == 0) {
		flow->dst = flow->orig_dst;
		err = decide(pod, flow, &route, words, sizeof(words));
	}
	if (err < 0)
		discard_fd(fd);
	else if (!(out = outbound_new(pod, flow, fd, &route)))
		err = -ENOMEM;
	if (err < 0) {
		flow->early = true;
		flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err), *words ? words : NULL);
		return;
	}
	describe(flow, pod, &route);
	if (is_tunnel(&route))
		start_tunnel(out, pod);
	else
		start_dial(out, pod);
}
