/*
 * error: every code has words, and numbers said by others survive.
 */
#include <check.h>
#include <hbone/error.h>
#include <string.h>

/* clang-format off */
static const struct {
	int code;
	const char *want;
} rows[] = {
	{ 0, "clean" },
	{ -ECONNRESET, "Connection reset by peer" },
	{ HB_E_IDLE, "idle timeout" },
	{ HB_E_POLICY_CHANGED, "connection closed due to policy change" },
	{ HB_E_LAST, "peer does not speak TLS" },
	{ HB_E_USER_TIME, "peer took too long to acknowledge what was sent" },
	{ HB_E_STATUS(401), "http status: 401 Unauthorized" },
	{ HB_E_STATUS(204), "http status: 204 No Content" },
	{ HB_E_STATUS(299), "http status: 299" },
	{ HB_E_RST(8), "stream reset by peer (8 CANCEL)" },
	{ HB_E_RST(77), "stream reset by peer (77 unknown)" },
	{ HB_E_CERT(10), "peer certificate refused (10): expired" },
	{ HB_E_ALERT(116), "peer sent TLS alert 116 certificate_required: we showed no certificate" },
	{ HB_E_ALERT(71), "peer sent TLS alert 71 insufficient_security: nothing that we offer is strong enough for it" },
	{ HB_E_ALERT(80), "peer sent TLS alert 80 internal_error" },
	{ HB_E_ALERT(255), "peer sent TLS alert 255" },
};
/* clang-format on */

START_TEST(words)
{
	const char *got = hb_strerror(rows[_i].code);

	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%d: %s", rows[_i].code, got);
}
END_TEST

START_TEST(every_own_code_has_words)
{
	for (int code = HB_E_FIRST; code >= HB_E_LAST; code--)
		ck_assert_msg(hb_strerror(code) && hb_strerror(code)[0], "%d", code);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("error");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, words, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, every_own_code_has_words);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
