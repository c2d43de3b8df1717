/*
 * outbound: one dialled connection of a pod, until both its legs stand.
 *
 *   accepted --refused by route--> reset
 *      |
 *      +--not known yet--> ASKING (outbound_demand.c) --> refused, or as below
 *      |
 *      +--a host name--> RESOLVING --> one of its addresses; as below
 *      |
 *      +--HBONE--> CREDENTIAL --> TUNNEL --+    (single or double: the pool knows the way)
 *      |                                   +--> joined (flow, relay)
 *      '--plain--> DIALLING ---------------'
 *
 * In each of the five the app may go, the pod may be taken away, or the far side fail: then DONE,
 * and the app is reset. But where the name, or the far side of TUNNEL or DIALLING, fails, or takes
 * too long, and there is another endpoint or address, it begins again with that one: the app has
 * not been read yet. The struct is freed when it is DONE and holds the app's stream no more.
 */
#include "proxy/outbound.h"

#include <stdio.h>
#include <string.h>

#define LOG_SCOPE "proxy"
#include "config/settings.h"
#include "log.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/outbound_own.h"
#include "proxy/pod.h"

/* Frees it once nothing refers to it. */
static void let_go(struct outbound *out)
{
	if (out->state != OUTBOUND_DONE || out->app)
		return;
	out->worker->setups--;
	worker_settle(out->worker);
	snapshot_unref(out->snapshot);
	free(out->baggage);
	free(out);
}

/*
 * Now, and not when it began (as ztunnel does): only now it is known which endpoint it is. Behind a
 * gateway that is who has answered: @peer, by its own words @said; NULL where nobody has.
 */
static void count_opened(struct outbound *out, const struct hb_baggage *said, const char *peer)
{
	const struct route *route = &out->route;
	bool tunnelled = outbound_is_tunnel(route);
	struct flow_parties parties = {
		.outbound = true,
		.mtls = tunnelled,
		.src = out->src,
		.dst = route->kind == ROUTE_DOUBLE ? NULL : route->workload,
		.dst_said = said,
		.src_principal = tunnelled ? out->src->identity : NULL,
		.dst_principal = peer,
		.service = route->service,
	};

	flow_opened(out->flow, &parties);
}

/* The app is reset, the flow told. */
static void end(struct outbound *out, struct hb_end why, const char *words)
{
	struct flow *flow = hb_take(&out->flow);

	out->state = OUTBOUND_DONE;
	if (out->app)
		hb_stream_close(out->app, why);
	flow_end(flow, why, words);
	let_go(out);
}

void outbound_fail_early(struct outbound *out, struct hb_end why, const char *words)
{
	out->flow->early = true;
	end(out, why, words);
}

/* It came to nothing. */
static void fail_with(struct outbound *out, struct hb_end why, const char *words)
{
	count_opened(out, NULL, NULL);
	if (why.code == HB_TLS_REVOKED)
		metrics_count(out->worker->metrics, METRIC_CRL_REJECTED, "source");
	outbound_count_limit(out->worker->metrics, why.code);
	end(out, why, words);
}

static void fail(struct outbound *out, struct hb_end why)
{
	char words[192], text[96];
	bool blocked =
	    outbound_is_tunnel(&out->route) && why.layer == HB_LAYER_TCP && why.code == -ETIMEDOUT;

	if (blocked)
		snprintf(words, sizeof(words),
		         "connection timed out, maybe a NetworkPolicy is blocking HBONE port "
		         "%u: %s",
		         out->route.next_hop.port, flow_error_text(why.code, text, sizeof(text)));
	fail_with(out, why, blocked ? words : NULL);
}

/* Ends what is under way; the flow ends now, or when the kernel has let go of the dial. */
static void give_up(struct outbound *out, struct hb_end why)
{
	switch (out->state) {
	case OUTBOUND_ASKING:
		demand_cancel(&out->demand);
		outbound_fail_early(out, why, NULL);
		break;
	case OUTBOUND_RESOLVING:
		outbound_look_up_cancel(out);
		outbound_fail_early(out, why, NULL);
		break;
	case OUTBOUND_CREDENTIAL:
		credential_cancel(&out->credential);
		fail(out, why);
		break;
	case OUTBOUND_TUNNEL:
		hb_loop_timer_stop(out->worker->loop, &out->try_time);
		hb_pool_cancel(&out->wait);
		fail(out, why);
		break;
	case OUTBOUND_DIALLING:
		out->why = why;
		hb_dial_cancel(&out->dial);
		break;
	case OUTBOUND_DONE:
		break;
	}
}

static void on_app_closed(struct hb_stream *app, struct hb_end why)
{
	struct outbound *out = app->owner;

	out->app = NULL;
	hb_stream_free(app);
	if (out->state == OUTBOUND_DONE)
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

/* ---- the far side ---- */

static void try_failed(struct outbound *out, struct hb_end why)
{
	if (!outbound_try_elsewhere(out, why))
		fail(out, why);
}

/* Somebody else was met there: who it was, and who was expected. */
static void stranger_or_fail(struct outbound *out, struct hb_end why, const char *shown)
{
	const struct route *route = &out->route;
	char words[640];

	if (why.code != HB_E_PEER_IDENTITY || !*shown || !route->identities_count) {
		try_failed(out, why);
		return;
	}
	if (outbound_try_elsewhere(out, why))
		return;
	snprintf(words, sizeof(words),
	         "tls error: peer certificate has none of the expected identities: it is %.250s, "
	         "expected %.250s%s",
	         shown, route->identities[0],
	         route->identities_count > 1 ? " or another of its service" : "");
	fail_with(out, why, words);
}

bool outbound_has_another_try(const struct outbound *out)
{
	return (out->route.others || out->route.other_addresses) &&
	       out->tried_count + 1 < OUTBOUND_TRIES;
}

/* Both legs stand. Takes @far. */
static void join(struct outbound *out, struct hb_stream *far)
{
	struct worker *worker = out->worker;

	if (out->route.key)
		balance_worked(&worker->balance, out->route.key, hb_loop_now_ms(worker->loop));
	if (out->route.address_key)
		balance_worked(&worker->balance, out->route.address_key,
		               hb_loop_now_ms(worker->loop));
	out->state = OUTBOUND_DONE;
	flow_join(hb_take(&out->flow), hb_take(&out->app), far);
	let_go(out);
}

/* Who it is that was reached: proven, and behind a gateway also by its own words, as there the
 * gateway has chosen (reference/datapath 1.14). */
static void learn(struct outbound *out, const struct hb_stream *tunnel, const char *peer)
{
	bool chosen = out->route.kind == ROUTE_DOUBLE;
	const char *texts[FLOW_TEXTS] = { [FLOW_DST_IDENTITY] = peer };
	struct hb_tunnel_said read = { .has_baggage = false };
	struct ends_said said;

	if (chosen)
		hb_tunnel_read(tunnel, &read);
	if (read.has_baggage)
		ends_said_dst(&read.baggage, &said, texts);
	if (chosen || strcmp(peer, flow_text(out->flow, FLOW_DST_IDENTITY)) != 0)
		(void)flow_set_texts(out->flow, texts); /* without memory the line lacks words */
	count_opened(out, read.has_baggage ? &read.baggage : NULL, peer);
}

static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                      struct hb_end why)
{
	struct outbound *out = hb_container_of(wait, struct outbound, wait);

	hb_loop_timer_stop(out->worker->loop, &out->try_time);
	if (!tunnel) {
		stranger_or_fail(out, why, peer);
		return;
	}
	learn(out, tunnel, peer);
	join(out, tunnel);
}

static void on_try_time(struct hb_timer *timer)
{
	struct outbound *out = hb_container_of(timer, struct outbound, try_time);

	if (out->state == OUTBOUND_RESOLVING) {
		outbound_look_up_late(out);
		return;
	}
	hb_pool_cancel(&out->wait);
	try_failed(out, hb_end(HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CONNECT_TIME));
}

static void open_tunnel(struct outbound *out, struct hb_tls_ctx *ctx)
{
	out->state = OUTBOUND_TUNNEL;
	if (outbound_has_another_try(out))
		hb_loop_timer_start(out->worker->loop, &out->try_time, OUTBOUND_TRY_MS);
	out->wait.on_tunnel = on_tunnel;
	hb_pool_get(out->worker->pool, &out->wait, &out->key, ctx, &out->request);
}

static void on_credential(struct credential_wait *wait, struct hb_tls_ctx *ctx, const char *why)
{
	struct outbound *out = hb_container_of(wait, struct outbound, credential);
	char words[CREDENTIAL_WORDS];

	if (ctx)
		open_tunnel(out, ctx);
	else
		fail_with(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_NO_CREDENTIAL),
		          why ? credential_words(why, words, sizeof(words)) : NULL);
}

/* The CONNECT, and who is to answer it. */
static void make_request(struct outbound *out, const struct pod *pod)
{
	const struct route *route = &out->route;
	const struct service *service = route->service;
	struct hb_addr src = flow_src(out->flow);

	route_authority(route, out->authority);
	hb_forwarded_format(&src, service ? service->hostname : NULL, out->forwarded);
	outbound_traceparent(out->worker, out->traceparent);
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
		out->state = OUTBOUND_CREDENTIAL;
		credential_wait(&worker->credentials, pod->credential, &out->credential,
		                (uint32_t)worker->options.settings->cert_wait_ms, on_credential);
	} else {
		fail(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM));
	}
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct outbound *out = hb_container_of(dial, struct outbound, dial);
	struct hb_stream *far;

	if (fd == -ECANCELED) {
		fail(out, out->why);
		return;
	}
	if (fd < 0) {
		try_failed(out, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd));
		return;
	}
	far = hb_tcp_new(out->worker->loop, fd, &out->worker->mesh_leg);
	if (!far) {
		fail(out, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM));
		return;
	}
	count_opened(out, NULL, NULL);
	join(out, far);
}

static void start_dial(struct outbound *out, struct pod *pod)
{
	const struct hb_addr *to = &out->route.next_hop;
	int fd = pod_socket(pod, hb_ip_is_v4(&to->ip) ? AF_INET : AF_INET6);

	if (fd < 0) {
		fail(out, hb_end(HB_LAYER_TCP, HB_SIDE_US, fd));
		return;
	}
	out->state = OUTBOUND_DIALLING;
	hb_dial_start(&out->dial, out->worker->loop, fd, to,
	              outbound_has_another_try(out) ? OUTBOUND_TRY_MS : DIAL_DEADLINE_MS,
	              on_dialled);
}

void outbound_start(struct outbound *out)
{
	struct pod *pod = flow_pod(out->flow);

	outbound_describe(out->flow, pod, &out->route);
	outbound_count_flow(out->worker, out->flow, &out->route);
	if (outbound_is_tunnel(&out->route))
		start_tunnel(out, pod);
	else
		start_dial(out, pod);
}

/* ---- begun, once or again ---- */

struct route_query outbound_query_of(const struct outbound *out)
{
	return (struct route_query){
		.random = out->random,
		.view = { .tried = out->tried, .tried_count = out->tried_count },
	};
}

int outbound_decide_again(struct outbound *out, struct route *route, char *words, size_t size)
{
	struct route_query query = outbound_query_of(out);

	return outbound_decide(flow_pod(out->flow), out->flow, &query, route, words, size);
}

static void begin(struct outbound *out)
{
	out->src = flow_pod(out->flow)->workload;
	if (out->route.lookup)
		outbound_look_up(out);
	else
		outbound_start(out);
}

void outbound_take(struct outbound *out, const struct route *route)
{
	snapshot_unref(out->snapshot);
	out->snapshot = snapshot_ref(out->worker->snapshot);
	out->route = *route;
}

void outbound_begin_with(struct outbound *out, const struct route *route)
{
	outbound_take(out, route);
	begin(out);
}

/* What of out->route has failed: one address of several, or all that it stands for. */
static void remember_failed(struct outbound *out, struct hb_end why)
{
	const struct route *route = &out->route;
	struct balance_memory *memory = &out->worker->balance;
	uint64_t now_ms = hb_loop_now_ms(out->worker->loop);

	/* A waypoint that has nowhere to go for this service may have for another one. */
	if (route->via && hb_error_number(why.code, HB_E_STATUS(0)) >= 0)
		return;
	if (route->address_key)
		balance_failed(memory, route->address_key, now_ms);
	if (!route->other_addresses)
		balance_failed(memory, route->key, now_ms);
}

bool outbound_try_elsewhere(struct outbound *out, struct hb_end why)
{
	char words[256], was[HB_ADDR_STRLEN], next[HB_ADDR_STRLEN];
	struct route route;

	if (!out->route.key || !outbound_may_try_elsewhere(why))
		return false;
	remember_failed(out, why);
	if (!outbound_has_another_try(out))
		return false;
	out->tried[out->tried_count++] =
	    out->route.other_addresses ? out->route.address_key : out->route.key;
	/* What has become of no service is not followed: it failed. */
	if (outbound_decide_again(out, &route, words, sizeof(words)) < 0 || !route.key)
		return false;
	log_debug("endpoint passed over", "dst=%s next=%s: %s",
	          hb_addr_format(&out->route.next_hop, was, sizeof(was)),
	          route.lookup ? route.lookup : hb_addr_format(&route.next_hop, next, sizeof(next)),
	          hb_strerror(why.code));
	metrics_count(out->worker->metrics, METRIC_FAILOVERS,
	              why.code == HB_E_NAME ? "name" : hb_layer_name(why.layer));
	outbound_begin_with(out, &route);
	return true;
}

/* Takes @fd, also on failure (NULL: no memory). */
static struct outbound *outbound_new(struct pod *pod, struct flow *flow, int fd,
                                     const struct route *route, uint64_t random)
{
	struct outbound *out = calloc(1, sizeof(*out));

	if (!out) {
		discard_fd(fd);
		return NULL;
	}
	out->app = hb_tcp_new(pod->worker->loop, fd, &pod->worker->captured_leg);
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
	out->random = random;
	hb_timer_init(&out->try_time, on_try_time);
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
	struct route route = { .kind = ROUTE_REFUSE };
	struct route_query query = { .random = worker_random(pod->worker) };
	struct hb_addr src = { .port = 0 }, orig_dst = { .port = 0 };
	char words[256] = "", missing[ROUTE_MISSING_SIZE];
	bool lacks;
	int err;

	if (!flow) {
		discard_fd(fd);
		return;
	}
	err = hb_addr_of_peer(fd, &src);
	if (dst)
		orig_dst = *dst;
	else if (err == 0)
		err = pod_orig_dst(pod, fd, &orig_dst);
	if (flow_set_path(flow, &src, &orig_dst, &orig_dst) < 0)
		err = -ENOMEM;
	if (err == 0)
		err = outbound_decide(pod, flow, &query, &route, words, sizeof(words));
	lacks = outbound_lacks(pod->worker, &route, &query, missing);
	if (lacks)
		err = 0;
	if (err < 0)
		discard_fd(fd);
	else if (!(out = outbound_new(pod, flow, fd, &route, query.random)))
		err = -ENOMEM;
	if (err < 0) {
		flow->early = true;
		flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err), *words ? words : NULL);
		return;
	}
	if (lacks)
		outbound_await(out, missing);
	else
		begin(out);
}
