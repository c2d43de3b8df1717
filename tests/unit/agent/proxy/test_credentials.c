/*
 * credentials: asked for once, told to all who wait, replaced, and never waited for too long.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "metrics.h"
#include "proxy/credentials.h"
#include "support/testca.h"

#define IDENTITY "spiffe://td/ns/a/sa/b"

static struct hb_loop *loop;
static struct credentials credentials;
static struct metrics *metrics;
static unsigned wishes[3]; /* by enum credential_wish */
static bool no_memory;

struct waiter {
	struct credential_wait wait;
	unsigned told;
	struct hb_tls_ctx *ctx;
	char why[64]; /* "-": none */
};

static bool on_wish(void *owner, const char *identity, enum credential_wish wish)
{
	ck_assert_str_eq(identity, IDENTITY);
	wishes[wish]++;
	return !no_memory;
}

static void on_done(struct credential_wait *wait, struct hb_tls_ctx *ctx, const char *why)
{
	struct waiter *waiter = hb_container_of(wait, struct waiter, wait);

	waiter->told++;
	waiter->ctx = ctx;
	snprintf(waiter->why, sizeof(waiter->why), "%s", why ? why : "-");
}

static void up(void)
{
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	memset(wishes, 0, sizeof(wishes));
	no_memory = false;
	metrics = metrics_new();
	ck_assert_ptr_nonnull(metrics);
	credentials_init(&credentials, loop, on_wish, NULL, metrics);
}

static void down(void)
{
	credentials_done(&credentials);
	metrics_free(metrics);
	hb_loop_free(loop);
}

static struct hb_tls_ctx *new_ctx(void)
{
	struct testca *ca = testca_new("root");
	struct testca_pem pem = testca_leaf(ca, &(struct testca_leaf){ .san = "URI:" IDENTITY });
	struct hb_tls_material material = { .chain = pem.chain,
		                            .key = pem.key,
		                            .roots = testca_pem(ca) };
	struct hb_tls_ctx *ctx;
	const char *why;

	ck_assert_int_eq(hb_tls_ctx_new(&material, &ctx, &why), 0);
	testca_pem_done(&pem);
	testca_free(ca);
	return ctx;
}

START_TEST(held_while_pods_need_it)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);

	ck_assert_ptr_eq(credentials_get(&credentials, IDENTITY), one);
	ck_assert_uint_eq(wishes[CREDENTIAL_HOLD], 1);
	ck_assert_ptr_null(one->ctx);
	credentials_put(&credentials, one);
	credentials_put(&credentials, NULL);
	ck_assert_uint_eq(wishes[CREDENTIAL_RELEASE], 0);
	credentials_put(&credentials, one);
	ck_assert_uint_eq(wishes[CREDENTIAL_RELEASE], 1);
	ck_assert_ptr_eq(credentials_get(&credentials, IDENTITY), one); /* a pod came back */
	ck_assert_uint_eq(wishes[CREDENTIAL_HOLD], 2);
}
END_TEST

START_TEST(forgotten)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);

	credentials_set(&credentials, IDENTITY, new_ctx());
	credentials_forget(&credentials, IDENTITY); /* a pod is there: it is held again */
	ck_assert_ptr_null(one->ctx);
	credentials_set(&credentials, IDENTITY, new_ctx());
	ck_assert_ptr_nonnull(one->ctx);
	credentials_put(&credentials, one);
	ck_assert_ptr_nonnull(one->ctx); /* for the next pod */
	credentials_forget(&credentials, IDENTITY);
	credentials_forget(&credentials, IDENTITY);
	ck_assert(hb_list_is_empty(&credentials.all));
}
END_TEST

START_TEST(all_who_wait_are_told_but_who_left)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);
	struct waiter waiters[3] = { 0 };
	struct hb_tls_ctx *ctx = new_ctx();

	for (int i = 0; i < 3; i++)
		credential_wait(&credentials, one, &waiters[i].wait, 60000, on_done);
	credential_cancel(&waiters[1].wait);
	credential_cancel(&waiters[1].wait);
	ck_assert_uint_eq(wishes[CREDENTIAL_DEMAND], 1); /* for all of them */
	credentials_set(&credentials, IDENTITY, ctx);
	ck_assert_uint_eq(waiters[0].told, 1);
	ck_assert_uint_eq(waiters[1].told, 0);
	ck_assert_uint_eq(waiters[2].told, 1);
	ck_assert_ptr_eq(waiters[0].ctx, ctx);
	ck_assert_ptr_eq(one->ctx, ctx);
}
END_TEST

START_TEST(a_new_generation_replaces_the_old)
{
	struct hb_tls_ctx *second = new_ctx();

	credentials_set(&credentials, IDENTITY, new_ctx()); /* before anybody asked */
	credentials_set(&credentials, IDENTITY, second);
	ck_assert_ptr_eq(credentials_get(&credentials, IDENTITY)->ctx, second);
	ck_assert_uint_eq(wishes[CREDENTIAL_DEMAND], 0);
}
END_TEST

START_TEST(deadline)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);
	struct waiter waiter = { .ctx = (struct hb_tls_ctx *)&waiter };

	credential_wait(&credentials, one, &waiter.wait, 5, on_done);
	for (int i = 0; i < 100 && !waiter.told; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert_ptr_null(waiter.ctx);
	ck_assert_str_eq(waiter.why, "-");
	credential_cancel(&waiter.wait); /* too late, and harmless */
}
END_TEST

/* Who waits hears it at once; who comes then, without asking again; who comes later asks. */
START_TEST(refused)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);
	struct waiter waiters[3] = { 0 };
	char words[CREDENTIAL_WORDS];

	credentials_set(&credentials, IDENTITY, new_ctx()); /* it has ended since */
	credential_wait(&credentials, one, &waiters[0].wait, 60000, on_done);
	credentials_refuse(&credentials, IDENTITY, "the CA said no");
	ck_assert_uint_eq(waiters[0].told, 1);
	ck_assert_ptr_null(waiters[0].ctx);
	ck_assert_str_eq(waiters[0].why, "the CA said no");
	ck_assert_ptr_null(one->ctx);

	credential_wait(&credentials, one, &waiters[1].wait, 60000, on_done);
	ck_assert_uint_eq(waiters[1].told, 0);
	for (int i = 0; i < 10 && !waiters[1].told; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	ck_assert_str_eq(waiters[1].why, "the CA said no");
	ck_assert_uint_eq(wishes[CREDENTIAL_DEMAND], 1);

	one->why_ms -= CREDENTIAL_FRESH_MS;
	credential_wait(&credentials, one, &waiters[2].wait, 60000, on_done);
	ck_assert_uint_eq(wishes[CREDENTIAL_DEMAND], 2);
	credentials_set(&credentials, IDENTITY, new_ctx());
	ck_assert_ptr_eq(waiters[2].ctx, one->ctx);
	ck_assert_str_eq(waiters[2].why, "-");
	ck_assert_str_eq(credential_words("no", words, sizeof(words)), "identity error: no");
	credentials_refuse(&credentials, "spiffe://td/ns/a/sa/unknown", "no"); /* harmless */
}
END_TEST

START_TEST(a_demand_that_was_not_told_is_told_again)
{
	struct credential *one = credentials_get(&credentials, IDENTITY);
	struct waiter waiters[2] = { 0 };

	no_memory = true;
	credential_wait(&credentials, one, &waiters[0].wait, 60000, on_done);
	no_memory = false;
	ck_assert_uint_eq(*metrics_at(metrics, METRIC_CERT_WISHES_LOST, NULL), 1);
	credential_wait(&credentials, one, &waiters[1].wait, 60000, on_done);
	ck_assert_uint_eq(*metrics_at(metrics, METRIC_CERT_WISHES_LOST, NULL), 1);
	ck_assert_uint_eq(wishes[CREDENTIAL_DEMAND], 2);
	credentials_set(&credentials, IDENTITY, new_ctx());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credentials");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, held_while_pods_need_it);
	tcase_add_test(tc, forgotten);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, a_demand_that_was_not_told_is_told_again);
	tcase_add_test(tc, all_who_wait_are_told_but_who_left);
	tcase_add_test(tc, a_new_generation_replaces_the_old);
	tcase_add_test(tc, deadline);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
