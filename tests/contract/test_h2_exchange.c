/*
 * h2_exchange: requests that are not CONNECT, as gRPC makes them: a body before the answer, answers
 * of any status, trailers; wherever the wire is split or cut. And tunnels know none of it.
 */
#include <check.h>
#include <string.h>

#include "contract/h2_rig.h"

#define WORLD  "world"
#define STATUS "\x0bgrpc-status"
#define TRAILER                                                                                    \
	"\x00" STATUS "\x01"                                                                       \
	"7"

/* clang-format off */
static const struct hb_header post[] = {
	{ ":method", "POST", 7, 4 },   { ":scheme", "https", 7, 5 }, { ":authority", "a:1", 10, 3 },
	{ ":path", "/p.S/M", 5, 6 },   { "te", "trailers", 2, 8 },
};
/* clang-format on */

static struct probe *open_exchange(void)
{
	struct probe *probe = &rig.tunnels[rig.tunnels_count++];
	struct hb_stream *stream = hb_h2_exchange(rig.h2, post, HB_ARRAY_LEN(post));

	ck_assert_ptr_nonnull(stream);
	probe_init(probe, stream);
	probe_resume(probe);
	return probe;
}

/* Keeps what h2 knows when the stream finishes, as on_closed may follow at once. */
static struct {
	char status[8], header[8], trailer[8];
	unsigned finishes, opens;
} heard;
static const struct hb_stream_events *told;
static struct hb_stream_events watching;

static void keep(char *out, const struct hb_header *line)
{
	out[0] = '\0';
	if (line) {
		ck_assert_uint_lt(line->value_len, 8);
		memcpy(out, line->value, line->value_len);
		out[line->value_len] = '\0';
	}
}

static void watch_open(struct hb_stream *s)
{
	heard.opens++;
	keep(heard.status, hb_h2_header(s, ":status"));
	keep(heard.header, hb_h2_header(s, "grpc-status"));
	told->on_open(s);
}

static void watch_finish(struct hb_stream *s)
{
	heard.finishes++;
	keep(heard.trailer, hb_h2_trailer(s, "grpc-status"));
	told->on_finish(s);
}

static void watch(struct probe *probe)
{
	memset(&heard, 0, sizeof(heard));
	told = probe->stream->events;
	watching = *told;
	watching.on_open = watch_open;
	watching.on_finish = watch_finish;
	probe->stream->events = &watching;
}

static void say_trailers(uint8_t flags)
{
	frames_say(&rig.peer, FRAME_HEADERS, FLAG_END_HEADERS | flags, 1, TRAILER,
	           sizeof(TRAILER) - 1);
}

static struct probe *asked(void)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_exchange();
	watch(c);
	probe_write(c, rig.loop, "hello", 5, 5);
	probe_finish(c);
	return c;
}

START_TEST(the_body_does_not_wait_for_the_answer)
{
	struct probe *c = asked();

	settle();
	ck_assert_uint_eq(rig.peer.counts[FRAME_HEADERS], 1);
	ck_assert_uint_eq(rig.peer.data_bytes, 5);
	ck_assert(rig.peer.end_stream);
	ck_assert_uint_eq(c->opens, 0);
	frames_answer(&rig.peer, 1, 200, 0);
	settle();
	ck_assert_uint_eq(c->opens, 1);
	ck_assert_str_eq(heard.status, "200");
	frames_say(&rig.peer, FRAME_DATA, 0, 1, WORLD, 5);
	say_trailers(FLAG_END_STREAM);
	settle();
	ck_assert_uint_eq(c->len, 5);
	ck_assert_uint_eq(c->finishes, 1);
	ck_assert_str_eq(heard.header, "");
	ck_assert_str_eq(heard.trailer, "7");
	probe_close(c, HB_END_CLEAN);
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_eq(c->end.code, 0);
	down();
}
END_TEST

START_TEST(any_status_opens_it)
{
	struct probe *c = asked();

	frames_answer(&rig.peer, 1, 503, FLAG_END_STREAM);
	settle();
	ck_assert_str_eq(heard.status, "503");
	ck_assert_uint_eq(c->finishes, 1);
	ck_assert_str_eq(heard.trailer, "");
	down();
}
END_TEST

/* "Trailers-only": they are the answer's headers. */
START_TEST(an_answer_alone_has_no_trailers)
{
	static const char block[] = "\x88" TRAILER;

	(void)asked();
	frames_say(&rig.peer, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, block,
	           sizeof(block) - 1);
	settle();
	ck_assert_str_eq(heard.header, "7");
	ck_assert_str_eq(heard.trailer, "");
	ck_assert_uint_eq(heard.finishes, 1);
	down();
}
END_TEST

START_TEST(trailers_wait_for_a_paused_owner)
{
	struct probe *c = asked();

	probe_pause(c);
	frames_answer(&rig.peer, 1, 200, 0);
	frames_say(&rig.peer, FRAME_DATA, 0, 1, WORLD, 5);
	say_trailers(FLAG_END_STREAM);
	settle();
	ck_assert_uint_eq(heard.opens, 1);
	ck_assert_uint_eq(c->len, 0);
	ck_assert_uint_eq(heard.finishes, 0);
	probe_resume(c);
	settle();
	ck_assert_uint_eq(c->len, 5);
	ck_assert_str_eq(heard.trailer, "7");
	down();
}
END_TEST

/* The server ends a call whose client goes on: END_STREAM, then RST_STREAM(NO_ERROR). */
START_TEST(a_reset_after_the_trailers_loses_nothing)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_exchange();
	watch(c);
	frames_answer(&rig.peer, 1, 200, 0);
	frames_say(&rig.peer, FRAME_DATA, 0, 1, WORLD, 5);
	say_trailers(FLAG_END_STREAM);
	frames_rst(&rig.peer, 1, 0);
	settle();
	ck_assert_uint_eq(c->len, 5);
	ck_assert_str_eq(heard.trailer, "7");
	ck_assert_uint_eq(c->closes, 1);
	down();
}
END_TEST

START_TEST(trailers_above_the_limit_end_it)
{
	static char block[3000];
	struct probe *c;
	size_t n = 0;

	up_with(&(struct hb_h2_options){ .role = HB_H2_CLIENT,
	                                 .header_list_max = 1024,
	                                 .linger_ms = LONG_MS },
	        0);
	c = open_exchange();
	frames_answer(&rig.peer, 1, 200, 0);
	settle();
	while (n + sizeof(TRAILER) < sizeof(block)) {
		memcpy(block + n, TRAILER, sizeof(TRAILER) - 1);
		n += sizeof(TRAILER) - 1;
	}
	frames_say(&rig.peer, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, block,
	           (uint32_t)n);
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_eq(c->end.code, HB_E_LIMIT);
	ck_assert_uint_eq(c->finishes, 0);
	down();
}
END_TEST

/* RFC 9113 8.1 */
START_TEST(trailers_that_end_nothing_are_a_breach)
{
	struct probe *c = asked();

	frames_answer(&rig.peer, 1, 200, 0);
	say_trailers(0);
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_lt(c->end.code, 0);
	ck_assert_uint_eq(rig.peer.rst_code, 1);
	down();
}
END_TEST

START_TEST(refused_before_it_was_looked_at)
{
	struct probe *c = asked();

	settle();
	frames_rst(&rig.peer, 1, 7);
	settle();
	ck_assert_int_eq(c->end.code, HB_E_REFUSED);
	down();
}
END_TEST

START_TEST(excluded_by_goaway)
{
	struct probe *c = asked();

	settle();
	frames_goaway(&rig.peer, 0, 0);
	settle();
	ck_assert_int_eq(c->end.code, HB_E_GOAWAY);
	down();
}
END_TEST

/* Tunnels have neither trailers nor another status than 200. */
START_TEST(tunnels_are_as_they_were)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_tunnel();
	watch(c);
	probe_resume(c);
	frames_answer(&rig.peer, 1, 200, 0);
	say_trailers(FLAG_END_STREAM);
	settle();
	ck_assert_uint_eq(heard.opens, 1);
	ck_assert_uint_eq(heard.finishes, 1);
	ck_assert_str_eq(heard.trailer, "");
	c = open_tunnel();
	settle();
	frames_answer(&rig.peer, 3, 503, 0);
	settle();
	ck_assert_uint_eq(c->opens, 0);
	ck_assert_int_eq(c->end.code, HB_E_STATUS(503));
	down();
}
END_TEST

static void answer_whole(void)
{
	frames_answer(&rig.peer, 1, 200, 0);
	frames_say(&rig.peer, FRAME_DATA, 0, 1, WORLD, 5);
	say_trailers(FLAG_END_STREAM);
}

/* Bytes of the peer, from its SETTINGS on. */
static uint64_t bytes_of_all(void)
{
	uint64_t bytes;

	(void)asked();
	answer_whole();
	settle();
	bytes = rig.wires[0]->bytes_in;
	ck_assert_str_eq(heard.trailer, "7");
	down();
	return bytes;
}

START_TEST(split_anywhere)
{
	for (uint32_t piece = 1; piece < 30; piece++) {
		struct probe *c = asked();

		pair_split(rig.wires[0], piece);
		pair_split(rig.wires[1], piece);
		answer_whole();
		for (int i = 0; i < 40; i++)
			settle();
		ck_assert_uint_eq(rig.peer.data_bytes, 5);
		ck_assert_uint_eq(c->len, 5);
		ck_assert_str_eq(heard.trailer, "7");
		down();
	}
}
END_TEST

START_TEST(cut_anywhere)
{
	uint64_t all = bytes_of_all();

	for (uint64_t at = 1; at < all; at++) {
		struct probe *c;

		up(HB_H2_CLIENT);
		c = open_exchange();
		watch(c);
		pair_cut(rig.wires[0], at);
		answer_whole();
		settle();
		ck_assert_msg(c->closes == 1, "cut at %u: it never ends", (unsigned)at);
		ck_assert_msg(c->end.code < 0, "cut at %u: a clean end", (unsigned)at);
		ck_assert_uint_eq(c->finishes, 0);
		down();
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2_exchange");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_body_does_not_wait_for_the_answer);
	tcase_add_test(tc, any_status_opens_it);
	tcase_add_test(tc, an_answer_alone_has_no_trailers);
	tcase_add_test(tc, trailers_wait_for_a_paused_owner);
	tcase_add_test(tc, a_reset_after_the_trailers_loses_nothing);
	tcase_add_test(tc, trailers_above_the_limit_end_it);
	tcase_add_test(tc, trailers_that_end_nothing_are_a_breach);
	tcase_add_test(tc, refused_before_it_was_looked_at);
	tcase_add_test(tc, excluded_by_goaway);
	tcase_add_test(tc, tunnels_are_as_they_were);
	tcase_add_test(tc, split_anywhere);
	tcase_add_test(tc, cut_anywhere);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
