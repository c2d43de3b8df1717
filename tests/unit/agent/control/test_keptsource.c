/*
 * keptsource: what was issued is handed out once after a start, while it is valid, and then the
 * other source is asked.
 */
#include "control/keptsource.h"

#include <stdlib.h>

#include "control/fakesource.h"
#include "control/issued.h"
#include "support/testca.h"
#include "unit/agent/control/laststate_fixture.h"

#define ONE "spiffe://td/ns/a/sa/one"
#define TWO "spiffe://td/ns/a/sa/two"

static struct hb_loop *loop;
static struct laststate *state;
static struct cert_source *source;
static char ca_dir[64];
static unsigned issues, failures, changes;
static char serial[64], why[256];

static void on_issued(struct cert_request *request, struct issued *issued)
{
	issues++;
	snprintf(serial, sizeof(serial), "%s", issued->certs[0].serial);
	issued_free(issued);
}

static void on_failed(struct cert_request *request, const char *text)
{
	failures++;
}

static void on_change(void *owner)
{
	changes++;
}

/* A CA that is away. */
static int away_start(struct cert_source *of, struct cert_request *request, char *out, size_t size)
{
	snprintf(out, size, "away");
	return -EIO;
}

static void away_cancel(struct cert_source *of, struct cert_request *request)
{
}

static void away_free(struct cert_source *of)
{
}

static const struct cert_source_ops away_ops = { away_start, away_cancel, away_free };
static struct cert_source away;

static void keep(struct cert_source *other, uint32_t unasked_ms)
{
	state = open_it();
	source = keptsource_new(loop, &(struct keptsource_options){ .source = other,
	                                                            .known = state,
	                                                            .unasked_ms = unasked_ms,
	                                                            .on_change = on_change });
	ck_assert_ptr_nonnull(source);
}

static void keep_away(uint32_t unasked_ms)
{
	away = (struct cert_source){ .ops = &away_ops };
	keep(&away, unasked_ms);
}

static void keep_fake(void)
{
	struct fakesource_options options = {
		.ca_cert = "", .ca_key = "", .state_dir = ca_dir, .ttl_s = 3600
	};
	struct cert_source *fake;

	ck_assert_msg(fakesource_new(loop, &options, &fake, why, sizeof(why)) == 0, "%s", why);
	keep(fake, 0);
}

static void stop(void)
{
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	source->ops->free(source);
	laststate_close(state);
}

static struct cert_request request_for(const char *identity)
{
	return (struct cert_request){ .identity = identity,
		                      .on_issued = on_issued,
		                      .on_failed = on_failed };
}

static void turn(void)
{
	ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
}

static int ask(const char *identity)
{
	struct cert_request request = request_for(identity);
	unsigned before = issues + failures;
	int err = source->ops->start(source, &request, why, sizeof(why));

	ck_assert_uint_eq(issues + failures, before); /* never inside */
	for (int i = 0; err == 0 && i < 100 && issues + failures == before; i++)
		turn();
	ck_assert_uint_eq(issues + failures, before + (err == 0));
	return err;
}

static size_t records(void)
{
	return laststate_report(state).records;
}

static void begin(void)
{
	setup();
	snprintf(ca_dir, sizeof(ca_dir), "/tmp/test_keptsource.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(ca_dir));
	loop = hb_loop_new(NULL);
	issues = failures = changes = 0;
}

static void finish(void)
{
	char command[128];

	hb_loop_free(loop);
	snprintf(command, sizeof(command), "rm -r %s", ca_dir);
	ck_assert_int_eq(system(command), 0);
	teardown();
}

static void leave_one(void)
{
	keep_fake();
	ck_assert_int_eq(ask(ONE), 0);
	ck_assert_uint_eq(issues, 1);
	ck_assert_uint_eq(changes, 1);
	ck_assert_uint_eq(records(), 1);
	stop();
}

START_TEST(used_once)
{
	char first[64];

	leave_one();
	snprintf(first, sizeof(first), "%s", serial);
	serial[0] = 0;
	keep_away(0);
	ck_assert_uint_eq(keptsource_counts(source).found, 1);
	ck_assert_int_eq(ask(TWO), -EIO);
	ck_assert_int_eq(ask(ONE), 0);
	ck_assert_str_eq(serial, first);
	ck_assert_uint_eq(keptsource_counts(source).used, 1);
	/* Its renewal is the CA's to give; the one that is there stays on the disk. */
	ck_assert_int_eq(ask(ONE), -EIO);
	ck_assert_str_eq(why, "away");
	ck_assert_uint_eq(records(), 1);
	stop();
}
END_TEST

START_TEST(renewed_one_replaces_it)
{
	leave_one();
	keep_fake();
	ck_assert_int_eq(ask(ONE), 0);
	ck_assert_int_eq(ask(ONE), 0);
	ck_assert_uint_eq(issues, 3);
	ck_assert_uint_eq(records(), 1);
	stop();
}
END_TEST

START_TEST(cancelled_and_asked_again)
{
	struct cert_request request = request_for(ONE);

	leave_one();
	keep_fake();
	ck_assert_int_eq(source->ops->start(source, &request, why, sizeof(why)), 0);
	source->ops->cancel(source, &request);
	request = request_for(TWO); /* goes on to the other */
	ck_assert_int_eq(source->ops->start(source, &request, why, sizeof(why)), 0);
	source->ops->cancel(source, &request);
	for (int i = 0; i < 5; i++)
		turn();
	ck_assert_uint_eq(issues, 1);
	ck_assert_int_eq(ask(ONE), 0);
	ck_assert_uint_eq(keptsource_counts(source).used, 1);
	stop();
}
END_TEST

START_TEST(forgotten)
{
	leave_one();
	keep_away(0);
	keptsource_forget(source, ONE);
	keptsource_forget(source, TWO);
	ck_assert_uint_eq(changes, 2);
	ck_assert_uint_eq(records(), 0);
	ck_assert_int_eq(ask(ONE), -EIO);
	stop();
}
END_TEST

START_TEST(nobody_asked)
{
	leave_one();
	keep_away(1);
	for (int i = 0; i < 100 && records() > 0; i++)
		turn();
	ck_assert_uint_eq(records(), 0);
	ck_assert_int_eq(ask(ONE), -EIO);
	stop();
}
END_TEST

static void put_leaf(struct testca *ca, const char *name, const struct testca_leaf *leaf)
{
	struct testca_pem pem = testca_leaf(ca, leaf);
	struct laststate_certificate certificate = { pem.chain, testca_pem(ca), pem.key };
	size_t size = laststate_certificate_bytes(&certificate);
	uint8_t *value = malloc(size);

	laststate_certificate_encode(&certificate, value);
	ck_assert_int_eq(put(state, "certificate", name, "1", value, size), 0);
	free(value);
	testca_pem_done(&pem);
}

START_TEST(of_no_use)
{
	struct testca *ca = testca_new("root");

	state = open_it();
	put_leaf(ca, ONE,
	         &(struct testca_leaf){
		     .san = "URI:" ONE, .not_before_s = -7200, .not_after_s = -3600 });
	put_leaf(ca, TWO, &(struct testca_leaf){ .san = "URI:" ONE }); /* another's */
	put_leaf(ca, "spiffe://td/ns/a/sa/early",
	         &(struct testca_leaf){ .san = "URI:spiffe://td/ns/a/sa/early",
	                                .not_before_s = 3600,
	                                .not_after_s = 7200 });
	ck_assert_int_eq(put(state, "certificate", "x", "1", "?", 1), 0);
	ck_assert_int_eq(put(state, "other", "x", "1", "?", 1), 0);
	put_leaf(ca, "spiffe://td/ns/a/sa/good",
	         &(struct testca_leaf){ .san = "URI:spiffe://td/ns/a/sa/good" });
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	keep_away(0);
	ck_assert_uint_eq(keptsource_counts(source).found, 1);
	ck_assert_uint_eq(records(), 1);
	ck_assert_int_eq(ask(ONE), -EIO);
	ck_assert_int_eq(ask(TWO), -EIO);
	ck_assert_int_eq(ask("spiffe://td/ns/a/sa/good"), 0);
	stop();
	testca_free(ca);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("keptsource");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, begin, finish);
	tcase_add_test(tcase, used_once);
	tcase_add_test(tcase, renewed_one_replaces_it);
	tcase_add_test(tcase, cancelled_and_asked_again);
	tcase_add_test(tcase, forgotten);
	tcase_add_test(tcase, nobody_asked);
	tcase_add_test(tcase, of_no_use);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
