/*
 * identity: what is a SPIFFE name of a workload, and what only looks like one.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "mesh/identity.h"

/* clang-format off */
static const struct {
	const char *name, *uri, *want; /* want: "td|ns|sa", NULL: refused */
} rows[] = {
	{ "plain", "spiffe://cluster.local/ns/default/sa/app", "cluster.local|default|app" },
	{ "dots", "spiffe://a.b/ns/c.d/sa/e.f", "a.b|c.d|e.f" },
	{ "empty segments", "spiffe:///ns//sa/", "||" },
	{ "case is kept", "spiffe://TD/ns/Ns/sa/Sa", "TD|Ns|Sa" },
	{ "no decoding", "spiffe://td/ns/a%2Fb/sa/c", "td|a%2Fb|c" },
	{ "no scheme", "td/ns/a/sa/b", NULL },
	{ "upper-case scheme", "SPIFFE://td/ns/a/sa/b", NULL },
	{ "a trailing slash", "spiffe://td/ns/a/sa/b/", NULL },
	{ "too many segments", "spiffe://td/ns/a/sa/b/c", NULL },
	{ "too few", "spiffe://td/ns/a/sa", NULL },
	{ "ns is a literal", "spiffe://td/xx/a/sa/b", NULL },
	{ "sa is a literal", "spiffe://td/ns/a/xx/b", NULL },
	{ "literals are whole", "spiffe://td/nsx/a/sa/b", NULL },
	{ "only the scheme", "spiffe://", NULL },
	{ "empty", "", NULL },
};
/* clang-format on */

START_TEST(parse)
{
	struct identity_view v;
	int err = identity_parse(rows[_i].uri, &v);
	char got[128];

	ck_assert_msg(err == (rows[_i].want ? 0 : -EINVAL), "%s: %d", rows[_i].name, err);
	if (err)
		return;
	snprintf(got, sizeof(got), "%.*s|%.*s|%.*s", (int)v.trust_domain_len, v.trust_domain,
	         (int)v.ns_len, v.ns, (int)v.sa_len, v.sa);
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
}
END_TEST

START_TEST(format)
{
	char *full = identity_format("td", "n", "s"), *bare = identity_format("", "n", "");

	ck_assert_str_eq(full, "spiffe://td/ns/n/sa/s");
	ck_assert_str_eq(bare, "spiffe://cluster.local/ns/n/sa/");
	free(full);
	free(bare);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("identity");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, parse, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, format);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
