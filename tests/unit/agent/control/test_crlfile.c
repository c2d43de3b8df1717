/*
 * crlfile: what is read at the start and after each change, and what is kept when a change is none.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/crlfile.h"
#include "log.h"
#include "support/testca.h"

static struct hb_loop *loop;
static struct crlfile *file;
static char dir[64], path[80];
static unsigned changes;
static size_t lists;

static void on_change(void *owner, struct hb_tls_crls *crls)
{
	ck_assert_ptr_eq(owner, &changes);
	changes++;
	lists = hb_tls_crls_count(crls);
	hb_tls_crls_unref(crls);
}

static void setup(void)
{
	char why[64];

	ck_assert_int_eq(log_init("off", false, why, sizeof(why)), 0);
	snprintf(dir, sizeof(dir), "/tmp/test_crlfile.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/crl.pem", dir);
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	changes = 0;
}

static void teardown(void)
{
	char command[96];

	crlfile_free(file);
	crlfile_free(NULL);
	hb_loop_free(loop);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
	log_done();
}

static void begin(void)
{
	file = crlfile_new(loop, path, on_change, &changes);
	ck_assert_ptr_nonnull(file);
}

static void write_to(const char *name, const char *text)
{
	FILE *out = fopen(name, "w");

	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(fputs(text, out), 0);
	ck_assert_int_eq(fclose(out), 0);
}

/* @count lists of as many issuers, to be freed. */
static char *text_of(unsigned count)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < count; i++) {
		struct testca *ca = testca_new("some");
		char *one = testca_crl(ca, NULL, 3600);

		fputs(one, out);
		free(one);
		testca_free(ca);
	}
	fclose(out);
	return text;
}

static void put(const char *name, unsigned count)
{
	hb_cleanup(hb_free_ptr) char *text = text_of(count);

	write_to(name, text);
}

/* For as many looks as it takes to see that nothing comes, or until it has come. */
static void wait_for(unsigned want)
{
	uint64_t until_ms = hb_loop_now_ms(loop) + 4 * CRLFILE_LOOK_MS;

	while (hb_loop_now_ms(loop) < until_ms && (changes < want || want == 0))
		ck_assert_int_eq(hb_loop_turn(loop, 50), 0);
	ck_assert_uint_eq(changes, want);
	changes = 0;
}

START_TEST(there_from_the_start)
{
	put(path, 2);
	begin();
	ck_assert_uint_eq(hb_tls_crls_count(crlfile_current(file)), 2);
	wait_for(0); /* it is told of changes only */

	put(path, 3);
	wait_for(1);
	ck_assert_uint_eq(lists, 3);
	ck_assert_uint_eq(hb_tls_crls_count(crlfile_current(file)), 3);
}
END_TEST

START_TEST(comes_later)
{
	begin();
	ck_assert_ptr_null(crlfile_current(file));
	put(path, 1);
	wait_for(1);
	ck_assert_uint_eq(lists, 1);

	/* Empty is a wish, too: nobody is revoked any more. */
	write_to(path, "");
	wait_for(1);
	ck_assert_uint_eq(lists, 0);
	ck_assert_ptr_nonnull(crlfile_current(file));
}
END_TEST

START_TEST(broken_or_gone_keeps_the_old)
{
	put(path, 2);
	begin();
	write_to(path, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
	wait_for(0);
	ck_assert_uint_eq(hb_tls_crls_count(crlfile_current(file)), 2);
	ck_assert_int_eq(unlink(path), 0);
	wait_for(0);
	ck_assert_uint_eq(hb_tls_crls_count(crlfile_current(file)), 2);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* and nobody writes */
	wait_for(0);
	ck_assert_int_eq(unlink(path), 0);
	put(path, 1);
	wait_for(1);
	ck_assert_uint_eq(lists, 1);
}
END_TEST

START_TEST(broken_at_the_start)
{
	write_to(path, "hello");
	begin();
	ck_assert_ptr_null(crlfile_current(file));
	put(path, 1);
	wait_for(1);
}
END_TEST

/* A projected volume: crl.pem -> data/crl.pem, and data -> v1; then data is renamed over. */
START_TEST(swapped_links)
{
	char name[128], link[128];

	for (unsigned v = 1; v <= 2; v++) {
		snprintf(name, sizeof(name), "%s/v%u", dir, v);
		ck_assert_int_eq(mkdir(name, 0700), 0);
		snprintf(name, sizeof(name), "%s/v%u/crl.pem", dir, v);
		put(name, v);
	}
	snprintf(link, sizeof(link), "%s/data", dir);
	ck_assert_int_eq(symlink("v1", link), 0);
	ck_assert_int_eq(symlink("data/crl.pem", path), 0);
	begin();
	ck_assert_uint_eq(hb_tls_crls_count(crlfile_current(file)), 1);

	snprintf(name, sizeof(name), "%s/data.new", dir);
	ck_assert_int_eq(symlink("v2", name), 0);
	ck_assert_int_eq(rename(name, link), 0);
	wait_for(1);
	ck_assert_uint_eq(lists, 2);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *text; /* text NULL: not there */
	off_t size;              /* more than the text: a hole */
	const char *why;         /* after the path */
	int err;
} reads[] = {
	{ "not there", NULL, 0, ": No such file or directory", -ENOENT },
	{ "no list", "hello", 0, ": it is neither PEM nor a revocation list", -EINVAL },
	{ "larger than we read", "", CRLFILE_BYTES_MAX + 1, ": File too large", -EFBIG },
	{ "empty", "", 0, NULL, 0 },
};
/* clang-format on */

START_TEST(reading)
{
	struct hb_tls_crls *crls = NULL;
	char why[256] = "", want[256];
	int err;

	if (reads[_i].text)
		write_to(path, reads[_i].text);
	if (reads[_i].size)
		ck_assert_int_eq(truncate(path, reads[_i].size), 0);
	err = crlfile_read(path, &crls, why, sizeof(why));
	ck_assert_msg(err == reads[_i].err, "%s: %d", reads[_i].name, err);
	snprintf(want, sizeof(want), "%s%s", reads[_i].why ? path : "",
	         reads[_i].why ? reads[_i].why : "");
	ck_assert_str_eq(why, want);
	ck_assert_int_eq(crls != NULL, err == 0);
	hb_tls_crls_unref(crls);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crlfile");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, there_from_the_start);
	tcase_add_test(tc, comes_later);
	tcase_add_test(tc, broken_or_gone_keeps_the_old);
	tcase_add_test(tc, broken_at_the_start);
	tcase_add_test(tc, swapped_links);
	tcase_add_loop_test(tc, reading, 0, HB_ARRAY_LEN(reads));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
