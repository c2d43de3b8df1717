/*
 * credentials: asked for once, told to all who wait, replaced, and never waited for too long.
 */
#include <check.h>
#include <string.h>

#include "proxy/credentials.h"
#include "support/testca.h"

#define IDENTITY "spiffe://td/ns/a/sa/b"

static struct hb_loop *loop;
static struct credentials credentials;
static unsigned wishes;

struct waiter {
	struct credential_wait wait;
	unsigned told;
	struct hb_tls_ctx *ctx;
};

static void on_want(void *owner, const char *identity)
{
	ck_assert_str_eq(identity, IDENTITY);
	wishes++;
}

static void on_done(struct credential_wait *wait, struct hb_tls_ctx *ctx)
{
	struct waiter *waiter = hb_container_of(wait, struct waiter, wait);

	waiter->told++;
	waiter->ctx = ctx;
}

static void up(void)
{
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	wishes = 0;
	credentials_init(&credentials, loop, on_want, NULL);
}

static void down(void)
{
	credentials_done(&credentials);
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

START_TEST(asked_for_once)
{
	struct credential *one = credentials_of(&credentials, IDENTITY);

	ck_assert_ptr_eq(credentials_of(&credentials, IDENTITY), one);
	ck_assert_uint_eq(wishes, 1);
	ck_assert_ptr_null(one->ctx);
}
END_TEST

START_TEST(all_who_wait_are_told_but_who_left)
{
	struct credential *one = credentials_of(&credentials, IDENTITY);
	struct waiter waiters[3] = { 0 };
	struct hb_tls_ctx *ctx = new_ctx();

	for (int i = 0; i < 3; i++)
		credential_wait(&credentials, one, &waiters[i].wait, 60000, on_done);
	credential_cancel(&waiters[1].wait);
	credential_cancel(&waiters[1].wait);
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
	ck_assert_ptr_eq(credentials_of(&credentials, IDENTITY)->ctx, second);
	ck_assert_uint_eq(wishes, 0);
}
END_TEST

START_TEST(deadline)
{
	struct credential *one = credentials_of(&credentials, IDENTITY);
	struct waiter waiter = { .ctx = (struct hb_tls_ctx *)&waiter };

	credential_wait(&credentials, one, &waiter.wait, 5, on_done);
	for (int i = 0; i < 100 && !waiter.told; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert_ptr_null(waiter.ctx);
	credential_cancel(&waiter.wait); /* too late, and harmless */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credentials");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, asked_for_once);
	tcase_add_test(tc, all_who_wait_are_told_but_who_left);
	tcase_add_test(tc, a_new_generation_replaces_the_old);
	tcase_add_test(tc, deadline);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
