/*
 * pool: what becomes of connections and of those who wait when a peer no longer stands: it is
 * revoked, or its certificate has ended. Against a server of our own on loopback.
 */
#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <time.h>

#include <hbone/pool.h>

#include "support/any_loop.h"
#include "support/probe.h"
#include "support/testca.h"

#define CLIENT_ID "spiffe://cluster.local/ns/demo/sa/client"
#define SERVER_ID "spiffe://cluster.local/ns/demo/sa/server"
#define HOUR      3600

struct get {
	struct hb_pool_wait wait;
	struct probe probe;
	struct hb_end why;
};

static struct hb_loop *loop;
static struct hb_pool *pool;
static struct testca *ca;
static struct testca_pem server_pem;
static struct hb_tls_ctx *ctxs[2]; /* by enum hb_tls_role */
static struct hb_accept acceptor;
static struct hb_addr server_addr;
static struct probe served[4];
static struct get gets[4];
static bool drain_when_told;
static unsigned accepted, sessions, served_count, done, accept_over, empty;

/* ---- the server ---- */

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	probe_init(&served[served_count++], stream);
	hb_tunnel_accept(stream, NULL);
	hb_stream_resume(stream);
}

static void on_session_closed(struct hb_h2 *h2, struct hb_end why)
{
	hb_h2_free(h2);
	sessions--;
}

static const struct hb_h2_events session_events = {
	.on_request = on_request,
	.on_closed = on_session_closed,
};

static void on_tls_open(struct hb_stream *tls)
{
	struct hb_h2_options options = { .role = HB_H2_SERVER };

	sessions++;
	ck_assert_ptr_nonnull(hb_h2_new(loop, tls, &options, &session_events, NULL));
}

static void on_tls_closed(struct hb_stream *tls, struct hb_end why)
{
	hb_stream_free(tls);
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_closed = on_tls_closed,
};

static void on_accept(struct hb_accept *accept, int fd)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 100 };
	struct hb_tls_options tls = { .role = HB_TLS_SERVER, .ctx = ctxs[HB_TLS_SERVER] };
	struct hb_stream *stream;

	if (fd == -ECANCELED) {
		accept_over++;
		return;
	}
	accepted++;
	stream = hb_tls_new(loop, hb_tcp_new(loop, fd, &tcp), &tls);
	ck_assert_ptr_nonnull(stream);
	stream->events = &tls_events;
}

/* ---- the client ---- */

static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                      struct hb_end why)
{
	struct get *get = hb_container_of(wait, struct get, wait);

	done++;
	get->why = why;
	if (drain_when_told)
		hb_pool_drain(pool, NULL, NULL);
	if (drain_when_told)
		hb_pool_close_scope(pool, 0, why);
	if (tunnel)
		probe_init(&get->probe, tunnel);
}

static struct get *ask(unsigned i)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };
	static const char *const expected[] = { SERVER_ID };
	struct hb_pool_key key = {
		.scope = 1,
		.identity = CLIENT_ID,
		.peers = expected,
		.peers_count = 1,
		.dst = server_addr,
	};

	gets[i].wait.on_tunnel = on_tunnel;
	hb_pool_get(pool, &gets[i].wait, &key, ctxs[HB_TLS_CLIENT], &request);
	return &gets[i];
}

static struct hb_tls_crls *revoking(const char *chain)
{
	hb_cleanup(hb_free_ptr) char *text = testca_crl(ca, chain, HOUR);
	struct hb_tls_crls *crls = NULL;
	char why[128];

	ck_assert_int_eq(hb_tls_crls_parse(text, strlen(text), &crls, why, sizeof(why)), 0);
	return crls;
}

static struct hb_tls_ctx *ctx_of(const struct testca_pem *pem)
{
	struct hb_tls_material material = { .chain = pem->chain,
		                            .key = pem->key,
		                            .roots = testca_pem(ca) };
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";

	ck_assert_msg(hb_tls_ctx_new(&material, &ctx, &why) == 0, "%s", why);
	return ctx;
}

static void setup(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct testca_pem client;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(hb_addr_of_local(fd, &server_addr), 0);
	ca = testca_new("pool");
	server_pem = testca_leaf(ca, &(struct testca_leaf){ .san = "URI:" SERVER_ID });
	client = testca_leaf(ca, &(struct testca_leaf){ .san = "URI:" CLIENT_ID });
	ctxs[HB_TLS_SERVER] = ctx_of(&server_pem);
	ctxs[HB_TLS_CLIENT] = ctx_of(&client);
	testca_pem_done(&client);
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	hb_loop_accept(loop, &acceptor, fd, on_accept);
	pool = hb_pool_new(loop, &(struct hb_pool_options){ 0 });
	ck_assert_ptr_nonnull(pool);
}

static void on_empty(void *owner)
{
	empty++;
}

static void teardown(void)
{
	drain_when_told = false;
	hb_pool_drain(pool, on_empty, NULL);
	hb_pool_close_scope(pool, 0, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(loop, &empty, 1, 200));
	hb_pool_free(pool);
	hb_loop_accept_stop(&acceptor);
	ck_assert(turn_until(loop, &accept_over, 1, 100));
	close(acceptor.fd);
	for (int i = 0; i < 200 && sessions; i++)
		hb_loop_turn(loop, 20);
	ck_assert_uint_eq(sessions, 0);
	for (size_t i = 0; i < HB_ARRAY_LEN(gets); i++) {
		ck_assert(!gets[i].probe.broken && !served[i].broken);
		probe_done(&gets[i].probe);
		probe_done(&served[i]);
	}
	for (int i = 0; i < 2; i++)
		hb_tls_ctx_unref(ctxs[i]);
	testca_pem_done(&server_pem);
	testca_free(ca);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

START_TEST(revoked)
{
	struct hb_tls_crls *crls = revoking(server_pem.chain), *nobody = revoking(NULL);
	int64_t now_s = time(NULL);
	struct get *get = ask(0);

	ck_assert_uint_eq(hb_pool_recheck(pool, nobody, now_s), 0); /* while it is dialled */
	ck_assert(turn_until(loop, &done, 1, 300));
	ck_assert_ptr_nonnull(get->probe.stream);
	ck_assert_uint_eq(hb_pool_recheck(pool, nobody, now_s), 0);
	turn_some(loop, 5);
	ck_assert_uint_eq(get->probe.closes, 0);

	ck_assert_uint_eq(hb_pool_recheck(pool, crls, now_s), 1);
	hb_tls_crls_unref(crls); /* the pool has its own */
	ck_assert(turn_until(loop, &get->probe.closes, 1, 100));
	ck_assert_int_eq(get->probe.end.code, HB_TLS_REVOKED);
	ck_assert_int_eq(get->probe.end.layer, HB_LAYER_TLS);
	ck_assert_int_eq(get->probe.end.side, HB_SIDE_US);
	ck_assert(turn_until(loop, &served[0].closes, 1, 100));
	ck_assert_int_ne(served[0].end.code, 0);

	/* And nobody gets another one, until the lists say otherwise. */
	get = ask(1);
	ck_assert(turn_until(loop, &done, 2, 300));
	ck_assert_ptr_null(get->probe.stream);
	ck_assert_int_eq(get->why.code, HB_TLS_REVOKED);
	ck_assert_uint_eq(hb_pool_recheck(pool, NULL, now_s), 0);
	hb_tls_crls_unref(nobody);
	get = ask(2);
	ck_assert(turn_until(loop, &done, 3, 300));
	ck_assert_ptr_nonnull(get->probe.stream);
	ck_assert_uint_eq(accepted, 3);
}
END_TEST

/* Lists that come while a handshake is under way: those who wait hear of it. */
START_TEST(revoked_while_it_shakes_hands)
{
	struct hb_tls_crls *crls = revoking(server_pem.chain);
	struct get *get = ask(0);

	for (int i = 0; i < 100 && accepted == 0; i++)
		hb_loop_turn(loop, 10);
	hb_pool_recheck(pool, crls, time(NULL));
	hb_tls_crls_unref(crls);
	ck_assert(turn_until(loop, &done, 1, 300));
	ck_assert_ptr_null(get->probe.stream);
	ck_assert_int_eq(get->why.code, HB_TLS_REVOKED);
}
END_TEST

START_TEST(expired)
{
	int64_t now_s = time(NULL);
	struct get *get = ask(0), *next;

	ck_assert(turn_until(loop, &done, 1, 300));
	ck_assert_uint_eq(hb_pool_recheck(pool, NULL, now_s + HOUR - 60), 0);
	next = ask(1);
	ck_assert(turn_until(loop, &done, 2, 300));
	ck_assert_ptr_nonnull(next->probe.stream);
	ck_assert_uint_eq(accepted, 1);

	/* It goes on with what it carries, and is given nothing new. */
	ck_assert_uint_eq(hb_pool_recheck(pool, NULL, now_s + HOUR + 60), 0);
	ck_assert_uint_eq(hb_pool_recheck(pool, NULL, now_s + HOUR + 60), 0);
	next = ask(2);
	ck_assert(turn_until(loop, &done, 3, 300));
	ck_assert_ptr_nonnull(next->probe.stream);
	ck_assert_uint_eq(accepted, 2);
	ck_assert_uint_eq(get->probe.closes, 0);
	hb_stream_resume(get->probe.stream);
	probe_write(&served[0], loop, "still", 5, 5);
	ck_assert(turn_until_size(loop, &get->probe.len, 5, 300));
}
END_TEST

/* The one who is told that a handshake failed ends the pool: the connection is half gone by then.
 */
START_TEST(drained_by_who_is_told)
{
	struct hb_tls_crls *crls = revoking(server_pem.chain);
	struct get *get = ask(0);

	drain_when_told = true;
	hb_pool_recheck(pool, crls, time(NULL));
	hb_tls_crls_unref(crls);
	ck_assert(turn_until(loop, &done, 1, 300));
	ck_assert_int_eq(get->why.code, HB_TLS_REVOKED);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_recheck");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, revoked);
	tcase_add_test(tc, revoked_while_it_shakes_hands);
	tcase_add_test(tc, expired);
	tcase_add_test(tc, drained_by_who_is_told);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
