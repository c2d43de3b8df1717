/*
 * certplan: the rules of reference/controlplane 5.4, and what we do better, one row or test each,
 * by a clock and a chance that the test has.
 */
#include <check.h>
#include <string.h>

#include "control/certplan.h"

#define DAY 86400
#define T0  1800000000LL /* Unix seconds where mono_ms is 0 */

static struct certplan plan;
static struct certplan_entry entries[12];
static struct certplan_time now;
static uint32_t chance;

static uint32_t random_now(void)
{
	return chance;
}

static void setup(void)
{
	memset(entries, 0, sizeof(entries));
	chance = 1u << 31; /* the middle */
	now = (struct certplan_time){ .mono_ms = 1000, .unix_ms = T0 * 1000 };
	certplan_init(&plan, random_now);
}

static void pass(uint64_t ms)
{
	now.mono_ms += ms;
	now.unix_ms += (int64_t)ms;
}

static struct certplan_entry *hold(int i, enum cert_priority priority)
{
	certplan_add(&plan, &entries[i], priority, now);
	certplan_hold(&entries[i], priority);
	return &entries[i];
}

static void issue(struct certplan_entry *entry, int64_t life_s)
{
	int64_t now_s = now.unix_ms / 1000;

	ck_assert_ptr_eq(certplan_pick(&plan, now), entry);
	certplan_issued(&plan, entry, now_s, now_s + life_s, now);
}

static void refuse(struct certplan_entry *entry)
{
	ck_assert_ptr_eq(certplan_pick(&plan, now), entry);
	certplan_failed(&plan, entry, now);
}

/* ---- when to renew ---- */

/* clang-format off */
static const struct {
	const char *name;
	int64_t not_before_s, not_after_s, now_s;
	uint32_t random;
	int64_t want_s; /* from T0; or -1: odd dates */
} renewals[] = {
	{ "half of a day", T0, T0 + DAY, T0, 1u << 31, DAY / 2 },
	{ "a twentieth earlier", T0, T0 + DAY, T0, 0, DAY * 45 / 100 },
	{ "a twentieth later", T0, T0 + DAY, T0, UINT32_MAX, DAY * 55 / 100 },
	{ "half of it is over", T0 - DAY, T0 + DAY, T0 + 1, 1u << 31, 0 },
	{ "as istiod dates them", T0 - 120, T0 + DAY, T0, 1u << 31, (DAY - 120) / 2 },
	{ "not valid yet", T0 + 1, T0 + DAY, T0, 1u << 31, -1 },
	{ "ends before it begins", T0, T0 - 1, T0, 1u << 31, -1 },
	{ "ends as it begins", T0, T0, T0, 1u << 31, -1 },
};
/* clang-format on */

START_TEST(renewal)
{
	int64_t got = certplan_renew_ms(renewals[_i].not_before_s, renewals[_i].not_after_s,
	                                renewals[_i].now_s * 1000, renewals[_i].random);
	int64_t want = renewals[_i].want_s < 0 ? 0 : (T0 + renewals[_i].want_s) * 1000;

	ck_assert_msg(got == want, "%s: %lld", renewals[_i].name, (long long)(got - T0 * 1000));
}
END_TEST

/* ---- order ---- */

START_TEST(eight_at_once)
{
	for (int i = 0; i < 10; i++)
		hold(i, CERT_WARMUP);
	for (unsigned i = 0; i < CERTPLAN_RUNNING_MAX; i++)
		ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[i]); /* as they came */
	ck_assert_ptr_null(certplan_pick(&plan, now));
	/* Only an answer makes room. */
	ck_assert(certplan_wait_ms(&plan, now) == UINT64_MAX);
	certplan_failed(&plan, &entries[3], now);
	ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[8]);
	certplan_remove(&plan, &entries[5]); /* forgotten while it was asked for */
	ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[9]);
}
END_TEST

START_TEST(who_waits_goes_first)
{
	struct certplan_entry *renewed = hold(0, CERT_WARMUP);

	issue(renewed, 10);
	pass(6000); /* its renewal is due since a second */
	hold(1, CERT_WARMUP);
	hold(2, CERT_WARMUP);
	hold(3, CERT_REALTIME);
	certplan_demand(&plan, &entries[2], now); /* bumped */
	ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[2]);
	ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[3]);
	ck_assert_ptr_eq(certplan_pick(&plan, now), &entries[1]);
	ck_assert_ptr_eq(certplan_pick(&plan, now), renewed);
}
END_TEST

START_TEST(a_second_wish_raises_what_was_never_issued)
{
	struct certplan_entry *one = hold(0, CERT_BACKGROUND);

	certplan_hold(one, CERT_WARMUP);
	ck_assert_int_eq(one->priority, CERT_WARMUP);
	certplan_hold(one, CERT_BACKGROUND); /* and never lowers it */
	ck_assert_int_eq(one->priority, CERT_WARMUP);
	refuse(one);
	certplan_hold(one, CERT_WARMUP); /* a retry is a retry */
	ck_assert_int_eq(one->priority, CERT_BACKGROUND);
}
END_TEST

START_TEST(the_one_that_is_due_longest)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP), *other = hold(1, CERT_WARMUP);

	issue(one, 40);
	issue(other, 20);
	pass(30000); /* due for 10 s and for 20 s */
	ck_assert_ptr_eq(certplan_pick(&plan, now), other);
	ck_assert_ptr_eq(certplan_pick(&plan, now), one);
}
END_TEST

/* ---- life ---- */

START_TEST(states)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	ck_assert_int_eq(certplan_state(one, now), CERT_INITIALIZING);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 0);
	refuse(one);
	ck_assert_int_eq(certplan_state(one, now), CERT_UNAVAILABLE);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 1000);
	pass(1000);
	issue(one, 100);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 50000);
	ck_assert_ptr_null(certplan_pick(&plan, now));
	pass(50000);
	issue(one, 100);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 50000);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	uint32_t random;
	uint64_t want_ms[10];
} backoffs[] = {
	{ "the middle", 1u << 31, { 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 150000, 150000 } },
	{ "a fifth shorter", 0, { 800, 1600, 3200, 6400, 12800, 25600, 51200, 102400, 120000, 120000 } },
	{ "a fifth longer", UINT32_MAX, { 1200, 2400, 4800, 9600, 19200, 38400, 76800, 153600, 180000, 180000 } },
};
/* clang-format on */

START_TEST(backoff)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	chance = backoffs[_i].random;
	for (int i = 0; i < 10; i++) {
		uint64_t got;

		refuse(one);
		got = certplan_wait_ms(&plan, now);
		ck_assert_msg(got == backoffs[_i].want_ms[i], "%s: %d: %llu", backoffs[_i].name, i,
		              (unsigned long long)got);
		ck_assert_ptr_null(certplan_pick(&plan, now));
		pass(got);
	}
	chance = 1u << 31;
	issue(one, 100);
	pass(50000);
	refuse(one);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 1000); /* from the start again */
}
END_TEST

START_TEST(the_old_one_serves_until_it_ends)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	issue(one, 10);
	pass(5000);
	refuse(one);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_HAVE);
	pass(1000);
	refuse(one);
	pass(2000);
	refuse(one); /* the next would be in 4 s, but it ends in 2 */
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 2000);
	ck_assert_ptr_null(certplan_next_ended(&plan, now));
	pass(2000);
	ck_assert_int_eq(certplan_state(one, now), CERT_UNAVAILABLE);
	ck_assert_ptr_eq(certplan_next_ended(&plan, now), one);
	ck_assert_ptr_null(certplan_next_ended(&plan, now)); /* once */
	ck_assert_int_eq(certplan_state(one, now), CERT_UNAVAILABLE);
	refuse(one);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 8000);
	pass(8000);
	issue(one, 10);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	int64_t not_before_s, not_after_s; /* from T0 */
	uint64_t want_ms;
} short_ones[] = {
	{ "dated back", -120, 40, 20000 },
	{ "dated back, and shorter", -120, 4, 2000 },
	{ "a file's, that is old", -80 * DAY, 10 * DAY, 5ull * DAY * 1000 },
	{ "next to nothing is left", -120, 1, 500 },
	{ "nothing is left", -120, 0, 1000 },
};
/* clang-format on */

START_TEST(half_life_was_over)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);
	uint64_t got;

	for (int i = 0; i < 3; i++) { /* and no longer each time, unless it has ended */
		ck_assert_ptr_eq(certplan_pick(&plan, now), one);
		certplan_issued(&plan, one, T0 + short_ones[_i].not_before_s,
		                T0 + short_ones[_i].not_after_s, now);
		got = certplan_wait_ms(&plan, now);
		ck_assert_msg(got == short_ones[_i].want_ms << (_i == 4 ? i : 0), "%s: %llu",
		              short_ones[_i].name, (unsigned long long)got);
		now.mono_ms += got; /* the next one has the same dates, by the same clock */
		one->renew_ms = now.unix_ms;
	}
}
END_TEST

/* Nobody has failed: it may be our clock that is wrong. */
START_TEST(odd_dates_are_taken)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);
	uint64_t want_ms = 1000;

	for (int i = 0; i < 10; i++) {
		ck_assert_ptr_eq(certplan_pick(&plan, now), one);
		certplan_issued(&plan, one, T0 - 10, T0 - 5, now);
		ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
		ck_assert_ptr_null(certplan_next_ended(&plan, now));
		ck_assert_uint_eq(certplan_wait_ms(&plan, now), want_ms); /* and no storm */
		pass(want_ms);
		want_ms =
		    want_ms * 2 < CERTPLAN_BACKOFF_LAST_MS ? want_ms * 2 : CERTPLAN_BACKOFF_LAST_MS;
	}
	ck_assert_ptr_eq(certplan_pick(&plan, now), one);
	certplan_issued(&plan, one, T0 + DAY, T0 + 2 * DAY, now);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), CERTPLAN_BACKOFF_LAST_MS);
	pass(CERTPLAN_BACKOFF_LAST_MS);
	refuse(one); /* its end is ahead */
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
}
END_TEST

START_TEST(the_clock_is_set)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	issue(one, 100);
	now.unix_ms += 60000; /* forward, over its renewal */
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 0);
	refuse(one);
	now.unix_ms -= 3600000; /* back: waits are not by that clock */
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 1000);
}
END_TEST

/* ---- connections that wait ---- */

START_TEST(demand_after_a_failure)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP), *other = hold(1, CERT_WARMUP);

	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT); /* INITIALIZING */
	refuse(one);
	ck_assert_ptr_eq(certplan_pick(&plan, now), other);
	ck_assert_int_eq(certplan_demand(&plan, other, now), CERTPLAN_WAIT); /* running */
	certplan_issued(&plan, other, T0, T0 + DAY, now);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_REFUSE);
	pass(500);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_REFUSE);
	pass(500);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT);
	refuse(one);
	pass(1000); /* its own next attempt is in a second */
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT); /* queued already */
	refuse(one);
	/* Whoever comes does not shorten the waits that grow. */
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), 4000);
}
END_TEST

START_TEST(demand_while_the_ca_is_away_for_long)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	for (int i = 0; i < 10; i++) {
		refuse(one);
		pass(certplan_wait_ms(&plan, now));
	}
	refuse(one);
	pass(14999);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_REFUSE);
	pass(1);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT);
	ck_assert_ptr_eq(certplan_pick(&plan, now), one);
}
END_TEST

/* ---- forgotten ---- */

START_TEST(forgotten_after_a_minute)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	certplan_hold(one, CERT_WARMUP);
	issue(one, 100);
	certplan_release(&plan, one, now);
	certplan_release(&plan, one, now);
	ck_assert_uint_eq(certplan_wait_ms(&plan, now), CERTPLAN_LINGER_MS);
	pass(CERTPLAN_LINGER_MS - 1);
	ck_assert_ptr_null(certplan_pick(&plan, now)); /* it is not renewed */
	ck_assert_ptr_null(certplan_next_forgotten(&plan, now));
	pass(1);
	ck_assert_ptr_eq(certplan_next_forgotten(&plan, now), one);
	certplan_remove(&plan, one);
	ck_assert_ptr_null(certplan_next_forgotten(&plan, now));
	ck_assert(certplan_wait_ms(&plan, now) == UINT64_MAX);
}
END_TEST

START_TEST(a_pod_comes_back_within_the_minute)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP);

	issue(one, 1000);
	certplan_release(&plan, one, now);
	pass(CERTPLAN_LINGER_MS - 1);
	certplan_hold(one, CERT_WARMUP);
	pass(CERTPLAN_LINGER_MS);
	ck_assert_ptr_null(certplan_next_forgotten(&plan, now));
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
}
END_TEST

START_TEST(nobody_holds_it_but_a_connection_waits)
{
	struct certplan_entry *one = &entries[0];

	certplan_add(&plan, one, CERT_WARMUP, now);
	ck_assert_ptr_null(certplan_pick(&plan, now));
	pass(CERTPLAN_LINGER_MS - 1);
	ck_assert_int_eq(certplan_demand(&plan, one, now), CERTPLAN_WAIT);
	ck_assert_ptr_eq(certplan_pick(&plan, now), one);
	pass(CERTPLAN_LINGER_MS - 1);
	ck_assert_ptr_null(certplan_next_forgotten(&plan, now));
	pass(1);
	ck_assert_ptr_eq(certplan_next_forgotten(&plan, now), one);
}
END_TEST

START_TEST(the_source_has_changed)
{
	struct certplan_entry *one = hold(0, CERT_WARMUP), *other = hold(1, CERT_WARMUP);

	issue(one, 1000);
	refuse(other);
	certplan_renew_all(&plan, now);
	ck_assert_ptr_eq(certplan_pick(&plan, now), one);
	ck_assert_ptr_eq(certplan_pick(&plan, now), other);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
	certplan_failed(&plan, one, now);
	ck_assert_int_eq(certplan_state(one, now), CERT_AVAILABLE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("certplan");
	TCase *tc = tcase_create("rules");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, renewal, 0, HB_ARRAY_LEN(renewals));
	tcase_add_test(tc, eight_at_once);
	tcase_add_test(tc, who_waits_goes_first);
	tcase_add_test(tc, a_second_wish_raises_what_was_never_issued);
	tcase_add_test(tc, the_one_that_is_due_longest);
	tcase_add_test(tc, states);
	tcase_add_loop_test(tc, backoff, 0, HB_ARRAY_LEN(backoffs));
	tcase_add_test(tc, the_old_one_serves_until_it_ends);
	tcase_add_loop_test(tc, half_life_was_over, 0, HB_ARRAY_LEN(short_ones));
	tcase_add_test(tc, odd_dates_are_taken);
	tcase_add_test(tc, the_clock_is_set);
	tcase_add_test(tc, demand_after_a_failure);
	tcase_add_test(tc, demand_while_the_ca_is_away_for_long);
	tcase_add_test(tc, forgotten_after_a_minute);
	tcase_add_test(tc, a_pod_comes_back_within_the_minute);
	tcase_add_test(tc, nobody_holds_it_but_a_connection_waits);
	tcase_add_test(tc, the_source_has_changed);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
