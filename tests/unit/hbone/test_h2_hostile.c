/*
 * h2 against a peer that speaks raw frames: floods, bombs, silence. Each ends within a bounded
 * number of frames or by a deadline, and is told why.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>
#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/probe.h"

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };
enum { NO_ERROR = 0, REFUSED_STREAM = 7, ENHANCE_YOUR_CALM = 11 };

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
/* :method CONNECT, :authority a:80; literals that are not indexed */
#define CONNECT                                                                                    \
	"\x02\x07"                                                                                 \
	"CONNECT"                                                                                  \
	"\x01\x04"                                                                                 \
	"a:80"

static struct hb_loop *loop;
static struct probe raw; /* the hostile end */
static struct probe streams[8];
static struct {
	struct hb_h2 *h2;
	unsigned closes, requests;
	bool answers;
	struct hb_end why;
	struct hb_h2_counters counters;
} victim;
static uint8_t out[8 << 20];
static size_t out_len;

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	victim.closes++;
	victim.why = why;
	victim.counters = *hb_h2_counters(h2);
	victim.h2 = NULL;
	hb_h2_free(h2);
}

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	unsigned i = victim.requests++;

	if (i >= HB_ARRAY_LEN(streams)) {
		stream->events = &hb_stream_orphan_events;
		if (victim.answers)
			hb_tunnel_refuse(stream, 503);
		return;
	}
	probe_init(&streams[i], stream);
	if (victim.answers)
		hb_tunnel_accept(stream, "");
}

static void up(const struct hb_h2_options *options)
{
	static const struct hb_h2_events events = { .on_request = on_request,
		                                    .on_closed = on_closed };
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 2000 };
	int fds[2];

	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	                 0);
	victim.h2 = hb_h2_new(loop, hb_tcp_new(loop, fds[0], &tcp), options, &events, NULL);
	ck_assert_ptr_nonnull(victim.h2);
	probe_init(&raw, hb_tcp_new(loop, fds[1], &tcp));
	out_len = 0;
}

static void down(void)
{
	if (raw.stream)
		hb_stream_close(raw.stream, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	ck_assert(turn_until(loop, &raw.closes, 1, 200));
	ck_assert(turn_until(loop, &victim.closes, 1, 400)); /* of 1000 streams, too */
	for (size_t i = 0; i < HB_ARRAY_LEN(streams); i++) {
		ck_assert_msg(!streams[i].broken, "stream %zu: %s", i, streams[i].broken);
		ck_assert_ptr_null(streams[i].stream);
		probe_done(&streams[i]);
	}
	probe_done(&raw);
	hb_loop_free(loop);
}

static void add(const void *bytes, size_t len)
{
	ck_assert_uint_le(out_len + len, sizeof(out));
	memcpy(out + out_len, bytes, len);
	out_len += len;
}

static void add_frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
	uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
		(uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id
	};

	add(head, sizeof(head));
	add(payload, len);
}

static void add_request(uint32_t id)
{
	add_frame(HEADERS, END_HEADERS, id, CONNECT, sizeof(CONNECT) - 1);
}

static void say(void)
{
	if (raw.stream)
		probe_write(&raw, loop, out, out_len, HB_BUF_PAYLOAD);
	out_len = 0;
}

static void greet(void)
{
	add(PREFACE, 24);
	add_frame(SETTINGS, 0, 0, "", 0);
}

/* The frames of @type that came; the last one's number at @offset of its payload. */
static unsigned heard(uint8_t type, size_t offset, uint32_t *ret_last)
{
	unsigned n = 0;

	for (size_t at = 0; at + 9 <= raw.len;) {
		const uint8_t *f = raw.data + at;
		size_t len = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];

		ck_assert_uint_le(at + 9 + len, raw.len);
		if (f[3] == type) {
			const uint8_t *p = f + 9 + offset;

			n++;
			if (ret_last && offset + 4 <= len)
				*ret_last = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
				            (uint32_t)p[2] << 8 | p[3];
		}
		at += 9 + len;
	}
	return n;
}

/* ---- floods: each writes one unit ---- */

static void rapid_reset(uint32_t id)
{
	add_request(id);
	add_frame(RST, 0, id, "\0\0\0\x08", 4);
}

/* The peer's window overflows, and it is we who must reset. */
static void made_you_reset(uint32_t id)
{
	add_request(id);
	add_frame(WINDOW, 0, id, "\x7f\xff\xff\xff", 4);
}

static void upper_case(uint32_t id)
{
	add_frame(HEADERS, END_HEADERS, id,
	          CONNECT "\x00\x01"
	                  "A"
	                  "\x01"
	                  "a",
	          sizeof(CONNECT) + 4);
}

static void settings(uint32_t id)
{
	add_frame(SETTINGS, 0, 0, "\0\4\0\1\0\0", 6);
}

static void ping(uint32_t id)
{
	add_frame(PING, 0, 0, "culvert!", 8);
}

static void priority(uint32_t id)
{
	add_frame(PRIORITY, 0, id, "\0\0\0\0\x10", 5);
}

static void window_update(uint32_t id)
{
	add_frame(WINDOW, 0, 0, "\0\0\0\x01", 4);
}

static void empty_data(uint32_t id)
{
	if (id == 1)
		add_request(1);
	add_frame(DATA, 0, 1, "", 0);
}

static void stray_data(uint32_t id)
{
	if (id == 1)
		rapid_reset(1);
	add_frame(DATA, 0, 1, "x", 1);
}

static void empty_headers(uint32_t id)
{
	add_frame(HEADERS, END_HEADERS, id, "", 0);
}

static void continuation(uint32_t id)
{
	add_frame(id == 1 ? HEADERS : CONTINUATION, 0, 1, "", 0);
}

/* 4000 bytes into the table, then 15,000 times the same field by one byte each. */
static void hpack_bomb(uint32_t id)
{
	static uint8_t block[15000], entry[4010];

	memset(block, 0xbe, sizeof(block));
	memset(entry, 'x', sizeof(entry));
	memcpy(entry,
	       "\x40\x01"
	       "x"
	       "\x7f\xa1\x1e",
	       6);
	add_frame(HEADERS, 0, id, CONNECT, sizeof(CONNECT) - 1);
	add_frame(CONTINUATION, 0, id, entry, 6 + 4000);
	add_frame(CONTINUATION, END_HEADERS, id, block, sizeof(block));
}

/* Each is answered 503, but for the first few. */
static void refused(uint32_t id)
{
	add_request(id);
}

static void unknown(uint32_t id)
{
	add_frame(0xee, 0, id, "anything", 8);
}

/* clang-format off */
static const struct {
	const char *name;
	void (*unit)(uint32_t id);
	unsigned units;
	bool answers;
	enum hb_h2_kind kind;
} floods[] = {
	{ "rapid reset", rapid_reset, 3000, false, HB_H2_RESETS },
	{ "reset by our own hand", made_you_reset, 3000, false, HB_H2_RESETS },
	{ "malformed requests", upper_case, 3000, true, HB_H2_RESETS },
	{ "SETTINGS", settings, 3000, true, HB_H2_SETTINGS },
	{ "PING", ping, 3000, true, HB_H2_PINGS },
	{ "PRIORITY", priority, 3000, true, HB_H2_PRIORITIES },
	{ "WINDOW_UPDATE", window_update, 5000, true, HB_H2_WINDOW_UPDATES },
	{ "empty DATA", empty_data, 3000, true, HB_H2_EMPTY_DATA },
	{ "DATA to a stream that is gone", stray_data, 40000, true, HB_H2_STRAY_DATA },
	{ "empty HEADERS", empty_headers, 3000, true, HB_H2_RESETS },
	{ "CONTINUATION", continuation, 3000, true, HB_H2_HEADERS },
	{ "HPACK bomb", hpack_bomb, 100, true, HB_H2_OVERSIZED },
	{ "more and more streams", add_request, 3000, false, HB_H2_REFUSED },
	{ "unknown frames", unknown, 3000, true, HB_H2_UNKNOWN },
	{ "requests that are refused", refused, 3000, true, HB_H2_DENIED },
};
/* clang-format on */

START_TEST(a_flood_ends)
{
	const char *name = floods[_i].name;
	uint32_t code = 0;

	up(&(struct hb_h2_options){ .role = HB_H2_SERVER });
	victim.answers = floods[_i].answers;
	hb_stream_resume(raw.stream);
	greet();
	for (unsigned i = 0; i < floods[_i].units && !raw.finishes; i++) {
		floods[_i].unit(2 * i + 1);
		if (i % 50 < 49)
			continue;
		say();
		turn_some(loop, 3);
	}
	ck_assert_msg(turn_until(loop, &raw.finishes, 1, 1000), "%s: not ended", name);
	ck_assert_msg(heard(GOAWAY, 4, &code) >= 1, "%s: no GOAWAY", name);
	ck_assert_msg(code == ENHANCE_YOUR_CALM, "%s: GOAWAY said %u", name, code);
	down();
	ck_assert_msg(victim.why.code == HB_E_FLOOD && victim.why.side == HB_SIDE_PEER &&
	                  victim.why.layer == HB_LAYER_H2,
	              "%s: ended by %s", name, hb_strerror(victim.why.code));
	ck_assert_msg(victim.counters.flood == (int)floods[_i].kind, "%s: told as %d", name,
	              victim.counters.flood);
}
END_TEST

static void interim_answer(uint32_t id)
{
	add_frame(HEADERS, END_HEADERS, 1,
	          "\x08\x03"
	          "100",
	          5);
}

/* clang-format off */
static const struct {
	const char *name;
	void (*unit)(uint32_t id);
	enum hb_h2_kind kind;
} servers[] = {
	{ "interim answers", interim_answer, HB_H2_HEADERS },
	{ "PING", ping, HB_H2_PINGS },
	{ "SETTINGS", settings, HB_H2_SETTINGS },
	{ "unknown frames", unknown, HB_H2_UNKNOWN },
};
/* clang-format on */

START_TEST(a_flood_of_a_server_ends)
{
	struct hb_tunnel_request request = { .authority = "a:80" };
	struct hb_stream *tunnel;

	up(&(struct hb_h2_options){ .role = HB_H2_CLIENT });
	hb_stream_resume(raw.stream);
	tunnel = hb_tunnel_open(victim.h2, &request);
	ck_assert_ptr_nonnull(tunnel);
	probe_init(&streams[0], tunnel);
	add_frame(SETTINGS, 0, 0, "", 0);
	say();
	turn_some(loop, 20);
	for (unsigned i = 0; i < 3000 && !raw.finishes; i++) {
		servers[_i].unit(2 * i + 1);
		if (i % 50 < 49)
			continue;
		say();
		turn_some(loop, 3);
	}
	ck_assert_msg(turn_until(loop, &raw.finishes, 1, 1000), "%s: not ended", servers[_i].name);
	down();
	ck_assert_int_eq(victim.why.code, HB_E_FLOOD);
	ck_assert_msg(victim.counters.flood == (int)servers[_i].kind, "%s: told as %d",
	              servers[_i].name, victim.counters.flood);
	ck_assert_int_eq(streams[0].end.code, HB_E_FLOOD);
}
END_TEST

START_TEST(streams_above_the_limit_alone_are_refused)
{
	uint32_t code = 0;

	up(&(struct hb_h2_options){ .role = HB_H2_SERVER, .streams_max = 4 });
	victim.answers = true;
	hb_stream_resume(raw.stream);
	greet();
	say();
	turn_some(loop, 20);
	/* It has heard of the limit, and said so. */
	ck_assert_uint_eq(heard(SETTINGS, 20, &code), 2);
	ck_assert_uint_eq(code, 4);
	add_frame(SETTINGS, ACK, 0, "", 0);
	for (uint32_t id = 1; id <= 13; id += 2)
		add_request(id);
	say();
	turn_some(loop, 20);
	ck_assert_uint_eq(victim.requests, 4);
	ck_assert_uint_eq(heard(RST, 0, &code), 3);
	ck_assert_uint_eq(code, REFUSED_STREAM);
	ck_assert_uint_eq(heard(GOAWAY, 0, NULL), 0);
	ck_assert_uint_eq(hb_h2_counters(victim.h2)->seen[HB_H2_REFUSED], 3);
	/* Where one ends there is room for one. */
	add_frame(RST, 0, 1, "\0\0\0\x08", 4);
	add_request(15);
	say();
	turn_some(loop, 20);
	ck_assert_uint_eq(victim.requests, 5);
	down();
}
END_TEST

/* Much that came at once is served little by little, and others have their turns in between. */
START_TEST(work_is_spread_over_turns)
{
	unsigned turns = 0;

	up(&(struct hb_h2_options){ .role = HB_H2_SERVER });
	victim.answers = true;
	hb_stream_resume(raw.stream);
	greet();
	for (uint32_t i = 0; i < 150; i++)
		add_request(2 * i + 1);
	say();
	for (; turns < 200 && victim.requests < 150; turns++) {
		unsigned before = victim.requests;

		hb_loop_turn(loop, 10);
		ck_assert_uint_le(victim.requests - before, 2 * 4);
	}
	ck_assert_uint_eq(victim.requests, 150);
	/* It is read from again, and an end that comes with a request does not hide it. */
	add_request(301);
	for (uint32_t i = 0; i < 60; i++)
		add_request(2 * i + 303);
	say();
	hb_stream_finish(raw.stream);
	ck_assert(turn_until(loop, &victim.closes, 1, 200));
	ck_assert_uint_eq(victim.requests, 211);
	down();
}
END_TEST

static void nothing(void)
{
}

static void only_preface(void)
{
	add(PREFACE, 24);
}

static void half_a_block(void)
{
	greet();
	add_frame(HEADERS, 0, 1, CONNECT, sizeof(CONNECT) - 1);
}

static void half_a_frame(void)
{
	greet();
	add_request(1);
	out_len--;
}

/* clang-format off */
static const struct {
	const char *name;
	void (*begin)(void);
} silences[] = {
	{ "nothing", nothing },
	{ "a preface without SETTINGS", only_preface },
	{ "a header block without its end", half_a_block },
	{ "a request but for its last byte", half_a_frame },
};
/* clang-format on */

START_TEST(silence_ends)
{
	up(&(struct hb_h2_options){ .role = HB_H2_SERVER,
	                            .begin_ms = 50,
	                            .ping_interval_ms = 60,
	                            .ping_timeout_ms = 60000 });
	hb_stream_resume(raw.stream);
	silences[_i].begin();
	for (unsigned i = 0; i < 300 && !raw.finishes && !raw.closes; i++) {
		/* A header block may be fed for ever; each byte is a sign of life. */
		if (_i == 2)
			add_frame(CONTINUATION, 0, 1, "", 0);
		if (i < 4)
			say();
		hb_loop_turn(loop, 10);
	}
	ck_assert_msg(raw.finishes == 1, "%s: not ended", silences[_i].name);
	down();
	ck_assert_msg(victim.why.code == HB_E_STALLED, "%s: ended by %s", silences[_i].name,
	              hb_strerror(victim.why.code));
}
END_TEST

START_TEST(nothing_asked)
{
	uint32_t last = 1;

	up(&(struct hb_h2_options){ .role = HB_H2_SERVER, .first_stream_ms = 30 });
	hb_stream_resume(raw.stream);
	greet();
	say();
	/* Drained, by two GOAWAY; that the first one's PING is not answered must not matter. */
	ck_assert(turn_until(loop, &raw.finishes, 1, 300));
	ck_assert_uint_eq(heard(GOAWAY, 4, &last), 2);
	ck_assert_uint_eq(last, NO_ERROR);
	down();
	ck_assert_int_eq(victim.why.code, 0);
}
END_TEST

START_TEST(drain_without_an_answer)
{
	uint32_t last = 0;

	up(&(struct hb_h2_options){ .role = HB_H2_SERVER, .first_stream_ms = 30 });
	victim.answers = true;
	hb_stream_resume(raw.stream);
	greet();
	add_request(1);
	say();
	turn_some(loop, 20);
	hb_h2_drain(victim.h2);
	turn_some(loop, 20);
	ck_assert_uint_eq(heard(GOAWAY, 0, &last), 1);
	ck_assert_uint_eq(last, INT32_MAX);
	add_request(3); /* was on its way: served */
	say();
	for (unsigned i = 0; i < 300 && heard(GOAWAY, 0, &last) < 2; i++)
		hb_loop_turn(loop, 10);
	ck_assert_uint_eq(last, 3);
	ck_assert_uint_eq(victim.requests, 2);
	ck_assert_uint_eq(raw.finishes, 0);
	add_frame(RST, 0, 1, "\0\0\0\x08", 4);
	add_frame(RST, 0, 3, "\0\0\0\x08", 4);
	say();
	ck_assert(turn_until(loop, &raw.finishes, 1, 300));
	down();
}
END_TEST

START_TEST(never_reads)
{
	up(&(struct hb_h2_options){
	    .role = HB_H2_SERVER, .ping_interval_ms = 50, .ping_timeout_ms = 50 });
	victim.answers = true;
	greet();
	add_frame(WINDOW, 0, 0, "\x7f\0\0\0", 4);
	add_request(1);
	add_frame(WINDOW, 0, 1, "\x7f\0\0\0", 4);
	say();
	ck_assert(turn_until(loop, &victim.requests, 1, 100));
	probe_write(&streams[0], loop, out, sizeof(out), HB_BUF_READ_MAX);
	/* It says something all the time, and so looks alive. */
	for (unsigned i = 0; i < 300 && !victim.closes; i++) {
		add_frame(WINDOW, 0, 0, "\0\0\0\x01", 4);
		say();
		(void)turn_until(loop, &victim.closes, 1, 4);
	}
	ck_assert_uint_eq(victim.closes, 1);
	ck_assert_int_eq(victim.why.code, HB_E_STALLED);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2_hostile");
	TCase *tc = tcase_create("peers");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_flood_ends, 0, HB_ARRAY_LEN(floods));
	tcase_add_loop_test(tc, a_flood_of_a_server_ends, 0, HB_ARRAY_LEN(servers));
	tcase_add_test(tc, streams_above_the_limit_alone_are_refused);
	tcase_add_test(tc, work_is_spread_over_turns);
	tcase_add_loop_test(tc, silence_ends, 0, HB_ARRAY_LEN(silences));
	tcase_add_test(tc, nothing_asked);
	tcase_add_test(tc, drain_without_an_answer);
	tcase_add_test(tc, never_reads);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
