/*
 * pool_rig: the server, the callers, and putting them up and down.
 */
#include "support/pool_rig.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/any_loop.h"

struct pool_rig rig;

/* ---- the server ---- */

static void serve_tls(struct hb_stream *lower, bool is_inner);

static void note(struct hb_stream *stream)
{
	const struct hb_header *authority = hb_h2_header(stream, ":authority");
	struct hb_tunnel_said said;

	hb_tunnel_read(stream, &said);
	snprintf(rig.authority, sizeof(rig.authority), "%.*s", (int)authority->value_len,
	         authority->value);
	snprintf(rig.network, sizeof(rig.network), "%.*s",
	         said.has_network ? (int)said.network.len : 1,
	         said.has_network ? said.network.text : "-");
}

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct rig_session *session = hb_h2_owner(h2);
	enum rig_manner manner = session->is_inner ? rig.inner_manner : rig.manner;
	struct probe *probe;

	note(stream);
	session->served++;
	if (rig.is_gateway && !session->is_inner && manner == ANSWERS) {
		hb_tunnel_accept(stream, NULL);
		serve_tls(stream, true);
		return;
	}
	probe = &rig.served[rig.served_count++];
	ck_assert_uint_lt(rig.served_count, GETS_MAX);
	probe_init(probe, stream);
	if (manner == ANSWERS) {
		hb_tunnel_accept(stream, "k8s.deployment.name=far");
		hb_stream_resume(stream);
	} else if (manner == REFUSES) {
		hb_tunnel_refuse(stream, 401);
	} else if (manner == RESETS) {
		hb_stream_close(stream, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
	}
}

static void on_session_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct rig_session *session = hb_h2_owner(h2);

	hb_h2_free(h2);
	hb_list_remove(&session->node);
	rig.sessions_count--;
	free(session);
}

static const struct hb_h2_events session_events = {
	.on_request = on_request,
	.on_closed = on_session_closed,
};

void rig_begin(struct hb_stream *tls, bool is_inner)
{
	struct hb_h2_options h2 = { .role = HB_H2_SERVER, .streams_max = rig.grant };
	enum rig_manner manner = is_inner ? rig.inner_manner : rig.manner;
	struct rig_session *session;

	if (manner == LEAVES) {
		hb_stream_close(tls, HB_END_CLEAN);
		return;
	}
	if (manner == NEVER_BEGINS) {
		rig.mute = tls;
		return;
	}
	session = calloc(1, sizeof(*session));
	session->is_inner = is_inner;
	hb_list_add(&rig.sessions, &session->node);
	rig.sessions_count++;
	session->h2 = hb_h2_new(rig.loop, tls, &h2, &session_events, session);
	ck_assert_ptr_nonnull(session->h2);
}

static void on_tls_open(struct hb_stream *tls)
{
	rig_begin(tls, false);
}

static void on_inner_open(struct hb_stream *tls)
{
	rig_begin(tls, true);
}

static void on_tls_closed(struct hb_stream *tls, struct hb_end why)
{
	hb_stream_free(tls); /* a handshake that failed: the client is asked about it */
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_closed = on_tls_closed,
};

static const struct hb_stream_events inner_events = {
	.on_open = on_inner_open,
	.on_closed = on_tls_closed,
};

static void serve_tls(struct hb_stream *lower, bool is_inner)
{
	struct hb_tls_options tls = {
		.role = HB_TLS_SERVER,
		.ctx = rig.is_gateway && !is_inner ? rig.gateway_ctx : rig.server_ctx,
	};
	struct hb_stream *stream = hb_tls_new(rig.loop, lower, &tls);

	ck_assert_ptr_nonnull(stream);
	stream->events = is_inner ? &inner_events : &tls_events;
	rig.inner_accepted += is_inner;
}

static void on_accept(struct hb_accept *accept, int fd)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 100 };

	if (fd == -ECANCELED) {
		rig.accept_over++;
		return;
	}
	ck_assert_int_ge(fd, 0);
	rig.accepted++;
	serve_tls(hb_tcp_new(rig.loop, fd, &tcp), false);
}

/* ---- the client ---- */

static int make_socket(void *owner, uint64_t scope, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                      struct hb_end why)
{
	struct rig_get *get = hb_container_of(wait, struct rig_get, wait);
	struct hb_tunnel_said said;

	ck_assert_uint_eq(get->done, 0);
	get->done = 1;
	get->why = why;
	rig.gets_done++;
	strncpy(get->peer, peer, sizeof(get->peer) - 1);
	if (!tunnel)
		return;
	hb_tunnel_read(tunnel, &said);
	get->has_baggage = said.has_baggage;
	snprintf(get->workload, sizeof(get->workload), "%.*s", (int)said.baggage.workload.len,
	         said.has_baggage ? said.baggage.workload.text : "");
	probe_init(&get->probe, tunnel);
}

static struct rig_get *ask(unsigned i, const struct hb_pool_key *key,
                           const struct hb_tunnel_request *request)
{
	struct rig_get *get = &rig.gets[i];

	memset(get, 0, sizeof(*get));
	get->wait.on_tunnel = on_tunnel;
	hb_pool_get(rig.pool, &get->wait, key, rig.client_ctx, request);
	ck_assert_uint_eq(get->done, 0); /* never inside */
	return get;
}

struct rig_get *rig_ask_as(unsigned i, const char *expected, uint64_t scope)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };
	struct hb_pool_key key = {
		.scope = scope,
		.identity = CLIENT_ID,
		.peers = &expected,
		.peers_count = 1,
		.dst = rig.server_addr,
	};

	return ask(i, &key, &request);
}

struct rig_get *rig_ask(unsigned i)
{
	return rig_ask_as(i, SERVER_ID, 1);
}

struct rig_get *rig_ask_through(unsigned i, const char *gateway, const char *expected,
                                const char *authority)
{
	struct hb_tunnel_request request = {
		.authority = authority,
		.forwarded = "for=\"10.0.0.9:1\"",
		.network = "ours",
	};
	struct hb_pool_inner inner = {
		.authority = authority,
		.peers = &expected,
		.peers_count = 1,
	};
	struct hb_pool_key key = {
		.scope = 1,
		.identity = CLIENT_ID,
		.peers = &gateway,
		.peers_count = 1,
		.dst = rig.server_addr,
		.inner = &inner,
	};

	return ask(i, &key, &request);
}

void rig_end_get(unsigned i)
{
	struct rig_get *get = &rig.gets[i];

	if (get->probe.stream)
		hb_stream_close(get->probe.stream, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
	turn_until(rig.loop, &get->probe.closes, get->probe.stream ? 1 : 0, 100);
}

struct rig_session *rig_session(bool is_inner)
{
	hb_list_for_each (node, &rig.sessions) {
		struct rig_session *session = hb_container_of(node, struct rig_session, node);

		if (session->is_inner == is_inner)
			return session;
	}
	return NULL;
}

/* ---- up and down ---- */

static struct hb_tls_ctx *make_ctx(const char *san, int lasts_s, struct testca_pem *ret_pem)
{
	struct testca_leaf leaf = { .san = san, .not_before_s = -60, .not_after_s = lasts_s };
	struct testca_pem pem = testca_leaf(rig.ca, &leaf);
	struct hb_tls_material material = {
		.chain = pem.chain,
		.key = pem.key,
		.roots = testca_pem(rig.ca),
	};
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";

	ck_assert_msg(hb_tls_ctx_new(&material, &ctx, &why) == 0, "%s", why);
	*ret_pem = pem;
	return ctx;
}

static void on_empty(void *owner)
{
	rig.pool_empty++;
}

void pool_rig_up(void)
{
	pool_rig_up_lasting(3600, 3600);
}

void pool_rig_up_lasting(int server_s, int gateway_s)
{
	struct testca_pem client_pem;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	memset(&rig, 0, sizeof(rig));
	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(hb_addr_of_local(fd, &rig.server_addr), 0);
	rig.ca = testca_new("pool");
	rig.client_ctx = make_ctx("URI:" CLIENT_ID, 3600, &client_pem);
	rig.server_ctx = make_ctx("URI:" SERVER_ID, server_s, &rig.server_pem);
	rig.gateway_ctx = make_ctx("URI:" GATEWAY_ID, gateway_s, &rig.gateway_pem);
	testca_pem_done(&client_pem);
	hb_list_init(&rig.sessions);
	rig.loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(rig.loop);
	hb_loop_accept(rig.loop, &rig.acceptor, fd, on_accept);
	rig.options = (struct hb_pool_options){ .make_socket = make_socket };
}

void pool_rig_start(void)
{
	rig.pool = hb_pool_new(rig.loop, &rig.options);
	ck_assert_ptr_nonnull(rig.pool);
}

static void end_sessions(void)
{
	for (int i = 0; i < 200 && rig.sessions_count; i++) {
		hb_list_for_each (node, &rig.sessions)
			hb_h2_close(hb_container_of(node, struct rig_session, node)->h2,
			            HB_END_CLEAN);
		hb_loop_turn(rig.loop, 20);
	}
	ck_assert_uint_eq(rig.sessions_count, 0);
}

void pool_rig_down(void)
{
	hb_pool_drain(rig.pool, on_empty, NULL);
	for (unsigned i = 0; i < GETS_MAX; i++)
		rig_end_get(i);
	hb_pool_close_scope(rig.pool, 0, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(rig.loop, &rig.pool_empty, 1, 200));
	hb_pool_free(rig.pool);
	hb_loop_accept_stop(&rig.acceptor);
	ck_assert(turn_until(rig.loop, &rig.accept_over, 1, 100));
	close(rig.acceptor.fd);
	end_sessions();
	for (unsigned i = 0; i < GETS_MAX; i++) {
		ck_assert_msg(!rig.served[i].broken, "served %u: %s", i, rig.served[i].broken);
		ck_assert_msg(!rig.gets[i].probe.broken, "got %u: %s", i, rig.gets[i].probe.broken);
		probe_done(&rig.served[i]);
		probe_done(&rig.gets[i].probe);
	}
	hb_tls_ctx_unref(rig.client_ctx);
	hb_tls_ctx_unref(rig.server_ctx);
	hb_tls_ctx_unref(rig.gateway_ctx);
	testca_pem_done(&rig.server_pem);
	testca_pem_done(&rig.gateway_pem);
	testca_free(rig.ca);
	turn_some(rig.loop, 5);
	hb_loop_free(rig.loop);
}
