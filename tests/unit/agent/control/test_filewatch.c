/*
 * filewatch: every way in which a file changes is seen once, when it has come to rest.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/filewatch.h"

static char dir[] = "/tmp/culvert-watch-XXXXXX";

static void write_to(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

static void append(void)
{
	write_to("mesh", "longer than before");
}

static void rename_over(void)
{
	write_to("new", "a");
	ck_assert_int_eq(rename("new", "mesh"), 0);
}

static void take_away(void)
{
	ck_assert_int_eq(unlink("mesh"), 0);
}

/* As a mounted ConfigMap does it: the file is a link through a folder that is a link. */
static void link_elsewhere(void)
{
	ck_assert_int_eq(mkdir("next", 0700), 0);
	write_to("next/mesh", "a");
	ck_assert_int_eq(symlink("next", "data.new"), 0);
	ck_assert_int_eq(rename("data.new", "data"), 0);
}

static void touch_mode(void)
{
	ck_assert_int_eq(chmod("mesh", 0600), 0);
}

/* clang-format off */
static const struct {
	const char *name, *path;
	void (*change)(void);
} rows[] = {
	{ "written in place", "mesh", append },
	{ "another renamed over it", "mesh", rename_over },
	{ "gone", "mesh", take_away },
	{ "a link that points elsewhere", "data/mesh", link_elsewhere },
	{ "readable again", "mesh", touch_mode },
};
/* clang-format on */

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	write_to("mesh", "a");
	ck_assert_int_eq(mkdir("first", 0700), 0);
	write_to("first/mesh", "a");
	ck_assert_int_eq(symlink("first", "data"), 0);
}

static void teardown(void)
{
	char command[64];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(seen_once)
{
	struct filewatch watch;

	filewatch_init(&watch, rows[_i].path);
	ck_assert_msg(!filewatch_has_changed(&watch), "%s: not yet", rows[_i].name);
	rows[_i].change();
	ck_assert_msg(!filewatch_has_changed(&watch), "%s: may go on", rows[_i].name);
	ck_assert_msg(filewatch_has_changed(&watch), "%s: at rest", rows[_i].name);
	ck_assert_msg(!filewatch_has_changed(&watch), "%s: told already", rows[_i].name);
}
END_TEST

START_TEST(while_it_is_written)
{
	struct filewatch watch;
	char text[16] = "";

	filewatch_init(&watch, "mesh");
	for (int i = 0; i < 5; i++) {
		text[i] = 'a';
		write_to("mesh", text);
		ck_assert(!filewatch_has_changed(&watch));
	}
	ck_assert(filewatch_has_changed(&watch));
}
END_TEST

START_TEST(comes_back)
{
	struct filewatch watch;

	filewatch_init(&watch, "absent");
	ck_assert(!filewatch_has_changed(&watch));
	write_to("absent", "a");
	ck_assert(!filewatch_has_changed(&watch));
	ck_assert(filewatch_has_changed(&watch));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("filewatch");
	TCase *tc = tcase_create("changes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, seen_once, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, while_it_is_written);
	tcase_add_test(tc, comes_back);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
