/*
 * serve: what its owner is told of a connection, from the handshake to the end; the client is a
 * pool of ours, or HTTP/2 by hand.
 */
#include <arpa/inet.h>
#include <check.h>
#include <string.h>

#include <hbone/pool.h>
#include <hbone/serve.h>

#include "support/any_loop.h"
#include "support/probe.h"
#include "support/testca.h"

#define CLIENT_ID "spiffe://td/ns/a/sa/client"
#define SERVER_ID "spiffe://td/ns/a/sa/server"

static struct hb_loop *loop;
static struct hb_tls_ctx *client_ctx, *server_ctx;
static struct hb_accept acceptor;
static struct hb_addr addr;
static struct hb_serve *serve;
static struct hb_serve_options options;
static struct probe served, asked;
static struct hb_pool *pool;
static struct hb_pool_wait wait;
static unsigned accepted, tunnels, ends, stopped, empty, told;
static struct hb_end ended, refused;
static char seen[64], host[64];
static uint16_t port;

static void on_tunnel(void *owner, struct hb_stream *tunnel, const struct hb_tunnel_authority *to,
                      const char *peer)
{
	ck_assert_ptr_eq(owner, &options);
	tunnels++;
	strncpy(seen, peer, sizeof(seen) - 1);
	memcpy(host, to->host, to->host_len);
	port = to->port;
	probe_init(&served, tunnel);
	hb_tunnel_accept(tunnel, NULL);
	hb_stream_resume(tunnel);
}

static void on_end(void *owner, struct hb_end why)
{
	ck_assert_ptr_eq(owner, &options);
	ends++;
	ended = why;
	serve = NULL;
}

static void on_accept(struct hb_accept *accept, int fd)
{
	if (fd == -ECANCELED) {
		stopped++;
		return;
	}
	ck_assert_int_ge(fd, 0);
	accepted++;
	serve = hb_serve_new(loop, fd, &options);
	ck_assert_ptr_nonnull(serve);
}

static struct hb_tls_ctx *ctx_of(const struct testca *ca, const char *san)
{
	struct testca_pem pem = testca_leaf(ca, &(struct testca_leaf){ .san = san });
	struct hb_tls_material material = { .chain = pem.chain,
		                            .key = pem.key,
		                            .roots = testca_pem(ca) };
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";

	ck_assert_msg(hb_tls_ctx_new(&material, &ctx, &why) == 0, "%s", why);
	testca_pem_done(&pem);
	return ctx;
}

static void setup(void)
{
	struct testca *ca = testca_new("serve");
	int fd;

	client_ctx = ctx_of(ca, "URI:" CLIENT_ID);
	server_ctx = ctx_of(ca, "URI:" SERVER_ID);
	testca_free(ca);
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(hb_addr_parse("127.0.0.1:0", 11, &addr), 0);
	fd = hb_tcp_listen(&addr);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(hb_addr_of_local(fd, &addr), 0);
	ck_assert_int_eq(hb_tcp_listen(&addr), -EADDRINUSE);
	options = (struct hb_serve_options){
		.ctx = server_ctx, .on_tunnel = on_tunnel, .on_end = on_end, .owner = &options
	};
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
	hb_pool_drain(pool, on_empty, NULL);
	hb_pool_close_scope(pool, 0, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(loop, &empty, 1, 200));
	hb_pool_free(pool);
	ck_assert(turn_until(loop, &ends, accepted, 200));
	ck_assert_ptr_null(serve);
	hb_loop_accept_stop(&acceptor);
	ck_assert(turn_until(loop, &stopped, 1, 100));
	close(acceptor.fd);
	ck_assert(!served.broken && !asked.broken);
	probe_done(&served);
	probe_done(&asked);
	hb_tls_ctx_unref(client_ctx);
	hb_tls_ctx_unref(server_ctx);
	hb_loop_free(loop);
}

static void on_asked(struct hb_pool_wait *w, struct hb_stream *tunnel, const char *peer,
                     struct hb_end why)
{
	told++;
	refused = why;
	if (tunnel)
		probe_init(&asked, tunnel);
}

static void ask(const char *authority)
{
	static const char *const peers[] = { SERVER_ID };
	struct hb_pool_key key = {
		.identity = CLIENT_ID,
		.peers = peers,
		.peers_count = 1,
		.dst = addr,
	};
	struct hb_tunnel_request request = { .authority = authority };

	wait.on_tunnel = on_asked;
	hb_pool_get(pool, &wait, &key, client_ctx, &request);
	ck_assert(turn_until(loop, &told, 1, 300));
}

START_TEST(a_tunnel)
{
	ask("web.demo:8080");
	ck_assert_ptr_nonnull(asked.stream);
	ck_assert_uint_eq(tunnels, 1);
	ck_assert_str_eq(seen, CLIENT_ID);
	ck_assert_str_eq(host, "web.demo");
	ck_assert_uint_eq(port, 8080);
	hb_stream_resume(asked.stream);
	probe_write(&asked, loop, "there", 5, 5);
	ck_assert(turn_until_size(loop, &served.len, 5, 100));
	probe_write(&served, loop, "back", 4, 4);
	ck_assert(turn_until_size(loop, &asked.len, 4, 100));

	if (_i == 0) { /* drained: what lives goes on, and when it ends so does all */
		hb_serve_drain(serve);
		turn_some(loop, 5);
		probe_write(&asked, loop, "more", 4, 4);
		ck_assert(turn_until_size(loop, &served.len, 9, 100));
		ck_assert_uint_eq(ends, 0);
		hb_stream_close(asked.stream, HB_END_CLEAN);
		hb_stream_close(served.stream, HB_END_CLEAN);
		ck_assert(turn_until(loop, &ends, 1, 300));
		ck_assert_int_eq(ended.code, 0);
	} else { /* closed: all ends now */
		hb_serve_close(serve, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_IDLE));
		ck_assert(turn_until(loop, &ends, 1, 300));
		ck_assert_int_eq(ended.code, HB_E_IDLE);
		ck_assert_uint_eq(served.closes, 1);
		ck_assert_int_eq(served.end.code, HB_E_IDLE);
		ck_assert(turn_until(loop, &asked.closes, 1, 300));
		ck_assert_int_ne(asked.end.code, 0);
	}
}
END_TEST

START_TEST(no_authority)
{
	ask("nowhere"); /* has no port */
	ck_assert_ptr_null(asked.stream);
	ck_assert_int_eq(refused.code, HB_E_STATUS(400));
	ck_assert_uint_eq(tunnels, 0);
}
END_TEST

/* Somebody connects and says nothing, or what is no TLS. */
START_TEST(before_the_handshake)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&addr, &sa);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, len), 0);
	ck_assert(turn_until(loop, &accepted, 1, 100));
	if (_i == 0)
		hb_serve_drain(serve);
	else if (_i == 1)
		hb_serve_close(serve, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_IDLE));
	else
		ck_assert_int_eq(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	for (int i = 0; i < 3 && ends == 0; i++)
		hb_loop_turn(loop, 10);
	close(fd);
	ck_assert(turn_until(loop, &ends, 1, 300));
	ck_assert_int_eq(ended.code, _i == 0 ? HB_E_DRAIN : _i == 1 ? HB_E_IDLE : HB_E_NOT_TLS);
	ck_assert_uint_eq(tunnels, 0);
}
END_TEST

/* Nobody has to listen to the end. */
START_TEST(without_on_end)
{
	options.on_end = NULL;
	ask("web.demo:80");
	ck_assert_ptr_nonnull(asked.stream);
	hb_serve_close(serve, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_IDLE));
	ck_assert(turn_until(loop, &asked.closes, 1, 300));
	ck_assert_uint_eq(served.closes, 1);
	serve = NULL;
	accepted = 0;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_tunnel, 0, 2);
	tcase_add_test(tc, no_authority);
	tcase_add_loop_test(tc, before_the_handshake, 0, 3);
	tcase_add_test(tc, without_on_end);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
