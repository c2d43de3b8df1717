/*
 * h2_guard: floods end within a bounded number of frames at any pace, honest peers never trip it,
 * and it finds every frame however the bytes are cut.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "hbone/h2_guard.h"

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static size_t frame(uint8_t *out, uint32_t len, uint8_t type, uint8_t flags)
{
	uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0, 1
	};

	memcpy(out, head, sizeof(head));
	memset(out + sizeof(head), 0xff, len); /* looks like no frame at all */
	return sizeof(head) + len;
}

/* One frame at a time; true: flood. */
static bool feed(struct h2_guard *guard, uint32_t len, uint8_t type, uint8_t flags, uint64_t now)
{
	static uint8_t bytes[9 + 65536];

	h2_guard_turn(guard);
	(void)h2_guard_frames(guard, bytes, frame(bytes, len, type, flags), now);
	return h2_guard_is_flood(guard);
}

/* clang-format off */
static const struct {
	const char *name;
	uint32_t len;
	uint8_t type, flags;
	uint32_t per_s;
	unsigned most; /* frames until it is told so; 0: never, in a minute */
	int kind;
} floods[] = {
	{ "rapid reset",               4, RST,          0,           100000,   310, HB_H2_RESETS },
	{ "resets, 1000/s",            4, RST,          0,             1000,   330, HB_H2_RESETS },
	{ "resets, 45/s",              4, RST,          0,               45,     0, 0 },
	{ "SETTINGS",                 36, SETTINGS,     0,           100000,   110, HB_H2_SETTINGS },
	{ "SETTINGS acks",             0, SETTINGS,     1,           100000,   110, HB_H2_SETTINGS },
	{ "SETTINGS, 100/s",           0, SETTINGS,     0,              100,   120, HB_H2_SETTINGS },
	{ "PING",                      8, PING,         0,           100000,   210, HB_H2_PINGS },
	{ "PING, 1000/s",              8, PING,         0,             1000,   220, HB_H2_PINGS },
	{ "PING, 40/s",                8, PING,         0,               40,     0, 0 },
	{ "PRIORITY",                  5, PRIORITY,     0,           100000,   210, HB_H2_PRIORITIES },
	{ "WINDOW_UPDATE",             4, WINDOW,       0,           100000,  2010, HB_H2_WINDOW_UPDATES },
	{ "WINDOW_UPDATE, 1000/s",     4, WINDOW,       0,             1000,  2300, HB_H2_WINDOW_UPDATES },
	{ "empty DATA",                0, DATA,         0,           100000,   410, HB_H2_EMPTY_DATA },
	{ "empty DATA, ended",         0, DATA,         END_STREAM,  100000, 16700, HB_H2_STRAY_DATA },
	{ "DATA of padding alone",   256, DATA,         PADDED,      100000,   410, HB_H2_EMPTY_DATA },
	{ "DATA to nobody",            1, DATA,         0,           100000, 16700, HB_H2_STRAY_DATA },
	{ "empty HEADERS",             0, HEADERS,      END_HEADERS, 100000,  1300, HB_H2_HEADERS },
	{ "CONTINUATION",              0, CONTINUATION, 0,           100000,  1300, HB_H2_HEADERS },
	{ "PUSH_PROMISE",              8, PUSH,         0,           100000,   110, HB_H2_UNKNOWN },
	{ "GOAWAY",                    8, GOAWAY,       0,           100000,   110, HB_H2_UNKNOWN },
	{ "unknown, empty",            0, 0x50,         0,           100000,   110, HB_H2_UNKNOWN },
	{ "unknown, large",        16384, 0xff,         0xff,        100000,   110, HB_H2_UNKNOWN },
};
/* clang-format on */

START_TEST(a_flood_ends)
{
	const char *name = floods[_i].name;
	struct h2_guard guard;
	unsigned n = 0;

	h2_guard_init(&guard, HB_H2_CLIENT, 5000);
	while (n < 60 * floods[_i].per_s) {
		uint64_t now = 5000 + (uint64_t)n * 1000 / floods[_i].per_s;

		n++;
		if (feed(&guard, floods[_i].len, floods[_i].type, floods[_i].flags, now))
			break;
	}
	if (!floods[_i].most) {
		ck_assert_msg(!h2_guard_is_flood(&guard), "%s: tripped after %u", name, n);
		return;
	}
	ck_assert_msg(n <= floods[_i].most, "%s: took %u frames", name, n);
	ck_assert_msg(guard.counters.flood == floods[_i].kind, "%s: told as %s", name,
	              hb_h2_kind_name((enum hb_h2_kind)guard.counters.flood));
	ck_assert_msg(guard.counters.frames == n, "%s: counted", name);
	/* It stays one. */
	ck_assert(feed(&guard, 8, DATA, 0, 1000000));
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	enum hb_h2_kind kind;
	unsigned most;
} events[] = {
	{ "breaches that make us reset", HB_H2_RESETS, 301 },
	{ "header lists that are too large", HB_H2_OVERSIZED, 17 },
	{ "requests above the limit", HB_H2_REFUSED, 181 },
	{ "requests that are refused", HB_H2_DENIED, 2001 },
};
/* clang-format on */

START_TEST(an_event_costs)
{
	struct h2_guard guard;
	unsigned n = 0;

	h2_guard_init(&guard, HB_H2_SERVER, 0);
	while (!h2_guard_is_flood(&guard)) {
		h2_guard_take(&guard, events[_i].kind);
		n++;
	}
	ck_assert_msg(n == events[_i].most, "%s: %u", events[_i].name, n);
	ck_assert_uint_eq(guard.counters.seen[events[_i].kind], n);
}
END_TEST

/* What an honest peer sends per round, and what came of it. */
/* clang-format off */
static const struct {
	const char *name;
	unsigned rounds, per_ms; /* per_ms 0: all at once, or each ms_each later */
	unsigned headers, requests;
	unsigned data;           /* frames, to a stream that takes them */
	uint32_t len;            /* of each, and of each that we send */
	unsigned out;
	unsigned windows, pings, resets, ends, priorities, unknown, strays, refused, denied;
	unsigned ms_each;
} honest[] = {
	{ "ping-pong of 1 KiB at 100,000/s, two WINDOW_UPDATE each", 50000, 100,
	  .data = 1, .out = 1, .len = 1024, .windows = 2 },
	{ "ping-pong of single bytes", 50000, 100, .data = 1, .out = 1, .len = 1, .windows = 2 },
	{ "128 bulk downloads, a WINDOW_UPDATE per 4 KiB", 500, 1,
	  .out = 128, .len = 16384, .windows = 4 * 128 },
	{ "16 MiB given back in pieces of 256 bytes, late", 2, 0,
	  .out = 1024, .len = 16384, .windows = 65000 },
	{ "10,000 streams a second, each reset", 50000, 10,
	  .headers = 1, .requests = 1, .windows = 2, .resets = 1, .priorities = 1, .unknown = 1 },
	{ "10,000 streams a second, each ended by an empty DATA", 50000, 10,
	  .headers = 2, .requests = 1, .windows = 3, .ends = 1 },
	{ "200 streams given up before they were served", 1, 0, .headers = 200, .resets = 200 },
	{ "1150 requests before our limit was known", 1, 0,
	  .headers = 1150, .requests = 1000, .refused = 150 },
	{ "a PING per round of data", 5000, 20, .data = 1, .len = 16384, .pings = 1 },
	{ "what was on its way to a stream that we have reset", 1, 0, .strays = 16000, .len = 256 },
	{ "an app that is down is asked for 20 times in 100 ms, for ten minutes", 6000, 0,
	  .headers = 20, .denied = 20, .ms_each = 100 },
	{ "four of five requests are forbidden, 1000 a second", 10000, 1,
	  .headers = 5, .requests = 1, .denied = 4, .resets = 4 },
	{ "large header lists in nine pieces", 10000, 1, .headers = 9, .requests = 2 },
};
/* clang-format on */

START_TEST(an_honest_peer_is_left_alone)
{
	static const uint8_t types[] = { HEADERS, DATA,     WINDOW, PING, RST,
		                         DATA,    PRIORITY, 0x50,   DATA };
	const unsigned counts[] = {
		honest[_i].headers,    honest[_i].data,    honest[_i].windows,
		honest[_i].pings,      honest[_i].resets,  honest[_i].ends,
		honest[_i].priorities, honest[_i].unknown, honest[_i].strays,
	};
	struct h2_guard guard;

	h2_guard_init(&guard, HB_H2_CLIENT, 0);
	for (unsigned i = 0; i < honest[_i].rounds; i++) {
		uint64_t now =
		    honest[_i].per_ms ? i / honest[_i].per_ms : (uint64_t)i * honest[_i].ms_each;

		for (unsigned j = 0; j < honest[_i].out; j++)
			h2_guard_payload(&guard, honest[_i].len);
		for (size_t k = 0; k < HB_ARRAY_LEN(types); k++)
			for (unsigned j = 0; j < counts[k]; j++) {
				bool has_len = k == 1 || k == 8;

				feed(&guard, has_len ? honest[_i].len : 0, types[k], 0, now);
				if (k == 1) {
					h2_guard_data(&guard, honest[_i].len, 0);
					h2_guard_payload(&guard, honest[_i].len);
				}
			}
		for (unsigned j = 0; j < honest[_i].requests; j++)
			h2_guard_request(&guard);
		for (unsigned j = 0; j < honest[_i].refused; j++)
			h2_guard_take(&guard, HB_H2_REFUSED);
		for (unsigned j = 0; j < honest[_i].denied; j++)
			h2_guard_denied(&guard);
		ck_assert_msg(!h2_guard_is_flood(&guard), "%s: round %u: %s", honest[_i].name, i,
		              hb_h2_kind_name((enum hb_h2_kind)guard.counters.flood));
	}
	ck_assert_uint_eq(guard.counters.seen[HB_H2_STRAY_DATA],
	                  (uint64_t)honest[_i].rounds * honest[_i].strays);
}
END_TEST

/* The preface, then frames of every kind, cut into pieces of _i bytes. */
/* All streams that were served end at once; and as many that were not, are a flood. */
START_TEST(resets_of_what_was_served)
{
	struct h2_guard guard;

	h2_guard_init(&guard, HB_H2_CLIENT, 0);
	for (int i = 0; i < 1000; i++)
		h2_guard_request(&guard);
	for (int i = 0; i < 1000; i++)
		ck_assert(!feed(&guard, 4, RST, 0, 0));
	for (int i = 0; i < 1300; i++)
		(void)feed(&guard, 4, RST, 0, 0);
	ck_assert(feed(&guard, 4, RST, 0, 0));
	ck_assert_int_eq(guard.counters.flood, HB_H2_RESETS);
}
END_TEST

START_TEST(cut_anywhere)
{
	static uint8_t bytes[4096];
	struct h2_guard guard;
	size_t len = sizeof(preface) - 1;

	memcpy(bytes, preface, len);
	len += frame(bytes + len, 0, SETTINGS, 0);
	len += frame(bytes + len, 300, HEADERS, END_HEADERS);
	len += frame(bytes + len, 0, DATA, 0);
	len += frame(bytes + len, 1000, DATA, END_STREAM);
	len += frame(bytes + len, 17, 0xee, 0);
	len += frame(bytes + len, 8, PING, 0);
	len += frame(bytes + len, 4, RST, 0);
	h2_guard_init(&guard, HB_H2_SERVER, 0);
	for (size_t at = 0; at < len; at += (size_t)_i)
		ck_assert_uint_eq(
		    h2_guard_frames(&guard, bytes + at, hb_min_size((size_t)_i, len - at), 0),
		    hb_min_size((size_t)_i, len - at));
	ck_assert_uint_eq(guard.counters.frames, 7);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_SETTINGS], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_HEADERS], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_EMPTY_DATA], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_STRAY_DATA], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_UNKNOWN], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_PINGS], 1);
	ck_assert_uint_eq(guard.counters.seen[HB_H2_RESETS], 1);
	ck_assert_uint_eq(guard.block_ms, 0);
	ck_assert_int_eq(guard.counters.flood, -1);
}
END_TEST

START_TEST(a_header_block_is_timed)
{
	uint8_t bytes[64];
	struct h2_guard guard;
	size_t len;

	h2_guard_init(&guard, HB_H2_CLIENT, 100);
	/* It begins with its first frame's header and ends with the last byte of its last frame. */
	len = frame(bytes, 10, HEADERS, 0);
	h2_guard_frames(&guard, bytes, 8, 200);
	ck_assert_uint_eq(guard.block_ms, 0);
	h2_guard_frames(&guard, bytes + 8, 1, 300);
	ck_assert_uint_eq(guard.block_ms, 300);
	h2_guard_frames(&guard, bytes + 9, len - 9, 400);
	ck_assert_uint_eq(guard.block_ms, 300);
	len = frame(bytes, 3, CONTINUATION, END_HEADERS);
	h2_guard_frames(&guard, bytes, len - 1, 500);
	ck_assert_uint_eq(guard.block_ms, 300);
	h2_guard_frames(&guard, bytes + len - 1, 1, 600);
	ck_assert_uint_eq(guard.block_ms, 0);
	/* One without a byte is whole at once. */
	len = frame(bytes, 0, HEADERS, END_HEADERS);
	h2_guard_frames(&guard, bytes, len, 700);
	ck_assert_uint_eq(guard.block_ms, 0);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	uint32_t len;
	uint8_t type;
	unsigned per_turn; /* frames, at most; honest bulk is not held up: 16 MiB in 16 KiB */
} works[] = {
	{ "requests",              30, HEADERS,         4 },
	{ "large header blocks", 16384, HEADERS,        1 },
	{ "small DATA",              1, DATA,        512 },
	{ "PING",                    8, PING,        512 },
};
/* clang-format on */

START_TEST(a_turn_serves_so_much)
{
	static uint8_t bytes[4 << 20];
	struct h2_guard guard;
	size_t each = frame(bytes, works[_i].len, works[_i].type, END_HEADERS), len = 0, at;

	h2_guard_init(&guard, HB_H2_CLIENT, 0);
	while (len + each <= sizeof(bytes) && len < 1500 * each)
		len += frame(bytes + len, works[_i].len, works[_i].type, END_HEADERS);
	for (at = 0; at < len && !h2_guard_is_flood(&guard);) {
		uint64_t before = guard.counters.frames;
		size_t n = h2_guard_frames(&guard, bytes + at, len - at, 0);
		unsigned frames = (unsigned)(guard.counters.frames - before);

		if (h2_guard_is_flood(&guard))
			break;
		ck_assert_msg(frames <= works[_i].per_turn, "%s: %u", works[_i].name, frames);
		ck_assert_msg(n == frames * each, "%s: cut inside a frame", works[_i].name);
		ck_assert_msg(n == len - at ||
		                  h2_guard_frames(&guard, bytes + at + n, len - at - n, 0) == 0,
		              "%s: more in the same turn", works[_i].name);
		at += n;
		h2_guard_turn(&guard);
	}
}
END_TEST

START_TEST(every_kind_has_a_name)
{
	for (int i = 0; i < HB_H2_KINDS; i++)
		ck_assert_msg(hb_h2_kind_name((enum hb_h2_kind)i), "kind %d", i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2_guard");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_flood_ends, 0, HB_ARRAY_LEN(floods));
	tcase_add_loop_test(tc, an_event_costs, 0, HB_ARRAY_LEN(events));
	tcase_add_loop_test(tc, an_honest_peer_is_left_alone, 0, HB_ARRAY_LEN(honest));
	tcase_add_test(tc, resets_of_what_was_served);
	tcase_add_loop_test(tc, cut_anywhere, 1, 40);
	tcase_add_test(tc, a_header_block_is_timed);
	tcase_add_loop_test(tc, a_turn_serves_so_much, 0, HB_ARRAY_LEN(works));
	tcase_add_test(tc, every_kind_has_a_name);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
