/*
 * xds_asked: what a stream has been asked for, over time that is given, and at its limit.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "control/xds_asked.h"

#define FRESH_MS 3000u

static struct xds_asked asked;

static void up(void)
{
	xds_asked_init(&asked, FRESH_MS);
}

static void down(void)
{
	xds_asked_clear(&asked);
	ck_assert_uint_eq(asked.count, 0);
}

START_TEST(from_asked_to_stale)
{
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10), ASKED_NOT);
	ck_assert(!xds_asked_answer(&asked, "a", true, 10));
	ck_assert_int_eq(xds_asked_open(&asked, "a"), 0);
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10), ASKED_OPEN);
	ck_assert_ptr_null(xds_asked_oldest(&asked));
	ck_assert(xds_asked_answer(&asked, "a", true, 10));
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10 + FRESH_MS - 1), ASKED_FRESH);
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10 + FRESH_MS), ASKED_STALE);
	ck_assert_int_eq(xds_asked_open(&asked, "a"), 0);
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10 + FRESH_MS), ASKED_OPEN);
	ck_assert(xds_asked_answer(&asked, "a", false, 20)); /* should it go, nobody may tell */
	ck_assert_int_eq(xds_asked_state(&asked, "a", 20), ASKED_STALE);
	ck_assert_uint_eq(asked.count, 1);
	xds_asked_remove(&asked, "a");
	xds_asked_remove(&asked, "a");
	ck_assert_int_eq(xds_asked_state(&asked, "a", 10), ASKED_NOT);
}
END_TEST

START_TEST(the_oldest_answer)
{
	static const char *const names[] = { "a", "b", "c" };

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(xds_asked_open(&asked, names[i]), 0);
	xds_asked_answer(&asked, "b", true, 1);
	xds_asked_answer(&asked, "a", true, 2);
	ck_assert_str_eq(xds_asked_oldest(&asked), "b");
	xds_asked_answer(&asked, "b", true, 3); /* again: what it says has changed */
	ck_assert_str_eq(xds_asked_oldest(&asked), "a");
	xds_asked_remove(&asked, "a");
	xds_asked_remove(&asked, "b");
	ck_assert_ptr_null(xds_asked_oldest(&asked));
	ck_assert_uint_eq(asked.count, 1);
}
END_TEST

START_TEST(as_many_as_there_may_be)
{
	char name[32];

	for (unsigned i = 0; i < XDS_ASKED_MAX; i++) {
		snprintf(name, sizeof(name), "/10.0.%u.%u", i >> 8, i & 255);
		ck_assert_int_eq(xds_asked_open(&asked, name), 0);
	}
	ck_assert_int_eq(xds_asked_open(&asked, "one more"), -ENOBUFS);
	ck_assert_int_eq(xds_asked_open(&asked, name), 0); /* it is there */
	ck_assert(xds_asked_answer(&asked, name, true, 1));
	xds_asked_remove(&asked, name);
	ck_assert_int_eq(xds_asked_open(&asked, "one more"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_asked");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, up, down);
	tcase_add_test(tcase, from_asked_to_stale);
	tcase_add_test(tcase, the_oldest_answer);
	tcase_add_test(tcase, as_many_as_there_may_be);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
