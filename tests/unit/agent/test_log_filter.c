/*
 * log_filter: which scope is logged at which level, and what is said of directives that are none.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log_filter.h"

/* clang-format off */
static const struct {
	const char *name, *directives, *scope;
	enum log_level want;
} rows[] = {
	{ "nothing said", "", "proxy", LOG_INFO },
	{ "one level", "debug", "proxy", LOG_DEBUG },
	{ "off", "off", "access", LOG_OFF },
	{ "upper case", "WARN", "proxy", LOG_WARN },
	{ "istioctl's words", "warning", "proxy", LOG_WARN },
	{ "istioctl's other word", "critical", "proxy", LOG_ERROR },
	{ "a number", "2", "proxy", LOG_WARN },
	{ "numbers of targets", "5,proxy=0", "proxy", LOG_OFF },
	{ "access off", "access=off", "access", LOG_OFF },
	{ "access off leaves the rest", "access=off", "proxy", LOG_INFO },
	{ "level and target", "info,xds=debug", "xds", LOG_DEBUG },
	{ "level and target, other scope", "warn,xds=debug", "proxy", LOG_WARN },
	{ "a target is a prefix", "proxy=debug", "proxy::inbound", LOG_DEBUG },
	{ "the longest wins", "proxy::inbound=trace,proxy=error", "proxy::inbound", LOG_TRACE },
	{ "the longest wins, the other scope", "proxy::inbound=trace,proxy=error", "proxy::pool", LOG_ERROR },
	{ "ztunnel's prefix", "info,ztunnel::xds=debug", "xds::client", LOG_DEBUG },
	{ "ztunnel alone", "ztunnel=debug", "proxy", LOG_DEBUG },
	{ "ztunnel alone is not access", "ztunnel=debug", "access", LOG_INFO },
	{ "ztunnel alone is not dns", "ztunnel=debug", "dns", LOG_INFO },
	{ "said twice", "debug,error", "proxy", LOG_ERROR },
	{ "a target said twice", "dns=debug,dns=off", "dns", LOG_OFF },
	{ "istioctl's colon", "access:debug", "access", LOG_DEBUG },
	{ "colons and colon", "ztunnel::xds:debug", "xds", LOG_DEBUG },
	{ "blanks and empty parts", " , info , dns=debug ,", "dns", LOG_DEBUG },
};

static const struct {
	const char *name, *directives, *want;
} bad[] = {
	{ "a word", "loud", "\"loud\" is not a log level, expected off, error, warn, info, debug or trace, or target=level" },
	{ "a target without a level", "access=", "\"access=\" is not a log level, expected off, error, warn, info, debug or trace, or target=level" },
	{ "a level without a target", "=info", "\"=info\" is not a log level, expected off, error, warn, info, debug or trace, or target=level" },
	{ "a bad one behind a good one", "debug,x=y", "\"x=y\" is not a log level, expected off, error, warn, info, debug or trace, or target=level" },
	{ "a span", "[conn]=debug", "\"[conn]=debug\" is not a log level, expected off, error, warn, info, debug or trace, or target=level" },
};
/* clang-format on */

START_TEST(levels)
{
	struct log_filter filter;
	char why[256] = "";
	enum log_level got;

	log_filter_init(&filter);
	ck_assert_msg(log_filter_add(&filter, rows[_i].directives, why, sizeof(why)) == 0, "%s: %s",
	              rows[_i].name, why);
	got = log_filter_level(&filter, rows[_i].scope);
	ck_assert_msg(got == rows[_i].want, "%s: got %d, want %d", rows[_i].name, got,
	              rows[_i].want);
	ck_assert_msg(got <= filter.most, "%s: above the noisiest", rows[_i].name);
}
END_TEST

START_TEST(refusals)
{
	struct log_filter filter, before;
	char why[256] = "";

	log_filter_init(&filter);
	before = filter;
	ck_assert_int_eq(log_filter_add(&filter, bad[_i].directives, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strcmp(why, bad[_i].want) == 0, "%s: said %s", bad[_i].name, why);
	ck_assert_msg(filter.level == before.level && filter.targets == before.targets,
	              "%s: something has changed", bad[_i].name);
}
END_TEST

START_TEST(additions_stay)
{
	struct log_filter filter;
	char why[256];

	log_filter_init(&filter);
	ck_assert_int_eq(log_filter_add(&filter, "access=off", why, sizeof(why)), 0);
	ck_assert_int_eq(log_filter_add(&filter, "debug", why, sizeof(why)), 0);
	ck_assert_int_eq(log_filter_level(&filter, "access"), LOG_OFF);
	ck_assert_int_eq(log_filter_level(&filter, "proxy"), LOG_DEBUG);
	ck_assert_int_eq(filter.most, LOG_DEBUG);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *directives, *want;
} texts[] = {
	{ "nothing said", "", "info" },
	{ "a level", "debug", "debug" },
	{ "the longest first, the default last", "warn,a=off,access=debug,dns=trace", "access=debug,dns=trace,a=off,warn" },
	{ "said twice is said once", "info,debug,a=info,WARNING,a=off", "a=off,warn" },
	{ "with its crate", "ztunnel::proxy=trace,ztunnel=error,access=off", "ztunnel::proxy=trace,ztunnel=error,access=off,info" },
	{ "with colons", "ztunnel::xds:debug,proxy:debug", "ztunnel::xds=debug,proxy=debug,info" },
};
/* clang-format on */

START_TEST(told)
{
	struct log_filter filter;
	char why[256] = "", text[LOG_LEVELS_BYTES], again[LOG_LEVELS_BYTES];

	log_filter_init(&filter);
	ck_assert_int_eq(log_filter_add(&filter, texts[_i].directives, why, sizeof(why)), 0);
	log_filter_text(&filter, text);
	ck_assert_msg(strcmp(text, texts[_i].want) == 0, "%s: %s", texts[_i].name, text);
	log_filter_init(&filter);
	ck_assert_int_eq(log_filter_add(&filter, text, why, sizeof(why)), 0);
	ck_assert_msg(strcmp(log_filter_text(&filter, again), text) == 0, "%s: then %s",
	              texts[_i].name, again);
}
END_TEST

START_TEST(told_at_the_limit)
{
	struct log_filter filter;
	char why[256], directive[LOG_TARGET_BYTES + 16], text[LOG_LEVELS_BYTES];

	log_filter_init(&filter);
	for (int i = 0; i < LOG_TARGETS_MAX; i++) {
		snprintf(directive, sizeof(directive), "ztunnel::%063d=debug", i);
		ck_assert_int_eq(log_filter_add(&filter, directive, why, sizeof(why)), 0);
	}
	log_filter_text(&filter, text);
	ck_assert_str_eq(text + strlen(text) - strlen("=debug,info"), "=debug,info");
}
END_TEST

START_TEST(too_many_targets)
{
	struct log_filter filter;
	char why[256] = "", directive[32];

	log_filter_init(&filter);
	for (int i = 0; i < LOG_TARGETS_MAX; i++) {
		snprintf(directive, sizeof(directive), "t%d=debug", i);
		ck_assert_int_eq(log_filter_add(&filter, directive, why, sizeof(why)), 0);
	}
	ck_assert_int_eq(log_filter_add(&filter, "one_more=debug", why, sizeof(why)), -E2BIG);
	ck_assert_str_eq(why, "more than 32 log targets, expected fewer");
	ck_assert_int_eq(log_filter_add(&filter, "t3=off", why, sizeof(why)), 0);
	ck_assert_int_eq(log_filter_level(&filter, "t3"), LOG_OFF);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log_filter");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, levels, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(tc, refusals, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_loop_test(tc, told, 0, sizeof(texts) / sizeof(texts[0]));
	tcase_add_test(tc, told_at_the_limit);
	tcase_add_test(tc, additions_stay);
	tcase_add_test(tc, too_many_targets);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
