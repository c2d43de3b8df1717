/*
 * tls_ctx: which material makes a context, and what is said of the rest.
 */
#include <check.h>
#include <hbone/tls.h>
#include <stdio.h>
#include <string.h>

#include "support/testca.h"

#define SELF "spiffe://td/ns/a/sa/self"

enum part { NOTHING, GOOD, OTHER, GARBAGE, ENCRYPTED, BROKEN, MIXED, LEAF, TWO };

/* clang-format off */
static const struct {
	const char *name;
	enum part chain, key, roots;
	const char *why; /* NULL: it works */
} rows[] = {
	{ "good", GOOD, GOOD, GOOD, NULL },
	{ "an intermediate in the chain", TWO, TWO, GOOD, NULL },
	{ "no chain", NOTHING, GOOD, GOOD, "the certificate chain holds no PEM certificate" },
	{ "chain is no PEM", GARBAGE, GOOD, GOOD, "the certificate chain holds no PEM certificate" },
	{ "chain of which one is broken", BROKEN, GOOD, GOOD, "a certificate of the chain cannot be read" },
	{ "no key", GOOD, NOTHING, GOOD, "the private key is not PEM, or it is encrypted" },
	{ "key is no PEM", GOOD, GARBAGE, GOOD, "the private key is not PEM, or it is encrypted" },
	{ "key is encrypted", GOOD, ENCRYPTED, GOOD, "the private key is not PEM, or it is encrypted" },
	{ "key of another", GOOD, OTHER, GOOD, "the private key does not belong to the certificate" },
	{ "no roots", GOOD, GOOD, NOTHING, "none of the root certificates can be used" },
	{ "roots are no PEM", GOOD, GOOD, GARBAGE, "none of the root certificates can be used" },
	{ "a broken root, a leaf and a good root", GOOD, GOOD, MIXED, NULL },
	{ "a leaf as root", GOOD, GOOD, LEAF, "none of the root certificates can be used" },
};
/* clang-format on */

#define BROKEN_BLOCK "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

/* What an encrypted PKCS#8 key looks like; only its label matters here. */
#define ENCRYPTED_BLOCK                                                                            \
	"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"                                                  \
	"MFgwUgYJKoZIhvcNAQUNMEUwJAYJKoZIhvcNAQUMMBcEEJFlmfxTqQ7H/4OZD0Kf\n"                       \
	"-----END ENCRYPTED PRIVATE KEY-----\n"

static struct testca *ca, *middle;
static struct testca_pem good, other, two;

static void setup(void)
{
	struct testca_leaf leaf = { .san = "DNS:a,URI:https://x,URI:" SELF };

	ca = testca_new("root");
	middle = testca_intermediate(ca, "middle");
	good = testca_leaf(ca, &leaf);
	other = testca_leaf(ca, &leaf);
	two = testca_leaf(middle, &leaf);
}

static void teardown(void)
{
	testca_pem_done(&good);
	testca_pem_done(&other);
	testca_pem_done(&two);
	testca_free(middle);
	testca_free(ca);
}

static const char *text_of(enum part part, const char *first, const char *of_other,
                           const char *of_two, char **to_free)
{
	switch (part) {
	case GOOD:
		return first;
	case OTHER:
		return of_other;
	case TWO:
		return of_two;
	case GARBAGE:
		return "-----BEGIN NOTHING-----\nhello";
	case ENCRYPTED:
		return ENCRYPTED_BLOCK;
	case LEAF:
		return good.chain;
	case BROKEN:
	case MIXED:
		ck_assert_int_gt(asprintf(to_free, "%s%s%s", part == BROKEN ? first : BROKEN_BLOCK,
		                          part == BROKEN ? BROKEN_BLOCK : good.chain, first),
		                 0);
		return *to_free;
	default:
		return "";
	}
}

START_TEST(material)
{
	hb_cleanup(hb_free_ptr) char *chain = NULL, *key = NULL, *roots = NULL;
	struct hb_tls_material pem = {
		.chain = text_of(rows[_i].chain, good.chain, other.chain, two.chain, &chain),
		.key = text_of(rows[_i].key, good.key, other.key, two.key, &key),
		.roots = text_of(rows[_i].roots, testca_pem(ca), NULL, NULL, &roots),
	};
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";
	int got = hb_tls_ctx_new(&pem, &ctx, &why);

	if (!rows[_i].why) {
		ck_assert_msg(got == 0, "%s: %s", rows[_i].name, why);
		ck_assert_str_eq(hb_tls_ctx_identity(ctx), SELF);
		hb_tls_ctx_unref(ctx);
		return;
	}
	ck_assert_msg(got == -EINVAL && !ctx, "%s: got %d", rows[_i].name, got);
	ck_assert_msg(strcmp(why, rows[_i].why) == 0, "%s: %s", rows[_i].name, why);
}
END_TEST

START_TEST(no_identity)
{
	struct testca_pem nobody = testca_leaf(ca, &(struct testca_leaf){ .san = "DNS:a" });
	struct hb_tls_material pem = { .chain = nobody.chain,
		                       .key = nobody.key,
		                       .roots = testca_pem(ca) };
	struct hb_tls_ctx *ctx;
	const char *why;

	ck_assert_int_eq(hb_tls_ctx_new(&pem, &ctx, &why), 0);
	ck_assert_str_eq(hb_tls_ctx_identity(ctx), "");
	testca_pem_done(&nobody); /* the context keeps nothing of the text */

	/* Counted: it is there until the last one lets go (the sanitizer would tell). */
	ck_assert_ptr_eq(hb_tls_ctx_ref(ctx), ctx);
	hb_tls_ctx_unref(ctx);
	ck_assert_str_eq(hb_tls_ctx_identity(ctx), "");
	hb_tls_ctx_unref(ctx);
	hb_tls_ctx_unref(NULL);
}
END_TEST

/* ---- from files ---- */

/* clang-format off */
static const struct {
	const char *name;
	int bad;          /* which of chain, key, roots is not what it should be; 3: none */
	const char *text; /* instead; NULL: not there */
	off_t size;       /* more than that */
	int err;
	const char *why;  /* after the name of the file */
} loads[] = {
	{ "good", 3, NULL, 0, 0, NULL },
	{ "no chain", 0, NULL, 0, -ENOENT, "chain: No such file or directory" },
	{ "no key", 1, NULL, 0, -ENOENT, "key: No such file or directory" },
	{ "no roots", 2, NULL, 0, -ENOENT, "roots: No such file or directory" },
	{ "roots too large", 2, "", (1 << 20) + 1, -EFBIG, "roots: File too large" },
	{ "an empty key", 1, "", 0, -EINVAL, "chain: the private key is not PEM, or it is encrypted" },
};
/* clang-format on */

START_TEST(loading)
{
	const char *texts[] = { good.chain, good.key, testca_pem(ca) };
	static const char *const names[] = { "chain", "key", "roots" };
	char dir[] = "/tmp/test_tls_ctx.XXXXXX", paths[3][64], why[256] = "", want[256] = "";
	struct hb_tls_ctx *ctx = NULL;
	int err;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	for (int i = 0; i < 3; i++) {
		const char *text = i == loads[_i].bad ? loads[_i].text : texts[i];
		FILE *out;

		snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, names[i]);
		if (!text)
			continue;
		out = fopen(paths[i], "w");
		ck_assert_ptr_nonnull(out);
		fputs(text, out);
		fclose(out);
		if (i == loads[_i].bad)
			ck_assert_int_eq(truncate(paths[i], loads[_i].size), 0);
	}
	err = hb_tls_ctx_load(paths[0], paths[1], paths[2], &ctx, why, sizeof(why));
	for (int i = 0; i < 3; i++)
		(void)unlink(paths[i]);
	(void)rmdir(dir);
	ck_assert_msg(err == loads[_i].err, "%s: %d, %s", loads[_i].name, err, why);
	if (loads[_i].why)
		snprintf(want, sizeof(want), "%s/%s", dir, loads[_i].why);
	ck_assert_str_eq(why, want);
	if (err == 0)
		ck_assert_str_eq(hb_tls_ctx_identity(ctx), SELF);
	hb_tls_ctx_unref(ctx);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_ctx");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, material, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, no_identity);
	tcase_add_loop_test(tc, loading, 0, HB_ARRAY_LEN(loads));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
