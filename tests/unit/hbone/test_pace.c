/*
 * pace: so many in a turn, groups in a circle, who leaves does not run, who is run may ask again.
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

int main(void)
{
	Suite *suite = suite_create("pace");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, in_turns, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, who_leaves_does_not_run);
	tcase_add_test(tc, who_is_run_may_ask_again);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
