/*
 * addr: text to address and back.
 */
#include <check.h>
#include <hbone/addr.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *name, *text, *back;
	int want;
} rows[] = {
	{ "IPv4", "10.0.0.1:80", "10.0.0.1:80", 0 },
	{ "IPv6", "[fd00::1]:15008", "[fd00::1]:15008", 0 },
	{ "mapped is IPv4", "[::ffff:10.0.0.1]:1", "10.0.0.1:1", 0 },
	{ "port zero", "10.0.0.1:0", "10.0.0.1:0", 0 },
	{ "leading zeros in the port", "10.0.0.1:09000", "10.0.0.1:9000", 0 },
	{ "no port", "10.0.0.1", NULL, -EINVAL },
	{ "empty port", "10.0.0.1:", NULL, -EINVAL },
	{ "port too large", "10.0.0.1:65536", NULL, -EINVAL },
	{ "signed port", "10.0.0.1:+80", NULL, -EINVAL },
	{ "octal IPv4", "010.0.0.1:80", NULL, -EINVAL },
	{ "bare IPv6", "fd00::1:80", NULL, -EINVAL },
	{ "IPv4 in brackets", "[10.0.0.1]:80", NULL, -EINVAL },
	{ "unclosed bracket", "[fd00::1:80", NULL, -EINVAL },
	{ "a zone", "[fe80::1%eth0]:80", NULL, -EINVAL },
	{ "a name", "example.com:80", NULL, -EINVAL },
	{ "empty", "", NULL, -EINVAL },
	{ "only brackets", "[]:80", NULL, -EINVAL },
};
/* clang-format on */

START_TEST(parse_and_format)
{
	char out[HB_ADDR_STRLEN];
	struct hb_addr addr;
	int got = hb_addr_parse(rows[_i].text, strlen(rows[_i].text), &addr);

	ck_assert_msg(got == rows[_i].want, "%s: got %d, want %d", rows[_i].name, got,
	              rows[_i].want);
	if (got == 0)
		ck_assert_msg(strcmp(hb_addr_format(&addr, out, sizeof(out)), rows[_i].back) == 0,
		              "%s: came back as %s", rows[_i].name, out);
}
END_TEST

START_TEST(sockaddr_both_ways)
{
	struct sockaddr_storage sa;
	struct hb_addr addr, back;

	if (rows[_i].want != 0)
		return;
	ck_assert_int_eq(hb_addr_parse(rows[_i].text, strlen(rows[_i].text), &addr), 0);
	hb_addr_to_sockaddr(&addr, &sa);
	ck_assert_int_eq(hb_addr_from_sockaddr((struct sockaddr *)&sa, &back), 0);
	ck_assert_msg(hb_addr_equal(&addr, &back), "%s", rows[_i].name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("addr");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, parse_and_format, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, sockaddr_both_ways, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
