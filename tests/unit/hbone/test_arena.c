/*
 * arena: zeroed, aligned, apart from each other, and gone at once.
 */
#include <check.h>
#include <hbone/arena.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

static bool is_zero(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

/* Every size around the edges of chunks; each is filled, so one that overlaps is not zero. */
START_TEST(any_size)
{
	static const size_t sizes[] = {
		0,    1,    7,     16,     17,     1023,   1024,    1025,          4095,
		4096, 4097, 65536, 262143, 262144, 262145, 1 << 20, (1 << 20) + 1, 3 << 20
	};
	struct hb_arena arena;

	hb_arena_init(&arena);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < HB_ARRAY_LEN(sizes); i++) {
			unsigned char *bytes = hb_arena_alloc(&arena, sizes[i]);

			ck_assert_ptr_nonnull(bytes);
			ck_assert_uint_eq((uintptr_t)bytes % alignof(max_align_t), 0);
			ck_assert_msg(is_zero(bytes, sizes[i]), "%zu", sizes[i]);
			memset(bytes, 0xa5, sizes[i]);
		}
	}
	hb_arena_done(&arena);
	hb_arena_done(&arena);
}
END_TEST

START_TEST(many_texts)
{
	char *texts[1000], want[16];
	struct hb_arena arena;

	hb_arena_init(&arena);
	for (size_t i = 0; i < HB_ARRAY_LEN(texts); i++) {
		snprintf(want, sizeof(want), "text %zu", i);
		texts[i] = hb_arena_text(&arena, want, strlen(want));
	}
	for (size_t i = 0; i < HB_ARRAY_LEN(texts); i++) {
		snprintf(want, sizeof(want), "text %zu", i);
		ck_assert_str_eq(texts[i], want);
	}
	ck_assert_str_eq(hb_arena_text(&arena, NULL, 0), "");
	ck_assert_str_eq(hb_arena_text(&arena, "clipped", 4), "clip");
	hb_arena_done(&arena);
}
END_TEST

START_TEST(sizes_that_overflow)
{
	struct hb_arena arena;

	hb_arena_init(&arena);
	ck_assert_ptr_null(hb_arena_array(&arena, SIZE_MAX / 2, 3));
	ck_assert_ptr_null(hb_arena_alloc(&arena, SIZE_MAX));
	ck_assert_ptr_null(hb_arena_text(&arena, "", SIZE_MAX));
	ck_assert_ptr_nonnull(hb_arena_array(&arena, 0, 8));
	hb_arena_done(&arena);
}
END_TEST

/* Used again and again it is zeroed each time, and asks for no more memory than the largest round.
 */
START_TEST(cleared)
{
	static const size_t sizes[] = { 10, 5000, 300000, 2 << 20, 40, 900 };
	struct hb_arena arena;
	size_t bytes = 0;

	hb_arena_init(&arena);
	hb_arena_clear(&arena);
	for (size_t i = 0; i < HB_ARRAY_LEN(sizes) * 4; i++) {
		size_t size = sizes[i % HB_ARRAY_LEN(sizes)];
		unsigned char *small = hb_arena_alloc(&arena, 100);
		unsigned char *large = hb_arena_alloc(&arena, size);

		ck_assert(small && large && is_zero(small, 100) && is_zero(large, size));
		memset(small, 1, 100);
		memset(large, 2, size);
		if (i == HB_ARRAY_LEN(sizes))
			bytes = arena.bytes;
		hb_arena_clear(&arena);
		ck_assert_uint_le(arena.bytes, (size_t)1 << 20);
	}
	ck_assert_uint_le(bytes, (size_t)2 << 20);
	hb_arena_done(&arena);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, any_size);
	tcase_add_test(tc, many_texts);
	tcase_add_test(tc, sizes_that_overflow);
	tcase_add_test(tc, cleared);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
