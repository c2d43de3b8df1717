/*
 * settings_istiod: where the control plane is when nobody says so, the headers that variables add,
 * and that no secret of either is ever shown.
 */
#include "config/settings_table.h"

#include <errno.h>
#include <sys/stat.h>

#include "settings_fixture.h"

#define K8S      "KUBERNETES_SERVICE_HOST=10.96.0.1"
#define ISTIOD   "https://istiod.istio-system.svc:15012"
#define LOCAL    "https://localhost:15012"
#define TOKEN    "./var/run/secrets/tokens/istio-token"
#define ROOTS    "./var/run/secrets/istio/root-cert.pem"
#define PROXY(t) "PROXY_CONFIG=" t

/* clang-format off */
static const struct {
	const char *name, *file;
	const char *variables[4];
	const char *xds, *ca;
} addresses[] = {
	{ "in a cluster", NULL, { K8S }, ISTIOD, ISTIOD },
	{ "elsewhere", NULL, { 0 }, LOCAL, LOCAL },
	{ "in a cluster, with a mesh file", NULL, { K8S, "LOCAL_XDS_PATH=/m" }, ISTIOD, ISTIOD },
	{ "elsewhere, with a mesh file", NULL, { "LOCAL_XDS_PATH=/m" }, "", "" },
	{ "elsewhere, with a mesh as text", NULL, { "LOCAL_XDS=workloads: []" }, "", "" },
	{ "standalone", "nodeName: n\n", { K8S }, "", "" },
	{ "standalone, and said", "xdsAddress: https://a:1\ncaAddress: b:2\n", { 0 }, "https://a:1", "b:2" },
	{ "said", NULL, { K8S, "XDS_ADDRESS=https://a:1", "CA_ADDRESS=https://b:2" }, "https://a:1", "https://b:2" },
	{ "said without a scheme", NULL, { "XDS_ADDRESS=a:1", "CA_ADDRESS=[fd00::1]:2" }, "a:1", "[fd00::1]:2" },
	{ "said with another", NULL, { "XDS_ADDRESS=http://a:1" }, "http://a:1", LOCAL },
	{ "switched off", NULL, { K8S, "XDS_ADDRESS=", "CA_ADDRESS=" }, "", "" },
	{ "one switched off", NULL, { K8S, "XDS_ADDRESS=" }, "", ISTIOD },
	{ "by the proxy config, which the CA does not follow", NULL, { K8S, PROXY("discoveryAddress: istiod-canary.istio-system.svc:15012") },
	  "istiod-canary.istio-system.svc:15012", ISTIOD },
	{ "a variable over the proxy config", NULL, { PROXY("discoveryAddress: a:1"), "XDS_ADDRESS=b:2" }, "b:2", LOCAL },
};
/* clang-format on */

static struct settings *load(const char *file, const char *const *variables)
{
	struct settings *settings;
	char why[1024];
	int err = load_text(file, variables, &settings, why, sizeof(why));

	ck_assert_msg(err == 0, "%s", why);
	return settings;
}

START_TEST(addresses_by_table)
{
	struct settings *s = load(addresses[_i].file, addresses[_i].variables);

	ck_assert_msg(strcmp(s->xds_address, addresses[_i].xds) == 0, "%s: %s", addresses[_i].name,
	              s->xds_address);
	ck_assert_msg(strcmp(s->ca_address, addresses[_i].ca) == 0, "%s: %s", addresses[_i].name,
	              s->ca_address);
	ck_assert_str_eq(s->xds_root_ca, ROOTS);
	ck_assert_str_eq(s->ca_root_ca, ROOTS);
	settings_free(s);
}
END_TEST

START_TEST(headers)
{
	static const char *const variables[] = { "XDS_HEADER_X-Tenant=blue",
		                                 "CA_HEADER_a=", "XDS_HEADER_x_two=with spaces",
		                                 "XDS_HEADERS=no header", NULL };
	struct settings *s = load(NULL, variables);

	ck_assert_uint_eq(s->xds_headers.count, 2);
	ck_assert_str_eq(s->xds_headers.list[0].name, "x-tenant");
	ck_assert_str_eq(s->xds_headers.list[0].value, "blue");
	ck_assert_str_eq(s->xds_headers.list[1].name, "x_two");
	ck_assert_str_eq(s->xds_headers.list[1].value, "with spaces");
	ck_assert_uint_eq(s->ca_headers.count, 1);
	ck_assert_str_eq(s->ca_headers.list[0].value, "");
	settings_free(s);
}
END_TEST

/* clang-format off */
static const struct { const char *variable, *want; } bad[] = {
	{ "XDS_HEADER_=secret", "XDS_HEADER_: does not end with the name of a header" },
	{ "CA_HEADER_a b=secret", "CA_HEADER_a b: does not end with the name of a header" },
	{ "XDS_HEADER_:path=secret", "XDS_HEADER_:path: does not end with the name of a header" },
	{ "CA_HEADER_a=secret\nb: c", "CA_HEADER_a: has a value that no header may have" },
	{ "CA_HEADER_a= secret", "CA_HEADER_a: has a value that no header may have" },
};
/* clang-format on */

START_TEST(bad_headers)
{
	const char *variables[] = { bad[_i].variable, NULL };
	struct settings *settings;
	char why[1024];

	ck_assert_int_eq(load_text(NULL, variables, &settings, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, bad[_i].want);
}
END_TEST

START_TEST(too_many_headers)
{
	char texts[SETTING_HEADERS_MAX + 1][32], why[256];
	char *environment[SETTING_HEADERS_MAX + 2] = { NULL };
	struct settings *settings;

	for (int i = 0; i <= SETTING_HEADERS_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "CA_HEADER_h%d=x", i);
		environment[i] = texts[i];
	}
	ck_assert_int_eq(settings_load(NULL, environment, &settings, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "CA_HEADER_h32: is one header too many, expected at most 32");
	environment[SETTING_HEADERS_MAX] = NULL;
	ck_assert_int_eq(settings_load(NULL, environment, &settings, why, sizeof(why)), 0);
	settings_free(settings);
}
END_TEST

START_TEST(the_token)
{
	static const char *const none[] = { NULL };
	static const char *const empty[] = { "AUTH_TOKEN=", NULL };
	static const char *const path[] = { "AUTH_TOKEN=/run/token", NULL };
	char dir[] = "/tmp/culvert-token-XXXXXX";
	struct settings *s;
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	s = load(NULL, none);
	ck_assert_str_eq(s->auth_token, "");
	settings_free(s);
	ck_assert_int_eq(mkdir("var", 0700) | mkdir("var/run", 0700) |
	                     mkdir("var/run/secrets", 0700) | mkdir("var/run/secrets/tokens", 0700),
	                 0);
	file = fopen(TOKEN, "w");
	ck_assert_ptr_nonnull(file);
	fclose(file);
	s = load(NULL, none);
	ck_assert_str_eq(s->auth_token, TOKEN);
	settings_free(s);
	s = load(NULL, empty);
	ck_assert_str_eq(s->auth_token, "");
	settings_free(s);
	s = load(NULL, path);
	ck_assert_str_eq(s->auth_token, "/run/token");
	settings_free(s);
	ck_assert_int_eq(unlink(TOKEN) | rmdir("var/run/secrets/tokens") |
	                     rmdir("var/run/secrets") | rmdir("var/run") | rmdir("var") |
	                     chdir("/") | rmdir(dir),
	                 0);
}
END_TEST

/* clang-format off */
static const struct { const char *variable, *shown; } secrets[] = {
	{ "AUTH_TOKEN=eyJsecret", "(not shown)" },
	{ "AUTH_TOKEN=./tokens/agent", "./tokens/agent" },
	{ "AUTH_TOKEN=/tokens/agent", "/tokens/agent" },
	{ "XDS_HEADER_x=eyJsecret", NULL },
	{ "CA_HEADER_x=eyJsecret", NULL },
};
/* clang-format on */

START_TEST(secrets_are_not_dumped)
{
	const char *variables[] = { secrets[_i].variable, NULL };
	struct settings *s = load(NULL, variables);
	char *text = settings_dump(s);

	ck_assert_ptr_nonnull(text);
	ck_assert_ptr_null(strstr(text, "eyJsecret"));
	if (secrets[_i].shown)
		ck_assert_ptr_nonnull(strstr(text, secrets[_i].shown));
	free(text);
	settings_free(s);
}
END_TEST

START_TEST(secrets_are_not_in_sentences)
{
	static char text[sizeof("AUTH_TOKEN=") + 70000];
	const char *variables[] = { text, NULL };
	struct settings *settings;
	char why[1024];

	memset(text, 'S', sizeof(text) - 1);
	memcpy(text, "AUTH_TOKEN=", strlen("AUTH_TOKEN="));
	ck_assert_int_eq(load_text(NULL, variables, &settings, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "AUTH_TOKEN: it is too long, expected at most 65536 bytes");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings_istiod");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, addresses_by_table, 0, sizeof(addresses) / sizeof(addresses[0]));
	tcase_add_test(tc, headers);
	tcase_add_loop_test(tc, bad_headers, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tc, too_many_headers);
	tcase_add_test(tc, the_token);
	tcase_add_loop_test(tc, secrets_are_not_dumped, 0, sizeof(secrets) / sizeof(secrets[0]));
	tcase_add_test(tc, secrets_are_not_in_sentences);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
