/*
 * streams: the contract of stream.h, rule by rule, for every kind of stream and from either end.
 */
#include <check.h>
#include <string.h>

#include "contract/kinds.h"

#define BULK     (1u << 20)
#define FULL_MAX (32u << 20) /* whatever kernel buffers a kind has, this fills it */
#define TURNS    5000
#define QUIET    30 /* turns in which all that can happen without waiting does */

static const struct hb_end RESET = { HB_LAYER_RELAY, HB_SIDE_US, -ECONNRESET };

static struct ends ends;
static struct probe *near, *far; /* the one that acts, and the other */
static uint8_t bytes[BULK];

static void must_be(bool ok, const char *what)
{
	ck_assert_msg(ok, "%s from end %d: %s (near: %s, far: %s)", ends.kind->name,
	              near == ends.end[1], what, hb_strerror(near->end.code),
	              hb_strerror(far->end.code));
}

static bool wait_for(const unsigned *what)
{
	return turn_until(ends.loop, what, 1, TURNS);
}

static void say(struct probe *probe, size_t len, size_t piece)
{
	probe_write(probe, ends.loop, bytes, len, piece);
}

static bool heard(const struct probe *probe, size_t len)
{
	return probe->len == len && memcmp(probe->data, bytes, len) == 0;
}

static void both_finish_and_close(void)
{
	probe_finish(near);
	probe_finish(far);
	must_be(wait_for(&near->finishes) && wait_for(&far->finishes), "no finish");
	probe_close(near, HB_END_CLEAN);
	probe_close(far, HB_END_CLEAN);
	must_be(wait_for(&near->closes) && wait_for(&far->closes), "no end");
	must_be(near->end.code == 0 && far->end.code == 0, "not clean");
}

/* ---- bytes ---- */

static void bytes_come_in_order(void)
{
	probe_resume(near);
	probe_resume(far);
	say(near, BULK, 4097);
	say(far, 100000, 99);
	must_be(turn_until_size(ends.loop, &far->len, BULK, TURNS), "bytes are missing");
	must_be(turn_until_size(ends.loop, &near->len, 100000, TURNS), "bytes are missing");
	must_be(heard(far, BULK) && heard(near, 100000), "bytes differ");
	must_be(far->stream->bytes_in == BULK, "counters");
	must_be(near->stream->bytes_in == 100000, "counters");
	both_finish_and_close();
}

static void paused_is_told_nothing(void)
{
	say(near, 50000, 5000);
	probe_finish(near);
	turn_some(ends.loop, QUIET);
	must_be(far->datas + far->finishes + far->closes == 0, "told while paused");
	probe_resume(far);
	must_be(far->datas == 0, "told inside");
	must_be(wait_for(&far->finishes), "no finish after resume");
	must_be(heard(far, 50000), "bytes differ");
}

static void pausing_at_each_data(void)
{
	far->pauses = true;
	say(near, 200000, 3000);
	probe_finish(near);
	for (unsigned i = 0; i < TURNS && !far->finishes; i++) {
		unsigned datas = far->datas;

		probe_resume(far);
		probe_resume(far);
		turn_some(ends.loop, 3);
		must_be(far->datas <= datas + 1, "told again while paused");
	}
	must_be(far->finishes == 1 && heard(far, 200000), "not all came");
}

static void full_then_drained(void)
{
	size_t sent = 0;

	far->hold = true;
	while (!near->fulls && sent < FULL_MAX) {
		say(near, BULK, HB_BUF_READ_MAX);
		sent += BULK;
		turn_some(ends.loop, 4);
	}
	must_be(near->fulls == 1, "never full");
	say(near, 100000, 1000); /* it must not be refused */
	sent += 100000;
	turn_some(ends.loop, QUIET);
	must_be(near->draineds == 0, "drained although nobody reads");
	probe_resume(far);
	must_be(turn_until_size(ends.loop, &far->len, sent, TURNS), "bytes are missing");
	must_be(wait_for(&near->draineds), "never drained");
	must_be(near->fulls == near->draineds, "full and drained do not pair");
}

/* ---- finish ---- */

static void finish_is_told_once(void)
{
	probe_resume(far);
	probe_finish(near);
	probe_finish(near);
	must_be(wait_for(&far->finishes), "no finish");
	probe_finish(near);
	turn_some(ends.loop, QUIET);
	must_be(far->finishes == 1 && far->closes + near->closes == 0, "more than one finish");
}

static void writes_after_finish_are_dropped(void)
{
	probe_resume(far);
	say(near, 1000, 100);
	probe_finish(near);
	say(near, 5000, 500);
	must_be(wait_for(&far->finishes), "no finish");
	turn_some(ends.loop, QUIET);
	must_be(heard(far, 1000), "more than was said before the finish");
}

static void half_closed_goes_on(void)
{
	probe_resume(near);
	probe_resume(far);
	probe_finish(near);
	must_be(wait_for(&far->finishes), "no finish");
	turn_some(ends.loop, QUIET);
	say(far, 300000, 5000);
	must_be(turn_until_size(ends.loop, &near->len, 300000, TURNS), "bytes are missing");
	must_be(heard(near, 300000), "bytes differ");
	both_finish_and_close();
}

/* ---- close ---- */

static void clean_close_flushes(void)
{
	say(near, 300000, 5000);
	probe_close(near, HB_END_CLEAN);
	turn_some(ends.loop, QUIET);
	must_be(far->datas + far->finishes == 0, "told while paused");
	probe_resume(far);
	must_be(wait_for(&far->finishes), "no finish");
	must_be(heard(far, 300000), "bytes are missing");
	say(far, 1000, 1000);
	probe_close(far, HB_END_CLEAN);
	must_be(wait_for(&near->closes) && wait_for(&far->closes), "no end");
	must_be(near->end.code == 0, "not clean");
	must_be(far->end.code == 0 || ends.kind->hasty[near == ends.end[1]], "far is not clean");
	must_be(near->datas + near->finishes == 0, "told after its close");
}

static void clean_close_has_its_patience(void)
{
	probe_resume(far);
	say(near, 1000, 1000);
	probe_close(near, HB_END_CLEAN);
	/* The other never finishes. */
	must_be(wait_for(&near->closes), "waits for ever");
	must_be(near->end.code == 0 && heard(far, 1000) && far->finishes == 1, "not flushed");
}

static void clean_close_gives_up(void)
{
	size_t sent = 0;

	while (!near->fulls && sent < FULL_MAX) {
		say(near, BULK, HB_BUF_READ_MAX);
		sent += BULK;
		turn_some(ends.loop, 4);
	}
	probe_close(near, HB_END_CLEAN);
	must_be(wait_for(&near->closes), "waits for ever for one that does not read");
	must_be(near->end.code == -ETIMEDOUT, "lost bytes look like a clean end");
	probe_resume(far);
	far->hold = true;
	if (ends.kind->resets)
		must_be(wait_for(&far->closes), "no end");
	turn_some(ends.loop, QUIET);
	must_be(!ends.kind->resets || (far->finishes == 0 && far->end.code < 0),
	        "lost bytes look like a clean end at the far side");
}

static void abort_is_told_as_one(void)
{
	probe_resume(far);
	say(near, 300000, 5000);
	probe_close(near, RESET);
	must_be(wait_for(&near->closes), "no end");
	must_be(near->end.code == RESET.code && near->end.layer == RESET.layer,
	        "not what was asked");
	if (!ends.kind->resets)
		return;
	must_be(wait_for(&far->closes), "no end at the far side");
	must_be(far->finishes == 0 && far->end.code < 0, "an abort looks like a clean end");
}

static void abort_reaches_one_that_is_paused(void)
{
	if (!ends.kind->resets)
		return;
	turn_some(ends.loop, QUIET);
	probe_close(near, RESET);
	must_be(wait_for(&far->closes), "not told");
	must_be(far->finishes == 0 && far->end.code < 0, "an abort looks like a clean end");
}

static void abort_overtakes_a_clean_close(void)
{
	say(near, BULK, HB_BUF_READ_MAX);
	say(near, BULK, HB_BUF_READ_MAX);
	probe_close(near, HB_END_CLEAN);
	turn_some(ends.loop, 2);
	must_be(near->closes == 0, "cannot be flushed already");
	probe_close(near, RESET);
	must_be(wait_for(&near->closes), "no end");
	must_be(near->end.code == RESET.code, "the abort was not heard");
}

static void the_first_abort_stands(void)
{
	struct hb_end second = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY);

	probe_close(near, RESET);
	probe_close(near, second);
	probe_close(near, HB_END_CLEAN);
	must_be(wait_for(&near->closes), "no end");
	must_be(near->end.code == RESET.code, "not the first reason");
}

static void closed_twice_ends_once(void)
{
	probe_resume(far);
	probe_close(near, HB_END_CLEAN);
	probe_close(near, HB_END_CLEAN);
	probe_finish(near);
	say(near, 1000, 100);
	probe_pause(near);
	probe_resume(near);
	must_be(wait_for(&far->finishes), "no finish");
	must_be(far->len == 0, "a write after close came through");
	probe_close(far, HB_END_CLEAN);
	must_be(wait_for(&near->closes) && wait_for(&far->closes), "no end");
	must_be(near->end.code == 0, "not clean");
}

static void closing_inside_an_event(void)
{
	probe_resume(far);
	far->closes_in = true;
	far->closes_with = RESET;
	say(near, 300000, 5000);
	must_be(wait_for(&far->closes), "no end");
	must_be(far->datas + far->finishes == 1 && far->end.code == RESET.code, "told after close");
}

static void closing_inside_finish(void)
{
	probe_resume(far);
	far->closes_in = true;
	probe_finish(near);
	turn_some(ends.loop, QUIET);
	must_be(far->finishes == 1 && near->finishes == 0, "told while paused");
	probe_resume(near);
	must_be(wait_for(&near->finishes), "its close is no finish for the other");
	probe_close(near, HB_END_CLEAN);
	must_be(wait_for(&near->closes) && wait_for(&far->closes), "no end");
	must_be(near->end.code == 0 && far->end.code == 0, "not clean");
}

/* ---- all together ---- */

static const struct {
	const char *name;
	void (*run)(void);
	uint32_t linger_ms; /* 0: longer than the test */
} rules[] = {
	{ "bytes come in order", bytes_come_in_order, 0 },
	{ "paused is told nothing", paused_is_told_nothing, 0 },
	{ "pausing at each data", pausing_at_each_data, 0 },
	{ "full, then drained", full_then_drained, 0 },
	{ "finish is told once", finish_is_told_once, 0 },
	{ "writes after finish are dropped", writes_after_finish_are_dropped, 0 },
	{ "half closed goes on", half_closed_goes_on, 0 },
	{ "clean close flushes", clean_close_flushes, 0 },
	{ "clean close has its patience", clean_close_has_its_patience, 30 },
	{ "clean close gives up", clean_close_gives_up, 30 },
	{ "abort is told as one", abort_is_told_as_one, 0 },
	{ "abort reaches one that is paused", abort_reaches_one_that_is_paused, 0 },
	{ "abort overtakes a clean close", abort_overtakes_a_clean_close, 0 },
	{ "the first abort stands", the_first_abort_stands, 0 },
	{ "closed twice ends once", closed_twice_ends_once, 0 },
	{ "closing inside an event", closing_inside_an_event, 0 },
	{ "closing inside finish", closing_inside_finish, 0 },
};

/* One rule: each kind, from either end. */
START_TEST(is_kept)
{
	for (unsigned i = 0; i < 2 * kinds_count; i++) {
		ends_up(&ends, &kinds[i / 2], rules[_i].linger_ms ? rules[_i].linger_ms : 60000);
		near = ends.end[i % 2];
		far = ends.end[!(i % 2)];
		rules[_i].run();
		ends_down(&ends);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stream contract");
	SRunner *runner = srunner_create(suite);
	int failed;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
	for (int i = 0; i < (int)HB_ARRAY_LEN(rules); i++) {
		TCase *tc = tcase_create(rules[i].name);

		tcase_set_timeout(tc, 60);
		tcase_add_loop_test(tc, is_kept, i, i + 1);
		suite_add_tcase(suite, tc);
	}
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
