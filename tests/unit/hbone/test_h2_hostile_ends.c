/*
 * h2 whose streams all end at once: a few are told in a turn, each once, and the connection's own
 * end comes after them; what others have to say is heard in between. And requests whose connection
 * has ended before they were looked at.
 */
#include <check.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>
#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/pair.h"
#include "support/probe.h"

#define STREAMS    750
#define ENDS_TURNS 60 /* at least, from the first to the last; h2.c tells four in one, */
#define ENDS_MOST  8  /* and twice as many in a turn that begins with what was put off before it */

static struct hb_loop *loop;
static struct side {
	struct hb_h2 *h2;
	struct hb_stream *streams[STREAMS];
	unsigned count, opens, ends, closes;
	struct hb_end why, last; /* the connection's; a stream's */
} client, server, other_client, other_server;
static struct probe asker, answerer; /* of a tunnel on the other connection */

static void on_stream_open(struct hb_stream *stream)
{
	struct side *side = stream->owner;

	side->opens++;
}

static void on_stream_data(struct hb_stream *stream, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_stream_nothing(struct hb_stream *stream)
{
}

static void on_stream_closed(struct hb_stream *stream, struct hb_end why)
{
	struct side *side = stream->owner;

	ck_assert_uint_eq(side->closes, 0);
	side->ends++;
	side->last = why;
	for (unsigned i = 0; i < side->count; i++)
		if (side->streams[i] == stream)
			side->streams[i] = NULL;
	hb_stream_free(stream);
}

static const struct hb_stream_events stream_events = {
	.on_open = on_stream_open,
	.on_data = on_stream_data,
	.on_finish = on_stream_nothing,
	.on_full = on_stream_nothing,
	.on_drained = on_stream_nothing,
	.on_closed = on_stream_closed,
};

static void own(struct side *side, struct hb_stream *stream)
{
	ck_assert_ptr_nonnull(stream);
	ck_assert_uint_lt(side->count, STREAMS);
	side->streams[side->count++] = stream;
	stream->owner = side;
	stream->events = &stream_events;
}

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct side *side = hb_h2_owner(h2);

	if (side == &other_server)
		probe_init(&answerer, stream);
	else
		own(side, stream);
	hb_tunnel_accept(stream, NULL);
}

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct side *side = hb_h2_owner(h2);

	ck_assert_uint_eq(side->ends, side->count);
	side->closes++;
	side->why = why;
	side->h2 = NULL;
	hb_h2_free(h2);
}

static void join(struct side *asks, struct side *answers)
{
	static const struct hb_h2_events events = { .on_request = on_request,
		                                    .on_closed = on_closed };
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD };
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	                 0);
	asks->h2 = hb_h2_new(loop, hb_tcp_new(loop, fds[0], &tcp),
	                     &(struct hb_h2_options){ .role = HB_H2_CLIENT }, &events, asks);
	answers->h2 = hb_h2_new(loop, hb_tcp_new(loop, fds[1], &tcp),
	                        &(struct hb_h2_options){ .role = HB_H2_SERVER }, &events, answers);
	ck_assert_ptr_nonnull(asks->h2);
	ck_assert_ptr_nonnull(answers->h2);
}

static struct hb_stream *ask(struct hb_h2 *h2)
{
	return hb_tunnel_open(h2, &(struct hb_tunnel_request){ .authority = "a:80" });
}

static void up(void)
{
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	join(&client, &server);
	join(&other_client, &other_server);
	for (unsigned i = 0; i < 100 && !hb_h2_has_settings(client.h2); i++)
		hb_loop_turn(loop, 10);
	for (unsigned i = 0; i < STREAMS; i++)
		own(&client, ask(client.h2));
	probe_init(&asker, ask(other_client.h2));
	ck_assert(turn_until(loop, &client.opens, STREAMS, 1000));
	ck_assert(turn_until(loop, &asker.opens, 1, 100));
	ck_assert_uint_eq(server.count, STREAMS);
	hb_stream_resume(answerer.stream);
}

static void down(void)
{
	hb_h2_close(other_client.h2, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
	ck_assert(turn_until(loop, &other_client.closes, 1, 200));
	ck_assert(turn_until(loop, &other_server.closes, 1, 200));
	probe_done(&asker);
	probe_done(&answerer);
	hb_loop_free(loop);
}

/* What makes them end. */
static void server_breaks_off(void)
{
	hb_h2_close(server.h2, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
}

static void client_breaks_off(void)
{
	hb_h2_close(client.h2, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
}

static void client_closes_well(void)
{
	hb_h2_close(client.h2, HB_END_CLEAN);
}

static void each_is_reset(void)
{
	for (unsigned i = 0; i < STREAMS; i++)
		hb_stream_close(client.streams[i], hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
}

static void each_is_reset_then_all(void)
{
	each_is_reset();
	hb_loop_turn(loop, 0);
	server_breaks_off();
}

/* clang-format off */
static const struct {
	const char *name;
	void (*end)(void);
	bool goes_on; /* the connections */
} rows[] = {
	{ "the server breaks off", server_breaks_off, false },
	{ "the client breaks off", client_breaks_off, false },
	{ "the client closes well", client_closes_well, false },
	{ "each stream is reset", each_is_reset, true },
	{ "each is reset, and then the connection", each_is_reset_then_all, false },
};
/* clang-format on */

START_TEST(a_few_in_a_turn)
{
	const char *name = rows[_i].name;
	unsigned turns = 0, heard = 0;

	up();
	rows[_i].end();
	for (; turns < 1000 && (client.ends < STREAMS || server.ends < STREAMS); turns++) {
		unsigned before = client.ends, before_there = server.ends;
		size_t len = answerer.len;

		if (asker.written == len)
			probe_write(&asker, loop, "x", 1, 1);
		hb_loop_turn(loop, 10);
		ck_assert_msg(client.ends - before <= ENDS_MOST, "%s: the client told %u", name,
		              client.ends - before);
		ck_assert_msg(server.ends - before_there <= ENDS_MOST, "%s: the server told %u",
		              name, server.ends - before_there);
		heard += answerer.len > len;
	}
	ck_assert_msg(client.ends == STREAMS && server.ends == STREAMS, "%s: %u and %u ended", name,
	              client.ends, server.ends);
	ck_assert_msg(turns >= ENDS_TURNS, "%s: in %u turns", name, turns);
	ck_assert_msg(heard >= ENDS_TURNS / 3, "%s: others were heard %u times", name, heard);
	if (rows[_i].goes_on) {
		ck_assert_uint_eq(client.closes + server.closes, 0);
		ck_assert_int_eq(client.last.code, -ECONNRESET);
		client_closes_well();
	}
	ck_assert_msg(turn_until(loop, &client.closes, 1, 100), "%s: the client stays", name);
	ck_assert_msg(turn_until(loop, &server.closes, 1, 100), "%s: the server stays", name);
	down();
}
END_TEST

/* An app with many connections exits: no flood, whichever of the two it looks like. */
START_TEST(all_end_well_at_once)
{
	up();
	for (unsigned i = 0; i < STREAMS; i++)
		hb_stream_close(client.streams[i], HB_END_CLEAN);
	for (unsigned i = 0; _i && i < STREAMS; i++)
		hb_stream_close(server.streams[i], HB_END_CLEAN);
	(void)turn_until(loop, &client.ends, STREAMS, 2000);
	(void)turn_until(loop, &server.ends, STREAMS, 2000);
	ck_assert_uint_eq(client.closes + server.closes, 0);
	if (_i) {
		ck_assert_uint_eq(client.ends, STREAMS);
		ck_assert_uint_eq(server.ends, STREAMS);
	}
	hb_h2_close(client.h2, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
	ck_assert(turn_until(loop, &client.closes, 1, 1000));
	ck_assert(turn_until(loop, &server.closes, 1, 1000));
	down();
}
END_TEST

/* The preface, empty SETTINGS, and so many of CONNECT a:80. */
static size_t write_requests(uint8_t *out, unsigned count)
{
	static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0";
	static const char request[] = "\0\0\x0f\x01\x04\0\0\0\0\x02\x07"
				      "CONNECT\x01\x04"
				      "a:80";
	size_t len = sizeof(begin);

	memcpy(out, begin, len);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(out + len, request, sizeof(request) - 1);
		out[len + 7] = (uint8_t)((2 * i + 1) >> 8);
		out[len + 8] = (uint8_t)(2 * i + 1);
		len += sizeof(request) - 1;
	}
	return len;
}

/* It has come with them, and there is nobody to answer: those not yet looked at are not told. */
START_TEST(requests_of_who_is_gone)
{
	static const struct hb_h2_events events = { .on_request = on_request,
		                                    .on_closed = on_closed };
	static uint8_t bytes[STREAMS * 24 + 64];
	struct hb_stream *wires[2];
	struct probe raw;
	size_t len = write_requests(bytes, STREAMS);

	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	pair_new(loop, wires);
	server.h2 = hb_h2_new(loop, wires[0], &(struct hb_h2_options){ .role = HB_H2_SERVER },
	                      &events, &server);
	ck_assert_ptr_nonnull(server.h2);
	probe_init(&raw, wires[1]);
	probe_write(&raw, loop, bytes, len, HB_BUF_PAYLOAD);
	hb_loop_turn(loop, 0);
	ck_assert_uint_ge(server.count, 1);
	ck_assert_uint_le(server.count, 8);
	probe_close(&raw, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	ck_assert(turn_until(loop, &server.closes, 1, 100));
	ck_assert_uint_le(server.count, 16);
	ck_assert_int_eq(server.why.code, -ECONNRESET);
	ck_assert(turn_until(loop, &raw.closes, 1, 100));
	probe_done(&raw);
	hb_loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2_hostile_ends");
	TCase *tc = tcase_create("all at once");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_end_well_at_once, 0, 2);
	tcase_add_loop_test(tc, a_few_in_a_turn, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, requests_of_who_is_gone);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
