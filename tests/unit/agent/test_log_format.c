/*
 * log_format: one event to one line, byte for byte, whatever the values hold.
 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "log_format.h"

#define NOON 1700000000123456 /* 2023-11-14T22:13:20.123456Z */

static const struct log_field access_fields[] = {
	{ "src.addr", LOG_BARE, "10.0.0.1:4000", 0 },
	{ "src.workload", LOG_TEXT, "client", 0 },
	{ "src.identity", LOG_TEXT, "", 0 },
	{ "dst.hbone_addr", LOG_BARE, NULL, 0 },
	{ "bytes_sent", LOG_NUMBER, NULL, 0 },
	{ "bytes_recv", LOG_NUMBER, NULL, 18446744073709551615u },
	{ "duration", LOG_TEXT, "12ms", 0 },
	{ "error", LOG_TEXT, "said \"no\"\n\x1b[31m \\ \xff é", 0 },
};

/* clang-format off */
static const struct {
	const char *name;
	struct log_event event;
	const char *plain, *json;
} rows[] = {
	{ "no fields", { NOON, LOG_INFO, "app", "ready", "", NULL, 0 },
	  "2023-11-14T22:13:20.123456Z\tinfo\tapp\tready\t\n",
	  "{\"level\":\"info\",\"time\":\"2023-11-14T22:13:20.123456Z\",\"scope\":\"app\",\"message\":\"ready\"}\n" },
	{ "fields with their types", { NOON, LOG_ERROR, "access", "connection complete", NULL, access_fields, 8 },
	  "2023-11-14T22:13:20.123456Z\terror\taccess\tconnection complete\tsrc.addr=10.0.0.1:4000 src.workload=\"client\" "
	  "bytes_sent=0 bytes_recv=18446744073709551615 duration=\"12ms\" error=\"said \\\"no\\\"\\n\\u{1b}[31m \\\\ \xef\xbf\xbd é\"\n",
	  "{\"level\":\"error\",\"time\":\"2023-11-14T22:13:20.123456Z\",\"scope\":\"access\",\"message\":\"connection complete\","
	  "\"src.addr\":\"10.0.0.1:4000\",\"src.workload\":\"client\",\"bytes_sent\":0,\"bytes_recv\":18446744073709551615,"
	  "\"duration\":\"12ms\",\"error\":\"said \\\"no\\\"\\n\\u001b[31m \\\\ \xef\xbf\xbd é\"}\n" },
	{ "text and an error behind it", { 0, LOG_WARN, "xds", "stream lost", "peer=1.2.3.4:5 after_ms=12: connection refused", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\twarn\txds\tstream lost\tpeer=1.2.3.4:5 after_ms=12: connection refused\n",
	  "{\"level\":\"warn\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"xds\",\"message\":\"stream lost\","
	  "\"peer\":\"1.2.3.4:5\",\"after_ms\":12,\"error\":\"connection refused\"}\n" },
	{ "quoted text", { 0, LOG_DEBUG, "x", "m", "pod=\"a b\" n=007: why", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\tdebug\tx\tm\tpod=\"a b\" n=007: why\n",
	  "{\"level\":\"debug\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"x\",\"message\":\"m\","
	  "\"pod\":\"a b\",\"n\":\"007\",\"error\":\"why\"}\n" },
	{ "only an error", { 0, LOG_TRACE, "x", "m", "no such file", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\ttrace\tx\tm\tno such file\n",
	  "{\"level\":\"trace\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"x\",\"message\":\"m\",\"error\":\"no such file\"}\n" },
	{ "a line inside of text", { 0, LOG_WARN, "x", "a\nb", "k=v\nforged", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\twarn\tx\ta\\nb\tk=v\\nforged\n",
	  "{\"level\":\"warn\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"x\",\"message\":\"a\\nb\",\"k\":\"v\\nforged\"}\n" },
	{ "quotes that do not end", { 0, LOG_WARN, "x", "m", "k=\"v w=1", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\twarn\tx\tm\tk=\"v w=1\n",
	  "{\"level\":\"warn\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"x\",\"message\":\"m\",\"k\":\"\\\"v\",\"w\":1}\n" },
	{ "C1 controls and overlong forms", { 0, LOG_WARN, "x", "\xc2\x9b", "k=\xc0\xaf", NULL, 0 },
	  "1970-01-01T00:00:00.000000Z\twarn\tx\t\\u{9b}\tk=\xef\xbf\xbd\xef\xbf\xbd\n",
	  "{\"level\":\"warn\",\"time\":\"1970-01-01T00:00:00.000000Z\",\"scope\":\"x\",\"message\":\"\\u009b\",\"k\":\"\xef\xbf\xbd\xef\xbf\xbd\"}\n" },
};
/* clang-format on */

static void compare(const char *name, const char *got, size_t len, const char *want)
{
	ck_assert_msg(len == strlen(want) && memcmp(got, want, len) == 0, "%s:\n got %.*s\nwant %s",
	              name, (int)len, got, want);
}

START_TEST(lines)
{
	char out[LOG_LINE_BYTES];
	json_t *json;

	compare(rows[_i].name, out, log_format_plain(&rows[_i].event, out), rows[_i].plain);
	compare(rows[_i].name, out, log_format_json(&rows[_i].event, out), rows[_i].json);
	if (strstr(rows[_i].json, "18446744073709551615"))
		return; /* right, but more than jansson's integers hold */
	json = json_loads(rows[_i].json, 0, NULL);
	ck_assert_msg(json, "%s: not JSON", rows[_i].name);
	json_decref(json);
}
END_TEST

/* A value of any length, of any byte: still one line, and still an object. */
START_TEST(long_values)
{
	static const char *const units[] = { "x", "\x01", "\xff", "é", "\"", "\\" };
	size_t len = (size_t)_i / 6 * 1000 + 1, unit = strlen(units[_i % 6]);
	char *text = calloc(len + 1, unit);
	char out[LOG_LINE_BYTES];
	json_t *json;
	size_t n;

	for (size_t i = 0; i < len; i++)
		memcpy(text + i * unit, units[_i % 6], unit);
	struct log_field fields[] = {
		{ "long", LOG_TEXT, text, 0 },
		{ "again", LOG_TEXT, text, 0 },
		{ "bytes", LOG_NUMBER, NULL, 7 },
	};
	struct log_event event = { NOON, LOG_INFO, "access", "m", NULL, fields, 3 };

	n = log_format_plain(&event, out);
	ck_assert_uint_le(n, LOG_LINE_BYTES);
	ck_assert_ptr_eq(memchr(out, '\n', n), out + n - 1);
	n = log_format_json(&event, out);
	ck_assert_uint_le(n, LOG_LINE_BYTES);
	ck_assert_ptr_eq(memchr(out, '\n', n), out + n - 1);
	json = json_loadb(out, n, 0, NULL);
	ck_assert_msg(json, "not JSON: %.*s", (int)n, out);
	ck_assert_int_eq(json_integer_value(json_object_get(json, "bytes")), 7);
	json_decref(json);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log_format");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, lines, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(tc, long_values, 0, 6 * 10);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
