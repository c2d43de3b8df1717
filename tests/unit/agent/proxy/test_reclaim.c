/*
 * reclaim: when memory goes back, and when it is not worth it.
 */
#include <check.h>

#include "proxy/reclaim.h"

#define AFTER_MS 20

static struct hb_loop *loop;
static struct reclaim reclaim;
static unsigned releases;

static void on_release(struct reclaim *asks)
{
	ck_assert_ptr_eq(asks, &reclaim);
	releases++;
}

static void up(void)
{
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	reclaim_init(&reclaim, loop, AFTER_MS, on_release);
	releases = 0;
}

static void down(void)
{
	reclaim_done(&reclaim);
	hb_loop_free(loop);
}

static void end_flows(unsigned n)
{
	while (n-- > 0)
		reclaim_note(&reclaim, 1);
}

/* Until the timer has run so often; false: it does not run. */
static bool timer_ran(unsigned times)
{
	while (times-- > 0) {
		uint64_t due_ms = reclaim.timer.at_ms;

		if (!hb_timer_is_running(&reclaim.timer))
			return false;
		while (hb_timer_is_running(&reclaim.timer) && reclaim.timer.at_ms == due_ms)
			ck_assert_int_eq(hb_loop_turn(loop, AFTER_MS), 0);
	}
	return true;
}

START_TEST(a_few_are_not_worth_it)
{
	end_flows(RECLAIM_FLOWS - 1);
	ck_assert(!timer_ran(1));
	end_flows(1);
	ck_assert(timer_ran(1));
	ck_assert_uint_eq(releases, 1);
	ck_assert(!timer_ran(1)); /* nothing ended since */
}
END_TEST

START_TEST(it_waits_for_calm)
{
	end_flows(RECLAIM_FLOWS);
	end_flows(RECLAIM_FLOWS);
	ck_assert(timer_ran(1));
	ck_assert_uint_eq(releases, 0);
	ck_assert(timer_ran(1));
	ck_assert_uint_eq(releases, 1);
}
END_TEST

START_TEST(but_not_for_ever)
{
	end_flows(RECLAIM_FLOWS);
	for (unsigned i = 0; i < RECLAIM_PUT_OFF; i++) {
		end_flows(RECLAIM_FLOWS);
		ck_assert(timer_ran(1));
		ck_assert_uint_eq(releases, 0);
	}
	end_flows(RECLAIM_FLOWS);
	ck_assert(timer_ran(1));
	ck_assert_uint_eq(releases, 1);
}
END_TEST

START_TEST(many_buffers_are_worth_it)
{
	struct hb_buf *bufs = NULL;

	for (unsigned i = 0; i < RECLAIM_SLOTS; i++) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));

		ck_assert_ptr_nonnull(buf);
		buf->next = bufs;
		bufs = buf;
	}
	hb_buf_free_all(bufs);
	end_flows(1);
	ck_assert(timer_ran(1));
	ck_assert_uint_eq(releases, 1);
	end_flows(1);
	ck_assert(!timer_ran(1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reclaim");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, a_few_are_not_worth_it);
	tcase_add_test(tc, it_waits_for_calm);
	tcase_add_test(tc, but_not_for_ever);
	tcase_add_test(tc, many_buffers_are_worth_it);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
