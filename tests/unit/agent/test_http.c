/*
 * http: bytes of a request's head to words, and what is refused with which status.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

/* clang-format off */
static const struct {
	const char *name, *bytes;
	int want; /* 0: more, < 0: status; else 1 */
	const char *method, *path, *param, *value;
} rows[] = {
	{ "plain", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 1, "GET", "/healthz", NULL, NULL },
	{ "no fields", "GET / HTTP/1.0\r\n\r\n", 1, "GET", "/", NULL, NULL },
	{ "lone line feeds", "GET / HTTP/1.1\nHost: x\n\n", 1, "GET", "/", NULL, NULL },
	{ "an empty line in front", "\r\nGET / HTTP/1.1\r\n\r\n", 1, "GET", "/", NULL, NULL },
	{ "absolute form", "GET http://localhost:15000/config_dump HTTP/1.1\r\n\r\n", 1, "GET", "/config_dump", NULL, NULL },
	{ "absolute form without a path", "GET http://localhost HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "query", "POST /logging?level=debug HTTP/1.1\r\n\r\n", 1, "POST", "/logging", "level", "debug" },
	{ "second parameter", "GET /c?a=1&recent=2 HTTP/1.1\r\n\r\n", 1, "GET", "/c", "recent", "2" },
	{ "no value", "GET /l?reset HTTP/1.1\r\n\r\n", 1, "GET", "/l", "reset", "" },
	{ "empty value", "GET /l?level= HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", "" },
	{ "equals in a value", "GET /l?level=a=debug,b=info HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", "a=debug,b=info" },
	{ "escapes", "GET /l?le%76el=a%3Db+c HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", "a=b c" },
	{ "absent", "GET /l?levels=1 HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", NULL },
	{ "twice: the last", "GET /l?level=1&level=2 HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", "2" },
	{ "empty parts", "GET /l?&&level=1& HTTP/1.1\r\n\r\n", 1, "GET", "/l", "level", "1" },
	{ "a body behind", "POST /q HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 1, "POST", "/q", NULL, NULL },
	{ "empty field", "GET / HTTP/1.1\r\nX:\r\n\r\n", 1, "GET", "/", NULL, NULL },

	{ "nothing", "", 0, NULL, NULL, NULL, NULL },
	{ "half a line", "GET / HT", 0, NULL, NULL, NULL, NULL },
	{ "no end", "GET / HTTP/1.1\r\nHost: x\r\n", 0, NULL, NULL, NULL, NULL },
	{ "half an end", "GET / HTTP/1.1\r\n\r", 0, NULL, NULL, NULL, NULL },
	{ "empty lines only", "\r\n\r\n", 0, NULL, NULL, NULL, NULL },

	{ "no version", "GET /\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -505, NULL, NULL, NULL, NULL },
	{ "HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", -505, NULL, NULL, NULL, NULL },
	{ "not HTTP", "GET / SPDY/1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "two blanks", "GET  / HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "blank in the target", "GET /a b HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "relative target", "GET a HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "asterisk", "OPTIONS * HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "authority", "CONNECT a:1 HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "fragment", "GET /a#b HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "no method", " / HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "method that is no token", "G{T / HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "two line feeds", "\n\n", -400, NULL, NULL, NULL, NULL },
	{ "TLS", "\x16\x03\x01\x02\n\n", -400, NULL, NULL, NULL, NULL },
	{ "field without a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "blank before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "folding", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "lone carriage return", "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "escape character", "GET / HTTP/1.1\r\nA: \x1b[0m\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "bad escape", "GET /?a=%zz HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "cut escape", "GET /?a=%4 HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "NUL by escape", "GET /?a=%00 HTTP/1.1\r\n\r\n", -400, NULL, NULL, NULL, NULL },
	{ "transfer coding", "POST / HTTP/1.1\r\ntransfer-Encoding: chunked\r\n\r\n", -501, NULL, NULL, NULL, NULL },
	{ "too many parameters", "GET /?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q HTTP/1.1\r\n\r\n", -414, NULL, NULL, NULL, NULL },
};
/* clang-format on */

/* Exactly as many bytes as came are there, so that the sanitizer sees a read beyond them. */
static int parse(const char *bytes, size_t len, struct http_request *request, char **ret_copy)
{
	*ret_copy = malloc(len ? len : 1);
	memcpy(*ret_copy, bytes, len);
	return http_head_parse(*ret_copy, len, request);
}

START_TEST(heads)
{
	struct http_request request = { 0 };
	char *copy;
	int got = parse(rows[_i].bytes, strlen(rows[_i].bytes), &request, &copy);

	ck_assert_msg(got > 0 ? rows[_i].want == 1 : got == rows[_i].want, "%s: got %d, want %d",
	              rows[_i].name, got, rows[_i].want);
	if (got > 0) {
		const char *value = rows[_i].param ? http_param(&request, rows[_i].param) : NULL;

		ck_assert_msg(strcmp(request.method, rows[_i].method) == 0, "%s: method %s",
		              rows[_i].name, request.method);
		ck_assert_msg(strcmp(request.path, rows[_i].path) == 0, "%s: path %s",
		              rows[_i].name, request.path);
		ck_assert_msg(rows[_i].value ? value && strcmp(value, rows[_i].value) == 0 : !value,
		              "%s: value %s", rows[_i].name, value ? value : "(none)");
	}
	free(copy);
}
END_TEST

/* Whatever the pieces, the answer is the same; and before the end there is none. */
START_TEST(pieces)
{
	size_t len = strlen(rows[_i].bytes);

	for (size_t n = 0; n < len; n++) {
		struct http_request request = { 0 };
		char *copy;
		int got = parse(rows[_i].bytes, n, &request, &copy);

		ck_assert_msg(got == 0 || rows[_i].want != 0, "%s: %d after %zu bytes",
		              rows[_i].name, got, n);
		if (rows[_i].want == 1 && !strstr(rows[_i].bytes, "\r\n\r\nabc"))
			ck_assert_msg(got == 0, "%s: %d after %zu bytes", rows[_i].name, got, n);
		free(copy);
	}
}
END_TEST

START_TEST(limits)
{
	static char bytes[HTTP_HEAD_MAX];
	struct http_request request = { 0 };
	int n = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nA: ");

	memset(bytes + n, 'a', sizeof(bytes) - (size_t)n);
	ck_assert_int_eq(http_head_parse(bytes, sizeof(bytes) - 1, &request), 0);
	ck_assert_int_eq(http_head_parse(bytes, sizeof(bytes), &request), -431);
	memcpy(bytes + sizeof(bytes) - 4, "\r\n\r\n", 4);
	ck_assert_int_eq(http_head_parse(bytes, sizeof(bytes), &request), HTTP_HEAD_MAX);
	ck_assert_str_eq(request.path, "/");
}
END_TEST

/* Every byte value in every place of a good head: refused or understood, never out of bounds. */
START_TEST(any_byte)
{
	const char *head = "GET /a?b=%41 HTTP/1.1\r\nC: d\r\n\r\n";
	size_t len = strlen(head);

	for (size_t i = 0; i < 256 * len; i++) {
		struct http_request request = { 0 };
		char *copy = malloc(len);

		memcpy(copy, head, len);
		copy[i / 256] = (char)(i % 256);
		if (http_head_parse(copy, len, &request) > 0)
			ck_assert_int_eq(request.path[0], '/');
		free(copy);
	}
}
END_TEST

START_TEST(answers)
{
	char out[1024];
	size_t n = http_head_write(out, sizeof(out), 405, "text/plain", 0, "GET, HEAD");

	ck_assert_uint_eq(n, strlen(out));
	ck_assert_ptr_eq(strstr(out, "HTTP/1.1 405 Method Not Allowed\r\n"), out);
	ck_assert_ptr_nonnull(strstr(out, "\r\nAllow: GET, HEAD\r\n"));
	ck_assert_ptr_nonnull(strstr(out, "\r\nContent-Length: 0\r\n"));
	ck_assert_str_eq(out + n - 4, "\r\n\r\n");
	n = http_head_write(out, sizeof(out), 599, "a/b", 12, "");
	ck_assert_ptr_eq(strstr(out, "HTTP/1.1 599 Status\r\nContent-Type: a/b\r\n"), out);
	ck_assert_ptr_null(strstr(out, "Allow"));
	http_head_write(out, sizeof(out), 404, "", 0, "");
	ck_assert_ptr_eq(strstr(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"), out);
	ck_assert_uint_lt(http_head_write(out, 16, 200, "text/plain", 0, ""), 16);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, heads, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_loop_test(tc, pieces, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, any_byte);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, answers);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
