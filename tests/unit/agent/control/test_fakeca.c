/*
 * fakeca: a root is found or made once, leaves are what peers expect, wrong files are named.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <hbone/base.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/fakeca.h"
#include "support/testca.h"

#define NOW      1800000000 /* any time will do */
#define IDENTITY "spiffe://cluster.local/ns/a/sa/b,c"

static char dir[64];
static struct testca *ca;
static struct testca_pem leaf;

static char *in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(in_dir(name), "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test_fakeca.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ca = testca_new("root");
	leaf = testca_leaf(ca, &(struct testca_leaf){ .san = "DNS:a" });
	write_file("good.crt", testca_pem(ca));
	write_file("good.key", testca_key_pem(ca));
	write_file("leaf.crt", leaf.chain);
	write_file("leaf.key", leaf.key);
	write_file("empty", "");
	write_file("garbage", "-----BEGIN CERTIFICATE-----\nhello\n");
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
	testca_pem_done(&leaf);
	testca_free(ca);
}

/* clang-format off */
static const struct {
	const char *name, *cert, *key;
	int want;
	const char *names; /* the file that the sentence must begin with */
} rows[] = {
	{ "good", "good.crt", "good.key", 0, NULL },
	{ "certificate is missing", "none", "good.key", -ENOENT, "none" },
	{ "key is missing", "good.crt", "none", -ENOENT, "none" },
	{ "certificate is empty", "empty", "good.key", -EINVAL, "empty" },
	{ "certificate is not PEM", "garbage", "good.key", -EINVAL, "garbage" },
	{ "key is not PEM", "good.crt", "garbage", -EINVAL, "garbage" },
	{ "key is a certificate", "good.crt", "good.crt", -EINVAL, "good.crt" },
	{ "key of another", "good.crt", "leaf.key", -EINVAL, "leaf.key" },
	{ "not a CA", "leaf.crt", "leaf.key", -EINVAL, "leaf.crt" },
	{ "a folder", ".", "good.key", -EISDIR, "." },
	{ "only a certificate", "good.crt", NULL, -EINVAL, "good.crt" },
	{ "only a key", NULL, "good.key", -EINVAL, "good.key" },
};
/* clang-format on */

START_TEST(files)
{
	char why[256] = "";
	struct fakeca *fake = NULL;
	const char *cert = rows[_i].cert ? in_dir(rows[_i].cert) : "";
	const char *key = rows[_i].key ? in_dir(rows[_i].key) : "";
	int got = fakeca_open(cert, key, NULL, time(NULL), &fake, why, sizeof(why));

	ck_assert_msg(got == rows[_i].want, "%s: got %d: %s", rows[_i].name, got, why);
	if (rows[_i].names) {
		const char *path = in_dir(rows[_i].names);

		ck_assert_msg(strncmp(why, path, strlen(path)) == 0, "%s: %s", rows[_i].name, why);
	}
	fakeca_close(fake);
}
END_TEST

START_TEST(an_expired_root)
{
	char why[256];
	struct fakeca *fake;
	int got = fakeca_open(in_dir("good.crt"), in_dir("good.key"), NULL, time(NULL) + 7300,
	                      &fake, why, sizeof(why));

	ck_assert_int_eq(got, -EKEYEXPIRED);
	ck_assert_msg(strstr(why, "good.crt: the certificate has expired") != NULL, "%s", why);
}
END_TEST

static struct fakeca *must_open(void)
{
	char why[256] = "";
	struct fakeca *fake = NULL;
	int got = fakeca_open("", "", dir, NOW, &fake, why, sizeof(why));

	ck_assert_msg(got == 0, "%d: %s", got, why);
	return fake;
}

START_TEST(made_once)
{
	struct fakeca *first = must_open(), *second = must_open();
	struct stat st;

	ck_assert_str_eq(fakeca_roots_pem(first), fakeca_roots_pem(second));
	ck_assert_int_eq(stat(in_dir("fake-ca-key.pem"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	fakeca_close(second);

	/* Killed after the key, before the certificate: the same root comes back. */
	ck_assert_int_eq(unlink(in_dir("fake-ca-cert.pem")), 0);
	second = must_open();
	ck_assert_str_eq(fakeca_roots_pem(first), fakeca_roots_pem(second));
	fakeca_close(second);
	fakeca_close(first);
}
END_TEST

START_TEST(a_lost_key_is_not_replaced)
{
	char why[256] = "";
	struct fakeca *fake = must_open();

	/* Others trust this root: a new one in its place would be worse than an error. */
	fakeca_close(fake);
	ck_assert_int_eq(unlink(in_dir("fake-ca-key.pem")), 0);
	ck_assert_int_eq(fakeca_open(NULL, NULL, dir, NOW, &fake, why, sizeof(why)), -ENOENT);
	ck_assert_msg(strstr(why, "fake-ca-key.pem: ") != NULL, "%s", why);
}
END_TEST

START_TEST(no_folder_to_make_it_in)
{
	char why[256] = "";
	struct fakeca *fake;

	ck_assert_int_eq(fakeca_open("", "", in_dir("good.crt"), NOW, &fake, why, sizeof(why)),
	                 -ENOTDIR);
	ck_assert_int_eq(fakeca_open("", "", "", NOW, &fake, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(fakeca_open("", "", in_dir("a/b"), NOW, &fake, why, sizeof(why)), -ENOENT);
}
END_TEST

#define RACERS 8

/* All begin when the pipe's last writer closes. */
START_TEST(many_start_at_once)
{
	int go[2], results[2];
	char got[RACERS][4096] = { "" };

	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(results), 0);
	for (int i = 0; i < RACERS; i++) {
		if (fork() == 0) {
			char why[256], byte;
			struct fakeca *fake;
			size_t len;

			close(go[1]);
			(void)!read(go[0], &byte, 1); /* the end of the file is the shot */
			if (fakeca_open("", "", dir, NOW, &fake, why, sizeof(why)) < 0)
				_exit(1);
			/* One write below PIPE_BUF is whole. */
			len = strlen(fakeca_roots_pem(fake));
			_exit(write(results[1], fakeca_roots_pem(fake), len) != (ssize_t)len);
		}
	}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < RACERS; i++) {
		int status;

		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
	close(results[1]);

	struct fakeca *fake = must_open();
	size_t len = strlen(fakeca_roots_pem(fake));

	for (int i = 0; i < RACERS; i++) {
		ck_assert_int_eq(read(results[0], got[i], len), (ssize_t)len);
		ck_assert_str_eq(got[i], fakeca_roots_pem(fake));
	}
	close(results[0]);
	fakeca_close(fake);
	ck_assert_int_eq(access(in_dir("fake-ca-key.pem"), F_OK), 0);
}
END_TEST

static X509 *cert_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	ck_assert_ptr_nonnull(cert);
	return cert;
}

static void check_san(X509 *cert)
{
	int critical;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	const GENERAL_NAME *name;

	ck_assert_int_eq(critical, 1);
	ck_assert_int_eq(sk_GENERAL_NAME_num(names), 1);
	name = sk_GENERAL_NAME_value(names, 0);
	ck_assert_int_eq(name->type, GEN_URI);
	ck_assert_int_eq(ASN1_STRING_length(name->d.uniformResourceIdentifier),
	                 sizeof(IDENTITY) - 1);
	ck_assert_mem_eq(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), IDENTITY,
	                 sizeof(IDENTITY) - 1);
	GENERAL_NAMES_free(names);
}

START_TEST(leaves)
{
	char why[256];
	struct fakeca *fake = must_open();
	struct fakeca_leaf made, again;
	X509 *root = cert_of(fakeca_roots_pem(fake)), *cert;
	EVP_PKEY *root_key = X509_get0_pubkey(root);

	ck_assert_int_eq(fakeca_sign(fake, IDENTITY, 86400, NOW, &made, why, sizeof(why)), 0);
	ck_assert_int_eq(fakeca_sign(fake, IDENTITY, 10, NOW, &again, why, sizeof(why)), 0);
	cert = cert_of(made.chain_pem);
	ck_assert_int_eq(X509_verify(cert, root_key), 1);
	check_san(cert);
	ck_assert_int_eq(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	ck_assert_uint_eq(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
	ck_assert_uint_eq(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	ck_assert_int_eq(X509_check_ca(cert), 0);
	ck_assert_ptr_nonnull(strstr(made.key_pem, "-----BEGIN PRIVATE KEY-----"));
	ck_assert_int_eq(made.not_before_s, NOW - 60);
	ck_assert_int_eq(made.not_after_s, NOW + 86400);
	ck_assert_uint_eq(strspn(made.serial, "0123456789"), strlen(made.serial));

	/* Neither key nor serial comes twice, and a short life is not all in the past. */
	ck_assert_str_ne(made.key_pem, again.key_pem);
	ck_assert_str_ne(made.serial, again.serial);
	ck_assert_int_eq(again.not_before_s, NOW - 5);
	ck_assert_int_eq(again.not_after_s, NOW + 10);

	X509_free(cert);
	X509_free(root);
	fakeca_leaf_done(&made);
	fakeca_leaf_done(&again);
	fakeca_close(fake);
}
END_TEST

START_TEST(a_leaf_ends_with_its_root)
{
	char why[256];
	struct fakeca *fake = must_open();
	struct fakeca_leaf made;
	int64_t end_s = NOW + 3650LL * 86400;

	ck_assert_int_eq(fakeca_sign(fake, IDENTITY, 86400, end_s - 100, &made, why, sizeof(why)),
	                 0);
	ck_assert_int_eq(made.not_after_s, end_s);
	fakeca_leaf_done(&made);
	ck_assert_int_eq(fakeca_sign(fake, IDENTITY, 86400, end_s, &made, why, sizeof(why)),
	                 -EKEYEXPIRED);
	fakeca_close(fake);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fakeca");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, files, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, an_expired_root);
	tcase_add_test(tc, made_once);
	tcase_add_test(tc, a_lost_key_is_not_replaced);
	tcase_add_test(tc, no_folder_to_make_it_in);
	tcase_add_test(tc, many_start_at_once);
	tcase_add_test(tc, leaves);
	tcase_add_test(tc, a_leaf_ends_with_its_root);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
