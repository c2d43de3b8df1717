/*
 * log: what several threads write arrives whole; a reader that stands still costs lines, not time.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_SCOPE "test"
#include "log.h"

/* Each test runs in a child of its own (Check forks), whose stdout becomes the pipe. */
static int reader;

static void capture(void)
{
	int fds[2];

	fflush(stdout);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
	close(fds[1]);
	reader = fds[0];
}

static void start(const char *directives, bool json)
{
	char why[256] = "";

	capture();
	ck_assert_msg(log_init(directives, json, why, sizeof(why)) == 0, "%s", why);
}

/* All that was written, until the pipe's end; the caller frees it. */
static char *read_all(void)
{
	size_t len = 0, size = 1 << 16;
	char *text = malloc(size);
	ssize_t n;

	while ((n = read(reader, text + len, size - len - 1)) > 0) {
		len += (size_t)n;
		if (size - len < 4096)
			text = realloc(text, size *= 2);
		ck_assert_ptr_nonnull(text);
	}
	text[len] = '\0';
	return text;
}

static void *read_main(void *arg)
{
	return read_all();
}

static char *end_and_read(void)
{
	log_done();
	close(STDOUT_FILENO);
	return read_all();
}

static size_t count(const char *text, const char *word)
{
	size_t found = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		found++;
	return found;
}

START_TEST(levels_decide)
{
	char why[128];
	char *text;

	start("warn,test::loud=debug", false);
	log_info("too quiet", "");
	log_warn("heard", "n=%d", 1);
	log_write(LOG_DEBUG, "test::loud::inner", "heard too", "");
	ck_assert_int_eq(log_set_levels("info", why, sizeof(why)), 0);
	ck_assert(!log_enabled("test::loud", LOG_DEBUG)); /* replaced, not added to */
	log_info("later", "");
	log_debug("not this", "");
	ck_assert_int_ne(log_set_levels("nonsense", why, sizeof(why)), 0);
	ck_assert(!log_enabled("test", LOG_DEBUG));
	text = end_and_read();
	ck_assert_ptr_null(strstr(text, "too quiet"));
	ck_assert_ptr_nonnull(strstr(text, "\twarn\ttest\theard\tn=1\n"));
	ck_assert_ptr_nonnull(strstr(text, "\tdebug\ttest::loud::inner\theard too\t\n"));
	ck_assert_ptr_nonnull(strstr(text, "\tlater\t"));
	ck_assert_ptr_null(strstr(text, "not this"));
	ck_assert_uint_eq(log_dropped(), 0);
	free(text);
}
END_TEST

START_TEST(the_same_warning_again_and_again)
{
	uint64_t before = log_suppressed(), left_out;
	char *text;

	start("", false);
	for (int i = 0; i < 500; i++) {
		log_warn("again", "n=%d", i);
		log_info("told each time", "");
	}
	left_out = log_suppressed() - before;
	text = end_and_read();
	ck_assert_uint_ge(left_out, 400);
	ck_assert_uint_eq(count(text, "\tagain\t"), 500 - left_out);
	ck_assert_uint_eq(count(text, "told each time"), 500);
	free(text);
}
END_TEST

START_TEST(json_and_fields)
{
	struct log_field fields[] = { { "src.addr", LOG_BARE, "10.0.0.1:1", 0 } };
	char *text;

	start("", true);
	log_fields(LOG_INFO, "access", "connection complete", fields, 1);
	text = end_and_read();
	ck_assert_ptr_nonnull(strstr(text,
	                             "\"scope\":\"access\",\"message\":\"connection complete\","
	                             "\"src.addr\":\"10.0.0.1:1\"}\n"));
	free(text);
}
END_TEST

START_TEST(bad_directives)
{
	char why[256] = "";

	ck_assert_int_lt(log_init("loud", false, why, sizeof(why)), 0);
	ck_assert_ptr_nonnull(strstr(why, "\"loud\" is not a log level"));
	log_done(); /* nothing runs: nothing happens */
}
END_TEST

START_TEST(outside_of_its_life)
{
	char *text;

	capture();
	log_warn("early", "");
	ck_assert_int_eq(log_init("", false, (char[64]){ 0 }, 64), 0);
	log_warn("meanwhile", "");
	log_done();
	log_warn("late", "");
	text = end_and_read();
	ck_assert(strstr(text, "early") < strstr(text, "meanwhile"));
	ck_assert(strstr(text, "meanwhile") < strstr(text, "late"));
	free(text);
}
END_TEST

#define THREADS 4
#define EACH    1000

static void *chatter(void *arg)
{
	for (int i = 0; i < EACH; i++)
		log_info("line", "thread=%d n=%d end=yes", *(int *)arg, i);
	return NULL;
}

START_TEST(many_threads)
{
	int ids[THREADS] = { 0, 1, 2, 3 };
	pthread_t threads[THREADS], drain;
	void *text;

	start("", false);
	ck_assert_int_eq(pthread_create(&drain, NULL, read_main, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, chatter, &ids[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_done();
	close(STDOUT_FILENO);
	pthread_join(drain, &text);
	ck_assert_uint_eq(log_dropped(), 0);
	ck_assert_uint_eq(count(text, "\n"), THREADS * EACH);
	ck_assert_uint_eq(count(text, " end=yes\n"), THREADS * EACH);
	free(text);
}
END_TEST

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * Nobody reads: the pipe fills, then the queue. Access lines are dropped first and never wait; of
 * the others only the first waits. When the reader comes back it learns how many are missing.
 */
START_TEST(stalled_reader)
{
	static const struct log_field field = { "k", LOG_TEXT, "v", 0 };
	uint64_t before, dropped, warned;
	pthread_t drain;
	void *text;

	start("", false);
	for (int i = 0; i < 20000; i++)
		log_fields(LOG_INFO, "access", "flow", &field, 1);
	dropped = log_dropped();
	ck_assert_uint_gt(dropped, 0);
	log_warn("room for trouble", "");
	ck_assert_msg(log_dropped() == dropped, "no room was kept for warnings");

	before = now_ms();
	for (int i = 0; i < 20000; i++)
		log_error("trouble", "n=%d", i);
	ck_assert_uint_lt(now_ms() - before, 10000); /* 20,000 waits of 20 ms would be 400 s */
	warned = log_dropped();
	ck_assert_uint_gt(warned, dropped + 10000);

	ck_assert_int_eq(pthread_create(&drain, NULL, read_main, NULL), 0);
	log_done();
	close(STDOUT_FILENO);
	pthread_join(drain, &text);
	ck_assert_ptr_nonnull(strstr(text, "room for trouble"));
	ck_assert_ptr_nonnull(strstr(text, "log lines were dropped\tlines="));
	ck_assert_uint_eq(count(text, "flow\t") + count(text, "trouble\tn="), 40000 - warned);
	free(text);
}
END_TEST

/* The reader is gone: no SIGPIPE, no endless loop. */
START_TEST(reader_gone)
{
	start("", false);
	close(reader);
	log_warn("nobody hears", "");
	log_done();
	ck_assert_uint_ge(log_dropped(), 1);
}
END_TEST

/* A stdout that never drains does not hold up the end of the process for long. */
START_TEST(end_with_stalled_reader)
{
	uint64_t before;

	start("", false);
	for (int i = 0; i < 20000; i++)
		log_info("flow", "");
	before = now_ms();
	log_done();
	ck_assert_uint_lt(now_ms() - before, 8000);
	_exit(0); /* as the process would end */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, levels_decide);
	tcase_add_test(tc, the_same_warning_again_and_again);
	tcase_add_test(tc, json_and_fields);
	tcase_add_test(tc, bad_directives);
	tcase_add_test(tc, outside_of_its_life);
	tcase_add_test(tc, many_threads);
	tcase_add_test(tc, stalled_reader);
	tcase_add_test(tc, reader_gone);
	tcase_add_test(tc, end_with_stalled_reader);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
