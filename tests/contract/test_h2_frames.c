/*
 * h2_frames: how long DATA frames are, in which turn they go, and what becomes of a long one that
 * windows, resets and ends cut short.
 */
#include <check.h>
#include <string.h>

#include "contract/h2_rig.h"

#define BULKS      8
#define BULK_BYTES 250000u
#define LONG       49152u /* what we take, and the longest that we send */
#define ENOUGH     (8u << 20)

/* RFC 9113 7 */
enum { FRAME_SIZE_ERROR = 6, CANCEL = 8 };

static uint8_t bytes[BULK_BYTES];
/* What the peer has heard: of each stream, and in which order. */
static uint64_t heard[2 * TUNNELS];
static uint64_t before_small; /* bytes of others that came before those of the small one */
static uint32_t small_id;

/* Each stream carries the same bytes, from the first on. */
static void on_data(struct frames *frames, uint32_t id, const uint8_t *payload, uint32_t len)
{
	ck_assert_uint_lt(id, 2 * TUNNELS);
	ck_assert_uint_le(heard[id] + len, sizeof(bytes));
	if (len > 0)
		ck_assert_mem_eq(payload, bytes + heard[id], len);
	heard[id] += len;
	if (id != small_id && heard[small_id] == 0)
		before_small += len;
}

/* @tunnels are open, the peer takes frames of @frame_max (0: says nothing) and gives @credit each.
 */
static void begin(unsigned tunnels, uint32_t frame_max, uint32_t credit)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 11);
	memset(heard, 0, sizeof(heard));
	before_small = small_id = 0;
	up(HB_H2_CLIENT);
	rig.peer.on_data = on_data;
	if (frame_max)
		frames_take_long(&rig.peer, frame_max);
	frames_credit(&rig.peer, 0, ENOUGH);
	for (unsigned i = 0; i < tunnels; i++) {
		(void)open_tunnel();
		settle();
		frames_answer(&rig.peer, 2 * i + 1, 200, 0);
		if (credit)
			frames_credit(&rig.peer, 2 * i + 1, credit);
	}
	settle();
}

static void say(struct probe *probe, size_t from, size_t to, size_t piece)
{
	probe_write(probe, rig.loop, bytes + from, to - from, piece);
}

static const struct {
	const char *name;
	uint32_t frame_max; /* the peer's; 0: it says nothing */
	size_t piece;       /* the app's */
	uint32_t longest;
} lengths[] = {
	{ "as the RFC has it", 0, HB_BUF_READ_MAX, 16384 },
	{ "the peer says the least", 16384, HB_BUF_READ_MAX, 16384 },
	{ "two fit", 40000, HB_BUF_READ_MAX, 2 * HB_BUF_READ_MAX },
	{ "ours", LONG, HB_BUF_READ_MAX, 3 * HB_BUF_READ_MAX },
	{ "the peer takes more than we send", 1u << 20, HB_BUF_READ_MAX, 3 * HB_BUF_READ_MAX },
	{ "pieces that are copied", LONG, 1000, 16384 },
	{ "pieces that just go in place", LONG, 4096, LONG },
};

START_TEST(are_as_long_as_the_peer_takes)
{
	begin(1, lengths[_i].frame_max, ENOUGH);
	say(&rig.tunnels[0], 0, BULK_BYTES, lengths[_i].piece);
	for (int i = 0; i < 10; i++)
		settle();
	ck_assert_msg(heard[1] == BULK_BYTES, "%s: %llu bytes", lengths[_i].name,
	              (unsigned long long)heard[1]);
	ck_assert_msg(rig.peer.data_longest <= lengths[_i].longest &&
	                  rig.peer.data_longest > lengths[_i].longest / 2,
	              "%s: a frame of %u", lengths[_i].name, rig.peer.data_longest);
	down();
}
END_TEST

START_TEST(of_the_peer_may_be_as_long_as_we_say)
{
	static uint8_t payload[LONG + 1];
	struct probe *c;

	begin(1, 0, 0);
	c = &rig.tunnels[0];
	probe_resume(c);
	frames_say(&rig.peer, FRAME_DATA, 0, 1, payload, LONG);
	settle();
	ck_assert_uint_eq(c->len, LONG);
	frames_say(&rig.peer, FRAME_DATA, 0, 1, payload, LONG + 1);
	settle();
	ck_assert_uint_eq(c->len, LONG);
	ck_assert_uint_eq(rig.peer.goaway_code, FRAME_SIZE_ERROR);
	ck_assert_uint_eq(rig.peer.probe.finishes, 1);
	down();
}
END_TEST

/* What windows allow and not one byte more, wherever that cuts a run; then the rest of it. */
START_TEST(end_where_the_window_does)
{
	static const uint32_t credits[] = { 1, 9000, 9217, 9218, 40000, 49125, 100000 };
	uint32_t window = 65535;

	begin(1, LONG, 0);
	say(&rig.tunnels[0], 0, BULK_BYTES, HB_BUF_READ_MAX);
	settle();
	ck_assert_uint_eq(heard[1], window);
	for (size_t i = 0; i < HB_ARRAY_LEN(credits); i++) {
		frames_credit(&rig.peer, 1, credits[i]);
		settle();
		window += credits[i];
		ck_assert_uint_eq(heard[1], hb_min_u32(window, BULK_BYTES));
	}
	ck_assert_uint_eq(heard[1], BULK_BYTES);
	down();
}
END_TEST

/* Each of the others has had a frame when little is said: it waits for one more of each at most. */
START_TEST(of_little_go_before_those_of_much)
{
	const size_t firsts = BULKS * 3 * HB_BUF_READ_MAX;

	begin(BULKS + 1, LONG, ENOUGH);
	small_id = 2 * BULKS + 1;
	pair_marks(rig.wires[1], firsts, 1);
	probe_pause(&rig.peer.probe);
	for (unsigned i = 0; i < BULKS; i++)
		say(&rig.tunnels[i], 0, BULK_BYTES, HB_BUF_READ_MAX);
	settle();
	say(last_tunnel(), 0, 100, 100);
	settle();
	peer_reads_on();
	for (int i = 0; i < 20; i++)
		settle();
	ck_assert_uint_eq(heard[small_id], 100);
	ck_assert_uint_ge(before_small, firsts);
	ck_assert_uint_le(before_small, 2 * firsts);
	for (unsigned i = 0; i < BULKS; i++)
		ck_assert_uint_eq(heard[2 * i + 1], BULK_BYTES);
	down();
}
END_TEST

/* Both ends of a reset: what waits goes nowhere, and the streams beside it lose nothing. */
START_TEST(of_a_reset_stream_are_not_sent)
{
	bool by_peer = _i;

	begin(2, LONG, ENOUGH);
	peer_stops_reading();
	say(&rig.tunnels[0], 0, BULK_BYTES, HB_BUF_READ_MAX);
	say(&rig.tunnels[1], 0, BULK_BYTES, HB_BUF_READ_MAX);
	settle();
	if (by_peer)
		frames_rst(&rig.peer, 1, CANCEL);
	else
		probe_close(&rig.tunnels[0], policy);
	settle();
	peer_reads_on();
	for (int i = 0; i < 20; i++)
		settle();
	ck_assert_uint_eq(rig.tunnels[0].closes, 1);
	ck_assert_uint_lt(heard[1], BULK_BYTES);
	ck_assert_uint_eq(heard[3], BULK_BYTES);
	ck_assert_uint_eq(rig.closes, 0);
	down();
}
END_TEST

START_TEST(say_the_end_with_the_last_of_a_run)
{
	begin(1, LONG, ENOUGH);
	say(&rig.tunnels[0], 0, 3 * HB_BUF_READ_MAX, HB_BUF_READ_MAX);
	probe_finish(&rig.tunnels[0]);
	settle();
	ck_assert_uint_eq(heard[1], 3 * HB_BUF_READ_MAX);
	ck_assert_uint_eq(rig.peer.counts[FRAME_DATA], 1);
	ck_assert(rig.peer.end_stream);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2 frames");
	TCase *tc = tcase_create("frames");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, are_as_long_as_the_peer_takes, 0, HB_ARRAY_LEN(lengths));
	tcase_add_test(tc, of_the_peer_may_be_as_long_as_we_say);
	tcase_add_test(tc, end_where_the_window_does);
	tcase_add_test(tc, of_little_go_before_those_of_much);
	tcase_add_loop_test(tc, of_a_reset_stream_are_not_sent, 0, 2);
	tcase_add_test(tc, say_the_end_with_the_last_of_a_run);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
