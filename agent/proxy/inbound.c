/*
 * inbound: one connection of a peer on 15008, from accept to the end of HTTP/2. What it asks for
 * is served in request.c.
 *
 *   CREDENTIAL --have one--> HANDSHAKE --peer proven--> SERVING --> closed, freed
 *       | too long               | refused, too slow       | peer left, drain, pod left, flood
 *       '-----------------------'--------------------------'
 *
 * A peer has TLS's 10 s for its handshake, then HTTP/2's 5 s for its SETTINGS, and is drained when
 * it has asked for nothing within FIRST_STREAM_MS of its handshake: those we serve connect to ask.
 */
#include "proxy/inbound.h"

#include <stdio.h>
#include <string.h>

#define LOG_SCOPE "proxy"
#include "config/settings.h"
#include "log.h"
#include "proxy/discard.h"
#include "proxy/pod.h"
#include "proxy/request.h"
#include "proxy/worker.h"

#define SERVER_STREAMS_MAX 1000u
#define FIRST_STREAM_MS    8000u
/* Nobody of the address of a flood is shaken hands with for so long: it comes again at once. */
#define FLOOD_FINE_MS 250u

static void inbound_free(struct inbound *in)
{
	hb_list_remove(&in->node);
	newcomers_remove(&in->newcomer);
	in->pod->inbounds_count--;
	reclaim_note(&in->pod->worker->reclaim, RECLAIM_PER_CONNECTION);
	worker_settle(in->pod->worker);
	free(in);
}

/* Before HTTP/2 a failure is all there is to tell of a connection: ztunnel's "connection failed".
 */
static void log_failed(struct inbound *in, struct hb_end why, const char *words)
{
	struct flow *flow = pod_flow_new(in->pod, FLOW_INBOUND);

	if (!flow)
		return;
	/* Without memory the line lacks them. */
	(void)flow_set_path(flow, &in->src, &in->local, &in->local);
	flow->early = true;
	flow_end(flow, why, words);
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct inbound *in = hb_h2_owner(h2);
	const struct hb_h2_counters *counters = hb_h2_counters(h2);

	if (counters->flood >= 0) {
		metrics_count(in->pod->worker->metrics, METRIC_H2_ATTACKS,
		              hb_h2_kind_name((enum hb_h2_kind)counters->flood));
		log_warn("peer floods its connection, closed",
		         "pod=%s peer=%s of=\"%s\" frames=%llu", in->pod->spec->key, in->identity,
		         hb_h2_kind_name((enum hb_h2_kind)counters->flood),
		         (unsigned long long)counters->frames);
		hb_pace_fine(&in->pod->worker->handshakes, in->newcomer.group, FLOOD_FINE_MS);
	} else {
		log_debug("connection of a peer closed", "pod=%s peer=%s: %s", in->pod->spec->key,
		          in->identity, hb_strerror(why.code));
	}
	hb_h2_free(h2);
	inbound_free(in);
}

static void on_change(struct hb_h2 *h2)
{
}

static const struct hb_h2_events h2_events = {
	.on_request = request_start,
	.on_change = on_change,
	.on_closed = on_h2_closed,
};

static void on_tls_open(struct hb_stream *tls)
{
	struct inbound *in = tls->owner;
	const struct settings *settings = in->pod->worker->options.settings;
	struct hb_h2_options options = {
		.role = HB_H2_SERVER,
		.stream_window = settings->stream_window,
		.connection_window = settings->connection_window,
		.streams_max = SERVER_STREAMS_MAX,
		.first_stream_ms = FIRST_STREAM_MS,
	};

	newcomers_remove(&in->newcomer);
	metrics_count(in->pod->worker->metrics, METRIC_TLS_HANDSHAKES, "ok");
	in->stream = NULL;
	in->identity = hb_tls_peer_identity(tls); /* lives with the stream below HTTP/2 */
	in->h2 = hb_h2_new(in->pod->worker->loop, tls, &options, &h2_events, in);
	if (!in->h2) {
		log_failed(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM), NULL);
		inbound_free(in);
	}
}

static void on_tls_data(struct hb_stream *tls, struct hb_buf *chain)
{
	hb_buf_free_all(chain); /* cannot come: HTTP/2 has the events from on_open on */
}

static void on_tls_nothing(struct hb_stream *tls)
{
}

/* A label of culvert_tls_handshakes_total. */
static const char *result_of(int code)
{
	switch (code) {
	case HB_E_HANDSHAKE_TIME:
		return "timeout";
	case HB_E_TRUNCATED:
	case -ECONNRESET:
		return "peer_left";
	case HB_E_NO_CERT:
	case HB_E_PEER_IDENTITY:
	case HB_E_TRUST_DOMAIN:
		return "peer_rejected";
	case HB_E_LIMIT:
		return "shed";
	default:
		return hb_error_number(code, HB_E_CERT(0)) >= 0 ? "peer_rejected" : "failed";
	}
}

static void on_tls_closed(struct hb_stream *tls, struct hb_end why)
{
	struct inbound *in = tls->owner;
	char words[320] = "";

	if (why.code == 0)
		why = hb_end(HB_LAYER_TLS, HB_SIDE_PEER, HB_E_TRUNCATED);
	metrics_count(in->pod->worker->metrics, METRIC_TLS_HANDSHAKES, result_of(why.code));
	if (why.code == HB_TLS_REVOKED)
		metrics_count(in->pod->worker->metrics, METRIC_CRL_REJECTED, "destination");
	if (why.code == HB_E_TRUST_DOMAIN)
		snprintf(words, sizeof(words),
		         "tls handshake error: peer certificate is of another trust domain: %s",
		         hb_tls_peer_shown(tls));
	log_failed(in, why, *words ? words : NULL);
	hb_stream_free(tls);
	inbound_free(in);
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_data = on_tls_data,
	.on_finish = on_tls_nothing,
	.on_full = on_tls_nothing,
	.on_drained = on_tls_nothing,
	.on_closed = on_tls_closed,
};

/* 0 or -ENOMEM; the descriptor is given on in both cases. */
static int handshake(struct inbound *in, struct hb_tls_ctx *ctx)
{
	struct worker *worker = in->pod->worker;
	struct hb_tls_options options = {
		.role = HB_TLS_SERVER,
		.ctx = ctx,
		.crls = worker->recheck.crls,
		.handshake_ms = (uint32_t)worker->options.settings->handshake_ms,
		.pace = &worker->handshakes,
		.pace_group = in->newcomer.group,
	};
	struct hb_stream *tcp = hb_tcp_new(worker->loop, in->fd, &worker->peer_leg);

	in->fd = -1;
	if (!tcp)
		return -ENOMEM;
	in->stream = hb_tls_new(worker->loop, tcp, &options);
	if (!in->stream)
		return -ENOMEM;
	in->stream->owner = in;
	in->stream->events = &tls_events;
	return 0;
}

static void fail(struct inbound *in, struct hb_end why, const char *words)
{
	if (in->fd >= 0)
		discard_fd(in->fd);
	log_failed(in, why, words);
	inbound_free(in);
}

static void on_credential(struct credential_wait *wait, struct hb_tls_ctx *ctx, const char *why)
{
	struct inbound *in = hb_container_of(wait, struct inbound, credential);
	char words[CREDENTIAL_WORDS];

	if (!ctx)
		fail(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_NO_CREDENTIAL),
		     why ? credential_words(why, words, sizeof(words)) : NULL);
	else if (handshake(in, ctx) < 0)
		fail(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, -ENOMEM), NULL);
}

/* 0, or why nobody is served here. */
static int start(struct inbound *in)
{
	struct pod *pod = in->pod;
	int err = hb_addr_of_peer(in->fd, &in->src);

	if (err == 0)
		err = hb_addr_of_local(in->fd, &in->local);
	if (err < 0)
		return err;
	if (hb_ip_is_loopback(&in->local.ip))
		return HB_E_RECURSIVE; /* dialled to our listener, not brought here by capture */
	if (!pod->workload)
		return HB_E_UNKNOWN_WORKLOAD;
	if (!pod->credential)
		return -ENOMEM;
	if (newcomers_add(&pod->worker->newcomers, &in->newcomer, &in->src.ip))
		metrics_count(pod->worker->metrics, METRIC_CONNECTIONS_REFUSED, "crowd");
	if (pod->credential->ctx)
		return handshake(in, pod->credential->ctx);
	credential_wait(&pod->worker->credentials, pod->credential, &in->credential,
	                (uint32_t)pod->worker->options.settings->cert_wait_ms, on_credential);
	return 0;
}

static void close_one(struct inbound *in, struct hb_end why)
{
	if (in->h2) {
		hb_h2_close(in->h2, why);
	} else if (in->stream) {
		hb_stream_close(in->stream, why);
	} else {
		credential_cancel(&in->credential);
		fail(in, why, NULL);
	}
}

/* More handshakes at once than one address, or all together, may have. */
static void on_shed(struct newcomer *newcomer)
{
	close_one(hb_container_of(newcomer, struct inbound, newcomer),
	          hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
}

void inbound_accept(struct pod *pod, int fd)
{
	struct inbound *in;
	int err;

	if (pod->inbounds_count >= POD_INBOUNDS_MAX || !(in = calloc(1, sizeof(*in)))) {
		log_debug("too many connections of peers, refusing", "pod=%s", pod->spec->key);
		metrics_count(pod->worker->metrics, METRIC_CONNECTIONS_REFUSED, "peers");
		discard_fd(fd);
		return;
	}
	in->pod = pod;
	in->fd = fd;
	in->identity = "";
	in->newcomer.on_shed = on_shed;
	pod->inbounds_count++;
	reclaim_note(&pod->worker->reclaim, RECLAIM_PER_CONNECTION);
	hb_list_add(&pod->inbounds, &in->node);
	err = start(in);
	if (err < 0)
		fail(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, err), NULL);
}

void inbound_drain_all(struct pod *pod)
{
	hb_list_for_each_safe (node, &pod->inbounds) {
		struct inbound *in = hb_container_of(node, struct inbound, node);

		if (in->h2)
			hb_h2_drain(in->h2);
		else
			close_one(in, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	}
}

void inbound_close_all(struct pod *pod, struct hb_end why)
{
	hb_list_for_each_safe (node, &pod->inbounds)
		close_one(hb_container_of(node, struct inbound, node), why);
}

/* True: it is revoked. */
static bool recheck_one(struct inbound *in, int64_t now_s)
{
	struct hb_stream *tls = in->h2 ? hb_h2_lower(in->h2) : in->stream;
	int code = tls ? hb_tls_recheck(tls, in->pod->worker->recheck.crls, now_s) : 0;

	if (code == HB_TLS_EXPIRED && in->h2 && !hb_h2_is_draining(in->h2)) {
		log_info("certificate of a peer has ended, draining its connection",
		         "pod=%s peer=%s", in->pod->spec->key, in->identity);
		hb_h2_drain(in->h2);
	}
	if (code == HB_TLS_REVOKED)
		close_one(in, hb_end(HB_LAYER_TLS, HB_SIDE_US, code));
	return code == HB_TLS_REVOKED;
}

size_t inbound_recheck_all(struct pod *pod, int64_t now_s)
{
	size_t revoked = 0;

	hb_list_for_each_safe (node, &pod->inbounds)
		revoked += recheck_one(hb_container_of(node, struct inbound, node), now_s);
	return revoked;
}
