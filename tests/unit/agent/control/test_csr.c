/*
 * csr: what a CA reads in a request, by OpenSSL (reference/controlplane 5.1).
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/csr.h"

#define IDENTITY "spiffe://cluster.local/ns/a-b/sa/c,d"

static struct csr csr;
static X509_REQ *request;
static EVP_PKEY *key;
static char why[256];

static void setup(void)
{
	BIO *bio;

	ck_assert_msg(csr_make(IDENTITY, &csr, why, sizeof(why)) == 0, "%s", why);
	bio = BIO_new_mem_buf(csr.pem, -1);
	request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	BIO_free(bio);
	bio = BIO_new_mem_buf(csr.key_pem, -1);
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	ck_assert(request && key);
}

static void teardown(void)
{
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	csr_done(&csr);
	csr_done(&csr);
}

START_TEST(the_key)
{
	char group[64];

	ck_assert_int_eq(strncmp(csr.key_pem, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
	ck_assert_int_eq(EVP_PKEY_get_group_name(key, group, sizeof(group), NULL), 1);
	ck_assert_str_eq(group, "prime256v1");
	ck_assert_int_eq(EVP_PKEY_eq(key, X509_REQ_get0_pubkey(request)), 1);
	ck_assert_int_eq(X509_REQ_verify(request, key), 1);
	ck_assert_int_eq(X509_REQ_get_signature_nid(request), NID_ecdsa_with_SHA256);
}
END_TEST

START_TEST(the_name)
{
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
	X509_EXTENSION *extension = sk_X509_EXTENSION_value(extensions, 0);
	GENERAL_NAMES *names = X509V3_EXT_d2i(extension);
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);

	ck_assert_int_eq(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
	ck_assert_int_eq(sk_X509_EXTENSION_num(extensions), 1);
	ck_assert_int_eq(X509_EXTENSION_get_critical(extension), 1);
	ck_assert_int_eq(sk_GENERAL_NAME_num(names), 1);
	ck_assert_int_eq(name->type, GEN_URI);
	ck_assert_int_eq(ASN1_STRING_length(name->d.ia5), (int)strlen(IDENTITY));
	ck_assert_mem_eq(ASN1_STRING_get0_data(name->d.ia5), IDENTITY, strlen(IDENTITY));
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
END_TEST

START_TEST(never_twice)
{
	struct csr again;

	ck_assert_int_eq(csr_make(IDENTITY, &again, why, sizeof(why)), 0);
	ck_assert_str_ne(again.key_pem, csr.key_pem);
	csr_done(&again);
	ck_assert_ptr_null(again.key_pem);
}
END_TEST

START_TEST(not_an_identity)
{
	struct csr none;

	ck_assert_int_eq(csr_make("spiffe://td/ns/a", &none, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "failed to create CSR: spiffe://td/ns/a is not a SPIFFE identity");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("csr");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_key);
	tcase_add_test(tc, the_name);
	tcase_add_test(tc, never_twice);
	tcase_add_test(tc, not_an_identity);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
