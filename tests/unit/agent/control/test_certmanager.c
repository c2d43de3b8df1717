/*
 * certmanager: identities that are held get credentials, again at half-life, and what goes wrong is
 * told; by the built-in CA, and by a source that the test plays.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "control/certmanager.h"
#include "control/fakesource.h"
#include "support/testca.h"

#define ONE "spiffe://td/ns/a/sa/one"
#define TWO "spiffe://td/ns/a/sa/two"
#define DAY 86400

static struct hb_loop *loop;
static struct certmanager *manager;
static char dir[64], why[256];
static uint32_t linger_ms;

/* What was told, newest last. */
static struct {
	unsigned issued, refused, forgotten;
	struct hb_tls_ctx *last;
	char identities[64][64];
	char why[256];
	const char *release; /* inside the callback */
} got;

static void on_news(void *owner, const struct certmanager_news *news)
{
	ck_assert_ptr_eq(owner, &got);
	if (news->ctx) {
		ck_assert_str_eq(hb_tls_ctx_identity(news->ctx), news->identity);
		hb_tls_ctx_unref(got.last);
		got.last = news->ctx;
		snprintf(got.identities[got.issued++ % 64], sizeof(got.identities[0]), "%s",
		         news->identity);
	} else if (news->why) {
		got.refused++;
		snprintf(got.why, sizeof(got.why), "%s", news->why);
	} else {
		ck_assert(news->forgotten);
		got.forgotten++;
	}
	if (got.release)
		certmanager_release(manager, got.release);
}

/* A source that answers when it is told to. */
static struct played {
	struct cert_source source;
	struct cert_request *asked[16];
	unsigned count, cancelled;
	const char *refuse_now; /* start() fails with that */
} played;

static int played_start(struct cert_source *source, struct cert_request *request, char *out,
                        size_t size)
{
	if (played.refuse_now) {
		snprintf(out, size, "%s", played.refuse_now);
		return -EIO;
	}
	ck_assert_uint_lt(played.count, HB_ARRAY_LEN(played.asked));
	played.asked[played.count++] = request;
	return 0;
}

static void played_cancel(struct cert_source *source, struct cert_request *request)
{
	played.cancelled++;
}

static void played_free(struct cert_source *source)
{
}

static void setup(void)
{
	memset(&got, 0, sizeof(got));
	linger_ms = 0;
	snprintf(dir, sizeof(dir), "/tmp/test_certmanager.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	char command[128];

	certmanager_free(manager);
	manager = NULL;
	certmanager_free(NULL);
	hb_tls_ctx_unref(got.last);
	hb_loop_free(loop);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void start_with(struct cert_source *source)
{
	manager = certmanager_new(loop, &(struct certmanager_options){ .source = source,
	                                                               .on_news = on_news,
	                                                               .owner = &got,
	                                                               .linger_ms = linger_ms });
	ck_assert_ptr_nonnull(manager);
}

static void start_fake(uint32_t ttl_s, const char *cert, const char *key)
{
	struct fakesource_options options = {
		.ca_cert = cert, .ca_key = key, .state_dir = dir, .ttl_s = ttl_s
	};
	struct cert_source *source;

	ck_assert_msg(fakesource_new(loop, &options, &source, why, sizeof(why)) == 0, "%s", why);
	start_with(source);
}

static void start_played(void)
{
	static const struct cert_source_ops ops = { played_start, played_cancel, played_free };

	played = (struct played){ .source.ops = &ops };
	start_with(&played.source);
}

static void wait_for(const unsigned *what, unsigned count)
{
	for (int i = 0; i < 400 && *what < count; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
	ck_assert_uint_ge(*what, count);
}

static void turn_some(void)
{
	for (int i = 0; i < 20; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 0), 0);
}

static void hold(const char *identity)
{
	ck_assert_int_eq(certmanager_hold(manager, identity, CERT_WARMUP), 0);
}

static struct {
	char state[256], chain[4096], serial[64];
	int64_t life_s;
	unsigned count;
} seen;

static void on_row(const struct certmanager_row *row, void *arg)
{
	if (strcmp(row->identity, arg) != 0)
		return;
	snprintf(seen.state, sizeof(seen.state), "%s", row->state);
	if (row->issued) {
		const struct issued_cert *leaf = &row->issued->certs[0];

		snprintf(seen.chain, sizeof(seen.chain), "%s", row->issued->chain_pem);
		snprintf(seen.serial, sizeof(seen.serial), "%s", leaf->serial);
		seen.life_s = leaf->not_after_s - leaf->not_before_s;
	}
	seen.count++;
}

static void look_at(const char *identity)
{
	char copy[64];

	memset(&seen, 0, sizeof(seen));
	snprintf(copy, sizeof(copy), "%s", identity);
	certmanager_each(manager, on_row, copy);
}

/* ---- the built-in CA ---- */

START_TEST(issued)
{
	start_fake(0, "", "");
	hold(ONE);
	hold(ONE);
	ck_assert_uint_eq(got.issued, 0); /* not inside the call */
	look_at(ONE);
	ck_assert_uint_eq(seen.count, 1);
	ck_assert_str_eq(seen.state, "Initializing");
	ck_assert_str_eq(seen.chain, "");

	wait_for(&got.issued, 1);
	turn_some();
	ck_assert_uint_eq(got.issued, 1);
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Available");
	ck_assert_int_eq(seen.life_s, DAY + 60);
	ck_assert_int_eq(strncmp(seen.chain, "-----BEGIN CERTIFICATE-----", 27), 0);

	hold(ONE); /* a worker that comes later hears of it, too */
	wait_for(&got.issued, 2);
	ck_assert_uint_eq(certmanager_counts(manager).issued, 1);
}
END_TEST

START_TEST(many)
{
	char identity[64];

	start_fake(0, "", "");
	for (int i = 0; i < 20; i++) {
		snprintf(identity, sizeof(identity), "spiffe://td/ns/a/sa/%d", i);
		hold(identity);
	}
	ck_assert_int_ge(hb_loop_turn(loop, 10), 0);
	ck_assert_uint_le(got.issued, 8); /* the loop has other work */
	wait_for(&got.issued, 20);
	ck_assert_str_eq(got.identities[19], "spiffe://td/ns/a/sa/19"); /* first come */
}
END_TEST

START_TEST(not_an_identity)
{
	start_fake(0, "", "");
	ck_assert_int_eq(certmanager_hold(manager, "spiffe://td/ns/a", CERT_WARMUP), -EINVAL);
	ck_assert_int_eq(certmanager_demand(manager, ""), -EINVAL);
	certmanager_release(manager, "never held");
	turn_some();
	ck_assert_uint_eq(got.issued + got.refused, 0);
}
END_TEST

START_TEST(renewed)
{
	char serial[64];

	start_fake(2, "", "");
	hold(ONE);
	wait_for(&got.issued, 1);
	look_at(ONE);
	snprintf(serial, sizeof(serial), "%s", seen.serial);
	wait_for(&got.issued, 2);
	ck_assert_str_eq(got.identities[1], ONE);
	look_at(ONE);
	ck_assert_str_ne(seen.serial, serial);
	ck_assert_str_eq(seen.state, "Available");
}
END_TEST

static void write_file(const char *name, const char *text, char *path, size_t size)
{
	FILE *file;

	snprintf(path, size, "%s/%s", dir, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

/* The root ends a second or two from now: then there is nothing to hand out, and it is said. */
START_TEST(ended)
{
	struct testca *ca = testca_new_short("root", 2);
	char cert[128], key[128];

	write_file("ca.crt", testca_pem(ca), cert, sizeof(cert));
	write_file("ca.key", testca_key_pem(ca), key, sizeof(key));
	testca_free(ca);
	start_fake(0, cert, key);
	hold(ONE);
	wait_for(&got.issued, 1);
	wait_for(&got.refused, 1);
	ck_assert_str_eq(got.why, "the built-in CA's certificate has expired");
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Unavailable: the built-in CA's certificate has expired");
	ck_assert_str_eq(seen.chain, "");
	turn_some(); /* no storm of attempts */
	ck_assert_uint_le(got.refused, 2);
}
END_TEST

START_TEST(wrong_file)
{
	struct fakesource_options options = { .ca_cert = "/none.crt",
		                              .ca_key = "/none.key",
		                              .state_dir = dir };
	struct cert_source *source;

	ck_assert_int_eq(fakesource_new(loop, &options, &source, why, sizeof(why)), -ENOENT);
	ck_assert_str_eq(why, "/none.crt: No such file or directory");
}
END_TEST

/* ---- a source that is played ---- */

static void answer(unsigned i, const char *identity, int not_before_s, int not_after_s)
{
	struct testca *ca = testca_new("root");
	char san[80];
	struct testca_leaf want = { .san = san,
		                    .not_before_s = not_before_s,
		                    .not_after_s = not_after_s };
	struct testca_pem pem;
	struct issued *one;

	snprintf(san, sizeof(san), "URI:%s", identity);
	pem = testca_leaf(ca, &want);

	const char *elements[] = { pem.chain, testca_pem(ca) };
	struct issued_material material = {
		.elements = elements, .count = 2, .key_pem = pem.key, .identity = identity
	};

	ck_assert_msg(issued_read(&material, &one, why, sizeof(why)) == 0, "%s", why);
	testca_pem_done(&pem);
	testca_free(ca);
	played.asked[i]->on_issued(played.asked[i], one);
}

START_TEST(who_waits_hears_of_failures)
{
	start_played();
	hold(ONE);
	turn_some();
	ck_assert_uint_eq(played.count, 1);
	played.asked[0]->on_failed(played.asked[0], "the CA said no");
	ck_assert_uint_eq(got.refused, 1);
	ck_assert_str_eq(got.why, "the CA said no");
	ck_assert_int_eq(certmanager_demand(manager, ONE), 0);
	ck_assert_uint_eq(got.refused, 1); /* not inside the call */
	turn_some();
	ck_assert_uint_eq(got.refused, 2); /* the same again: it is fresh */
	ck_assert_uint_eq(played.count, 1);
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Unavailable: the CA said no");
	ck_assert_uint_eq(certmanager_counts(manager).failed, 1);

	wait_for(&played.count, 2); /* by itself, in a second */
	answer(1, ONE, 0, 0);
	ck_assert_uint_eq(got.issued, 1);
	ck_assert_int_eq(certmanager_demand(manager, ONE), 0);
	turn_some();
	ck_assert_uint_eq(got.issued, 2);
	ck_assert_uint_eq(played.count, 2);
}
END_TEST

START_TEST(a_failed_renewal_is_not_told)
{
	start_played();
	hold(ONE);
	turn_some();
	answer(0, ONE, 0, 0);
	ck_assert_uint_eq(got.issued, 1);
	played.source.on_change(played.source.owner); /* so it is asked for again */
	wait_for(&played.count, 2);
	played.asked[1]->on_failed(played.asked[1], "away");
	turn_some();
	ck_assert_uint_eq(got.refused, 0);
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Available");
}
END_TEST

START_TEST(old_until_it_ends)
{
	start_played();
	hold(ONE);
	turn_some();
	answer(0, ONE, -100, 2);
	wait_for(&played.count, 2);
	played.asked[1]->on_failed(played.asked[1], "away");
	ck_assert_uint_eq(got.refused, 0);
	wait_for(&got.refused, 1);
	ck_assert_str_eq(got.why, "away");
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Unavailable: away");
	ck_assert_str_eq(seen.chain, "");
}
END_TEST

START_TEST(bad_dates_are_taken)
{
	start_played();
	hold(ONE);
	turn_some();
	answer(0, ONE, -100, -50);
	ck_assert_uint_eq(got.issued, 1);
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Available");
	wait_for(&played.count, 2);
}
END_TEST

/* But not in place of one that is good: that is used on, and another asked for. */
START_TEST(bad_dates_do_not_replace_good_ones)
{
	static const struct {
		int not_before_s, not_after_s;
	} odd[] = { { -100, -50 }, { 3600, 7200 } };

	start_played();
	hold(ONE);
	turn_some();
	answer(0, ONE, 0, 0);
	for (unsigned i = 0; i < HB_ARRAY_LEN(odd); i++) {
		played.source.on_change(played.source.owner);
		wait_for(&played.count, i + 2);
		answer(i + 1, ONE, odd[i].not_before_s, odd[i].not_after_s);
		turn_some();
		ck_assert_uint_eq(got.issued, 1);
		ck_assert_uint_eq(got.refused, 0);
		ck_assert_uint_eq(certmanager_counts(manager).failed, i + 1);
		look_at(ONE);
		ck_assert_str_eq(seen.state, "Available");
	}
}
END_TEST

START_TEST(cannot_even_be_asked)
{
	start_played();
	played.refuse_now = "no memory";
	hold(ONE);
	turn_some();
	ck_assert_uint_eq(got.refused, 1);
	ck_assert_str_eq(got.why, "no memory");
}
END_TEST

START_TEST(priorities)
{
	char identity[64];

	start_played();
	for (int i = 0; i < 10; i++) {
		snprintf(identity, sizeof(identity), "spiffe://td/ns/a/sa/%d", i);
		hold(identity);
	}
	ck_assert_int_eq(certmanager_demand(manager, ONE), 0); /* nobody holds it yet */
	turn_some();
	ck_assert_uint_eq(played.count, 8);
	ck_assert_str_eq(played.asked[0]->identity, ONE);
	answer(3, played.asked[3]->identity, 0, 0);
	turn_some();
	ck_assert_uint_eq(played.count, 9);
}
END_TEST

START_TEST(gone_while_it_is_asked_for)
{
	start_played();
	hold(ONE);
	turn_some();
	ck_assert_uint_eq(played.count, 1);
	certmanager_free(hb_take(&manager));
	ck_assert_uint_eq(played.cancelled, 1);
}
END_TEST

START_TEST(let_go_by_who_hears_of_it)
{
	start_played();
	hold(ONE);
	turn_some();
	got.release = ONE;
	answer(0, ONE, 0, 0);
	got.release = NULL;
	turn_some();
	hold(ONE); /* it is still there */
	turn_some();
	ck_assert_uint_eq(got.issued, 2);
	ck_assert_uint_eq(got.forgotten, 0);
	ck_assert_uint_eq(played.count, 1);
}
END_TEST

START_TEST(forgotten)
{
	linger_ms = 50;
	start_played();
	hold(ONE);
	hold(TWO);
	turn_some();
	answer(0, ONE, 0, 0);
	certmanager_release(manager, ONE);
	certmanager_release(manager, ONE); /* once too often */
	certmanager_release(manager, TWO);
	wait_for(&got.forgotten, 2);
	ck_assert_uint_eq(played.cancelled, 1); /* what was on its way for TWO */
	ck_assert_uint_eq(certmanager_counts(manager).forgotten, 2);
	look_at(ONE);
	ck_assert_uint_eq(seen.count, 0);
	hold(ONE); /* as if it had never been */
	turn_some();
	ck_assert_uint_eq(played.count, 3);
}
END_TEST

START_TEST(the_source_has_changed)
{
	start_played();
	hold(ONE);
	hold(TWO);
	turn_some();
	answer(0, ONE, 0, 0);
	played.asked[1]->on_failed(played.asked[1], "not mine");
	played.source.on_change(played.source.owner);
	turn_some();
	ck_assert_uint_eq(played.count, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("certmanager");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, issued);
	tcase_add_test(tc, many);
	tcase_add_test(tc, not_an_identity);
	tcase_add_test(tc, renewed);
	tcase_add_test(tc, ended);
	tcase_add_test(tc, wrong_file);
	tcase_add_test(tc, who_waits_hears_of_failures);
	tcase_add_test(tc, a_failed_renewal_is_not_told);
	tcase_add_test(tc, old_until_it_ends);
	tcase_add_test(tc, bad_dates_are_taken);
	tcase_add_test(tc, bad_dates_do_not_replace_good_ones);
	tcase_add_test(tc, cannot_even_be_asked);
	tcase_add_test(tc, priorities);
	tcase_add_test(tc, gone_while_it_is_asked_for);
	tcase_add_test(tc, let_go_by_who_hears_of_it);
	tcase_add_test(tc, forgotten);
	tcase_add_test(tc, the_source_has_changed);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
