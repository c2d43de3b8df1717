/*
 * certs: wanted identities get credentials, again at half-life, and what goes wrong is told.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "control/certs.h"
#include "support/testca.h"

#define ONE "spiffe://td/ns/a/sa/one"
#define TWO "spiffe://td/ns/a/sa/two"

/* ---- when to renew ---- */

#define DAY 86400
#define T0  1800000000LL

/* clang-format off */
static const struct {
	const char *name;
	int64_t not_before_s, not_after_s, now_ms;
	uint32_t random;
	uint64_t want_ms;
} rows[] = {
	{ "half of a day", T0, T0 + DAY, T0 * 1000, 1u << 31, DAY * 500ULL },
	{ "a twentieth earlier", T0, T0 + DAY, T0 * 1000, 0, DAY * 450ULL },
	{ "a twentieth later", T0, T0 + DAY, T0 * 1000, UINT32_MAX, DAY * 550ULL },
	{ "half of it is over", T0, T0 + DAY, (T0 + DAY / 2) * 1000, 0, 0 },
	{ "some of it is over", T0 - 60, T0 + 100 * DAY + 60, T0 * 1000 + 1, 1u << 31, 50 * DAY * 1000ULL - 1 },
	{ "not valid yet", T0 + 1, T0 + DAY, T0 * 1000, 1u << 31, 0 },
	{ "ends before it begins", T0, T0 - 1, T0 * 1000, 1u << 31, 0 },
	{ "ends as it begins", T0, T0, T0 * 1000, 1u << 31, 0 },
};
/* clang-format on */

START_TEST(renewal)
{
	uint64_t got = certs_renew_after_ms(rows[_i].not_before_s, rows[_i].not_after_s,
	                                    rows[_i].now_ms, rows[_i].random);

	ck_assert_msg(got == rows[_i].want_ms, "%s: %llu", rows[_i].name, (unsigned long long)got);
}
END_TEST

/* ---- credentials ---- */

static struct hb_loop *loop;
static struct certs *certs;
static char dir[64], why[256];

static struct {
	unsigned count;
	struct hb_tls_ctx *last;
	char identities[4][64];
	const char *forget; /* inside the callback */
} got;

static void on_credential(void *owner, const char *identity, struct hb_tls_ctx *ctx)
{
	ck_assert_ptr_eq(owner, &got);
	ck_assert_str_eq(hb_tls_ctx_identity(ctx), identity);
	hb_tls_ctx_unref(got.last);
	got.last = ctx;
	snprintf(got.identities[got.count % 4], sizeof(got.identities[0]), "%s", identity);
	got.count++;
	if (got.forget)
		certs_forget(certs, got.forget);
}

static void setup(void)
{
	memset(&got, 0, sizeof(got));
	snprintf(dir, sizeof(dir), "/tmp/test_certs.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	loop = hb_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	char command[128];

	certs_free(certs);
	certs = NULL;
	hb_tls_ctx_unref(got.last);
	hb_loop_free(loop);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void start(uint32_t ttl_s)
{
	struct certs_options options = {
		.ca_cert = "",
		.ca_key = "",
		.state_dir = dir,
		.ttl_s = ttl_s,
		.on_credential = on_credential,
		.owner = &got,
	};

	ck_assert_msg(certs_new(loop, &options, &certs, why, sizeof(why)) == 0, "%s", why);
}

static bool wait_for(unsigned count)
{
	for (int i = 0; i < 200 && got.count < count; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
	return got.count >= count;
}

static void turn_some(void)
{
	for (int i = 0; i < 20; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 0), 0);
}

static struct {
	char state[256], chain[4096], roots[4096], serial[64];
	int64_t life_s;
	unsigned count;
} seen;

static void on_row(const struct certs_row *row, void *arg)
{
	ck_assert_str_eq(row->identity, arg);
	snprintf(seen.state, sizeof(seen.state), "%s", row->state);
	snprintf(seen.chain, sizeof(seen.chain), "%s", row->chain_pem);
	snprintf(seen.roots, sizeof(seen.roots), "%s", row->roots_pem);
	snprintf(seen.serial, sizeof(seen.serial), "%s", row->serial);
	seen.life_s = row->not_after_s - row->not_before_s;
	seen.count++;
}

static void look_at(const char *identity)
{
	char copy[64];

	memset(&seen, 0, sizeof(seen));
	snprintf(copy, sizeof(copy), "%s", identity);
	certs_each(certs, on_row, copy);
}

START_TEST(issued)
{
	start(0);
	ck_assert_int_eq(certs_want(certs, ONE), 0);
	ck_assert_int_eq(certs_want(certs, ONE), 0); /* twice is once */
	ck_assert_uint_eq(got.count, 0);             /* not inside the call */
	look_at(ONE);
	ck_assert_uint_eq(seen.count, 1);
	ck_assert_str_eq(seen.state, "Initializing");
	ck_assert_str_eq(seen.chain, "");

	ck_assert(wait_for(1));
	turn_some();
	ck_assert_uint_eq(got.count, 1);
	look_at(ONE);
	ck_assert_str_eq(seen.state, "Available");
	ck_assert_int_eq(seen.life_s, DAY + 60);
	ck_assert_int_eq(strncmp(seen.chain, "-----BEGIN CERTIFICATE-----", 27), 0);
	ck_assert_int_eq(strncmp(seen.roots, "-----BEGIN CERTIFICATE-----", 27), 0);
	ck_assert_uint_eq(strspn(seen.serial, "0123456789"), strlen(seen.serial));
}
END_TEST

START_TEST(many)
{
	char identity[64];

	start(0);
	for (int i = 0; i < 20; i++) {
		snprintf(identity, sizeof(identity), "spiffe://td/ns/a/sa/%d", i);
		ck_assert_int_eq(certs_want(certs, identity), 0);
	}
	ck_assert_int_ge(hb_loop_turn(loop, 10), 0);
	ck_assert_uint_le(got.count, 8); /* the loop has other work */
	ck_assert(wait_for(20));
	ck_assert_str_eq(got.identities[19 % 4], "spiffe://td/ns/a/sa/19"); /* first come */
}
END_TEST

START_TEST(not_an_identity)
{
	start(0);
	ck_assert_int_eq(certs_want(certs, "spiffe://td/ns/a"), -EINVAL);
	ck_assert_int_eq(certs_want(certs, ""), -EINVAL);
	certs_forget(certs, "never wanted");
	turn_some();
	ck_assert_uint_eq(got.count, 0);
}
END_TEST

START_TEST(forgotten)
{
	start(0);
	ck_assert_int_eq(certs_want(certs, ONE), 0);
	ck_assert_int_eq(certs_want(certs, TWO), 0);
	certs_forget(certs, ONE);
	got.forget = TWO; /* by the callback that tells of it */
	ck_assert(wait_for(1));
	turn_some();
	ck_assert_uint_eq(got.count, 1);
	ck_assert_str_eq(got.identities[0], TWO);
	look_at("");
	ck_assert_uint_eq(seen.count, 0);
}
END_TEST

START_TEST(renewed)
{
	char serial[64];

	start(2);
	ck_assert_int_eq(certs_want(certs, ONE), 0);
	ck_assert(wait_for(1));
	look_at(ONE);
	snprintf(serial, sizeof(serial), "%s", seen.serial);
	ck_assert(wait_for(2));
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
START_TEST(unavailable)
{
	struct testca *ca = testca_new_short("root", 2);
	char cert[128], key[128];
	struct certs_options options = {
		.ca_cert = cert,
		.ca_key = key,
		.state_dir = dir,
		.on_credential = on_credential,
		.owner = &got,
	};

	write_file("ca.crt", testca_pem(ca), cert, sizeof(cert));
	write_file("ca.key", testca_key_pem(ca), key, sizeof(key));
	testca_free(ca);
	ck_assert_msg(certs_new(loop, &options, &certs, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(certs_want(certs, ONE), 0);
	ck_assert(wait_for(1));
	for (int i = 0; i < 100; i++) {
		look_at(ONE);
		if (strcmp(seen.state, "Available") != 0)
			break;
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
	}
	ck_assert_int_ge(hb_loop_turn(loop, 300), 0);
	for (int i = 0; i < 100 && !strstr(seen.state, "CA"); i++) {
		ck_assert_int_ge(hb_loop_turn(loop, 50), 0);
		look_at(ONE);
	}
	ck_assert_str_eq(seen.state, "Unavailable: the built-in CA's certificate has expired");
	unsigned before = got.count;

	turn_some(); /* no storm of attempts */
	ck_assert_uint_eq(got.count, before);
}
END_TEST

START_TEST(wrong_file)
{
	struct certs_options options = {
		.ca_cert = "/none.crt",
		.ca_key = "/none.key",
		.state_dir = dir,
		.on_credential = on_credential,
		.owner = &got,
	};

	ck_assert_int_eq(certs_new(loop, &options, &certs, why, sizeof(why)), -ENOENT);
	ck_assert_str_eq(why, "/none.crt: No such file or directory");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("certs");
	TCase *pure = tcase_create("rows"), *tc = tcase_create("credentials");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(pure, renewal, 0, HB_ARRAY_LEN(rows));
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, issued);
	tcase_add_test(tc, many);
	tcase_add_test(tc, not_an_identity);
	tcase_add_test(tc, forgotten);
	tcase_add_test(tc, renewed);
	tcase_add_test(tc, unavailable);
	tcase_add_test(tc, wrong_file);
	suite_add_tcase(suite, pure);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
