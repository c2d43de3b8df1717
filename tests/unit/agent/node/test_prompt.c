/*
 * prompt: the slice is asked for, and known to the kernel where it keeps it; exits 77 where it
 * does not (before Linux 6.12).
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "node/prompt.h"

static void *ask_there(void *ret)
{
	*(uint64_t *)ret = prompt_slice_ns();
	return NULL;
}

START_TEST(asked_for_and_kept)
{
	uint64_t before = prompt_slice_ns(), there = 0;
	pthread_t thread;

	ck_assert_uint_ne(before, PROMPT_SLICE_NS);
	ck_assert_int_eq(pthread_create(&thread, NULL, ask_there, &there), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(there, before);
	ck_assert_int_eq(prompt(), 0);
	ck_assert_uint_eq(prompt_slice_ns(), PROMPT_SLICE_NS);
	ck_assert_int_eq(prompt(), 0); /* also twice */
	ck_assert_uint_eq(prompt_slice_ns(), PROMPT_SLICE_NS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prompt");
	TCase *tc = tcase_create("prompt");
	SRunner *runner = srunner_create(suite);
	unsigned major = 0, minor = 0;
	struct utsname kernel;
	int failed;

	uname(&kernel);
	if (sscanf(kernel.release, "%u.%u", &major, &minor) != 2 || major < 6 ||
	    (major == 6 && minor < 12)) {
		printf("skipped: Linux %s keeps no slice of a thread's own\n", kernel.release);
		srunner_free(runner);
		return 77;
	}
	tcase_add_test(tc, asked_for_and_kept);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
