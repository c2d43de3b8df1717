/*
 * slab: objects are apart, zeroed and found again; slabs come and go.
 */
#include <check.h>
#include <string.h>

#include <hbone/slab.h>

#define MANY 2000

static struct hb_slabs *slabs;
static unsigned char *objects[MANY];
static const unsigned char zeroes[HB_SLAB_OBJECT_MAX];

static void up(void)
{
	slabs = hb_slabs_new(&slabs);
	ck_assert_ptr_nonnull(slabs);
}

static void down(void)
{
	hb_slabs_free(slabs);
}

static unsigned char *get(size_t size)
{
	unsigned char *object = hb_slab_get(slabs, size);

	ck_assert_ptr_nonnull(object);
	ck_assert_uint_eq((uintptr_t)object % 8, 0);
	ck_assert_ptr_eq(hb_slab_owner(object), &slabs);
	ck_assert(memcmp(object, zeroes, size) == 0);
	return object;
}

static const size_t sizes[] = { 1, 8, 24, 200, 257, 511, HB_SLAB_OBJECT_MAX };

START_TEST(objects_do_not_overlap)
{
	size_t size = sizes[_i];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			objects[i] = get(size);
			memset(objects[i], (int)(i % 251 + 1), size);
		}
		ck_assert_uint_eq(hb_slabs_objects(slabs), MANY);
		/* As much as the objects, and no more than a fifth on top, and a slab. */
		ck_assert_uint_ge(hb_slabs_bytes(slabs), MANY * size);
		ck_assert_uint_le(hb_slabs_bytes(slabs),
		                  MANY * ((size + 7) / 8 * 8) * 6 / 5 + 65536);
		for (unsigned i = 0; i < MANY; i++) {
			ck_assert(objects[i][0] == i % 251 + 1);
			ck_assert(objects[i][size - 1] == i % 251 + 1);
			hb_slab_put(objects[i]);
		}
		ck_assert_uint_eq(hb_slabs_objects(slabs), 0);
	}
}
END_TEST

/* Those of multiples of 16, which is how one who has malloc's too tells them. */
START_TEST(addresses_tell_whose_they_are)
{
	for (unsigned i = 0; i < MANY; i++) {
		size_t size = 16 + 16 * (i % (HB_SLAB_OBJECT_MAX / 16));

		objects[i] = get(size);
		ck_assert(hb_slab_has(objects[i]));
		ck_assert_uint_eq(hb_slab_bytes(objects[i]), size);
	}
	for (unsigned i = 0; i < MANY; i++)
		hb_slab_put(objects[i]);
	for (size_t size = 1; size < 1000; size++) {
		void *at = malloc(size);

		ck_assert(!hb_slab_has(at));
		free(at);
	}
}
END_TEST

/* In whatever order they go: the last to leave a slab gives it back. */
START_TEST(empty_slabs_go_back)
{
	size_t one, all, stride = _i ? 7 : 1;

	hb_slab_put(get(200));
	one = hb_slabs_bytes(slabs);
	ck_assert_uint_gt(one, 0); /* the first stays */
	for (unsigned i = 0; i < MANY; i++)
		objects[i] = get(200);
	all = hb_slabs_bytes(slabs);
	for (unsigned first = 0; first < stride; first++)
		for (unsigned i = first; i < MANY; i += (unsigned)stride)
			hb_slab_put(objects[i]);
	ck_assert_uint_gt(all, 10 * one);
	ck_assert_uint_eq(hb_slabs_bytes(slabs), one);
	objects[0] = get(200);
	hb_slab_put(get(8));
	hb_slabs_trim(slabs);
	ck_assert_uint_eq(hb_slabs_bytes(slabs), one); /* in use */
	hb_slab_put(objects[0]);
	hb_slabs_trim(slabs);
	ck_assert_uint_eq(hb_slabs_bytes(slabs), 0);
}
END_TEST

/* Holes are filled before there is a new slab. */
START_TEST(holes_are_filled)
{
	size_t all;

	for (unsigned i = 0; i < MANY; i++)
		objects[i] = get(128);
	all = hb_slabs_bytes(slabs);
	for (unsigned i = 0; i < MANY; i += 3)
		hb_slab_put(objects[i]);
	for (unsigned i = 0; i < MANY; i += 3)
		objects[i] = get(128);
	ck_assert_uint_eq(hb_slabs_bytes(slabs), all);
	for (unsigned i = 0; i < MANY; i++)
		hb_slab_put(objects[i]);
	hb_slab_put(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slab");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_loop_test(tc, objects_do_not_overlap, 0, HB_ARRAY_LEN(sizes));
	tcase_add_test(tc, addresses_tell_whose_they_are);
	tcase_add_loop_test(tc, empty_slabs_go_back, 0, 2);
	tcase_add_test(tc, holes_are_filled);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
