/*
 * h2 and tunnel: a client and a server of ours, joined by a socket pair, in every way that a tunnel
 * can live and end.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>
#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/probe.h"

#define STREAMS 16

struct end {
	struct hb_h2 *h2;
	unsigned closes;
	struct hb_end why;
	struct probe streams[STREAMS];
	struct hb_tunnel_authority asked[STREAMS];
	unsigned count;
	int answer; /* server: 200, another status, or 0: not yet */
};

static struct hb_loop *loop;
static struct end client, server;
static uint8_t bytes[4 << 20];

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct end *end = hb_h2_owner(h2);

	end->closes++;
	end->why = why;
	end->h2 = NULL;
	hb_h2_free(h2);
}

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct end *end = hb_h2_owner(h2);
	unsigned i = end->count++;
	int status = hb_tunnel_request_parse(stream, &end->asked[i]);

	ck_assert_uint_lt(i, STREAMS);
	probe_init(&end->streams[i], stream);
	if (status)
		hb_tunnel_refuse(stream, status);
	else if (end->answer == 200)
		hb_tunnel_accept(stream, "");
	else if (end->answer)
		hb_tunnel_refuse(stream, end->answer);
	if (!status && end->answer == 200)
		hb_stream_resume(stream);
}

static const struct hb_h2_events events = { .on_request = on_request, .on_closed = on_closed };

static void make(struct end *end, enum hb_h2_role role, int fd, uint32_t streams_max)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 100 };
	struct hb_h2_options h2 = { .role = role, .streams_max = streams_max };
	struct hb_stream *lower = hb_tcp_new(loop, fd, &tcp);

	memset(end, 0, sizeof(*end));
	end->answer = 200;
	ck_assert_ptr_nonnull(lower);
	end->h2 = hb_h2_new(loop, lower, &h2, &events, end);
	ck_assert_ptr_nonnull(end->h2);
}

static void up(uint32_t server_streams_max)
{
	int fds[2];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	                 0);
	make(&client, HB_H2_CLIENT, fds[0], 0);
	make(&server, HB_H2_SERVER, fds[1], server_streams_max);
}

/* Everything must end, whatever a test left open, and nothing may stay behind. */
static void down(void)
{
	if (client.h2)
		hb_h2_close(client.h2, HB_END_CLEAN);
	ck_assert(turn_until(loop, &client.closes, 1, 200));
	if (server.h2)
		hb_h2_close(server.h2, HB_END_CLEAN);
	ck_assert(turn_until(loop, &server.closes, 1, 200));
	for (unsigned i = 0; i < STREAMS; i++) {
		struct probe *sides[] = { &client.streams[i], &server.streams[i] };

		for (unsigned j = 0; j < 2; j++) {
			ck_assert_msg(!sides[j]->broken, "stream %u: %s", i, sides[j]->broken);
			ck_assert_ptr_null(sides[j]->stream);
			probe_done(sides[j]);
		}
	}
	hb_buf_pool_trim(hb_loop_pool(loop), 0);
	hb_loop_free(loop);
}

static struct probe *open_tunnel(const char *authority)
{
	struct hb_tunnel_request request = { .authority = authority, .baggage = "" };
	struct hb_stream *stream = hb_tunnel_open(client.h2, &request);
	struct probe *probe = &client.streams[client.count++];

	ck_assert_ptr_nonnull(stream);
	probe_init(probe, stream);
	hb_stream_resume(stream);
	return probe;
}

static void check_bytes(const struct probe *probe, size_t len)
{
	ck_assert_uint_eq(probe->len, len);
	ck_assert_msg(len == 0 || memcmp(probe->data, bytes, len) == 0, "bytes differ");
}

START_TEST(both_ways_and_clean)
{
	static const size_t pieces[] = { 1, 100, 4095, 4096, HB_BUF_READ_MAX };
	struct probe *c, *s = &server.streams[0];
	size_t len = hb_min_size(sizeof(bytes), pieces[_i] * 20000);

	up(0);
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	ck_assert(hb_h2_streams(server.h2) == 1);
	ck_assert(server.asked[0].is_ip && server.asked[0].port == 80);
	probe_write(c, loop, bytes, len, pieces[_i]);
	probe_write(s, loop, bytes, len, pieces[_i]);
	hb_stream_finish(c->stream);
	hb_stream_finish(s->stream);
	ck_assert(turn_until(loop, &c->finishes, 1, 10000));
	ck_assert(turn_until(loop, &s->finishes, 1, 10000));
	check_bytes(c, len);
	check_bytes(s, len);
	ck_assert_uint_eq(c->fulls, c->draineds);
	hb_stream_close(c->stream, HB_END_CLEAN);
	hb_stream_close(s->stream, HB_END_CLEAN);
	ck_assert(turn_until(loop, &c->closes, 1, 100));
	ck_assert(turn_until(loop, &s->closes, 1, 100));
	ck_assert_int_eq(c->end.code, 0);
	ck_assert_int_eq(s->end.code, 0);
	ck_assert_uint_eq(hb_h2_streams(client.h2), 0);
	down();
}
END_TEST

START_TEST(half_close)
{
	struct probe *c, *s = &server.streams[0];

	up(0);
	c = open_tunnel("[fd00::1]:443");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	if (_i == 0) { /* the client ends first and still hears the server */
		hb_stream_finish(c->stream);
		ck_assert(turn_until(loop, &s->finishes, 1, 100));
		probe_write(s, loop, bytes, 100000, 5000);
		hb_stream_finish(s->stream);
		ck_assert(turn_until(loop, &c->finishes, 1, 1000));
		check_bytes(c, 100000);
	} else {
		hb_stream_finish(s->stream);
		ck_assert(turn_until(loop, &c->finishes, 1, 100));
		probe_write(c, loop, bytes, 100000, 5000);
		hb_stream_finish(c->stream);
		ck_assert(turn_until(loop, &s->finishes, 1, 1000));
		check_bytes(s, 100000);
	}
	hb_stream_close(c->stream, HB_END_CLEAN);
	hb_stream_close(s->stream, HB_END_CLEAN);
	ck_assert(turn_until(loop, &s->closes, 1, 100));
	ck_assert_int_eq(s->end.code, 0);
	down();
}
END_TEST

/* The whole answer comes at once, to an owner that resumed its tunnel before it was open. */
START_TEST(all_with_the_answer)
{
	size_t len = _i == 0 ? 0 : 5000;
	struct probe *c, *s = &server.streams[0];

	up(0);
	server.answer = 0;
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &server.count, 1, 100));
	hb_tunnel_accept(s->stream, NULL);
	probe_write(s, loop, bytes, len, len);
	hb_stream_finish(s->stream);
	ck_assert(turn_until(loop, &c->finishes, 1, 100));
	check_bytes(c, len);
	down();
}
END_TEST

START_TEST(refused)
{
	static const int statuses[] = { 400, 401, 503 };
	struct probe *c;

	up(0);
	server.answer = statuses[_i];
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->closes, 1, 100));
	ck_assert_int_eq(c->opens, 0);
	ck_assert_int_eq(c->end.layer, HB_LAYER_TUNNEL);
	ck_assert_int_eq(c->end.side, HB_SIDE_PEER);
	ck_assert_int_eq(c->end.code, HB_E_STATUS(statuses[_i]));
	ck_assert(turn_until(loop, &server.streams[0].closes, 1, 100));
	ck_assert_int_eq(server.streams[0].end.code, HB_E_STATUS(statuses[_i]));
	/* The connection is as good as before. */
	server.answer = 200;
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	hb_stream_close(c->stream, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
	ck_assert(turn_until(loop, &c->closes, 1, 100));
	down();
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	const char *authority;
	int want; /* 0: accepted */
} authorities[] = {
	{ "IPv4", "10.0.0.1:80", 0 },
	{ "IPv6", "[fd00::1]:80", 0 },
	{ "a name", "app.ns.svc.cluster.local:80", 0 },
	{ "leading zeros", "10.0.0.1:09000", 0 },
	{ "user info is a name", "user@10.0.0.1:80", 0 },
	{ "octal is a name", "010.0.0.1:80", 0 },
	{ "IPv4, mapped", "[::ffff:10.0.0.1]:80", 400 },
	{ "no port", "10.0.0.1", 400 },
	{ "port 70000", "10.0.0.1:70000", 400 },
	{ "no host", ":80", 400 },
	{ "IPv6 without brackets", "fd00::1:80", 400 },
	{ "a port with a sign", "10.0.0.1:-80", 400 },
};
/* clang-format on */

START_TEST(authority_forms)
{
	struct probe *c;

	up(0);
	c = open_tunnel(authorities[_i].authority);
	for (int i = 0; i < 100 && !c->opens && !c->closes; i++)
		hb_loop_turn(loop, 100);
	if (authorities[_i].want == 0)
		ck_assert_msg(c->opens == 1, "%s: %s", authorities[_i].name,
		              hb_strerror(c->end.code));
	else
		ck_assert_msg(c->end.code == HB_E_STATUS(authorities[_i].want), "%s: %s",
		              authorities[_i].name, hb_strerror(c->end.code));
	down();
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	int code, want;
	bool by_client;
} aborts[] = {
	{ "the client's app resets", -ECONNRESET, HB_E_RST(10), true },
	{ "the server's app resets", -ECONNRESET, HB_E_RST(10), false },
	{ "policy changes", HB_E_POLICY, HB_E_RST(8), false },
	{ "idle", HB_E_IDLE, HB_E_RST(8), true },
};
/* clang-format on */

START_TEST(aborted)
{
	struct probe *c, *s = &server.streams[0], *by, *other;

	up(0);
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	by = aborts[_i].by_client ? c : s;
	other = aborts[_i].by_client ? s : c;
	probe_write(by, loop, bytes, 300000, 5000);
	turn_some(loop, 2);
	hb_stream_close(by->stream, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, aborts[_i].code));
	ck_assert(turn_until(loop, &by->closes, 1, 100));
	ck_assert(turn_until(loop, &other->closes, 1, 100));
	ck_assert_msg(by->end.code == aborts[_i].code, "%s", aborts[_i].name);
	ck_assert_msg(other->end.code == aborts[_i].want, "%s: %s", aborts[_i].name,
	              hb_strerror(other->end.code));
	ck_assert_msg(other->finishes == 0, "%s: a reset looked like an end", aborts[_i].name);
	down();
}
END_TEST

START_TEST(stalled_streams_stall_nobody)
{
	struct probe *good;

	up(0);
	/* Ten streams whose receiver does not read, each with more than its window to send. */
	for (unsigned i = 0; i < 10; i++) {
		struct probe *c = open_tunnel("10.0.0.1:80");

		ck_assert(turn_until(loop, &c->opens, 1, 100));
		hb_stream_pause(server.streams[i].stream);
		probe_write(c, loop, bytes, 2u << 20, HB_BUF_READ_MAX);
	}
	turn_some(loop, 200);
	good = open_tunnel("10.0.0.1:81");
	ck_assert(turn_until(loop, &good->opens, 1, 100));
	probe_write(good, loop, bytes, sizeof(bytes), HB_BUF_READ_MAX);
	hb_stream_finish(good->stream);
	ck_assert(turn_until(loop, &server.streams[10].finishes, 1, 10000));
	check_bytes(&server.streams[10], sizeof(bytes));
	for (unsigned i = 0; i < 10; i++) {
		ck_assert_uint_eq(server.streams[i].len, 0);
		ck_assert_uint_eq(client.streams[i].fulls, 1);
		/* All of it comes once somebody reads. */
		hb_stream_resume(server.streams[i].stream);
		ck_assert(turn_until_size(loop, &server.streams[i].len, 2u << 20, 10000));
		ck_assert_uint_eq(client.streams[i].draineds, 1);
	}
	down();
}
END_TEST

START_TEST(last_bytes_before_the_end)
{
	struct probe *c, *s = &server.streams[0];

	up(0);
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	hb_stream_pause(c->stream);
	probe_write(s, loop, bytes, 50000, 5000);
	hb_stream_close(s->stream, HB_END_CLEAN); /* flushes, finishes, wants no more */
	ck_assert(turn_until(loop, &s->closes, 1, 100));
	ck_assert_uint_eq(c->len, 0);
	hb_stream_resume(c->stream);
	ck_assert(turn_until(loop, &c->finishes, 1, 100));
	check_bytes(c, 50000);
	/* The server did not wait for our end: that is told, after its last byte. */
	ck_assert(turn_until(loop, &c->closes, 1, 100));
	ck_assert_int_eq(c->end.code, HB_E_RST(0));
	down();
}
END_TEST

START_TEST(drain_keeps_the_living)
{
	struct probe *c;

	up(0);
	c = open_tunnel("10.0.0.1:80");
	ck_assert(turn_until(loop, &c->opens, 1, 100));
	hb_h2_drain(_i == 0 ? server.h2 : client.h2);
	for (int i = 0; i < 20; i++)
		hb_loop_turn(loop, 10);
	ck_assert_uint_eq(hb_h2_room(client.h2), 0);
	ck_assert(hb_h2_is_draining(client.h2));
	probe_write(c, loop, bytes, 100000, 5000);
	hb_stream_finish(c->stream);
	hb_stream_finish(server.streams[0].stream);
	ck_assert(turn_until(loop, &server.streams[0].finishes, 1, 100));
	ck_assert(turn_until(loop, &c->finishes, 1, 100));
	check_bytes(&server.streams[0], 100000);
	hb_stream_close(c->stream, HB_END_CLEAN);
	hb_stream_close(server.streams[0].stream, HB_END_CLEAN);
	/* Both ends close by themselves with the last stream. */
	ck_assert(turn_until(loop, &client.closes, 1, 200));
	ck_assert(turn_until(loop, &server.closes, 1, 200));
	ck_assert_int_eq(client.why.code, 0);
	down();
}
END_TEST

START_TEST(more_streams_than_granted)
{
	unsigned opened = 0, turned_away = 0;

	up(4);
	/* Before the peer's SETTINGS have come: it refuses what is too much, unprocessed. */
	for (unsigned i = 0; i < 6; i++)
		open_tunnel("10.0.0.1:80");
	for (unsigned t = 0; t < 100; t++)
		hb_loop_turn(loop, 1);
	for (unsigned i = 0; i < 6; i++) {
		opened += client.streams[i].opens;
		if (client.streams[i].closes) {
			ck_assert_int_eq(client.streams[i].end.code, HB_E_REFUSED);
			turned_away++;
		}
	}
	ck_assert_uint_eq(opened, 4);
	ck_assert_uint_eq(turned_away, 2);
	ck_assert_uint_eq(hb_h2_room(client.h2), 0);
	down();
}
END_TEST

START_TEST(lower_lost)
{
	struct probe *c[3];

	up(0);
	for (unsigned i = 0; i < 3; i++) {
		c[i] = open_tunnel("10.0.0.1:80");
		ck_assert(turn_until(loop, &c[i]->opens, 1, 100));
	}
	hb_stream_close(hb_h2_lower(server.h2), hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	ck_assert(turn_until(loop, &client.closes, 1, 100));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(c[i]->closes, 1);
		ck_assert_msg(c[i]->end.code < 0, "a lost connection looked like an end");
	}
	down();
}
END_TEST

/* One of ours, and @raw for the bytes of a peer that may say anything. */
static void up_raw(struct end *ours, enum hb_h2_role role, struct probe *raw)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 100 };
	int fds[2];

	up(0);
	hb_h2_close(client.h2, HB_END_CLEAN);
	hb_h2_close(server.h2, HB_END_CLEAN);
	ck_assert(turn_until(loop, &client.closes, 1, 200));
	ck_assert(turn_until(loop, &server.closes, 1, 200));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	                 0);
	make(ours, role, fds[0], 0);
	probe_init(raw, hb_tcp_new(loop, fds[1], &tcp));
	hb_stream_resume(raw->stream);
}

static void down_raw(struct end *ours, struct probe *raw)
{
	hb_stream_close(raw->stream, HB_END_CLEAN);
	ck_assert(turn_until(loop, &raw->closes, 1, 200));
	ck_assert(turn_until(loop, &ours->closes, 1, 200));
	probe_done(raw);
	client.closes = server.closes = 1;
	down();
}

START_TEST(garbage_ends_it)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	};
	struct probe raw;

	up_raw(&server, HB_H2_SERVER, &raw);
	probe_write(&raw, loop, garbage[_i], strlen(garbage[_i]), 1000);
	ck_assert(turn_until(loop, &raw.finishes, 1, 200));
	down_raw(&server, &raw);
	ck_assert_int_lt(server.why.code, 0);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	uint32_t code;
	int want;
} goaways[] = {
	{ "INTERNAL_ERROR", 2, HB_E_RST(2) },
	{ "the last that we can say", 999, HB_E_RST(999) },
	{ "the first that we cannot", 1000, HB_E_RST(999) },
	{ "past an int", 0x80000000u, HB_E_RST(999) },
	{ "the largest", UINT32_MAX, HB_E_RST(999) },
};
/* clang-format on */

START_TEST(goaway_says_why)
{
	uint8_t code[4] = { (uint8_t)(goaways[_i].code >> 24), (uint8_t)(goaways[_i].code >> 16),
		            (uint8_t)(goaways[_i].code >> 8), (uint8_t)goaways[_i].code };
	struct probe raw;

	up_raw(&client, HB_H2_CLIENT, &raw);
	probe_write(&raw, loop, "\0\0\0\4\0\0\0\0", 9, 1000);           /* SETTINGS */
	probe_write(&raw, loop, "\0\0\10\7\0\0\0\0\0\0\0\0", 13, 1000); /* GOAWAY */
	probe_write(&raw, loop, code, sizeof(code), 1000);
	ck_assert(turn_until(loop, &raw.finishes, 1, 200));
	down_raw(&client, &raw);
	ck_assert_msg(client.why.code == goaways[_i].want, "%s: %d", goaways[_i].name,
	              client.why.code);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2");
	TCase *tc = tcase_create("tunnels");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, both_ways_and_clean, 0, 5);
	tcase_add_loop_test(tc, half_close, 0, 2);
	tcase_add_loop_test(tc, all_with_the_answer, 0, 2);
	tcase_add_loop_test(tc, refused, 0, 3);
	tcase_add_loop_test(tc, authority_forms, 0, HB_ARRAY_LEN(authorities));
	tcase_add_loop_test(tc, aborted, 0, HB_ARRAY_LEN(aborts));
	tcase_add_test(tc, stalled_streams_stall_nobody);
	tcase_add_test(tc, last_bytes_before_the_end);
	tcase_add_loop_test(tc, drain_keeps_the_living, 0, 2);
	tcase_add_test(tc, more_streams_than_granted);
	tcase_add_test(tc, lower_lost);
	tcase_add_loop_test(tc, garbage_ends_it, 0, 2);
	tcase_add_loop_test(tc, goaway_says_why, 0, HB_ARRAY_LEN(goaways));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
