/*
 * settings_parse: text to number, by type.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "config/settings_parse.h"

typedef int (*parse_fn)(const char *text, uint64_t *ret_value);

/* clang-format off */
static const struct {
	const char *name;
	parse_fn parse;
	const char *text;
	int want;
	uint64_t value;
} rows[] = {
	{ "number", settings_parse_u64, "42", 0, 42 },
	{ "zero", settings_parse_u64, "0", 0, 0 },
	{ "leading zeros", settings_parse_u64, "007", 0, 7 },
	{ "largest", settings_parse_u64, "18446744073709551615", 0, UINT64_MAX },
	{ "too large", settings_parse_u64, "18446744073709551616", -ERANGE, 0 },
	{ "empty number", settings_parse_u64, "", -EINVAL, 0 },
	{ "sign", settings_parse_u64, "-1", -EINVAL, 0 },
	{ "plus", settings_parse_u64, "+1", -EINVAL, 0 },
	{ "blank before", settings_parse_u64, " 1", -EINVAL, 0 },
	{ "blank behind", settings_parse_u64, "1 ", -EINVAL, 0 },
	{ "hex", settings_parse_u64, "0x10", -EINVAL, 0 },
	{ "point", settings_parse_u64, "1.0", -EINVAL, 0 },

	{ "milliseconds", settings_parse_duration, "250ms", 0, 250 },
	{ "seconds", settings_parse_duration, "180s", 0, 180000 },
	{ "minutes", settings_parse_duration, "5m", 0, 300000 },
	{ "hours", settings_parse_duration, "24h", 0, 86400000 },
	{ "days", settings_parse_duration, "2d", 0, 172800000 },
	{ "compound", settings_parse_duration, "1h30m", 0, 5400000 },
	{ "all units", settings_parse_duration, "1d1h1m1s1ms", 0, 90061001 },
	{ "zero seconds", settings_parse_duration, "0s", 0, 0 },
	{ "no unit is seconds", settings_parse_duration, "180", 0, 180000 },
	{ "zero without a unit", settings_parse_duration, "0", 0, 0 },
	{ "no number", settings_parse_duration, "s", -EINVAL, 0 },
	{ "empty duration", settings_parse_duration, "", -EINVAL, 0 },
	{ "weeks", settings_parse_duration, "1w", 0, 604800000 },
	{ "upper case unit", settings_parse_duration, "1H", 0, 3600000 },
	{ "word", settings_parse_duration, "1min", 0, 60000 },
	{ "words, one or many", settings_parse_duration, "1 month 2 days 1 Hour 3seconds", 0, 2768403000 },
	{ "years", settings_parse_duration, "2years", 0, 63072000000 },
	{ "an abbreviation has no plural", settings_parse_duration, "2mins", -EINVAL, 0 },
	{ "unknown unit", settings_parse_duration, "1q", -EINVAL, 0 },
	{ "blanks", settings_parse_duration, " 1h 30 m ", 0, 5400000 },
	{ "a sum", settings_parse_duration, "1h + 30m+5", 0, 5405000 },
	{ "a sum of nothing", settings_parse_duration, "1h+", -EINVAL, 0 },
	{ "a sign", settings_parse_duration, "+5s", -EINVAL, 0 },
	{ "a product", settings_parse_duration, "1h*2", -EINVAL, 0 },
	{ "the last part without a unit", settings_parse_duration, "1h30", 0, 3630000 },
	{ "the first part without a unit", settings_parse_duration, "30 1h", -EINVAL, 0 },
	{ "microseconds", settings_parse_duration, "1500us", 0, 2 },
	{ "the micro sign", settings_parse_duration, "3000\302\265s", 0, 3 },
	{ "nanoseconds are something", settings_parse_duration, "1ns", 0, 1 },
	{ "fraction", settings_parse_duration, "1.5h", -EINVAL, 0 },
	{ "negative", settings_parse_duration, "-5m", -EINVAL, 0 },
	{ "duration too large", settings_parse_duration, "18446744073709551615d", -ERANGE, 0 },
	{ "sum too large", settings_parse_duration, "18446744073709551615ms1ms", -ERANGE, 0 },

	{ "bytes", settings_parse_bytes, "4194304", 0, 4194304 },
	{ "Ki", settings_parse_bytes, "256Ki", 0, 262144 },
	{ "Mi", settings_parse_bytes, "4Mi", 0, 4194304 },
	{ "Gi", settings_parse_bytes, "1Gi", 0, 1073741824 },
	{ "M is not Mi", settings_parse_bytes, "4M", -EINVAL, 0 },
	{ "B", settings_parse_bytes, "4B", -EINVAL, 0 },
	{ "size too large", settings_parse_bytes, "18446744073709551615Ki", -ERANGE, 0 },

	{ "cores", settings_parse_cpus, "2", 0, 2 },
	{ "no core", settings_parse_cpus, "0", 0, 0 },
	{ "part of a core", settings_parse_cpus, "250m", 0, 1 },
	{ "just above", settings_parse_cpus, "2001m", 0, 3 },
	{ "just so", settings_parse_cpus, "2000m", 0, 2 },
	{ "decimal", settings_parse_cpus, "1.5", 0, 2 },
	{ "a thousandth", settings_parse_cpus, "1.001", 0, 2 },
	{ "four digits", settings_parse_cpus, "1.0001", -EINVAL, 0 },
	{ "point alone", settings_parse_cpus, "1.", -EINVAL, 0 },
	{ "decimal of milli", settings_parse_cpus, "0.5m", -EINVAL, 0 },
	{ "other suffix", settings_parse_cpus, "1k", -EINVAL, 0 },
};

static const struct {
	const char *text;
	int want;
	struct setting_threads threads;
} thread_rows[] = {
	{ "4", 0, { THREADS_COUNT, 4 } },
	{ "0", 0, { THREADS_COUNT, 0 } },
	{ "1024", 0, { THREADS_COUNT, 1024 } },
	{ "1025", -ERANGE, { 0 } },
	{ "50%", 0, { THREADS_PERCENT, 50000 } },
	{ "12.5%", 0, { THREADS_PERCENT, 12500 } },
	{ "100%", 0, { THREADS_PERCENT, 100000 } },
	{ "0.001%", 0, { THREADS_PERCENT, 1 } },
	{ "0%", -ERANGE, { 0 } },
	{ "101%", -ERANGE, { 0 } },
	{ "1.5", -EINVAL, { 0 } },
	{ "%", -EINVAL, { 0 } },
	{ "5 %", -EINVAL, { 0 } },
	{ "", -EINVAL, { 0 } },
	{ "all", -EINVAL, { 0 } },
	{ "-1", -EINVAL, { 0 } },
};

static const struct {
	uint64_t ms;
	const char *want;
} format_rows[] = {
	{ 0, "0s" }, { 1, "1ms" }, { 180000, "3m" }, { 5400000, "1h30m" }, { 90061001, "1d1h1m1s1ms" },
	{ UINT64_MAX, "213503982334d14h25m51s615ms" },
};
/* clang-format on */

START_TEST(numbers)
{
	uint64_t value = 99;
	int got = rows[_i].parse(rows[_i].text, &value);

	ck_assert_msg(got == rows[_i].want, "%s: got %d, want %d", rows[_i].name, got,
	              rows[_i].want);
	ck_assert_msg(value == (got ? 99 : rows[_i].value), "%s: value %lu", rows[_i].name,
	              (unsigned long)value);
}
END_TEST

START_TEST(thread_rules)
{
	struct setting_threads threads = { 0 };
	int got = settings_parse_threads(thread_rows[_i].text, &threads);

	ck_assert_msg(got == thread_rows[_i].want, "%s: got %d", thread_rows[_i].text, got);
	ck_assert_msg(threads.kind == thread_rows[_i].threads.kind &&
	                  threads.n == thread_rows[_i].threads.n,
	              "%s: kind %d, n %u", thread_rows[_i].text, threads.kind, threads.n);
}
END_TEST

START_TEST(durations_back)
{
	char text[64];

	settings_format_duration(format_rows[_i].ms, text, sizeof(text));
	ck_assert_str_eq(text, format_rows[_i].want);
}
END_TEST

START_TEST(booleans_and_choices)
{
	bool value = false;
	uint64_t index = 9;

	ck_assert_int_eq(settings_parse_bool("true", &value), 0);
	ck_assert(value);
	ck_assert_int_eq(settings_parse_bool("false", &value), 0);
	ck_assert(!value);
	ck_assert_int_eq(settings_parse_bool("True", &value), -EINVAL);
	ck_assert_int_eq(settings_parse_bool("1", &value), -EINVAL);
	ck_assert_int_eq(settings_parse_bool("true ", &value), -EINVAL);
	ck_assert_int_eq(settings_parse_choice("plain|json", "json", &index), 0);
	ck_assert_uint_eq(index, 1);
	ck_assert_int_eq(settings_parse_choice("plain|json", "plain", &index), 0);
	ck_assert_uint_eq(index, 0);
	ck_assert_int_eq(settings_parse_choice("plain|json", "js", &index), -EINVAL);
	ck_assert_int_eq(settings_parse_choice("plain|json", "", &index), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings_parse");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, numbers, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(tc, thread_rules, 0, sizeof(thread_rows) / sizeof(thread_rows[0]));
	tcase_add_loop_test(tc, durations_back, 0, sizeof(format_rows) / sizeof(format_rows[0]));
	tcase_add_test(tc, booleans_and_choices);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
