/*
 * lean: code and constants leave memory, come back when they are wanted, and what was written
 * stays.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>

#include "lean.h"

static int one(void)
{
	return 1;
}

static int two(void)
{
	return 2;
}

/* The linker writes their addresses, then protects them. */
static int (*const linked[])(void) = { one, two };
static int written = 1;

/* Resident KiB of what has no write permission and is a file's. */
static size_t resident_kib(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512], permissions[8];
	unsigned long inode;
	size_t sum = 0, kib;
	bool counts = false;

	ck_assert_ptr_nonnull(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%*x-%*x %7s %*x %*x:%*x %lu", permissions, &inode) == 2)
			counts = permissions[1] == '-' && inode != 0;
		else if (counts && sscanf(line, "Rss: %zu", &kib) == 1)
			sum += kib;
	}
	fclose(smaps);
	return sum;
}

START_TEST(code_goes_and_comes_back)
{
	size_t before = resident_kib(), after;

	written = 2;
	ck_assert_uint_gt(lean_drop_code(), 0);
	after = resident_kib();
	ck_assert_msg(after < before, "%zu KiB before, %zu after", before, after);
	ck_assert_int_eq(linked[0]() + linked[1](), 3);
	ck_assert_int_eq(written, 2);
	lean_down(); /* also twice */
	ck_assert_int_eq(linked[0]() + linked[1](), 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lean");
	TCase *tc = tcase_create("lean");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, code_goes_and_comes_back);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
