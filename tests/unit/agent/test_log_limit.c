/*
 * log_limit: a burst, then one a second, with the count of those between; kinds do not disturb each
 * other.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "log_limit.h"

static struct log_limit limit;

static void setup(void)
{
	memset(&limit, 0, sizeof(limit));
}

START_TEST(a_burst_then_one_a_second)
{
	uint64_t left_out = 0;
	unsigned written = 0;

	for (unsigned i = 0; i < 1000; i++)
		written += log_limit_take(&limit, "flood", 5000, &left_out);
	ck_assert_uint_eq(written, LOG_LIMIT_BURST);
	ck_assert_uint_eq(limit.left_out, 1000 - LOG_LIMIT_BURST);
	ck_assert(!log_limit_take(&limit, "flood", 5999, &left_out));
	ck_assert(log_limit_take(&limit, "flood", 6000, &left_out));
	ck_assert_uint_eq(left_out, 1000 - LOG_LIMIT_BURST + 1);
	ck_assert(!log_limit_take(&limit, "flood", 6000, &left_out));
	ck_assert(log_limit_take(&limit, "flood", 7000, &left_out));
	ck_assert_uint_eq(left_out, 1);
	/* After a rest it is as in the beginning. */
	for (written = 0; log_limit_take(&limit, "flood", 1000000, &left_out); written++)
		ck_assert_uint_eq(left_out, 0);
	ck_assert_uint_eq(written, LOG_LIMIT_BURST);
}
END_TEST

START_TEST(one_now_and_then_is_never_left_out)
{
	uint64_t left_out;

	for (uint64_t now = 0; now < 100000; now += LOG_LIMIT_MS) {
		ck_assert(log_limit_take(&limit, "now and then", now, &left_out));
		ck_assert_uint_eq(left_out, 0);
	}
}
END_TEST

START_TEST(kinds_are_apart)
{
	static char names[2 * LOG_LIMIT_KINDS][16];
	uint64_t left_out;

	for (unsigned i = 0; i < 2 * LOG_LIMIT_KINDS; i++) {
		snprintf(names[i], sizeof(names[i]), "kind %u", i);
		for (unsigned k = 0; k < LOG_LIMIT_BURST; k++)
			ck_assert(log_limit_take(&limit, names[i], 0, &left_out));
		/* Beyond the table nothing is limited. */
		ck_assert(log_limit_take(&limit, names[i], 0, &left_out) == (i >= LOG_LIMIT_KINDS));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log_limit");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_burst_then_one_a_second);
	tcase_add_test(tc, one_now_and_then_is_never_left_out);
	tcase_add_test(tc, kinds_are_apart);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
