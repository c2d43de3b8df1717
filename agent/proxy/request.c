/*
 * request: from a CONNECT to a relay.
 *
 *   told --what it needs is not known--> ASKING, at most for DEMAND_WAIT_MS; then as below
 *
 *   told --no--> OVER (answered; the stream ends by itself)
 *     '--yes--> WAITING --its turn--> DIALLING --app took it--> OVER: joined (flow, relay)
 *                  |                     | app refused: 503
 *                  '---------------------+--peer or pod left--> OVER, with the turn or the dial
 *
 * A dial costs more than all else that a request does, so they have turns, by the peer's address:
 * a thousand requests at once wait behind themselves.
 */
#include "proxy/request.h"

#include <stdio.h>
#include <string.h>

#include <hbone/proxyproto.h>
#include <hbone/tunnel.h>

#include "config/settings.h"
#include "proxy/appdial.h"
#include "proxy/discard.h"
#include "proxy/ends.h"
#include "proxy/target.h"
#include "proxy/verdict.h"
#include "proxy/worker.h"

#define SOURCE_WAIT_MS 1000u /* for what is told of the source only */
#define WORD_MAX       200   /* of a peer's, in the log */

enum request_state { REQUEST_ASKING, REQUEST_WAITING, REQUEST_DIALLING, REQUEST_OVER };

struct request {
	struct flow_opening opening;
	struct hb_pace_item turn; /* WAITING */
	struct hb_addr app;       /* where it will be dialled */
	struct hb_dial dial;
	struct worker *worker;
	struct pod *pod;          /* valid while flow is */
	struct flow *flow;        /* NULL: ended, or carried by its relay now */
	struct hb_stream *tunnel; /* NULL: closed, or given on */
	struct inbound *in;       /* valid while tunnel is, up to the dial */
	enum request_state state;
	bool for_source; /* ASKING: what it says of the source; it may go without */
	uint64_t asking_until_ms;
	struct demand_wait demand;
	char asked[ROUTE_MISSING_SIZE];
	bool keep_src;            /* the app sees the client's address */
	bool proxy;               /* it gets a PROXY header first, */
	struct hb_addr proxy_dst; /* with this destination */
	const char *identity;     /* and the peer's; lives with the tunnel */
	struct hb_end why;        /* why it is given up */
};

static void let_go(struct request *request)
{
	if (request->state != REQUEST_OVER || request->tunnel)
		return;
	request->worker->setups--;
	worker_settle(request->worker);
	free(request);
}

static void refuse(struct request *request, int status, struct hb_end why, const char *words)
{
	char label[8];

	snprintf(label, sizeof(label), "%d", status);
	metrics_count(request->worker->metrics, METRIC_REQUESTS_REFUSED, label);
	if (request->tunnel)
		hb_tunnel_refuse(request->tunnel, status);
	flow_end(hb_take(&request->flow), why, words && *words ? words : NULL);
}

/* The end comes with its turn, or with the dial's; while it asks, now. */
static void give_up(struct request *request, struct hb_end why)
{
	if (request->state != REQUEST_ASKING) {
		request->why = why;
		if (request->state == REQUEST_DIALLING)
			hb_dial_cancel(&request->dial);
		return;
	}
	demand_cancel(&request->demand);
	request->state = REQUEST_OVER;
	request->flow->early = true;
	refuse(request, 503, why, NULL);
	let_go(request);
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
	if (request->state != REQUEST_OVER)
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

/* The first bytes that the app reads say who speaks (reference/datapath 1.16). 0 or -ENOMEM. */
static int introduce(const struct request *request, struct hb_stream *app)
{
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(request->worker->loop));
	struct hb_addr src = flow_src(request->flow);
	int len;

	if (!buf)
		return -ENOMEM;
	len = hb_proxy_encode(&src, &request->proxy_dst, request->identity, buf->data,
	                      HB_BUF_PAYLOAD);
	if (len < 0) {
		hb_buf_free(buf);
		return len;
	}
	buf->len = (uint32_t)len;
	hb_stream_write(app, buf);
	return 0;
}

static struct hb_stream *make_app(const struct request *request, int fd, int *ret_err)
{
	struct worker *worker = request->worker;
	struct hb_stream *app = hb_tcp_new(worker->loop, fd, &worker->app_leg);

	*ret_err = app ? 0 : -ENOMEM;
	if (app && request->proxy)
		*ret_err = introduce(request, app);
	if (app && *ret_err < 0)
		discard_stream(hb_take(&app), hb_end(HB_LAYER_AGENT, HB_SIDE_US, *ret_err));
	return app;
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct request *request = hb_container_of(dial, struct request, dial);
	struct pod *pod = request->pod;
	struct hb_stream *app = NULL;

	request->state = REQUEST_OVER;
	if (fd >= 0)
		app = make_app(request, fd, &fd);
	if (app) {
		struct hb_stream *tunnel = hb_take(&request->tunnel);
		bool speaks = request->worker->options.settings->response_baggage;

		hb_tunnel_accept(tunnel, speaks ? pod->baggage : NULL);
		flow_join(hb_take(&request->flow), tunnel, app);
	} else if (fd == -ECANCELED) {
		refuse(request, 503, request->why, NULL);
	} else {
		refuse(request, 503, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, fd), NULL);
	}
	let_go(request);
}

static bool is_foreign(const struct inbound *in, const struct hb_tunnel_said *read)
{
	const struct settings *settings = in->pod->worker->options.settings;

	return read->has_network && settings->response_baggage &&
	       hb_network_differs(read->network.text, read->network.len, settings->network);
}

/*
 * Who it says it is counts only where we do not know better: an address of another network means
 * nothing here (reference/datapath 1.8, 6.2). Its identity is never taken from there.
 */
static void describe_src(const struct inbound *in, const struct hb_tunnel_said *read,
                         struct ends_said *said, const char *texts[FLOW_TEXTS],
                         struct flow_parties *parties)
{
	const struct worker *worker = in->pod->worker;
	const struct settings *settings = worker->options.settings;
	const struct workload *src =
	    is_foreign(in, read)
		? NULL
		: snapshot_workload_at(worker->snapshot, settings->network, &in->src.ip);

	parties->src = src;
	if (!src && read->has_baggage && settings->response_baggage) {
		ends_said_src(&read->baggage, said, texts);
		parties->src_said = &read->baggage;
	}
	ends_describe(src, in->pod->workload, texts);
}

/* The service it was meant for: as the peer says, if the pod is one of it, else the first by port.
 */
static const struct service *service_meant(const struct pod *pod, const struct hb_span *host,
                                           uint16_t port)
{
	const struct snapshot *snapshot = pod->worker->snapshot;
	const struct service *service = NULL;
	char name[HB_HOST_MAX + 1];

	if (host->len > 0 && host->len <= HB_HOST_MAX) {
		memcpy(name, host->text, host->len);
		name[host->len] = 0;
		service = snapshot_service_by_host(snapshot, name, pod->workload->ns);
	}
	if (service && service_endpoint_of(service, pod->workload))
		return service;
	return snapshot_service_of(snapshot, pod->workload, port);
}

static void judge(const struct inbound *in, const struct hb_stream *tunnel, struct flow *flow,
                  struct target *target)
{
	struct pod *pod = in->pod;
	struct policy_query query = {
		.src = in->src,
		.identity = in->identity,
		.dst = target->app,
	};
	const char *texts[FLOW_TEXTS] = { NULL };
	struct flow_parties parties = {
		.mtls = true,
		.dst = pod->workload,
		.src_principal = in->identity,
	};
	const struct service *service;
	struct hb_tunnel_said read;
	struct verdict_words words;
	struct ends_said said;
	int err = verdict_first(pod, &query, &words);

	hb_tunnel_read(tunnel, &read);
	describe_src(in, &read, &said, texts, &parties);
	service = target->service;
	if (!service)
		service = service_meant(pod, &read.service, target->app.port);
	parties.service = service;
	texts[FLOW_SRC_IDENTITY] = in->identity;
	texts[FLOW_DST_IDENTITY] = pod->workload->identity;
	texts[FLOW_DST_SERVICE] = service ? service->hostname : NULL;
	texts[FLOW_POLICY] = words.by;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
	flow_opened(flow, &parties);
	flow->judged = err == 0;
	if (err == 0)
		return;
	target->status = 401;
	target->code = err;
	snprintf(target->words, sizeof(target->words), "%s", words.error);
}

/* What was asked for that is not a CONNECT to somewhere, in ztunnel's words. */
static void say_unread(const struct hb_stream *tunnel, char *words, size_t size)
{
	const struct hb_header *method = hb_h2_header(tunnel, ":method");
	const struct hb_header *authority = hb_h2_header(tunnel, ":authority");

	if (method && (method->value_len != 7 || memcmp(method->value, "CONNECT", 7) != 0))
		snprintf(words, size, "expected method CONNECT, got %.*s",
		         (int)hb_min_size(method->value_len, WORD_MAX), method->value);
	else
		snprintf(words, size, "no valid authority pseudo header: %.*s",
		         authority ? (int)hb_min_size(authority->value_len, WORD_MAX) : 0,
		         authority ? authority->value : "");
}

static void find_target(const struct inbound *in, const struct hb_tunnel_authority *authority,
                        struct target *target)
{
	const struct settings *settings = in->pod->worker->options.settings;
	struct target_query query = {
		.snapshot = in->pod->worker->snapshot,
		.workload = in->pod->workload,
		.network = settings->network,
		.local = in->local.ip,
		.localhost_tunnels = settings->localhost_app_tunnel,
		.socks5 = in->pod->spec->net->socks5,
	};

	target_find(&query, authority, target);
}

/* Reads and weighs what is asked for. */
static void consider(struct inbound *in, struct hb_stream *tunnel, struct flow *flow,
                     struct target *target)
{
	const struct hb_header *said = hb_h2_header(tunnel, ":authority");
	const char *texts[FLOW_TEXTS] = { NULL };
	struct hb_tunnel_authority authority;
	char text[300];

	flow->early = true;
	target->code = HB_E_BAD_REQUEST;
	target->status = hb_tunnel_request_parse(tunnel, &authority);
	if (target->status) {
		say_unread(tunnel, target->words, sizeof(target->words));
		return;
	}
	if (!in->pod->workload) { /* it left the mesh while the connection stood */
		target->status = 503;
		target->code = HB_E_UNKNOWN_WORKLOAD;
		pod_unknown_text(in->pod, target->words, sizeof(target->words));
		return;
	}
	find_target(in, &authority, target);
	if (flow_set_path(flow, NULL, NULL, &target->app) < 0 && !target->status) {
		target->status = 503;
		target->code = -ENOMEM;
	}
	if (target->status)
		return;
	if (said) {
		snprintf(text, sizeof(text), "%.*s", (int)hb_min_size(said->value_len, 255),
		         said->value);
		texts[FLOW_AUTHORITY] = text;
		(void)flow_set_texts(flow, texts); /* as above */
	}
	flow->early = false;
	judge(in, tunnel, flow, target);
}

static void dial_app(struct request *request)
{
	struct hb_addr src = flow_src(request->flow);
	struct appdial_target target = {
		.pod = request->pod->spec,
		.app = &request->app,
		.client = request->keep_src ? &src : NULL,
		.turn = request->worker->turn++,
	};
	int err = appdial_start(&request->dial, request->worker->loop, &target, on_dialled);

	if (err < 0)
		refuse(request, 503, hb_end(HB_LAYER_TCP, HB_SIDE_US, err), NULL);
	else
		request->state = REQUEST_DIALLING;
}

static void on_turn(struct hb_pace_item *item)
{
	struct request *request = hb_container_of(item, struct request, turn);

	request->state = REQUEST_OVER;
	if (request->why.code)
		refuse(request, 503, request->why, NULL);
	else
		dial_app(request);
	let_go(request);
}

static void go_on(struct request *request)
{
	struct inbound *in = request->in;
	struct target target = { 0 };

	consider(in, request->tunnel, request->flow, &target);
	if (target.status) {
		refuse(request, target.status, hb_end(HB_LAYER_AGENT, HB_SIDE_US, target.code),
		       target.words);
		return;
	}
	request->proxy = target.proxy;
	request->proxy_dst = target.proxy_dst;
	request->identity = in->identity;
	request->app = target.dial;
	request->keep_src = target.keep_src;
	request->state = REQUEST_WAITING;
	hb_pace_item_init(&request->turn, on_turn);
	hb_pace_ask(&request->worker->dials, &request->turn, in->newcomer.group);
}

/* ---- what is not known yet ---- */

/* For telemetry alone: who it is, TLS has proven. */
static bool lacks_source(const struct request *request, char missing[ROUTE_MISSING_SIZE])
{
	const struct inbound *in = request->in;
	const char *network = request->worker->options.settings->network;
	struct hb_tunnel_said read;
	char ip[HB_IP_STRLEN];

	hb_tunnel_read(request->tunnel, &read);
	if (is_foreign(in, &read) ||
	    snapshot_workload_at(request->worker->snapshot, network, &in->src.ip))
		return false;
	snprintf(missing, ROUTE_MISSING_SIZE, "%s/%s", network,
	         hb_ip_format(&in->src.ip, ip, sizeof(ip)));
	return !demand_is_nothing(&request->worker->demand, missing);
}

static bool lacks_target(const struct request *request, char missing[ROUTE_MISSING_SIZE])
{
	struct hb_tunnel_authority authority;
	struct target target = { 0 };

	if (hb_tunnel_request_parse(request->tunnel, &authority) || !request->pod->workload)
		return false;
	find_target(request->in, &authority, &target);
	memcpy(missing, target.missing, ROUTE_MISSING_SIZE);
	return *missing && !demand_is_nothing(&request->worker->demand, missing);
}

static void ask_or_go_on(struct request *request);

static void on_answer(struct demand_wait *wait, int err)
{
	struct request *request = hb_container_of(wait, struct request, demand);
	char missing[ROUTE_MISSING_SIZE], words[DEMAND_WORDS];
	bool lacks;

	request->state = REQUEST_OVER;
	if (err < 0 && !request->for_source) {
		request->flow->early = true;
		refuse(request, 503, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_NO_ROUTE),
		       demand_words(request->asked, err, words));
		return;
	}
	lacks =
	    request->for_source ? lacks_source(request, missing) : lacks_target(request, missing);
	if (lacks && strcmp(missing, request->asked) == 0)
		demand_set_nothing(&request->worker->demand, missing);
	ask_or_go_on(request);
}

static void ask_or_go_on(struct request *request)
{
	uint64_t now_ms = hb_loop_now_ms(request->worker->loop);
	uint32_t left_ms = SOURCE_WAIT_MS;
	bool asks = false;

	if (demand_is_on(&request->worker->demand) && now_ms < request->asking_until_ms) {
		request->for_source = lacks_source(request, request->asked);
		asks = request->for_source || lacks_target(request, request->asked);
	}
	if (!asks) {
		go_on(request);
		return;
	}
	request->state = REQUEST_ASKING;
	if (!request->for_source)
		left_ms = (uint32_t)(request->asking_until_ms - now_ms);
	demand_wait(&request->worker->demand, &request->demand, request->asked, left_ms, on_answer);
}

void request_start(struct hb_h2 *h2, struct hb_stream *tunnel)
{
	struct inbound *in = hb_h2_owner(h2);
	struct request *request = calloc(1, sizeof(*request));
	struct flow *flow = pod_flow_new(in->pod, FLOW_INBOUND);

	if (!request || !flow || flow_set_path(flow, &in->src, &in->local, NULL) < 0) {
		free(request);
		if (flow)
			flow_end(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM), NULL);
		discard_stream(tunnel, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
		return;
	}
	request->opening.abort = on_abort;
	flow->opening = &request->opening;
	request->worker = in->pod->worker;
	request->pod = in->pod;
	request->flow = flow;
	request->tunnel = tunnel;
	request->state = REQUEST_OVER; /* but for more to come */
	request->worker->setups++;
	tunnel->owner = request;
	tunnel->events = &tunnel_events;

	request->in = in;
	request->asking_until_ms = hb_loop_now_ms(request->worker->loop) + DEMAND_WAIT_MS;
	ask_or_go_on(request);
}
