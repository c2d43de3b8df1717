/*
 * clutch: objects know whose they are, can be gone through while they come and go, are told once
 * when marked, and may outlive their set.
 */
#include <check.h>
#include <string.h>

#include <hbone/clutch.h>

#define MANY 1000

struct object {
	uint64_t place;
	uint64_t number;
	uint64_t seen;
	uint64_t rest[4];
};

static struct hb_slabs *slabs;
static struct hb_clutches set;
static struct object *objects[MANY];

static void up(void)
{
	slabs = hb_slabs_new(&slabs);
	ck_assert_ptr_nonnull(slabs);
	hb_clutches_init(&set, slabs, sizeof(struct object));
}

static void down(void)
{
	ck_assert_uint_eq(hb_slabs_objects(slabs), 0);
	hb_slabs_free(slabs);
}

static struct hb_clutch *clutch_of(const struct object *object)
{
	return hb_clutch_of(object, (unsigned)object->place, sizeof(*object));
}

static struct object *get(unsigned number)
{
	static const struct object zeroes;
	unsigned place;
	struct object *object = hb_clutch_get(&set, &place);

	ck_assert_ptr_nonnull(object);
	ck_assert_uint_lt(place, HB_CLUTCH_PLACES);
	ck_assert(memcmp(object, &zeroes, sizeof(zeroes)) == 0);
	object->place = place;
	object->number = number;
	ck_assert_ptr_eq(hb_clutch_set(clutch_of(object)), &set);
	return object;
}

static void put(unsigned i)
{
	hb_clutch_put(clutch_of(objects[i]), (unsigned)objects[i]->place, sizeof(struct object));
	objects[i] = NULL;
}

static void get_many(void)
{
	for (unsigned i = 0; i < MANY; i++)
		objects[i] = get(i);
}

static void put_all(void)
{
	for (unsigned i = 0; i < MANY; i++)
		if (objects[i])
			put(i);
}

START_TEST(holes_are_filled)
{
	size_t bytes;

	get_many();
	ck_assert_uint_eq(set.objects, MANY);
	bytes = hb_slabs_objects(slabs);
	ck_assert_uint_eq(bytes, (MANY + HB_CLUTCH_PLACES - 1) / HB_CLUTCH_PLACES);
	for (unsigned i = 0; i < MANY; i++)
		if (i % 3 == 0)
			put(i);
	for (unsigned i = 0; i < MANY; i++)
		if (i % 3 == 0)
			objects[i] = get(i);
	ck_assert_uint_eq(hb_slabs_objects(slabs), bytes);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_uint_eq(objects[i]->number, i);
	put_all();
	ck_assert_uint_eq(set.objects, 0);
}
END_TEST

START_TEST(each_is_met_once)
{
	size_t met = 0, left;

	hb_clutch_for_each(struct object, none, &set)
	    ck_abort_msg("%llu", (unsigned long long)none->number);
	get_many();
	for (unsigned i = 0; i < MANY; i++)
		if (i % 16 != 3 && i / 16 % 2) /* whole clutches and single places */
			put(i);
	left = set.objects;
	hb_clutch_for_each(struct object, object, &set)
	{
		ck_assert_uint_eq(object->seen++, 0);
		met++;
		if (object->number % 5 == 0) /* the one that is met may go */
			put((unsigned)object->number);
	}
	ck_assert_uint_eq(met, left);
	put_all();
}
END_TEST

/* In pieces, while others come and go: those that stay are all met, and once. */
START_TEST(a_long_walk_meets_all_that_stay)
{
	struct hb_clutch_walk walk;
	struct object *object;
	unsigned turn = 0;

	get_many();
	hb_clutch_walk_begin(&set, &walk);
	set.walk = &walk;
	while ((object = hb_clutch_walk_next(&set, &walk))) {
		object->seen++;
		for (unsigned i = 0; i < 3; i++, turn++) {
			unsigned at = turn * 7 % MANY;

			if (at % 2 == 0 && objects[at])
				put(at);
			else if (at % 2 == 0 && !objects[at])
				objects[at] = get(at);
		}
	}
	set.walk = NULL;
	for (unsigned i = 1; i < MANY; i += 2)
		ck_assert_uint_eq(objects[i]->seen, 1);
	/* Also when all of them go under its feet. */
	hb_clutch_walk_begin(&set, &walk);
	set.walk = &walk;
	put_all();
	ck_assert_ptr_null(hb_clutch_walk_next(&set, &walk));
	set.walk = NULL;
}
END_TEST

START_TEST(marked_ones_are_taken_once)
{
	struct object *object;
	size_t taken = 0;

	get_many();
	ck_assert_ptr_null(hb_clutch_take_marked(&set));
	for (unsigned i = 0; i < MANY; i += 3)
		hb_clutch_mark(clutch_of(objects[i]), (unsigned)objects[i]->place);
	while ((object = hb_clutch_take_marked(&set))) {
		ck_assert_uint_eq(object->number % 3, 0);
		ck_assert_uint_eq(object->seen++, 0);
		taken++;
		if (object->number % 2)
			put((unsigned)object->number);
		if (taken == 5) /* more may come meanwhile */
			hb_clutch_mark(clutch_of(objects[1]), (unsigned)objects[1]->place);
		if (taken == 5)
			objects[1]->number = 3000;
	}
	ck_assert_uint_eq(taken, (MANY + 2) / 3 + 1);
	put_all();
}
END_TEST

START_TEST(some_outlive_their_set)
{
	get_many();
	for (unsigned i = 0; i < MANY; i++)
		if (i % 3)
			put(i);
	hb_clutches_leave(&set);
	memset(&set, 0xff, sizeof(set));
	for (unsigned i = 0; i < MANY; i += 3) {
		ck_assert_ptr_null(hb_clutch_set(clutch_of(objects[i])));
		ck_assert_uint_eq(objects[i]->number, i);
	}
	put_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("clutch");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, holes_are_filled);
	tcase_add_test(tc, each_is_met_once);
	tcase_add_test(tc, a_long_walk_meets_all_that_stay);
	tcase_add_test(tc, marked_ones_are_taken_once);
	tcase_add_test(tc, some_outlive_their_set);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
