/*
 * grpc_config: URLs, tokens, roots and headers, good and bad, and files that change meanwhile.
 */
#include "control/grpc_config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/testca.h"

static char dir[] = "/tmp/test_grpc_config.XXXXXX";
static char why[1024];

static void setup(void)
{
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	why[0] = '\0';
}

static void teardown(void)
{
	(void)unlink("token");
	(void)unlink("roots");
	(void)rmdir("directory");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void write_to(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

/* clang-format off */
static const struct {
	const char *url, *host, *authority; /* host NULL: it is refused, with authority in the reason */
	int port;
	bool is_address;
} urls[] = {
	{ "https://istiod.istio-system.svc:15012", "istiod.istio-system.svc", "istiod.istio-system.svc:15012", 15012, false },
	{ "istiod:15012", "istiod", "istiod:15012", 15012, false },
	{ "https://istiod:15012/", "istiod", "istiod:15012", 15012, false },
	{ "https://istiod", "istiod", "istiod:443", 443, false },
	{ "https://10.0.0.1:15012", "10.0.0.1", "10.0.0.1:15012", 15012, true },
	{ "https://[fd00::1]:15012", "fd00::1", "[fd00::1]:15012", 15012, true },
	{ "[::1]", "::1", "[::1]:443", 443, true },
	{ "https://Istiod_a-b.SVC:1", "Istiod_a-b.SVC", "Istiod_a-b.SVC:1", 1, false },
	{ "http://istiod:15010", NULL, "plain text", 0, false },
	{ "https://istiod:15012/path", NULL, "path", 0, false },
	{ "https://istiod:15012?q", NULL, "path", 0, false },
	{ "https://istiod:0", NULL, "port", 0, false },
	{ "https://istiod:65536", NULL, "port", 0, false },
	{ "https://istiod:x", NULL, "port", 0, false },
	{ "https://istiod:", NULL, "port", 0, false },
	{ "https://istiod:123456789", NULL, "port", 0, false },
	{ "https://", NULL, "host", 0, false },
	{ "https://:15012", NULL, "host", 0, false },
	{ "", NULL, "host", 0, false },
	{ "https://user@istiod:15012", NULL, "host", 0, false },
	{ "https://is tiod:15012", NULL, "host", 0, false },
	{ "https://a..b:1", NULL, "host", 0, false },
	{ "https://[fd00::1:15012", NULL, "bracket", 0, false },
	{ "https://[istiod]:15012", NULL, "host", 0, false },
	{ "https://[::1]x:15012", NULL, "expected", 0, false },
	{ "ftp://istiod", NULL, "port", 0, false },
};
/* clang-format on */

START_TEST(urls_by_table)
{
	struct grpc_target target;
	int err = grpc_target_parse(urls[_i].url, &target, why, sizeof(why));

	if (!urls[_i].host) {
		ck_assert_int_eq(err, -EINVAL);
		ck_assert_msg(strstr(why, urls[_i].authority) != NULL, "%s: %s", urls[_i].url, why);
		return;
	}
	ck_assert_msg(err == 0, "%s: %s", urls[_i].url, why);
	ck_assert_str_eq(target.host, urls[_i].host);
	ck_assert_str_eq(target.authority, urls[_i].authority);
	ck_assert_uint_eq(target.addr.port, (unsigned)urls[_i].port);
	ck_assert(target.is_address == urls[_i].is_address);
}
END_TEST

static struct grpc_channel_config good(void)
{
	return (struct grpc_channel_config){ .url = "https://127.0.0.1:1", .roots = "SYSTEM" };
}

static void refused(const struct grpc_channel_config *config, const char *part)
{
	ck_assert_int_eq(grpc_channel_check(config, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strstr(why, part) != NULL, "%s: no \"%s\" in it", why, part);
}

START_TEST(what_is_refused)
{
	struct grpc_header header = { "a", "b" };
	struct grpc_channel_config config = good();

	ck_assert_int_eq(grpc_channel_check(&config, why, sizeof(why)), 0);
	config.url = "http://127.0.0.1";
	refused(&config, "http://127.0.0.1: plain text");
	config.url = "https://istiod";
	refused(&config, "cannot be looked up");
	config = good();
	config.roots = NULL;
	refused(&config, "no roots");
	config = good();
	config.token = "two\nlines";
	refused(&config, "token");
	ck_assert_ptr_null(strstr(why, "lines"));
	config = good();
	config.keepalive_ms = 14999;
	refused(&config, "15 s");
	config = good();
	config.window = 1024;
	refused(&config, "window");
	config = good();
	config.headers = &header;
	config.headers_count = GRPC_HEADERS_MAX + 1;
	refused(&config, "32 headers");
}
END_TEST

/* clang-format off */
static const struct { const char *name, *value, *want; } headers[] = {
	{ "X-Tenant", "blue", "x-tenant" },
	{ "a", "", "a" },
	{ "a", "with spaces inside", "a" },
	{ "", "b", NULL },
	{ "with space", "b", NULL },
	{ ":path", "b", NULL },
	{ "a", "b\r\nc: d", NULL },
	{ "a", " b", NULL },
	{ "TE", "b", NULL },
	{ "Content-Type", "b", NULL },
	{ "grpc-timeout", "1S", NULL },
	{ "Connection", "close", NULL },
};
/* clang-format on */

START_TEST(headers_by_table)
{
	struct grpc_header header = { headers[_i].name, headers[_i].value };
	struct grpc_channel_config config = good();
	struct grpc_settings settings;

	config.headers = &header;
	config.headers_count = 1;
	if (!headers[_i].want) {
		refused(&config, "header");
		return;
	}
	ck_assert_int_eq(grpc_settings_init(&settings, &config, why, sizeof(why)), 0);
	ck_assert_str_eq(settings.names[0], headers[_i].want);
	ck_assert_str_eq(settings.values[0], headers[_i].value);
	grpc_settings_done(&settings);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *token, *file; /* file: what is in "token"; NULL: there is none */
	const char *want;                /* the header; NULL: an error that has why in it */
	const char *why;
} tokens[] = {
	{ "none", NULL, NULL, "", NULL },
	{ "literal", "abc.def", NULL, "Bearer abc.def", NULL },
	{ "a file", "./token", "abc", "Bearer abc", NULL },
	{ "a file without a path", "token", "abc", "Bearer abc", NULL },
	{ "a line's end is no part of it", "./token", " abc\r\n\n", "Bearer abc", NULL },
	{ "empty", "./token", "", NULL, "the token file ./token is empty" },
	{ "blank", "./token", " \n", NULL, "the token file ./token is empty" },
	{ "missing", "./token", NULL, NULL, "the token file ./token cannot be read: No such file" },
	{ "two lines", "./token", "secret\nsecret", NULL, "the token file ./token holds bytes" },
	{ "a directory", "./directory", NULL, NULL, "Is a directory" },
};
/* clang-format on */

START_TEST(tokens_by_table)
{
	struct grpc_channel_config config = good();
	struct grpc_settings settings;
	char *bearer;
	int err;

	ck_assert_int_eq(mkdir("directory", 0755), 0);
	if (tokens[_i].file)
		write_to("token", tokens[_i].file);
	config.token = tokens[_i].token;
	ck_assert_int_eq(grpc_settings_init(&settings, &config, why, sizeof(why)), 0);
	err = grpc_bearer(&settings, &bearer, why, sizeof(why));
	if (tokens[_i].want) {
		ck_assert_msg(err == 0, "%s: %s", tokens[_i].name, why);
		ck_assert_str_eq(bearer ? bearer : "", tokens[_i].want);
	} else {
		ck_assert_int_lt(err, 0);
		ck_assert_msg(strstr(why, tokens[_i].why) != NULL, "%s: %s", tokens[_i].name, why);
		ck_assert_ptr_null(strstr(why, "secret"));
		ck_assert_ptr_null(bearer);
	}
	free(bearer);
	grpc_settings_done(&settings);
}
END_TEST

START_TEST(a_token_is_read_anew)
{
	struct grpc_channel_config config = good();
	struct grpc_settings settings;
	char *bearer, text[GRPC_TOKEN_MAX + 1];

	config.token = "./token";
	ck_assert_int_eq(grpc_settings_init(&settings, &config, why, sizeof(why)), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "token-%d\n", i);
		write_to("token", text);
		ck_assert_int_eq(grpc_bearer(&settings, &bearer, why, sizeof(why)), 0);
		ck_assert_int_eq(bearer[13] - '0', i);
		free(bearer);
	}
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	write_to("token", text);
	ck_assert_int_eq(grpc_bearer(&settings, &bearer, why, sizeof(why)), -EFBIG);
	ck_assert_ptr_null(strstr(why, "xx"));
	grpc_settings_done(&settings);
}
END_TEST

static int roots_now(const char *roots)
{
	struct grpc_channel_config config = good();
	struct grpc_settings settings;
	struct hb_tls_ctx *ctx = NULL;
	int err;

	config.roots = roots;
	ck_assert_int_eq(grpc_settings_init(&settings, &config, why, sizeof(why)), 0);
	err = grpc_roots(&settings, &ctx, why, sizeof(why));
	hb_tls_ctx_unref(ctx);
	grpc_settings_done(&settings);
	return err;
}

/* What looks like a path is never taken for PEM: the file may come later. */
START_TEST(roots_that_come_later)
{
	struct testca *ca = testca_new("root");

	ck_assert_int_eq(roots_now("./roots"), -ENOENT);
	ck_assert_str_eq(why, "the roots' file ./roots cannot be read: No such file or directory");
	ck_assert_int_eq(roots_now("roots"), -ENOENT);
	write_to("roots", "");
	ck_assert_int_eq(roots_now("./roots"), -EINVAL);
	ck_assert_str_eq(why, "./roots: none of the root certificates can be used");
	write_to("roots", testca_pem(ca));
	ck_assert_int_eq(roots_now("./roots"), 0);
	ck_assert_int_eq(roots_now("roots"), 0);
	ck_assert_int_eq(roots_now(testca_pem(ca)), 0);
	ck_assert_int_eq(roots_now("SYSTEM"), 0);
	ck_assert_int_eq(roots_now("-----BEGIN CERTIFICATE-----\n"), -EINVAL);
	ck_assert_str_eq(why, "the roots given as text: none of the root certificates can be used");
	testca_free(ca);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grpc_config");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, urls_by_table, 0, HB_ARRAY_LEN(urls));
	tcase_add_test(tc, what_is_refused);
	tcase_add_loop_test(tc, headers_by_table, 0, HB_ARRAY_LEN(headers));
	tcase_add_loop_test(tc, tokens_by_table, 0, HB_ARRAY_LEN(tokens));
	tcase_add_test(tc, a_token_is_read_anew);
	tcase_add_test(tc, roots_that_come_later);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
