/*
 * pace: so many in a turn, groups in a circle, who leaves does not run, who is run may ask again;
 * limits over time, and fines.
 */
#include <check.h>
#include <string.h>

#include <hbone/pace.h>

#include "support/any_loop.h"

#define ITEMS 40

static struct hb_loop *loop;
static struct hb_pace pace;
static struct item {
	struct hb_pace_item item;
	char name;
	unsigned again; /* asks so often more */
} items[ITEMS];
static char ran[256];
static size_t ran_count;

static void on_run(struct hb_pace_item *paced)
{
	struct item *item = hb_container_of(paced, struct item, item);

	ck_assert_uint_lt(ran_count, sizeof(ran) - 1);
	ran[ran_count++] = item->name;
	if (item->again) {
		item->again--;
		hb_pace_ask(&pace, paced, (uint32_t)item->name);
	}
}

static void up(unsigned per_turn)
{
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	hb_pace_init(&pace, loop, per_turn);
	memset(ran, 0, sizeof(ran));
	ran_count = 0;
}

static void down(void)
{
	hb_pace_done(&pace);
	hb_loop_free(loop);
}

/* One item for each letter, which is its group. */
static void ask(const char *names)
{
	for (size_t i = 0; names[i]; i++) {
		items[i] = (struct item){ .name = names[i] };
		hb_pace_item_init(&items[i].item, on_run);
		hb_pace_ask(&pace, &items[i].item, (uint32_t)names[i]);
	}
	ck_assert_uint_eq(ran_count, 0);
}

/* clang-format off */
static const struct {
	const char *name, *asked, *ran;
	unsigned per_turn;
} rows[] = {
	{ "one", "a", "a", 1 },
	{ "one of each", "abc", "abc", 2 },
	{ "a crowd waits behind itself", "aaaaaaaaab", "abaaaaaaaa", 2 },
	{ "two crowds and two others", "aaaaabbbbbcd", "abcdabababab", 3 },
	{ "more a turn than there are", "aabb", "abab", 100 },
};
/* clang-format on */

START_TEST(in_turns)
{
	const char *name = rows[_i].name;
	size_t all = strlen(rows[_i].ran), before = 0;
	unsigned turns = 0;

	up(rows[_i].per_turn);
	ask(rows[_i].asked);
	while (ran_count < all && turns++ < 100) {
		hb_loop_turn(loop, 1000);
		ck_assert_msg(ran_count - before <= rows[_i].per_turn, "%s: %zu in a turn", name,
		              ran_count - before);
		ck_assert_msg(ran_count > before, "%s: an idle turn", name);
		before = ran_count;
	}
	ck_assert_msg(strcmp(ran, rows[_i].ran) == 0, "%s: %s", name, ran);
	/* It rests: a turn has nothing to do. */
	hb_loop_turn(loop, 1);
	ck_assert_uint_eq(ran_count, all);
	down();
}
END_TEST

START_TEST(who_leaves_does_not_run)
{
	up(2);
	ask("aabbc");
	hb_pace_leave(&items[0].item);
	hb_pace_leave(&items[2].item);
	hb_pace_leave(&items[3].item); /* nobody is left in b */
	hb_pace_leave(&items[3].item);
	for (int i = 0; i < 5; i++)
		hb_loop_turn(loop, 1);
	ck_assert_str_eq(ran, "ac");
	ck_assert_uint_eq(pace.queued, 4); /* of aabbc all but the first */
	hb_pace_ask(&pace, &items[3].item, 'b');
	hb_pace_ask(&pace, &items[3].item, 'b');
	for (int i = 0; i < 5; i++)
		hb_loop_turn(loop, 1);
	ck_assert_str_eq(ran, "acb");
	ck_assert_uint_eq(pace.queued, 4); /* nobody was before that one */
	down();
}
END_TEST

START_TEST(who_is_run_may_ask_again)
{
	up(1);
	ask("ab");
	items[0].again = 2;
	for (int i = 0; i < 10; i++)
		hb_loop_turn(loop, 1);
	ck_assert_str_eq(ran, "abaa");
	down();
}
END_TEST

/* Turns for @ms of the loop's time. */
static uint64_t turn_for(uint64_t ms)
{
	uint64_t until_ms;

	hb_loop_turn(loop, 0);
	until_ms = hb_loop_now_ms(loop) + ms;
	while (hb_loop_now_ms(loop) < until_ms)
		hb_loop_turn(loop, 1);
	return hb_loop_now_ms(loop);
}

/* Of ten that wait, burst ones are had at once, and the others one by one, as time passes. */
START_TEST(a_group_is_limited_over_time)
{
	uint64_t began_ms;

	up(100);
	began_ms = turn_for(0);
	hb_pace_limit(&pace, 4, 20);
	ask("aaaaaaaaaa");
	for (int i = 0; i < 5; i++)
		hb_loop_turn(loop, 0);
	ck_assert_uint_ge(ran_count, 4);
	for (unsigned turns = 0; ran_count < 10 && turns < 10000; turns++) {
		hb_loop_turn(loop, 5);
		ck_assert_uint_le(ran_count, 4 + (hb_loop_now_ms(loop) - began_ms) / 20);
	}
	ck_assert_uint_eq(ran_count, 10);
	ck_assert_uint_ge(hb_loop_now_ms(loop) - began_ms, 6 * 20);
	down();
}
END_TEST

/* One that has nothing left does not hold up another, which is had at once. */
START_TEST(others_do_not_wait_for_a_limited_group)
{
	up(1);
	hb_pace_limit(&pace, 2, 60000);
	ask("aaaa");
	for (int i = 0; i < 10; i++)
		hb_loop_turn(loop, 1);
	ck_assert_str_eq(ran, "aa");
	items[4] = (struct item){ .name = 'b' };
	hb_pace_item_init(&items[4].item, on_run);
	hb_pace_ask(&pace, &items[4].item, 'b');
	hb_loop_turn(loop, 0);
	ck_assert_str_eq(ran, "aab");
	hb_pace_leave(&items[2].item);
	hb_pace_leave(&items[3].item);
	hb_loop_turn(loop, 5);
	hb_loop_turn(loop, 5);
	ck_assert_str_eq(ran, "aab");
	down();
}
END_TEST

/* What is not used is saved, but no more than the burst. */
START_TEST(a_rest_is_saved)
{
	up(100);
	hb_pace_limit(&pace, 3, 1);
	turn_for(50);
	hb_pace_limit(&pace, 3, 60000); /* from here on none is added */
	ask("aaaaa");
	for (int i = 0; i < 5; i++)
		hb_loop_turn(loop, 1);
	ck_assert_str_eq(ran, "aaa");
	hb_pace_leave(&items[3].item);
	hb_pace_leave(&items[4].item);
	down();
}
END_TEST

/* Nothing until the fine is over, nor more for two; another group pays none. */
START_TEST(a_fine_is_waited_for)
{
	uint64_t began_ms;

	up(100);
	began_ms = turn_for(0);
	hb_pace_limit(&pace, 10, 1);
	hb_pace_fine(&pace, 'a', 40);
	hb_pace_fine(&pace, 'a', 40);
	ask("aab");
	hb_loop_turn(loop, 0);
	ck_assert_str_eq(ran, "b");
	while (ran_count < 3 && hb_loop_now_ms(loop) - began_ms < 1000)
		hb_loop_turn(loop, 5);
	ck_assert_str_eq(ran, "baa");
	ck_assert_uint_ge(hb_loop_now_ms(loop) - began_ms, 40);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pace");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, in_turns, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, who_leaves_does_not_run);
	tcase_add_test(tc, who_is_run_may_ask_again);
	tcase_add_test(tc, a_group_is_limited_over_time);
	tcase_add_test(tc, others_do_not_wait_for_a_limited_group);
	tcase_add_test(tc, a_rest_is_saved);
	tcase_add_test(tc, a_fine_is_waited_for);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
