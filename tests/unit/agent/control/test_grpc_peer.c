/*
 * grpc against gRPC's own server, over TLS on loopback: what two authors of one protocol have to
 * agree on, and what may change between two calls: token, roots, the server itself.
 */
#include "control/grpc.h"

#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "support/any_loop.h"
#include "support/testca.h"

#define ISTIOD  "istiod.istio-system.svc"
#define TURN_MS 20
#define TURNS   1500 /* half a minute at most, where nothing happens */

static struct testca *ca, *other;
static char dir[] = "/tmp/test_grpc_peer.XXXXXX";
static unsigned port;
static pid_t server;
static int server_stdin = -1;

static struct hb_loop *loop;
static struct grpc_channel *channel;
static struct grpc_channel_config config;
static char url[128];
static unsigned closes;

/* Outside of tests there is nobody to fail. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static void write_to(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	must(file != NULL);
	fputs(text, file);
	fclose(file);
}

/* False: there is no grpcio here. */
static bool start_server(void)
{
	int in[2], out[2], status;
	char line[16] = "";
	size_t len = 0;

	must(pipe(in) == 0 && pipe(out) == 0);
	server = fork();
	if (server == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl("/usr/bin/python3", "python3", "-B", GRPC_SERVER, "chain", "key", NULL);
		_exit(77);
	}
	close(in[0]);
	close(out[1]);
	server_stdin = in[1];
	/* To the line's end: who writes it must not find a broken pipe. */
	while (!strchr(line, '\n') && len + 1 < sizeof(line) && read(out[0], line + len, 1) == 1)
		len++;
	close(out[0]);
	if (len == 0) {
		must(waitpid(server, &status, 0) == server);
		must(WIFEXITED(status) && WEXITSTATUS(status) == 77);
		return false;
	}
	port = (unsigned)strtoul(line, NULL, 10);
	return true;
}

static void stop_server(void)
{
	int status;

	close(server_stdin);
	(void)kill(server, SIGKILL); /* grpcio takes its time */
	(void)waitpid(server, &status, 0);
}

static bool start_world(void)
{
	struct testca_pem pem;

	must(mkdtemp(dir) != NULL);
	must(chdir(dir) == 0);
	ca = testca_new("root");
	other = testca_new("other");
	pem = testca_leaf(ca, &(struct testca_leaf){ .san = "DNS:" ISTIOD });
	write_to("chain", pem.chain);
	write_to("key", pem.key);
	testca_pem_done(&pem);
	return start_server();
}

static void stop_world(void)
{
	static const char *const files[] = { "chain", "key", "roots", "token" };

	for (size_t i = 0; i < HB_ARRAY_LEN(files); i++)
		(void)unlink(files[i]);
	must(chdir("/") == 0);
	(void)rmdir(dir);
	testca_free(ca);
	testca_free(other);
}

/* ---- a resolver: an address where nobody listens, then the right one ---- */

static struct {
	struct hb_timer timer;
	grpc_resolved on_done;
	void *asker;
	unsigned asked;
	bool fails, silent;
} names;

static void on_names(struct hb_timer *timer)
{
	struct hb_ip ips[2];

	ck_assert_int_eq(hb_ip_parse("::1", 3, &ips[0]), 0);
	ck_assert_int_eq(hb_ip_parse("127.0.0.1", 9, &ips[1]), 0);
	if (names.fails)
		names.on_done(names.asker, NULL, 0, "no such name");
	else
		names.on_done(names.asker, ips, 2, NULL);
}

static int resolve(void *ctx, const char *host, grpc_resolved on_done, void *asker)
{
	names.asked++;
	names.on_done = on_done;
	names.asker = asker;
	if (!names.silent)
		hb_loop_timer_start(loop, &names.timer, 1);
	return 0;
}

static void forget(void *ctx, void *asker)
{
	hb_loop_timer_stop(loop, &names.timer);
}

/* ---- calls ---- */

struct heard {
	unsigned opens, messages, ends;
	uint8_t *last;
	size_t size;
	struct grpc_status status;
	char text[1100];
};

static void on_open(void *ctx)
{
	((struct heard *)ctx)->opens++;
}

static void on_message(void *ctx, uint8_t *bytes, size_t size)
{
	struct heard *heard = ctx;

	free(heard->last);
	heard->last = bytes;
	heard->size = size;
	heard->messages++;
}

static void on_end(void *ctx, const struct grpc_status *status)
{
	struct heard *heard = ctx;

	heard->status = *status;
	snprintf(heard->text, sizeof(heard->text), "%s", status->message);
	heard->ends++;
}

static const struct grpc_events events = {
	.on_open = on_open,
	.on_message = on_message,
	.on_end = on_end,
};

static void await(const unsigned *what, unsigned want)
{
	for (unsigned i = 0; i < TURNS && *what < want; i++)
		ck_assert_int_ge(hb_loop_turn(loop, TURN_MS), 0);
	ck_assert_uint_ge(*what, want);
}

/* A whole unary call. */
static void ask_with(const struct grpc_call_options *options, const char *method,
                     const void *message, size_t size, struct heard *heard)
{
	struct grpc_call *call;

	memset(heard, 0, sizeof(*heard));
	call = grpc_call_new(channel, method, options, &events, heard);
	ck_assert_ptr_nonnull(call);
	ck_assert(grpc_call_send(call, message, size));
	grpc_call_finish(call);
	await(&heard->ends, 1);
}

static void ask(const char *method, const char *message, struct heard *heard)
{
	ask_with(&(struct grpc_call_options){ 0 }, method, message, strlen(message), heard);
}

static void check_answer(struct heard *heard, const char *want)
{
	ck_assert_msg(heard->status.kind == GRPC_END_SERVER && heard->status.code == GRPC_OK,
	              "%s %d: %s", grpc_kind_name(heard->status.kind), heard->status.code,
	              heard->text);
	ck_assert_uint_eq(heard->messages, 1);
	ck_assert_uint_eq(heard->size, strlen(want));
	ck_assert_mem_eq(heard->last, want, heard->size);
	free(heard->last);
}

static void check_end(struct heard *heard, enum grpc_kind kind, int code, const char *text)
{
	ck_assert_msg(heard->status.kind == kind && heard->status.code == code, "%s %d: %s",
	              grpc_kind_name(heard->status.kind), heard->status.code, heard->text);
	ck_assert_msg(strstr(heard->text, text) != NULL, "\"%s\"", heard->text);
	free(heard->last);
}

static void setup(void)
{
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	memset(&names, 0, sizeof(names));
	hb_timer_init(&names.timer, on_names);
	closes = 0;
	snprintf(url, sizeof(url), "https://" ISTIOD ":%u", port);
	config = (struct grpc_channel_config){
		.url = url,
		.roots = testca_pem(ca),
		.cluster_id = "c1",
		.resolver = { .resolve = resolve, .forget = forget },
	};
}

static void open_channel(void)
{
	char why[512];

	channel = grpc_channel_new(loop, &config, why, sizeof(why));
	ck_assert_msg(channel != NULL, "%s", why);
}

static void count_close(void *owner)
{
	closes++;
}

static void close_channel(void)
{
	unsigned want = closes + 1;

	grpc_channel_close(hb_take(&channel), count_close, NULL);
	await(&closes, want);
}

static void teardown(void)
{
	if (channel)
		close_channel();
	hb_loop_timer_stop(loop, &names.timer);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	(void)unlink("roots");
	(void)unlink("token");
}

START_TEST(unary_calls)
{
	struct heard heard;
	struct hb_addr peer;

	open_channel();
	for (int i = 0; i < 50; i++) {
		ask("/test.T/Echo", i % 2 ? "hello" : "", &heard);
		check_answer(&heard, i % 2 ? "hello" : "");
		ck_assert_uint_eq(heard.opens, 1);
	}
	ck_assert_uint_eq(names.asked, 1); /* all on one connection */
	peer = *grpc_channel_peer(channel);
	ck_assert(hb_ip_is_v4(&peer.ip) && peer.port == port); /* not the first, which refuses */
}
END_TEST

START_TEST(a_stream_both_ways)
{
	struct heard heard = { 0 };
	struct grpc_call *call;

	open_channel();
	call = grpc_call_new(channel, "/test.T/Chat", &(struct grpc_call_options){ 0 }, &events,
	                     &heard);
	for (unsigned i = 1; i <= 200; i++) {
		uint8_t message[3000];

		memset(message, (int)i, sizeof(message));
		ck_assert(grpc_call_send(call, message, i * 15));
		if (i % 10)
			continue;
		await(&heard.messages, i);
		ck_assert_uint_eq(heard.size, i * 15);
		ck_assert_mem_eq(heard.last, message, i * 15);
	}
	ck_assert_uint_eq(heard.ends, 0);
	grpc_call_finish(call);
	await(&heard.ends, 1);
	check_end(&heard, GRPC_END_SERVER, GRPC_OK, "");
}
END_TEST

START_TEST(headers_that_the_server_sees)
{
	static const struct grpc_header extra[] = { { "X-Tenant", "blue" }, { "x-two", "2" } };
	static const char *const rows[][2] = {
		{ "authorization", "Bearer abc" },
		{ "clusterid", "c1" },
		{ "x-tenant", "blue" },
		{ "x-two", "2" },
		{ "user-agent", "culvert" },
	};
	struct heard heard;

	config.headers = extra;
	config.headers_count = 2;
	config.token = "abc";
	open_channel();
	for (size_t i = 0; i < HB_ARRAY_LEN(rows); i++) {
		ask("/test.T/Seen", rows[i][0], &heard);
		check_answer(&heard, rows[i][1]);
	}
	close_channel();
	config.token = "";
	config.cluster_id = "";
	open_channel();
	ask("/test.T/Seen", "authorization", &heard);
	check_answer(&heard, "");
	ask("/test.T/Seen", "clusterid", &heard);
	check_answer(&heard, "");
}
END_TEST

START_TEST(a_token_that_rotates)
{
	struct heard heard;

	config.token = "./token";
	open_channel();
	ask("/test.T/Seen", "authorization", &heard);
	check_end(&heard, GRPC_END_TOKEN, GRPC_UNAUTHENTICATED, "No such file");
	write_to("token", "one\n");
	ask("/test.T/Seen", "authorization", &heard);
	check_answer(&heard, "Bearer one");
	write_to("token", "two\n");
	ask("/test.T/Seen", "authorization", &heard);
	check_answer(&heard, "Bearer two");
	write_to("token", "");
	ask("/test.T/Seen", "authorization", &heard);
	check_end(&heard, GRPC_END_TOKEN, GRPC_UNAUTHENTICATED, "./token is empty");
	ck_assert_uint_eq(names.asked, 1); /* the connection has outlived it all */
}
END_TEST

START_TEST(errors_of_the_server)
{
	struct heard heard;

	open_channel();
	ask("/test.T/Fail", "", &heard);
	check_end(&heard, GRPC_END_SERVER, GRPC_PERMISSION_DENIED,
	          "no identities matched: 100% ???");
	ask("/test.T/Half", "", &heard);
	ck_assert_uint_eq(heard.messages, 1);
	check_end(&heard, GRPC_END_SERVER, GRPC_INTERNAL, "and no more");
	ask("/test.T/Nothing", "", &heard);
	check_end(&heard, GRPC_END_SERVER, GRPC_UNIMPLEMENTED, "");
	ask_with(&(struct grpc_call_options){ .deadline_ms = 200 }, "/test.T/Slow", "", 0, &heard);
	check_end(&heard, GRPC_END_DEADLINE, GRPC_DEADLINE_EXCEEDED, "within 200 ms");
	ck_assert_uint_eq(names.asked, 1);
}
END_TEST

START_TEST(sizes)
{
	static uint8_t large[5u << 20];
	struct grpc_call_options options = { .max_message = 64u << 20, .max_send = 8u << 20 };
	struct heard heard;

	open_channel();
	ask("/test.T/Large", "4194304", &heard);
	ck_assert_uint_eq(heard.size, 4194304);
	check_end(&heard, GRPC_END_SERVER, GRPC_OK, "");
	ask("/test.T/Large", "4194305", &heard);
	check_end(&heard, GRPC_END_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED, "4194305 bytes");
	ask_with(&options, "/test.T/Large", "60000000", 8, &heard);
	ck_assert_uint_eq(heard.size, 60000000);
	check_end(&heard, GRPC_END_SERVER, GRPC_OK, "");
	/* gRPC's own limit for what a server takes is 4 MiB. */
	ask_with(&options, "/test.T/Echo", large, sizeof(large), &heard);
	check_end(&heard, GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "");
	ask_with(&options, "/test.T/Echo", large, 4000000, &heard);
	ck_assert_uint_eq(heard.size, 4000000);
	check_end(&heard, GRPC_END_SERVER, GRPC_OK, "");
}
END_TEST

START_TEST(names_of_the_server)
{
	struct heard heard;

	snprintf(url, sizeof(url), "https://istiod.other.svc:%u", port);
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE,
	          "the server's certificate does not name istiod.other.svc");
	ck_assert_ptr_null(grpc_channel_peer(channel));
	close_channel();
	config.alt_host = ISTIOD;
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_answer(&heard, "a");
	close_channel();
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_answer(&heard, "a");
}
END_TEST

START_TEST(roots_of_all_kinds)
{
	struct heard heard;

	config.roots = testca_pem(other);
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "TLS: ");
	close_channel();
	config.roots = "./roots";
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "./roots cannot be read");
	write_to("roots", testca_pem(other));
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "TLS: ");
	write_to("roots", testca_pem(ca));
	ask("/test.T/Echo", "a", &heard);
	check_answer(&heard, "a");
	/* Connections that live go on by what they were made with. */
	(void)unlink("roots");
	ask("/test.T/Echo", "b", &heard);
	check_answer(&heard, "b");
}
END_TEST

START_TEST(no_server)
{
	struct heard heard;

	names.fails = true;
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "no such name");
	close_channel();
	names.fails = false;
	strcpy(url, "https://" ISTIOD ":1");
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "(127.0.0.1:1): Connection refused");
	ck_assert_uint_eq(names.asked, 2);
}
END_TEST

/* A socket that is connected to, and never accepted from. @backlog -1: not even connected to. */
static int deaf_listener(int backlog, int *ret_filler)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	ck_assert_int_eq(listen(fd, backlog < 0 ? 0 : backlog), 0);
	*ret_filler = -1;
	if (backlog < 0) { /* one fills the queue, and the next is not answered */
		*ret_filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(*ret_filler, (struct sockaddr *)&at, len), 0);
	}
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

/* clang-format off */
static const struct { const char *name; int backlog; bool silent; const char *text; } silences[] = {
	{ "the name server", 0, true, "the name was not resolved in time" },
	{ "TCP", -1, false, "Connection timed out" },
	{ "TLS", 5, false, "TLS: " },
};
/* clang-format on */

START_TEST(silence_has_an_end)
{
	int filler, fd = deaf_listener(silences[_i].backlog, &filler);
	struct heard heard;

	names.silent = silences[_i].silent;
	if (names.silent)
		strcpy(url, "https://" ISTIOD ":1");
	config.connect_ms = config.handshake_ms = 100;
	open_channel();
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, silences[_i].text);
	close(fd);
	if (filler >= 0)
		close(filler);
}
END_TEST

/* Closing is always possible. */
START_TEST(closed_while_it_connects)
{
	struct heard heard = { 0 };
	struct grpc_call *call;

	open_channel();
	call = grpc_call_new(channel, "/test.T/Chat", &(struct grpc_call_options){ 0 }, &events,
	                     &heard);
	ck_assert_ptr_nonnull(call);
	for (int i = 0; i < _i; i++)
		(void)hb_loop_turn(loop, 2);
	close_channel();
	ck_assert_uint_eq(heard.ends, 0);
	free(heard.last);
}
END_TEST

/* Last: the server goes, and one that comes in its place is found by the next call. */
START_TEST(the_server_goes)
{
	struct heard heard = { 0 };
	struct grpc_call *call;

	open_channel();
	call = grpc_call_new(channel, "/test.T/Leave", &(struct grpc_call_options){ 0 }, &events,
	                     &heard);
	ck_assert(grpc_call_send(call, "a", 1));
	await(&heard.ends, 1);
	ck_assert_uint_eq(heard.messages, 1);
	free(heard.last);
	/* grpcio says so by GOAWAY, and may cancel the call in so many words after that. */
	ck_assert_msg(heard.status.kind == GRPC_END_GOAWAY || heard.status.kind == GRPC_END_SERVER,
	              "%s: %s", grpc_kind_name(heard.status.kind), heard.text);
	ask("/test.T/Echo", "a", &heard);
	check_end(&heard, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "");
	ck_assert_uint_eq(names.asked, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grpc_peer");
	TCase *tc = tcase_create("one server");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (!start_world()) {
		stop_world();
		srunner_free(runner);
		return 77;
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, unary_calls);
	tcase_add_test(tc, a_stream_both_ways);
	tcase_add_test(tc, headers_that_the_server_sees);
	tcase_add_test(tc, a_token_that_rotates);
	tcase_add_test(tc, errors_of_the_server);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, names_of_the_server);
	tcase_add_test(tc, roots_of_all_kinds);
	tcase_add_test(tc, no_server);
	tcase_add_loop_test(tc, silence_has_an_end, 0, HB_ARRAY_LEN(silences));
	tcase_add_loop_test(tc, closed_while_it_connects, 0, 12);
	tcase_add_test(tc, the_server_goes);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	stop_server();
	stop_world();
	return failed ? 1 : 0;
}
