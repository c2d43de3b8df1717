/*
 * issued: every rule of reference/controlplane 5.2, one row each: what comes from a CA is taken
 * apart, or refused with a sentence.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "control/issued.h"
#include "support/testca.h"

#define IDENTITY "spiffe://td/ns/a/sa/b"
#define OTHER    "spiffe://td/ns/a/sa/c"
#define JUNK     "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
#define CUT      "-----BEGIN CERTIFICATE-----\nMIIB\n"
#define TEXT     "no PEM at all\n"

/* What the elements are made of; a letter each, and '|' between elements:
 * L leaf  l leaf with its intermediate behind it  R its root  S another root  I its intermediate
 * J junk  C a block without an end  T text  O leaf of another name  N leaf without a name
 * E leaf whose second URI is the one  D whose first is  X leaf that has ended */
static struct testca *ca, *other, *between;
static struct testca_pem leaf;
static struct issued *issued;
static char why[512];
static char elements[8][1 << 16];

static void setup(void)
{
	ca = testca_new("root");
	other = testca_new("other");
	between = testca_intermediate(ca, "between");
}

static void teardown(void)
{
	testca_free(ca);
	testca_free(other);
	testca_free(between);
	testca_pem_done(&leaf);
	issued_free(issued);
	issued = NULL;
}

static const char *make_leaf(const struct testca *by, const char *san, bool ended)
{
	testca_pem_done(&leaf);
	leaf = testca_leaf(by, &(struct testca_leaf){ .san = san,
	                                              .not_before_s = ended ? -100 : -10,
	                                              .not_after_s = ended ? -50 : 3600 });
	return leaf.chain;
}

static const char *piece(char letter)
{
	switch (letter) {
	case 'L':
		return make_leaf(ca, "URI:" IDENTITY, false);
	case 'l':
		return make_leaf(between, "URI:" IDENTITY, false);
	case 'O':
		return make_leaf(ca, "URI:" OTHER, false);
	case 'N':
		return make_leaf(ca, "DNS:a.b", false);
	case 'E':
		return make_leaf(ca, "DNS:a.b,URI:" OTHER ",URI:" IDENTITY, false);
	case 'D':
		return make_leaf(ca, "DNS:a.b,URI:" IDENTITY ",URI:" OTHER, false);
	case 'X':
		return make_leaf(ca, "URI:" IDENTITY, true);
	case 'R':
		return testca_pem(ca);
	case 'S':
		return testca_pem(other);
	case 'I':
		return testca_pem(between);
	case 'J':
		return JUNK;
	case 'C':
		return CUT;
	default:
		return TEXT;
	}
}

/* clang-format off */
static const struct {
	const char *name, *sent;
	bool anybody;           /* no identity was asked for */
	const char *refusal;    /* NULL: taken */
	size_t chain, roots;
	const char *note;
} rows[] = {
	{ "leaf and root", "L|R", false, NULL, 1, 1, "" },
	{ "as istiod sends one with an intermediate", "l|R", false, NULL, 2, 1, "" },
	{ "its own element for the intermediate", "L|I|R", false, NULL, 2, 1, "" },
	{ "several intermediates in one element", "L|II|R", false, NULL, 3, 1, "" },
	{ "several elements of several", "L|II|I|R", false, NULL, 4, 1, "" },
	{ "an empty element", "L||R", false, NULL, 1, 1, "" },
	{ "several roots in the bundle", "L|RS", false, NULL, 1, 2, "" },
	{ "text around blocks", "TLT|TRTS", false, NULL, 1, 2, "" },
	{ "a bad root is passed over", "L|JR", false, NULL, 1, 1, "1 of the 2 root certificates cannot be used" },
	{ "wherever it stands", "L|RCJS", false, NULL, 1, 2, "2 of the 4 root certificates cannot be used" },
	{ "the root is not the issuer's", "L|S", false, NULL, 1, 1,
	  "the certificate does not lead to any of the roots that came with it" },
	{ "the first URI counts, not the first name", "D|R", false, NULL, 1, 1, "" },
	{ "dates do not matter here", "X|R", false, NULL, 1, 1, "" },
	{ "whoever it is", "O|R", true, NULL, 1, 1, "" },

	{ "nothing", "", false, "chain returned from CA is empty", 0, 0, NULL },
	{ "one element", "LR", false, "no root certificate present: one element came, and two are needed", 0, 0, NULL },
	{ "no leaf", "T|R", false, "the first element is no certificate", 0, 0, NULL },
	{ "an empty leaf", "|R", false, "the first element is no certificate", 0, 0, NULL },
	{ "a bad leaf", "J|R", false, "the certificate cannot be read", 0, 0, NULL },
	{ "a leaf that is cut", "C|R", false, "the certificate cannot be read", 0, 0, NULL },
	{ "a bad intermediate", "L|J|R", false, "an intermediate certificate cannot be read", 0, 0, NULL },
	{ "no roots", "L|T", false, "none of the root certificates can be used", 0, 0, NULL },
	{ "bad roots alone", "L|JC", false, "none of the root certificates can be used", 0, 0, NULL },
	{ "the root first", "R|L", false, "none of the root certificates can be used", 0, 0, NULL },
	{ "an intermediate first", "IL|R", false, "the certificate is for another key than the one it was asked for", 0, 0, NULL },
	{ "another identity", "O|R", false, "did not find expected SAN: " IDENTITY ", the certificate has " OTHER, 0, 0, NULL },
	{ "no identity", "N|R", false, "did not find expected SAN: " IDENTITY ", the certificate has none", 0, 0, NULL },
	{ "the second URI", "E|R", false, "did not find expected SAN: " IDENTITY ", the certificate has " OTHER, 0, 0, NULL },
};
/* clang-format on */

static size_t split(const char *sent, const char *texts[8])
{
	size_t count = 0;

	if (!*sent)
		return 0;
	elements[0][0] = '\0';
	for (; *sent; sent++) {
		char *at = elements[count];

		if (*sent == '|')
			elements[++count][0] = '\0';
		else
			strncat(at, piece(*sent), sizeof(elements[0]) - strlen(at) - 1);
	}
	for (size_t i = 0; i <= count; i++)
		texts[i] = elements[i];
	return count + 1;
}

static int read_it(const char *sent, const char *identity)
{
	const char *texts[8];
	struct issued_material material = {
		.elements = texts,
		.count = split(sent, texts),
		.identity = identity,
	};

	if (!leaf.key)
		(void)make_leaf(ca, NULL, false);
	material.key_pem = leaf.key;
	return issued_read(&material, &issued, why, sizeof(why));
}

START_TEST(what_came)
{
	const char *name = rows[_i].name;
	int err = read_it(rows[_i].sent, rows[_i].anybody ? NULL : IDENTITY);

	if (rows[_i].refusal) {
		ck_assert_msg(err == -EINVAL, "%s", name);
		ck_assert_msg(strcmp(why, rows[_i].refusal) == 0, "%s: %s", name, why);
		ck_assert_ptr_null(issued);
		return;
	}
	ck_assert_msg(err == 0, "%s: %s", name, why);
	ck_assert_msg(issued->chain_count == rows[_i].chain, "%s: %zu", name, issued->chain_count);
	ck_assert_msg(issued->roots_count == rows[_i].roots, "%s: %zu", name, issued->roots_count);
	ck_assert_msg(strcmp(issued->note, rows[_i].note) == 0, "%s: %s", name, issued->note);
	ck_assert_str_eq(issued->key_pem, leaf.key);
	for (size_t i = 0; i < issued->chain_count + issued->roots_count; i++) {
		const struct issued_cert *cert = &issued->certs[i];

		ck_assert_int_eq(strncmp(cert->pem, "-----BEGIN CERTIFICATE-----\n", 28), 0);
		ck_assert_str_eq(cert->pem + strlen(cert->pem) - 26, "-----END CERTIFICATE-----\n");
		ck_assert_uint_eq(strspn(cert->serial, "0123456789"), strlen(cert->serial));
		ck_assert_int_gt(cert->not_after_s, cert->not_before_s);
		ck_assert_ptr_nonnull(strstr(
		    i < issued->chain_count ? issued->chain_pem : issued->roots_pem, cert->pem));
	}
}
END_TEST

START_TEST(a_root_that_is_no_ca)
{
	char bundle[1 << 14];
	const char *texts[] = { elements[0], bundle };
	struct issued_material material = { .elements = texts, .count = 2, .identity = IDENTITY };

	snprintf(elements[0], sizeof(elements[0]), "%s", make_leaf(ca, "URI:" IDENTITY, false));
	snprintf(bundle, sizeof(bundle), "%s%s", leaf.chain, testca_pem(ca));
	material.key_pem = leaf.key;
	ck_assert_msg(issued_read(&material, &issued, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(issued->roots_count, 1);
	ck_assert_str_eq(issued->roots_pem, testca_pem(ca));
	ck_assert_str_eq(issued->note, "1 of the 2 root certificates cannot be used");
}
END_TEST

START_TEST(another_key)
{
	const char *texts[] = { elements[0], testca_pem(ca) };
	struct issued_material material = { .elements = texts, .count = 2, .identity = IDENTITY };

	snprintf(elements[0], sizeof(elements[0]), "%s", make_leaf(ca, "URI:" IDENTITY, false));
	(void)make_leaf(ca, "URI:" IDENTITY, false);
	material.key_pem = leaf.key;
	ck_assert_int_eq(issued_read(&material, &issued, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "the certificate is for another key than the one it was asked for");
	material.key_pem = "nothing";
	ck_assert_int_eq(issued_read(&material, &issued, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "the private key is not PEM, or it is encrypted");
}
END_TEST

START_TEST(too_many)
{
	const char *root = testca_pem(ca);
	size_t size = strlen(root);
	char *bundle = malloc(size * (ISSUED_CERTS_MAX + 1) + 1), *at = bundle;
	const char *texts[] = { elements[0], bundle };
	struct issued_material material = { .elements = texts, .count = 2, .identity = IDENTITY };

	ck_assert_ptr_nonnull(bundle);
	snprintf(elements[0], sizeof(elements[0]), "%s", make_leaf(ca, "URI:" IDENTITY, false));
	for (unsigned i = 0; i < ISSUED_CERTS_MAX; i++, at += size)
		memcpy(at, root, size + 1);
	material.key_pem = leaf.key;
	ck_assert_int_eq(issued_read(&material, &issued, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "there are more than 512 certificates");
	bundle[size * (ISSUED_CERTS_MAX - 1)] = '\0';
	ck_assert_msg(issued_read(&material, &issued, why, sizeof(why)) == 0, "%s", why);
	free(bundle);
}
END_TEST

START_TEST(names)
{
	char name[64];

	issued_identity(make_leaf(ca, "URI:" IDENTITY, false), name, sizeof(name));
	ck_assert_str_eq(name, IDENTITY);
	issued_identity(leaf.chain, name, sizeof(IDENTITY) - 1);
	ck_assert_str_eq(name, ""); /* rather than a part of it */
	issued_identity(make_leaf(ca, "DNS:a", false), name, sizeof(name));
	ck_assert_str_eq(name, "");
	issued_identity(TEXT, name, sizeof(name));
	ck_assert_str_eq(name, "");
	issued_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("issued");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, what_came, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, a_root_that_is_no_ca);
	tcase_add_test(tc, another_key);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
