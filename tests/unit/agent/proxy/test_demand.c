/*
 * demand: asked once for all who wait, remembered for a while, and bounded.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hbone/loop.h>

#include "metrics.h"
#include "proxy/demand.h"

static struct hb_loop *loop;
static struct metrics *metrics;
static struct demand demand;
static unsigned asked;
static char last[DEMAND_NAME_MAX];
static bool no_memory;

struct waiter {
	struct demand_wait wait;
	unsigned told;
	int err;
	struct waiter *leaves; /* with this one */
};

static bool on_ask(void *owner, const char *name)
{
	ck_assert_ptr_eq(owner, &asked);
	asked++;
	snprintf(last, sizeof(last), "%s", name);
	return !no_memory;
}

static void on_done(struct demand_wait *wait, int err)
{
	struct waiter *waiter = hb_container_of(wait, struct waiter, wait);

	waiter->told++;
	waiter->err = err;
	if (waiter->leaves)
		demand_cancel(&waiter->leaves->wait);
}

static void up(void)
{
	loop = hb_loop_new(NULL);
	metrics = metrics_new();
	ck_assert(loop && metrics);
	asked = 0;
	no_memory = false;
	demand_init(&demand, loop, metrics, on_ask, &asked);
}

static void down(void)
{
	ck_assert_uint_eq(demand.waits, 0);
	demand_done(&demand);
	ck_assert_uint_eq(demand.names, 0);
	metrics_free(metrics);
	hb_loop_free(loop);
}

static void start(struct waiter *waiter, const char *name, uint32_t deadline_ms)
{
	*waiter = (struct waiter){ .told = 0 };
	demand_wait(&demand, &waiter->wait, name, deadline_ms, on_done);
	ck_assert_uint_eq(waiter->told, 0);
}

static void until_told(const struct waiter *waiter, int err)
{
	for (int i = 0; i < 10000 && !waiter->told; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 1), 0);
	ck_assert_uint_eq(waiter->told, 1);
	ck_assert_int_eq(waiter->err, err);
}

static uint64_t counted(const char *result)
{
	return *metrics_at(metrics, METRIC_ON_DEMAND, &result);
}

START_TEST(asked_once_for_all)
{
	struct waiter waiters[3], other;

	for (int i = 0; i < 3; i++)
		start(&waiters[i], "/10.0.0.1", DEMAND_WAIT_MS);
	start(&other, "ns/host", DEMAND_WAIT_MS);
	ck_assert_uint_eq(asked, 2);
	ck_assert_str_eq(last, "ns/host");
	demand_cancel(&waiters[1].wait);
	demand_answer(&demand, "/10.0.0.1", 0);
	ck_assert(waiters[0].told == 1 && waiters[2].told == 1);
	ck_assert_int_eq(waiters[0].err, 0);
	ck_assert(waiters[1].told == 0 && other.told == 0);
	ck_assert(!demand_is_nothing(&demand, "/10.0.0.1"));
	demand_answer(&demand, "/10.0.0.1", 0); /* twice: nobody waits */
	demand_answer(&demand, "nobody asked", 0);
	demand_answer(&demand, "ns/host", -ETIMEDOUT);
	ck_assert_uint_eq(other.told, 1);
	ck_assert_int_eq(other.err, -ETIMEDOUT);
	ck_assert_uint_eq(counted("answered"), 2);
	ck_assert_uint_eq(counted("timeout"), 1);
}
END_TEST

/* What was there and has gone may be somebody else's by now: only that nobody has it is kept. */
START_TEST(nothing_is_remembered)
{
	struct waiter waiter;

	start(&waiter, "a", DEMAND_WAIT_MS);
	demand_set_nothing(&demand, "a"); /* an answer is still to come */
	ck_assert(!demand_is_nothing(&demand, "a"));
	demand_answer(&demand, "a", 0);
	ck_assert(!demand_is_nothing(&demand, "a"));
	demand_set_nothing(&demand, "a");
	demand_set_nothing(&demand, "a");
	ck_assert(demand_is_nothing(&demand, "a"));
	ck_assert_uint_eq(demand.names, 1);
	start(&waiter, "a", DEMAND_WAIT_MS); /* it is asked for all the same */
	ck_assert_uint_eq(asked, 2);
	ck_assert(!demand_is_nothing(&demand, "a"));
	demand_answer(&demand, "a", 0);
	ck_assert_uint_eq(demand.names, 0);
}
END_TEST

/* What nobody could tell is no answer: the next one asks again. */
START_TEST(a_failure_is_not_remembered)
{
	struct waiter waiter;

	start(&waiter, "a", DEMAND_WAIT_MS);
	demand_answer(&demand, "a", -ECANCELED);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert(!demand_is_nothing(&demand, "a"));
	ck_assert_uint_eq(demand.names, 0);
	start(&waiter, "a", DEMAND_WAIT_MS);
	ck_assert_uint_eq(asked, 2);
	demand_cancel(&waiter.wait);
	ck_assert_uint_eq(counted("failed"), 1);
}
END_TEST

START_TEST(deadline)
{
	struct waiter waiter, late;

	start(&waiter, "a", 5);
	until_told(&waiter, -ETIMEDOUT);
	start(&late, "a", DEMAND_WAIT_MS); /* that answer is still to come */
	ck_assert_uint_eq(asked, 1);
	demand_answer(&demand, "a", 0);
	ck_assert_uint_eq(late.told, 1);
	ck_assert_uint_eq(waiter.told, 1);
}
END_TEST

/* One who is told takes another away, who waits for the same. */
START_TEST(leaves_while_told)
{
	struct waiter first, second;

	start(&first, "a", DEMAND_WAIT_MS);
	start(&second, "a", DEMAND_WAIT_MS);
	first.leaves = &second;
	demand_answer(&demand, "a", 0);
	ck_assert_uint_eq(first.told, 1);
	ck_assert_uint_eq(second.told, 0);
}
END_TEST

START_TEST(as_many_names_as_there_may_be)
{
	static struct waiter waiters[DEMAND_NAMES_MAX - 1];
	struct waiter beyond;
	char name[32];

	demand_set_nothing(&demand, "known");
	for (unsigned i = 0; i < DEMAND_NAMES_MAX - 1; i++) {
		snprintf(name, sizeof(name), "/10.0.%u.%u", i >> 8, i & 255);
		start(&waiters[i], name, DEMAND_WAIT_MS);
	}
	ck_assert_uint_eq(demand.names, DEMAND_NAMES_MAX);
	ck_assert(demand_is_nothing(&demand, "known"));
	start(&beyond, "takes the place of what is known", DEMAND_WAIT_MS);
	ck_assert(!demand_is_nothing(&demand, "known"));
	demand_set_nothing(&demand, "finds no place, either");
	ck_assert(!demand_is_nothing(&demand, "finds no place, either"));
	demand_cancel(&waiters[0].wait);
	start(&waiters[0], "finds no place", DEMAND_WAIT_MS);
	until_told(&waiters[0], -ENOBUFS);
	ck_assert_uint_eq(counted("limit"), 1);
	start(&waiters[0], "/10.0.0.1", DEMAND_WAIT_MS); /* that is asked for */
	for (unsigned i = 0; i < DEMAND_NAMES_MAX - 1; i++)
		demand_cancel(&waiters[i].wait);
	demand_cancel(&beyond.wait);
}
END_TEST

START_TEST(as_many_waits_as_there_may_be)
{
	static struct waiter waiters[DEMAND_WAITS_MAX];
	struct waiter beyond;

	for (size_t i = 0; i < DEMAND_WAITS_MAX; i++)
		start(&waiters[i], "a", DEMAND_WAIT_MS);
	ck_assert_uint_eq(asked, 1);
	start(&beyond, "a", DEMAND_WAIT_MS);
	until_told(&beyond, -ENOBUFS);
	demand_answer(&demand, "a", 0);
	for (size_t i = 0; i < DEMAND_WAITS_MAX; i++)
		ck_assert_uint_eq(waiters[i].told, 1);
	start(&beyond, "b", DEMAND_WAIT_MS);
	demand_answer(&demand, "b", 0);
	ck_assert_int_eq(beyond.err, 0);
}
END_TEST

START_TEST(cannot_be_asked)
{
	struct waiter waiter;

	no_memory = true;
	start(&waiter, "a", DEMAND_WAIT_MS);
	until_told(&waiter, -ENOMEM);
	ck_assert_uint_eq(demand.names, 0);
	demand_init(&demand, loop, metrics, NULL, NULL);
	ck_assert(!demand_is_on(&demand));
}
END_TEST

START_TEST(in_words)
{
	char words[DEMAND_WORDS];

	ck_assert_str_eq(demand_words("/10.0.0.1", -ENOBUFS, words),
	                 "the control plane does not say what /10.0.0.1 is: too many connections "
	                 "wait for such answers");
	ck_assert_ptr_nonnull(strstr(demand_words("ns/host", -ETIMEDOUT, words), "ns/host is: "));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("demand");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, up, down);
	tcase_add_test(tcase, asked_once_for_all);
	tcase_add_test(tcase, nothing_is_remembered);
	tcase_add_test(tcase, a_failure_is_not_remembered);
	tcase_add_test(tcase, deadline);
	tcase_add_test(tcase, leaves_while_told);
	tcase_add_test(tcase, as_many_names_as_there_may_be);
	tcase_add_test(tcase, as_many_waits_as_there_may_be);
	tcase_add_test(tcase, cannot_be_asked);
	tcase_add_test(tcase, in_words);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
