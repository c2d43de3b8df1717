/*
 * settings_reference: the committed page is what the table says. With --write: writes it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"

static char *read_file(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	ck_assert_msg(in, "%s is missing: run this program with --write", path);
	ck_assert_uint_lt(fread(text, 1, (1 << 20) - 1, in), (1 << 20) - 1);
	fclose(in);
	return text;
}

START_TEST(page_is_current)
{
	char *want = NULL, *got = read_file(SETTINGS_PAGE);
	size_t len;
	FILE *out = open_memstream(&want, &len);

	settings_write_reference(out);
	fclose(out);
	ck_assert_msg(strcmp(got, want) == 0,
	              "%s is not what the table says: run this program "
	              "with --write and commit the page",
	              SETTINGS_PAGE);
	free(got);
	free(want);
}
END_TEST

static int write_page(void)
{
	FILE *out = fopen(SETTINGS_PAGE, "w");

	if (!out)
		return 1;
	settings_write_reference(out);
	return fclose(out) != 0;
}

int main(int argc, char **argv)
{
	Suite *suite;
	TCase *tc;
	SRunner *runner;
	int failed;

	if (argc > 1 && strcmp(argv[1], "--write") == 0)
		return write_page();
	suite = suite_create("settings_reference");
	tc = tcase_create("page");
	runner = srunner_create(suite);
	tcase_add_test(tc, page_is_current);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
