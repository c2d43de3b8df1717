/*
 * pool: who shares a connection, who gets a new one, who is tried again, and what all are told when
 * it fails; against a server of our own on loopback, TLS and all.
 */
#include <arpa/inet.h>
#include <check.h>
#include <string.h>

#include <hbone/pool.h>

#include "support/any_loop.h"
#include "support/probe.h"
#include "support/testca.h"

#define CLIENT_ID "spiffe://cluster.local/ns/demo/sa/client"
#define SERVER_ID "spiffe://cluster.local/ns/demo/sa/server"
#define GETS_MAX  64

enum manner { ANSWERS, IS_SILENT, REFUSES, LEAVES, NEVER_BEGINS };

struct session { /* a connection as the server has it */
	struct hb_list node;
	struct hb_h2 *h2;
	unsigned served;
};

struct get {
	struct hb_pool_wait wait;
	struct probe probe;
	char peer[64];
	unsigned done;
	struct hb_end why;
};

static struct hb_loop *loop;
static struct hb_pool *pool;
static struct hb_tls_ctx *client_ctx, *server_ctx;
static struct hb_accept acceptor;
static struct hb_addr server_addr;
static struct hb_list sessions;
static struct probe served[GETS_MAX];
static unsigned served_count, accepted, sessions_count, accept_over, pool_empty;
static uint32_t grant; /* streams per connection; 0: the default */
static enum manner manner;
static struct get gets[GETS_MAX];
static struct hb_stream *mute; /* of NEVER_BEGINS */
static unsigned gets_done;
static struct hb_pool_options options;

/* ---- the server ---- */

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct session *session = hb_h2_owner(h2);
	struct probe *probe = &served[served_count++];

	ck_assert_uint_lt(served_count, GETS_MAX);
	probe_init(probe, stream);
	session->served++;
	if (manner == ANSWERS)
		hb_tunnel_accept(stream, NULL);
	else if (manner == REFUSES)
		hb_tunnel_refuse(stream, 401);
	if (manner == ANSWERS)
		hb_stream_resume(stream);
}

static void on_session_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct session *session = hb_h2_owner(h2);

	hb_h2_free(h2);
	hb_list_remove(&session->node);
	sessions_count--;
	free(session);
}

static const struct hb_h2_events session_events = {
	.on_request = on_request,
	.on_closed = on_session_closed,
};

static void on_tls_open(struct hb_stream *tls)
{
	struct hb_h2_options h2 = { .role = HB_H2_SERVER, .streams_max = grant };
	struct session *session;

	if (manner == LEAVES) {
		hb_stream_close(tls, HB_END_CLEAN);
		return;
	}
	if (manner == NEVER_BEGINS) {
		mute = tls;
		return;
	}
	session = calloc(1, sizeof(*session));
	hb_list_add(&sessions, &session->node);
	sessions_count++;
	session->h2 = hb_h2_new(loop, tls, &h2, &session_events, session);
	ck_assert_ptr_nonnull(session->h2);
}

static void on_tls_closed(struct hb_stream *tls, struct hb_end why)
{
	hb_stream_free(tls); /* a handshake that failed: the client is asked about it */
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_closed = on_tls_closed,
};

static void on_accept(struct hb_accept *accept, int fd)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 100 };
	struct hb_tls_options tls = { .role = HB_TLS_SERVER, .ctx = server_ctx };
	struct hb_stream *stream;

	if (fd == -ECANCELED) {
		accept_over++;
		return;
	}
	ck_assert_int_ge(fd, 0);
	accepted++;
	stream = hb_tls_new(loop, hb_tcp_new(loop, fd, &tcp), &tls);
	ck_assert_ptr_nonnull(stream);
	stream->events = &tls_events;
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
	struct get *get = hb_container_of(wait, struct get, wait);

	ck_assert_uint_eq(get->done, 0);
	get->done = 1;
	get->why = why;
	gets_done++;
	strncpy(get->peer, peer, sizeof(get->peer) - 1);
	if (tunnel)
		probe_init(&get->probe, tunnel);
}

static struct get *ask_as(unsigned i, const char *expected, uint64_t scope)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };
	struct hb_pool_key key = {
		.scope = scope,
		.identity = CLIENT_ID,
		.peers = &expected,
		.peers_count = 1,
		.dst = server_addr,
	};
	struct get *get = &gets[i];

	memset(get, 0, sizeof(*get));
	get->wait.on_tunnel = on_tunnel;
	hb_pool_get(pool, &get->wait, &key, client_ctx, &request);
	ck_assert_uint_eq(get->done, 0); /* never inside */
	return get;
}

static struct get *ask(unsigned i)
{
	return ask_as(i, SERVER_ID, 1);
}

static void end_get(unsigned i)
{
	struct get *get = &gets[i];

	if (get->probe.stream)
		hb_stream_close(get->probe.stream, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
	turn_until(loop, &get->probe.closes, get->probe.stream ? 1 : 0, 100);
}

static struct hb_tls_ctx *make_ctx(struct testca *ca, const char *san)
{
	struct testca_leaf leaf = { .san = san };
	struct testca_pem pem = testca_leaf(ca, &leaf);
	struct hb_tls_material material = { .chain = pem.chain,
		                            .key = pem.key,
		                            .roots = testca_pem(ca) };
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";

	ck_assert_msg(hb_tls_ctx_new(&material, &ctx, &why) == 0, "%s", why);
	testca_pem_done(&pem);
	return ctx;
}

static void on_empty(void *owner)
{
	pool_empty++;
}

static void up(void)
{
	struct testca *ca = testca_new("pool");
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(hb_addr_of_local(fd, &server_addr), 0);
	client_ctx = make_ctx(ca, "URI:" CLIENT_ID);
	server_ctx = make_ctx(ca, "URI:" SERVER_ID);
	testca_free(ca);
	hb_list_init(&sessions);
	served_count = accepted = sessions_count = accept_over = pool_empty = gets_done = 0;
	memset(served, 0, sizeof(served));
	memset(gets, 0, sizeof(gets));
	manner = ANSWERS;
	grant = 0;
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	hb_loop_accept(loop, &acceptor, fd, on_accept);
	options = (struct hb_pool_options){ .make_socket = make_socket };
	pool = NULL;
}

static void make_pool(void)
{
	pool = hb_pool_new(loop, &options);
	ck_assert_ptr_nonnull(pool);
}

static void down(void)
{
	hb_pool_drain(pool, on_empty, NULL);
	for (unsigned i = 0; i < GETS_MAX; i++)
		end_get(i);
	hb_pool_close_scope(pool, 0, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(loop, &pool_empty, 1, 200));
	hb_pool_free(pool);
	hb_loop_accept_stop(&acceptor);
	ck_assert(turn_until(loop, &accept_over, 1, 100));
	close(acceptor.fd);
	for (int i = 0; i < 200 && sessions_count; i++) {
		hb_list_for_each (node, &sessions)
			hb_h2_close(hb_container_of(node, struct session, node)->h2, HB_END_CLEAN);
		hb_loop_turn(loop, 20);
	}
	ck_assert_uint_eq(sessions_count, 0);
	for (unsigned i = 0; i < GETS_MAX; i++) {
		ck_assert_msg(!served[i].broken, "served %u: %s", i, served[i].broken);
		ck_assert_msg(!gets[i].probe.broken, "got %u: %s", i, gets[i].probe.broken);
		probe_done(&served[i]);
		probe_done(&gets[i].probe);
	}
	hb_tls_ctx_unref(client_ctx);
	hb_tls_ctx_unref(server_ctx);
	turn_some(loop, 5);
	hb_loop_free(loop);
}

START_TEST(many_wait_for_one_dial)
{
	up();
	make_pool();
	for (unsigned i = 0; i < 50; i++)
		ask(i);
	ck_assert(turn_until(loop, &gets_done, 50, 300));
	for (unsigned i = 0; i < 50; i++) {
		ck_assert_msg(gets[i].probe.stream, "%u: %s", i, hb_strerror(gets[i].why.code));
		ck_assert_str_eq(gets[i].peer, SERVER_ID);
	}
	ck_assert_uint_eq(accepted, 1);
	ck_assert_uint_eq(hb_pool_connections(pool), 1);
	down();
}
END_TEST

START_TEST(keys_share_nothing)
{
	up();
	make_pool();
	ask_as(0, SERVER_ID, 1);
	ask_as(1, SERVER_ID, 2); /* another pod */
	ck_assert(turn_until(loop, &gets_done, 2, 300));
	ck_assert_uint_eq(accepted, 2);
	down();
}
END_TEST

START_TEST(all_fail_with_the_same_reason)
{
	/* clang-format off */
	static const struct {
		const char *name, *expected;
		int code;
		bool closed_port;
	} rows[] = {
		{ "nobody listens", SERVER_ID, -ECONNREFUSED, true },
		{ "the peer is somebody else", "spiffe://cluster.local/ns/demo/sa/other", HB_E_PEER_IDENTITY, false },
	};
	/* clang-format on */

	up();
	make_pool();
	if (rows[_i].closed_port)
		server_addr.port = 1;
	for (unsigned i = 0; i < 5; i++)
		ask_as(i, rows[_i].expected, 1);
	ck_assert(turn_until(loop, &gets_done, 5, 300));
	for (unsigned i = 0; i < 5; i++)
		ck_assert_msg(gets[i].why.code == rows[_i].code, "%s: %s", rows[_i].name,
		              hb_strerror(gets[i].why.code));
	ck_assert_uint_le(accepted, 1);
	/* The next one dials again: nothing is remembered against the peer. */
	ask_as(5, rows[_i].expected, 1);
	ck_assert(turn_until(loop, &gets_done, 6, 300));
	ck_assert_int_eq(gets[5].why.code, rows[_i].code);
	down();
}
END_TEST

/* clang-format off */
static const struct {
	uint32_t grant;
	unsigned asked, connections;
} grants[] = {
	{ 1, 5, 5 },
	{ 2, 40, 20 },
	{ 10, 25, 3 },
};
/* clang-format on */

START_TEST(a_small_grant_serves_all)
{
	unsigned asked = grants[_i].asked, again = grants[_i].grant;

	up();
	grant = grants[_i].grant;
	make_pool();
	for (unsigned i = 0; i < asked; i++)
		ask(i);
	ck_assert(turn_until(loop, &gets_done, asked, 2000));
	for (unsigned i = 0; i < asked; i++)
		ck_assert_msg(gets[i].probe.stream, "%u: %s", i, hb_strerror(gets[i].why.code));
	ck_assert_uint_eq(hb_pool_connections(pool), grants[_i].connections);
	/* A connection that was full is used again. */
	for (unsigned i = 0; i < again; i++)
		end_get(i);
	for (unsigned i = 0; i < again; i++)
		ask(asked + i);
	ck_assert(turn_until(loop, &gets_done, asked + again, 500));
	ck_assert_uint_eq(hb_pool_connections(pool), grants[_i].connections);
	down();
}
END_TEST

START_TEST(a_peer_without_settings)
{
	static const enum manner manners[] = { LEAVES, NEVER_BEGINS };

	up();
	manner = manners[_i];
	options.h2.begin_ms = 50;
	make_pool();
	for (unsigned i = 0; i < 5; i++)
		ask(i);
	ck_assert(turn_until(loop, &gets_done, 5, 300));
	for (unsigned i = 0; i < 5; i++)
		ck_assert_msg(gets[i].why.code < 0, "%u got a tunnel", i);
	ck_assert_uint_eq(accepted, 1);
	if (mute)
		hb_stream_close(hb_take(&mute), HB_END_CLEAN);
	/* The next one dials again. */
	manner = ANSWERS;
	ask(5);
	ck_assert(turn_until(loop, &gets_done, 6, 300));
	ck_assert_ptr_nonnull(gets[5].probe.stream);
	down();
}
END_TEST

START_TEST(refused_by_policy_is_final)
{
	up();
	manner = REFUSES;
	make_pool();
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	ck_assert_int_eq(gets[0].why.code, HB_E_STATUS(401));
	ck_assert_uint_eq(served_count, 1);
	/* The connection stays for others. */
	manner = ANSWERS;
	ask(1);
	ck_assert(turn_until(loop, &gets_done, 2, 300));
	ck_assert_ptr_nonnull(gets[1].probe.stream);
	ck_assert_uint_eq(accepted, 1);
	down();
}
END_TEST

START_TEST(silence_has_a_deadline)
{
	up();
	manner = IS_SILENT;
	options.connect_ms = 50;
	make_pool();
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	ck_assert_int_eq(gets[0].why.code, HB_E_CONNECT_TIME);
	down();
}
END_TEST

START_TEST(idle_connections_are_released)
{
	up();
	options.idle_ms = 50;
	make_pool();
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	for (int i = 0; i < 20; i++)
		hb_loop_turn(loop, 10);
	ck_assert_uint_eq(hb_pool_connections(pool), 1); /* not while it is used */
	end_get(0);
	for (int i = 0; i < 300 && hb_pool_connections(pool); i++)
		hb_loop_turn(loop, 20);
	ck_assert_uint_eq(hb_pool_connections(pool), 0);
	down();
}
END_TEST

START_TEST(cancelled_waits_stay_silent)
{
	up();
	manner = IS_SILENT;
	make_pool();
	ask(0);
	hb_pool_cancel(&gets[0].wait); /* while it waits for a dial */
	ask(1);
	ck_assert(turn_until(loop, &served_count, 1, 300));
	hb_pool_cancel(&gets[1].wait); /* while its request is out */
	hb_pool_cancel(&gets[1].wait); /* and twice */
	turn_some(loop, 20);
	ck_assert_uint_eq(gets_done, 0);
	ck_assert(turn_until(loop, &served[0].closes, 1, 300));
	down();
}
END_TEST

/* The connection dies while requests are out on it. */
START_TEST(lost_while_it_is_asked)
{
	struct hb_end lost = hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET);

	up();
	manner = _i ? ANSWERS : IS_SILENT;
	make_pool();
	if (_i) { /* it has worked before: it may have died while it was idle */
		ask(0);
		ck_assert(turn_until(loop, &gets_done, 1, 300));
		manner = IS_SILENT;
	}
	ask(1);
	ask(2);
	ck_assert(turn_until(loop, &served_count, _i ? 3 : 2, 300));
	manner = ANSWERS;
	hb_h2_close(hb_container_of(sessions.next, struct session, node)->h2, lost);
	ck_assert(turn_until(loop, &gets_done, _i ? 3 : 2, 300));
	for (unsigned i = 1; i < 3; i++) {
		ck_assert_msg(!!gets[i].probe.stream == !!_i, "%s", hb_strerror(gets[i].why.code));
		ck_assert_msg(_i || gets[i].why.code < 0, "no reason is given");
	}
	ck_assert_uint_eq(hb_pool_connections(pool), _i ? 1 : 0);
	down();
}
END_TEST

static unsigned done_when_empty;

static void on_empty_after_all(void *owner)
{
	done_when_empty = gets_done;
	pool_empty++;
}

/* Whoever asks a pool that drains is told so, and before the pool says that it is empty. */
START_TEST(empty_comes_after_all_were_told)
{
	up();
	make_pool();
	hb_pool_drain(pool, on_empty_after_all, NULL);
	ask(0);
	ask_as(1, SERVER_ID, 2);
	ask(2);
	hb_pool_cancel(&gets[2].wait);
	ck_assert(turn_until(loop, &pool_empty, 1, 100));
	ck_assert_uint_eq(done_when_empty, 2);
	ck_assert_int_eq(gets[0].why.code, HB_E_DRAIN);
	ck_assert_int_eq(gets[1].why.code, HB_E_DRAIN);
	ck_assert_uint_eq(gets[2].done, 0);
	pool_empty = 0;
	down();
}
END_TEST

START_TEST(going_away_is_tried_elsewhere)
{
	up();
	make_pool();
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	/* The server drains; the next request finds, or makes, another connection. */
	hb_h2_drain(hb_container_of(sessions.next, struct session, node)->h2);
	ask(1);
	ck_assert(turn_until(loop, &gets_done, 2, 300));
	ck_assert_msg(gets[1].probe.stream, "%s", hb_strerror(gets[1].why.code));
	turn_some(loop, 20);
	ask(2);
	ck_assert(turn_until(loop, &gets_done, 3, 300));
	ck_assert_ptr_nonnull(gets[2].probe.stream);
	ck_assert_uint_eq(accepted, 2);
	down();
}
END_TEST

START_TEST(a_dead_connection_is_replaced)
{
	struct session *session;

	up();
	make_pool();
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	end_get(0);
	session = hb_container_of(sessions.next, struct session, node);
	hb_stream_close(hb_h2_lower(session->h2), hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	ask(1); /* before we know that it is dead */
	ck_assert(turn_until(loop, &gets_done, 2, 300));
	ck_assert_msg(gets[1].probe.stream, "%s", hb_strerror(gets[1].why.code));
	ck_assert_uint_eq(accepted, 2);
	down();
}
END_TEST

START_TEST(draining_refuses)
{
	up();
	make_pool();
	hb_pool_drain(pool, NULL, NULL);
	ask(0);
	ck_assert(turn_until(loop, &gets_done, 1, 300));
	ck_assert_int_eq(gets[0].why.code, HB_E_DRAIN);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, many_wait_for_one_dial);
	tcase_add_test(tc, keys_share_nothing);
	tcase_add_loop_test(tc, all_fail_with_the_same_reason, 0, 2);
	tcase_add_loop_test(tc, a_small_grant_serves_all, 0, HB_ARRAY_LEN(grants));
	tcase_add_loop_test(tc, a_peer_without_settings, 0, 2);
	tcase_add_test(tc, refused_by_policy_is_final);
	tcase_add_test(tc, silence_has_a_deadline);
	tcase_add_test(tc, idle_connections_are_released);
	tcase_add_test(tc, cancelled_waits_stay_silent);
	tcase_add_loop_test(tc, lost_while_it_is_asked, 0, 2);
	tcase_add_test(tc, empty_comes_after_all_were_told);
	tcase_add_test(tc, going_away_is_tried_elsewhere);
	tcase_add_test(tc, a_dead_connection_is_replaced);
	tcase_add_test(tc, draining_refuses);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
