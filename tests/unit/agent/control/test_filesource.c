/*
 * filesource: one certificate from files, for whom it names, and again whenever they change.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/certmanager.h"
#include "control/filesource.h"
#include "support/testca.h"

#define ONE "spiffe://td/ns/a/sa/one"
#define TWO "spiffe://td/ns/a/sa/two"

static struct hb_loop *loop;
static struct certmanager *manager;
static struct testca *ca;
static char dir[64], chain[128], key[128], roots[128];
static unsigned issued, refused;
static char why[512], last_serial[64];

static void on_news(void *owner, const struct certmanager_news *news)
{
	if (news->ctx)
		issued++;
	if (news->why) {
		refused++;
		snprintf(why, sizeof(why), "%s", news->why);
	}
	hb_tls_ctx_unref(news->ctx);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void write_all(const char *identity)
{
	char san[80];
	struct testca_pem pem;

	snprintf(san, sizeof(san), "URI:%s", identity);
	pem = testca_leaf(ca, &(struct testca_leaf){ .san = san });
	write_file(key, pem.key);
	write_file(roots, testca_pem(ca));
	write_file(chain, pem.chain);
	testca_pem_done(&pem);
}

static void setup(void)
{
	issued = refused = 0;
	snprintf(dir, sizeof(dir), "/tmp/test_filesource.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(chain, sizeof(chain), "%s/chain.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	snprintf(roots, sizeof(roots), "%s/roots.pem", dir);
	ca = testca_new("root");
	loop = hb_loop_new(NULL);
}

static void teardown(void)
{
	char command[128];

	certmanager_free(manager);
	manager = NULL;
	hb_loop_free(loop);
	testca_free(ca);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void start(void)
{
	struct filesource_options options = { .chain = chain, .key = key, .roots = roots };
	struct certmanager_options manages = { .source = filesource_new(loop, &options),
		                               .on_news = on_news };

	ck_assert_ptr_nonnull(manages.source);
	manager = certmanager_new(loop, &manages);
	ck_assert_int_eq(certmanager_hold(manager, ONE, CERT_WARMUP), 0);
}

static void wait_for(const unsigned *what, unsigned count)
{
	for (int i = 0; i < 400 && *what < count; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
	ck_assert_uint_ge(*what, count);
}

static void keep_serial(const struct certmanager_row *row, void *arg)
{
	if (row->issued && strcmp(row->identity, ONE) == 0)
		snprintf(last_serial, sizeof(last_serial), "%s", row->issued->certs[0].serial);
}

START_TEST(read_and_read_again)
{
	char serial[64];

	write_all(ONE);
	start();
	wait_for(&issued, 1);
	certmanager_each(manager, keep_serial, NULL);
	memcpy(serial, last_serial, sizeof(serial));
	write_all(ONE);
	wait_for(&issued, 2);
	certmanager_each(manager, keep_serial, NULL);
	ck_assert_str_ne(last_serial, serial);
	ck_assert_uint_eq(refused, 0);
}
END_TEST

START_TEST(it_comes_later)
{
	char want[256];

	start();
	wait_for(&refused, 1);
	snprintf(want, sizeof(want), "%s: No such file or directory", chain);
	ck_assert_str_eq(why, want);
	write_all(ONE);
	wait_for(&issued, 1);
}
END_TEST

START_TEST(what_is_broken_changes_nothing)
{
	write_all(ONE);
	start();
	wait_for(&issued, 1);
	write_file(chain, "nothing");
	for (int i = 0; i < 40; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
	ck_assert_uint_eq(issued, 1);
	ck_assert_uint_eq(refused, 0);
}
END_TEST

START_TEST(for_nobody_else)
{
	char want[256];

	write_all(TWO);
	start();
	wait_for(&refused, 1);
	snprintf(want, sizeof(want), "%s: it is a certificate for %s, not for %s", chain, TWO, ONE);
	ck_assert_str_eq(why, want);
	ck_assert_int_eq(certmanager_hold(manager, TWO, CERT_WARMUP), 0);
	wait_for(&issued, 1);
}
END_TEST

START_TEST(no_plain_file)
{
	char want[256];

	write_all(ONE);
	ck_assert_int_eq(unlink(key), 0);
	ck_assert_int_eq(mkfifo(key, 0600), 0); /* nobody will ever write */
	start();
	wait_for(&refused, 1);
	snprintf(want, sizeof(want), "%s: it is not a regular file", key);
	ck_assert_str_eq(why, want);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("filesource");
	TCase *tc = tcase_create("files");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, read_and_read_again);
	tcase_add_test(tc, it_comes_later);
	tcase_add_test(tc, what_is_broken_changes_nothing);
	tcase_add_test(tc, for_nobody_else);
	tcase_add_test(tc, no_plain_file);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
