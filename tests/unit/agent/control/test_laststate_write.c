/*
 * laststate_write: the next file is written in slices, while things change and go wrong.
 */
#include "laststate_fixture.h"

START_TEST(only_what_changed_and_not_too_often)
{
	struct laststate *state = open_it();

	put_text(state, "a", "1");
	ck_assert_uint_eq(laststate_step(state, T0), LASTSTATE_IDLE);
	put_text(state, "a", "1");
	ck_assert(!laststate_remove(state, A, "b"));
	ck_assert(!laststate_remove(state, P, "a"));
	ck_assert_uint_eq(laststate_step(state, T0 + 60000), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).files, 1);

	put_text(state, "a", "2");
	ck_assert_uint_eq(laststate_step(state, T0 + 60000), LASTSTATE_IDLE);
	put_text(state, "a", "3");
	ck_assert_uint_eq(laststate_step(state, T0 + 61000), LASTSTATE_INTERVAL_MS - 1000);
	ck_assert_uint_eq(laststate_report(state).files, 2);
	ck_assert_uint_eq(laststate_step(state, T0 + 65000), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).files, 3);

	/* A clock that is set back by years stops nothing. */
	put_text(state, "a", "4");
	ck_assert_uint_eq(laststate_step(state, T0 / 2), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).files, 4);
	laststate_close(state);
	reopens_as("a=4");
}
END_TEST

START_TEST(what_is_not_written_is_not_there)
{
	struct laststate *state = open_it();

	put_text(state, "a", "1");
	laststate_step(state, T0);
	put_text(state, "a", "2");
	laststate_close(state);
	reopens_as("a=1");
	state = open_it();
	put_text(state, "a", "2");
	ck_assert_int_eq(laststate_flush(state, T0 + 1), 0); /* for the end: at once */
	laststate_close(state);
	reopens_as("a=2");
}
END_TEST

static void put_many(struct laststate *state, unsigned from, unsigned to, char fill)
{
	char name[16], value[1024];

	memset(value, fill, sizeof(value));
	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%u", i);
		ck_assert_int_eq(put(state, A, name, "", value, sizeof(value)), 0);
	}
}

/* How many of numbers have which fill, in the file as it is found. */
static void has_many(unsigned total, char fill, unsigned of_fill)
{
	struct laststate *state = open_it();
	struct laststate_cursor cursor = { 0 };
	struct laststate_record record;
	unsigned count = 0, filled = 0;

	while (laststate_next(state, &cursor, &record)) {
		count++;
		filled += record.value[0] == fill;
	}
	laststate_close(state);
	ck_assert_uint_eq(count, total);
	ck_assert_uint_eq(filled, of_fill);
}

START_TEST(in_slices)
{
	struct laststate *state = open_it();
	unsigned steps = 1;
	struct stat before = { 0 }, st;

	put_many(state, 0, 6000, 'a'); /* 6 MB: six seconds of LASTSTATE_RATE */
	while (laststate_step(state, T0) == 0 && laststate_report(state).is_writing) {
		ck_assert_int_eq(stat(next, &st), 0);
		ck_assert_int_le(st.st_size - before.st_size, LASTSTATE_SLICE + 2048);
		ck_assert_int_ne(access(path, F_OK), 0);
		before = st;
		steps++;
	}
	/* What it was spooled in goes by and by. */
	ck_assert_uint_eq(laststate_report(state).files, 1);
	ck_assert_uint_eq(laststate_step(state, T0), 0);
	while (laststate_step(state, T0) == 0)
		;
	ck_assert_uint_ge(steps, 6000 * 1024 / LASTSTATE_SLICE);
	ck_assert_int_ne(access(next, F_OK), 0);
	put_text(state, "0", "b");
	ck_assert_uint_gt(laststate_step(state, T0), LASTSTATE_INTERVAL_MS);
	ck_assert_uint_lt(laststate_step(state, T0), 7000);
	laststate_close(state);
	has_many(6000, 'a', 6000);
}
END_TEST

START_TEST(changes_while_it_is_written)
{
	struct laststate *state = open_it();
	char name[16];

	put_many(state, 0, 2000, 'a');
	ck_assert_uint_eq(laststate_step(state, T0), 0);
	put_many(state, 0, 100, 'b');          /* behind the writer */
	put_many(state, 1000, 1100, 'b');      /* ahead of it */
	put_many(state, 2000, 2100, 'b');      /* new */
	for (unsigned i = 100; i < 500; i++) { /* also where it stands */
		snprintf(name, sizeof(name), "%u", i);
		ck_assert(laststate_remove(state, A, name));
	}
	while (laststate_step(state, T0) == 0)
		;
	/* What was behind the writer, and what was taken away there, comes with the next file. */
	ck_assert(laststate_report(state).is_dirty);
	ck_assert_uint_eq(laststate_report(state).files, 1);
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	ck_assert_uint_eq(laststate_report(state).files, 2);
	laststate_close(state);
	has_many(1700, 'b', 300);
}
END_TEST

START_TEST(the_last_entry_goes_while_it_is_written)
{
	struct laststate *state = open_it();

	put_many(state, 0, 300, 'a');
	ck_assert_uint_eq(laststate_step(state, T0), 0);
	for (unsigned i = 0; i < 300; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		ck_assert(laststate_remove(state, A, name));
	}
	put_text(state, "new", "1");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	ck_assert_uint_eq(laststate_report(state).files, 2);
	laststate_close(state);
	reopens_as("new=1");
}
END_TEST

START_TEST(an_end_while_it_is_written)
{
	struct laststate *state = open_it();

	put_text(state, "a", "1");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	put_many(state, 0, 1000, 'a');
	ck_assert_uint_eq(laststate_step(state, T0 + 5000), 0);
	laststate_close(state);
	ck_assert_int_ne(access(next, F_OK), 0);
	reopens_as("a=1");
}
END_TEST

START_TEST(left_by_one_that_died)
{
	struct laststate *state = open_it();
	FILE *file;

	laststate_close(state);
	file = fopen(next, "w");
	ck_assert_ptr_nonnull(file);
	fclose(file);
	state = open_it();
	ck_assert_int_ne(access(next, F_OK), 0);
	put_text(state, "a", "1");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	reopens_as("a=1");
}
END_TEST

START_TEST(large_records)
{
	static char value[LASTSTATE_VALUE_MAX];
	struct laststate *state = open_it();

	for (int round = 0; round < 2; round++) { /* from memory, then from the file */
		put_text(state, "small", round ? "2" : "1");
		memset(value, 'a', sizeof(value));
		ck_assert_int_eq(put(state, A, "large", "", value, sizeof(value)), 0);
		put_text(state, "last", "3");
		ck_assert_int_eq(laststate_flush(state, T0), 0);
	}
	ck_assert_uint_eq(laststate_report(state).files, 2);
	laststate_close(state);
	has_many(3, 'a', 1);
}
END_TEST

/* ---- what goes wrong ---- */

START_TEST(a_folder_that_goes_away)
{
	struct laststate *state = open_it();

	put_text(state, "a", "1");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0);
	put_text(state, "b", "2");
	ck_assert_uint_eq(laststate_step(state, T0 + 5000), LASTSTATE_RETRY_MS);
	ck_assert_uint_eq(laststate_step(state, T0 + 6000), LASTSTATE_RETRY_MS - 1000);
	ck_assert_uint_eq(laststate_report(state).failures, 1);
	ck_assert_int_eq(laststate_flush(state, T0 + 6000), -ENOENT);

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_uint_eq(laststate_step(state, T0 + 40000), LASTSTATE_IDLE);
	/* What was in the file that is gone is still known: it was open. */
	ck_assert_str_eq(all(state), "a=1 b=2");
	laststate_close(state);
	reopens_as("a=1 b=2");
}
END_TEST

START_TEST(a_name_that_is_taken)
{
	struct laststate *state = open_it();

	put_many(state, 0, 1000, 'a');
	ck_assert_uint_eq(laststate_step(state, T0), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0); /* rename() fails, at the very end */
	while (laststate_step(state, T0) == 0)
		;
	ck_assert_uint_eq(laststate_report(state).failures, 1);
	ck_assert_uint_eq(laststate_report(state).files, 0);
	ck_assert_int_ne(access(next, F_OK), 0);
	ck_assert_int_eq(rmdir(path), 0);
	while (laststate_step(state, T0 + LASTSTATE_RETRY_MS) == 0)
		;
	laststate_close(state);
	has_many(1000, 'a', 1000);
}
END_TEST

START_TEST(a_disk_that_forgets)
{
	struct laststate *state = open_it();
	uint8_t bytes[1024];
	size_t len;
	int fd;

	put_text(state, "a", "1");
	put_text(state, "b", "two");
	put_text(state, "c", "3");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	len = read_file(path, bytes, sizeof(bytes));
	fd = open(path, O_WRONLY); /* the very file that is open */
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)(LASTSTATE_HEAD_BYTES + len) / 2), 1);
	close(fd);
	ck_assert_str_eq(all(state), "a=1 c=3");
	ck_assert_uint_eq(laststate_report(state).lost, 1);
	ck_assert_uint_eq(laststate_report(state).records, 2);
	/* The next file has what there is; found out by the writer, too. */
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)len - 1), 1);
	close(fd);
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	ck_assert_uint_eq(laststate_report(state).lost, 2);
	laststate_close(state);
	reopens_as("a=1");
}
END_TEST

START_TEST(confirmed)
{
	struct laststate *state = open_it();
	struct stat before, after;

	put_text(state, "a", "1");
	laststate_step(state, T0);
	ck_assert_int_eq(stat(path, &before), 0);
	laststate_confirm(state, T0 + 30000);
	ck_assert_uint_eq(laststate_step(state, T0 + 30000), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).as_of_ms, T0);
	laststate_confirm(state, T0 + 60000);
	ck_assert_uint_eq(laststate_step(state, T0 + 70000), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).as_of_ms, T0 + 60000);
	laststate_confirm(state, T0 + 61000);
	ck_assert_int_eq(laststate_flush(state, T0 + 90000), 0); /* also when it is less */
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino); /* its head alone was written */
	ck_assert_uint_eq(laststate_report(state).files, 1);
	ck_assert_uint_eq(laststate_report(state).confirmations, 2);
	laststate_close(state);
	state = open_it();
	ck_assert_uint_eq(laststate_report(state).restored_as_of_ms, T0 + 61000);
	/* What is tried again after a failure does not become younger by that. */
	laststate_close(state);
	reopens_as("a=1");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("laststate_write");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, only_what_changed_and_not_too_often);
	tcase_add_test(tc, what_is_not_written_is_not_there);
	tcase_add_test(tc, in_slices);
	tcase_add_test(tc, changes_while_it_is_written);
	tcase_add_test(tc, the_last_entry_goes_while_it_is_written);
	tcase_add_test(tc, an_end_while_it_is_written);
	tcase_add_test(tc, left_by_one_that_died);
	tcase_add_test(tc, large_records);
	tcase_add_test(tc, a_folder_that_goes_away);
	tcase_add_test(tc, a_name_that_is_taken);
	tcase_add_test(tc, a_disk_that_forgets);
	tcase_add_test(tc, confirmed);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
