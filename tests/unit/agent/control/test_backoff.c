/*
 * backoff: every wait lies between the floor and a bound that doubles up to the limit.
 */
#include "control/backoff.h"

#include <check.h>

#include <hbone/base.h>

#define ROUNDS 2000

static const struct row {
	const char *name;
	uint32_t floor, first, max;
	uint32_t bounds[6]; /* of the first waits */
} rows[] = {
	{ "doubles", 10, 20, 15000, { 20, 40, 80, 160, 320, 640 } },
	{ "stops at the limit", 10, 100, 250, { 100, 200, 250, 250, 250, 250 } },
	{ "one wait only", 50, 50, 50, { 50, 50, 50, 50, 50, 50 } },
	{ "does not wrap",
	  1,
	  1u << 30,
	  UINT32_MAX,
	  { 1u << 30, 1u << 31, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX } },
};

START_TEST(waits_by_table)
{
	const struct row *row = &rows[_i];
	uint32_t least[6], most[6] = { 0 };

	for (size_t i = 0; i < HB_ARRAY_LEN(least); i++)
		least[i] = UINT32_MAX;
	for (uint64_t seed = 0; seed < ROUNDS; seed++) {
		struct backoff backoff;

		backoff_init(&backoff, row->floor, row->first, row->max, seed);
		for (size_t i = 0; i < HB_ARRAY_LEN(row->bounds); i++) {
			uint32_t ms = backoff_next_ms(&backoff);

			ck_assert_msg(ms >= row->floor && ms <= row->bounds[i],
			              "%s: wait %zu is %u ms, not in %u to %u", row->name, i, ms,
			              row->floor, row->bounds[i]);
			least[i] = ms < least[i] ? ms : least[i];
			most[i] = ms > most[i] ? ms : most[i];
		}
	}
	/* Full jitter: the waits of many fill the whole range. */
	for (size_t i = 0; i < HB_ARRAY_LEN(row->bounds); i++) {
		uint32_t span = row->bounds[i] - row->floor;

		ck_assert_msg(least[i] - row->floor <= span / 20 + 1, "%s: never below %u",
		              row->name, least[i]);
		ck_assert_msg(row->bounds[i] - most[i] <= span / 20 + 1, "%s: never above %u",
		              row->name, most[i]);
	}
}
END_TEST

START_TEST(a_reset_begins_anew)
{
	struct backoff backoff;

	backoff_init(&backoff, 10, 20, 15000, 7);
	for (int i = 0; i < 12; i++)
		(void)backoff_next_ms(&backoff);
	ck_assert_uint_eq(backoff.bound_ms, 15000);
	backoff_reset(&backoff);
	ck_assert_uint_le(backoff_next_ms(&backoff), 20);
	ck_assert_uint_eq(backoff.bound_ms, 40);
}
END_TEST

START_TEST(seeds_differ)
{
	struct backoff a, b;
	int same = 0;

	backoff_init(&a, 10, 15000, 15000, 1);
	backoff_init(&b, 10, 15000, 15000, 2);
	for (int i = 0; i < 100; i++)
		same += backoff_next_ms(&a) == backoff_next_ms(&b);
	ck_assert_int_lt(same, 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("backoff");
	TCase *tcase = tcase_create("backoff");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, waits_by_table, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tcase, a_reset_begins_anew);
	tcase_add_test(tcase, seeds_differ);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
