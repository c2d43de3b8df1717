/*
 * tls_crl: which files are revocation lists, who is refused by them, and who no longer stands when
 * they change.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define CLIENT              "spiffe://td/ns/a/sa/client"
#define SERVER              "spiffe://td/ns/a/sa/server"
#define CERTIFICATE_REVOKED 44
#define HOUR                3600

/* TWIN has the root's name, and another key. */
enum issuer { ROOT, MIDDLE, TWIN, ISSUERS };

static struct testca *cas[ISSUERS];
static struct hb_loop *loop;
static struct testca_pem leaf; /* of MIDDLE, with it in its chain */

static void setup(void)
{
	cas[ROOT] = testca_new("root");
	cas[MIDDLE] = testca_intermediate(cas[ROOT], "middle");
	cas[TWIN] = testca_new("root");
	leaf = testca_leaf(cas[MIDDLE], &(struct testca_leaf){ .san = "URI:" CLIENT });
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	testca_pem_done(&leaf);
	for (size_t i = 0; i < ISSUERS; i++)
		testca_free(cas[i]);
}

/* ---- files ---- */

#define BEGIN  "-----BEGIN X509 CRL-----\n"
#define END    "-----END X509 CRL-----\n"
#define BROKEN BEGIN "AAAA\n" END

#define PARTS 4

/* clang-format off */
static const struct {
	const char *name;
	const char *parts[PARTS]; /* "R", "M": a list of the root's, of the middle's; "L": certificates */
	int count;
	const char *why;
} files[] = {
	{ "nothing", { "" }, 0, NULL },
	{ "white space", { " \n\n\t\n" }, 0, NULL },
	{ "one list", { "R" }, 1, NULL },
	{ "lists of two issuers", { "R", "M" }, 2, NULL },
	{ "the same list twice", { "R", "R" }, 2, NULL },
	{ "words around it", { "Certificate Revocation List:\n  Version 2\n", "R", "bye" }, 1, NULL },
	{ "certificates are passed over", { "L", "R", "L" }, 1, NULL },
	{ "only certificates", { "L" }, 0, NULL },
	{ "no PEM and no DER", { "hello" }, -EINVAL, "it is neither PEM nor a revocation list" },
	{ "PEM, but no list in it", { BROKEN }, -EINVAL, "block 1 is not a revocation list" },
	{ "the second is broken", { "R", BROKEN, "M" }, -EINVAL, "block 2 is not a revocation list" },
	{ "cut off in the second", { "R", BEGIN "AAAA\n" }, -EINVAL, "block 2 is not whole" },
	{ "cut off in its first line", { "R", "M", "-----BEGIN X509 C" }, -EINVAL, "block 3 is not whole" },
	{ "base64 that is none", { BEGIN "????\n" END }, -EINVAL, "block 1 is not whole" },
	{ "the end of something else", { BEGIN "AAAA\n-----END CERTIFICATE-----\n" }, -EINVAL, "block 1 is not whole" },
};
/* clang-format on */

static char *joined(const char *const parts[PARTS])
{
	hb_cleanup(hb_free_ptr) char *of_root = testca_crl(cas[ROOT], NULL, HOUR);
	hb_cleanup(hb_free_ptr) char *of_middle = testca_crl(cas[MIDDLE], NULL, HOUR);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	for (size_t i = 0; i < PARTS && parts[i]; i++)
		fputs(strcmp(parts[i], "R") == 0   ? of_root
		      : strcmp(parts[i], "M") == 0 ? of_middle
		      : strcmp(parts[i], "L") == 0 ? leaf.chain
		                                   : parts[i],
		      out);
	fclose(out);
	return text;
}

START_TEST(reading)
{
	hb_cleanup(hb_free_ptr) char *text = joined(files[_i].parts);
	struct hb_tls_crls *crls = NULL;
	char why[128] = "";
	int err = hb_tls_crls_parse(text, strlen(text), &crls, why, sizeof(why));

	if (files[_i].count < 0) {
		ck_assert_msg(err == files[_i].count && !crls, "%s: %d", files[_i].name, err);
		ck_assert_msg(strcmp(why, files[_i].why) == 0, "%s: %s", files[_i].name, why);
		return;
	}
	ck_assert_msg(err == 0, "%s: %s", files[_i].name, why);
	ck_assert_msg(hb_tls_crls_count(crls) == (size_t)files[_i].count, "%s: %zu lists",
	              files[_i].name, hb_tls_crls_count(crls));
	ck_assert_ptr_eq(hb_tls_crls_ref(crls), crls);
	hb_tls_crls_unref(crls);
	hb_tls_crls_unref(crls);
}
END_TEST

/* PEM text without its armour. */
static size_t der_of(const char *pem, uint8_t *out)
{
	hb_cleanup(hb_free_ptr) char *copy = strdup(pem);
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	size_t have = 0, n = 0;

	for (const char *at = strchr(copy, '\n'); *at != '-' && *at != '='; at++) {
		if (!strchr(digits, *at))
			continue;
		bits = bits << 6 | (uint32_t)(strchr(digits, *at) - digits);
		have += 6;
		if (have >= 8)
			out[n++] = (uint8_t)(bits >> (have -= 8));
	}
	return n;
}

START_TEST(binary)
{
	hb_cleanup(hb_free_ptr) char *pem = testca_crl(cas[ROOT], leaf.chain, HOUR);
	struct hb_tls_crls *crls = NULL;
	uint8_t der[2048];
	size_t len = der_of(pem, der);
	char why[128];

	ck_assert_int_eq(hb_tls_crls_parse(der, len, &crls, why, sizeof(why)), 0);
	ck_assert_uint_eq(hb_tls_crls_count(crls), 1);
	hb_tls_crls_unref(crls);
	ck_assert_int_eq(hb_tls_crls_parse(der, len - 1, &crls, why, sizeof(why)), -EINVAL);
	der[len] = 0;
	ck_assert_int_eq(hb_tls_crls_parse(der, len + 1, &crls, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "it is neither PEM nor a revocation list");
}
END_TEST

START_TEST(nobody)
{
	ck_assert_ptr_null(hb_tls_crls_ref(NULL));
	ck_assert_uint_eq(hb_tls_crls_count(NULL), 0);
	hb_tls_crls_unref(NULL);
}
END_TEST

/* ---- handshakes, and what is found afterwards ---- */

enum whom { NOBODY, THE_LEAF, THE_MIDDLE };

/* clang-format off */
static const struct {
	const char *name;
	enum issuer issuer; /* of the list */
	enum whom revoked;
	int next_s;
	bool refused;
} lists[] = {
	{ "the issuer's list is empty", MIDDLE, NOBODY, HOUR, false },
	{ "the leaf is revoked", MIDDLE, THE_LEAF, HOUR, true },
	{ "the leaf, by a list that is out of date", MIDDLE, THE_LEAF, -60, true },
	{ "nobody, by a list that is out of date", MIDDLE, NOBODY, -60, false },
	{ "the intermediate is revoked", ROOT, THE_MIDDLE, HOUR, true },
	{ "only the root has a list", ROOT, NOBODY, HOUR, false },
	{ "another issuer lists the leaf's number", ROOT, THE_LEAF, HOUR, false },
	{ "the middle lists its own number", MIDDLE, THE_MIDDLE, HOUR, false },
	{ "a stranger with the root's name lists the intermediate", TWIN, THE_MIDDLE, HOUR, false },
};
/* clang-format on */

static struct hb_tls_crls *crls_of(size_t row)
{
	/* The leaf's chain has the leaf first; a chain without it is the intermediate alone. */
	const char *of[] = { NULL, leaf.chain, testca_pem(cas[MIDDLE]) };
	hb_cleanup(hb_free_ptr) char *text =
	    testca_crl(cas[lists[row].issuer], of[lists[row].revoked], lists[row].next_s);
	struct hb_tls_crls *crls = NULL;
	char why[128];

	ck_assert_int_eq(hb_tls_crls_parse(text, strlen(text), &crls, why, sizeof(why)), 0);
	return crls;
}

/* The leaf is one end's; the other looks at it. */
static void put_ends(struct tls_rig *rig, enum hb_tls_role looking, struct hb_tls_crls *crls)
{
	static const char *const any[] = { CLIENT, SERVER };
	struct hb_tls_material material = { leaf.chain, leaf.key, testca_pem(cas[ROOT]), NULL };
	struct hb_tls_ctx *shown, *other;
	const char *why;

	rig_up(rig, loop);
	ck_assert_int_eq(hb_tls_ctx_new(&material, &shown, &why), 0);
	other = rig_ctx(cas[ROOT], &(struct testca_leaf){ .san = "URI:" SERVER },
	                testca_pem(cas[ROOT]));
	for (enum hb_tls_role role = HB_TLS_CLIENT; role <= HB_TLS_SERVER; role++) {
		struct hb_tls_options options = {
			.role = role,
			.ctx = role == looking ? other : shown,
			.identities = any,
			.identities_count = 2,
			.crls = role == looking ? crls : NULL,
		};

		rig_end(rig, &options);
	}
	hb_tls_ctx_unref(shown);
	hb_tls_ctx_unref(other);
	hb_tls_crls_unref(crls);
}

START_TEST(handshake)
{
	static struct tls_rig rig;
	size_t row = (size_t)_i / 2;
	enum hb_tls_role looking = (enum hb_tls_role)(_i % 2);
	struct probe *end = &rig.ends[looking], *shown = &rig.ends[!looking];

	put_ends(&rig, looking, crls_of(row));
	if (!lists[row].refused) {
		ck_assert_msg(rig_until(&rig, &end->opens, 1, 5000), "%s: %s", lists[row].name,
		              hb_strerror(end->end.code));
	} else {
		ck_assert(rig_until(&rig, &end->closes, 1, 5000));
		ck_assert_msg(end->opens == 0 && end->end.code == HB_TLS_REVOKED, "%s: %s",
		              lists[row].name, hb_strerror(end->end.code));
		ck_assert_str_eq(hb_strerror(end->end.code),
		                 "peer certificate refused (23): revoked");
		ck_assert(rig_until(&rig, &shown->closes, 1, 5000));
		ck_assert_int_eq(shown->end.code, HB_E_ALERT(CERTIFICATE_REVOKED));
	}
	rig_down(&rig);
}
END_TEST

/* The same lists, when they come after the handshake. */
START_TEST(recheck)
{
	static struct tls_rig rig;
	size_t row = (size_t)_i / 2;
	enum hb_tls_role looking = (enum hb_tls_role)(_i % 2);
	struct probe *end = &rig.ends[looking];
	struct hb_tls_crls *crls = crls_of(row);
	int64_t now_s = time(NULL);

	put_ends(&rig, looking, NULL);
	ck_assert(rig_until(&rig, &end->opens, 1, 5000));
	ck_assert_int_eq(hb_tls_recheck(end->stream, NULL, now_s), 0);
	for (int again = 0; again < 2; again++)
		ck_assert_msg(hb_tls_recheck(end->stream, crls, now_s) ==
		                  (lists[row].refused ? HB_TLS_REVOKED : 0),
		              "%s", lists[row].name);
	/* Both leaves are good for an hour; who is revoked stays so, and who is not is late. */
	ck_assert_int_eq(hb_tls_recheck(end->stream, NULL, now_s + HOUR - 60), 0);
	ck_assert_int_eq(hb_tls_recheck(end->stream, NULL, now_s + HOUR + 60), HB_TLS_EXPIRED);
	ck_assert_int_eq(hb_tls_recheck(end->stream, crls, now_s + HOUR + 60),
	                 lists[row].refused ? HB_TLS_REVOKED : HB_TLS_EXPIRED);
	hb_tls_crls_unref(crls);
	rig_down(&rig);
}
END_TEST

/* Lists that come while the handshake is under way count for it. */
START_TEST(recheck_before_the_handshake)
{
	static struct tls_rig rig;
	enum hb_tls_role looking = (enum hb_tls_role)_i;
	struct probe *end = &rig.ends[looking];
	struct hb_tls_crls *crls = crls_of(1);

	put_ends(&rig, looking, NULL);
	ck_assert_int_eq(hb_tls_recheck(end->stream, crls, time(NULL)), 0);
	hb_tls_crls_unref(crls); /* the stream has its own */
	ck_assert(rig_until(&rig, &end->closes, 1, 5000));
	ck_assert_int_eq(end->end.code, HB_TLS_REVOKED);
	rig_down(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_crl");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, reading, 0, HB_ARRAY_LEN(files));
	tcase_add_test(tc, binary);
	tcase_add_test(tc, nobody);
	tcase_add_loop_test(tc, handshake, 0, 2 * HB_ARRAY_LEN(lists));
	tcase_add_loop_test(tc, recheck, 0, 2 * HB_ARRAY_LEN(lists));
	tcase_add_loop_test(tc, recheck_before_the_handshake, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
