/*
 * spiffe: which URIs are identities of the mesh.
 */
#include <check.h>
#include <hbone/tls.h>
#include <string.h>

#define ROW(text, want)                                                                            \
	{                                                                                          \
		text, sizeof(text) - 1, want                                                       \
	}

/* clang-format off */
static const struct {
	const char *uri;
	size_t len;
	const char *trust_domain; /* NULL: not valid */
} rows[] = {
	ROW("spiffe://cluster.local/ns/default/sa/bookinfo", "cluster.local"),
	ROW("spiffe://td/ns/a.b/sa/c.d", "td"),
	ROW("spiffe:///ns//sa/", ""),
	ROW("spiffe://td/ns/%41/sa/%2f", "td"),
	ROW("spiffe://td/ns/a/sa/b/", NULL),
	ROW("spiffe://td/ns/a/sa", NULL),
	ROW("spiffe://td/ns/a/sa/b/c", NULL),
	ROW("spiffe://td/NS/a/sa/b", NULL),
	ROW("spiffe://td/ns/a/SA/b", NULL),
	ROW("spiffe://td/nsx/a/sa/b", NULL),
	ROW("SPIFFE://td/ns/a/sa/b", NULL),
	ROW("https://td/ns/a/sa/b", NULL),
	ROW("spiffe:/td/ns/a/sa/b", NULL),
	ROW("spiffe://", NULL),
	ROW("", NULL),
	ROW("spiffe://td/ns/a/sa/b\0c", NULL),
	ROW("spiffe://td/ns/a/sa/b c", NULL),
	ROW("spiffe://td/ns/a/sa/b\n", NULL),
	ROW("spiffe://td/ns/\xc3\xa4/sa/b", NULL),
	ROW("/////////////////////////", NULL),
};
/* clang-format on */

START_TEST(validity)
{
	bool got = hb_spiffe_is_valid(rows[_i].uri, rows[_i].len);

	ck_assert_msg(got == (rows[_i].trust_domain != NULL), "%s: got %d", rows[_i].uri, got);
}
END_TEST

START_TEST(every_prefix_is_read_no_further)
{
	for (size_t len = 0; len < rows[_i].len; len++) {
		char *cut = malloc(len ? len : 1); /* the sanitizer sees a byte too many */

		memcpy(cut, rows[_i].uri, len);
		(void)hb_spiffe_is_valid(cut,
		                         len); /* many are valid: all that ends in the account */
		free(cut);
	}
}
END_TEST

START_TEST(trust_domain)
{
	const char *start;
	size_t len;

	if (!rows[_i].trust_domain)
		return;
	len = hb_spiffe_trust_domain(rows[_i].uri, &start);
	ck_assert_msg(len == strlen(rows[_i].trust_domain) &&
	                  memcmp(start, rows[_i].trust_domain, len) == 0,
	              "%s: %.*s", rows[_i].uri, (int)len, start);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spiffe");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, validity, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, every_prefix_is_read_no_further, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, trust_domain, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
