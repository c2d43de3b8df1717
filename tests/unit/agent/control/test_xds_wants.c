/*
 * xds on demand: names that somebody waits for.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "unit/agent/control/xds_rig.h"

#define LONG_MS 60000u

struct waiter {
	struct xds_want want;
	unsigned told;
	int err;
};

static void on_done(struct xds_want *want, int err)
{
	struct waiter *waiter = hb_container_of(want, struct waiter, want);

	waiter->told++;
	waiter->err = err;
}

static void start(struct rig *rig, struct waiter *waiter, const char *name, uint32_t deadline_ms)
{
	waiter->told = 0;
	xds_want_start(rig->xds, &waiter->want, name, deadline_ms, on_done);
	ck_assert_uint_eq(waiter->told, 0);
}

static void turn_until_told(struct rig *rig, const struct waiter *waiter)
{
	for (int i = 0; i < 10000 && !waiter->told; i++)
		ck_assert_int_eq(hb_loop_turn(rig->loop, 1), 0);
	ck_assert_uint_eq(waiter->told, 1);
}

static void on_demand(struct rig *rig)
{
	rig_init(rig, &(struct xds_options){ .on_demand = true });
}

START_TEST(first_requests)
{
	struct rig rig;

	on_demand(&rig);
	ck_assert_str_eq(server.sent[0], "node Address +* -*");
	ck_assert_str_eq(server.sent[1], "node Authorization");
	rig_say(&rig, SAY_POLICY); /* the only one that counts */
	ck_assert(xds_is_ready(rig.xds));
	rig_done(&rig);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *want, *answer;
} answers[] = {
	{ "by name", "u", WORKLOAD("u", "1") SAY_ADDRESS },
	{ "by an alias", "/10.0.0.1", "2:{1:'1' 2:{2:{1:{20:'u'}}} 3:'u' 4:'/10.0.0.1'} " SAY_ADDRESS },
	{ "there is none", "/10.0.0.1", "6:'/10.0.0.1' " SAY_ADDRESS },
	{ "refused", "u", "2:{1:'1' 2:{2:{1:{20:'u' 5:2}}} 3:'u'} " SAY_ADDRESS },
};
/* clang-format on */

START_TEST(answered)
{
	struct waiter waiter, second;
	struct rig rig;

	on_demand(&rig);
	start(&rig, &waiter, answers[_i].want, LONG_MS);
	start(&rig, &second, answers[_i].want, LONG_MS);
	ck_assert_uint_eq(server.sent_count, 3); /* asked once */
	ck_assert_int_eq(strncmp(server.sent[2], "Address +", 9), 0);
	ck_assert_str_eq(server.sent[2] + 9, answers[_i].want);
	rig_say(&rig, WORKLOAD("other", "1") SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 0);
	rig_say(&rig, answers[_i].answer);
	ck_assert_msg(waiter.told == 1 && second.told == 1, "%s", answers[_i].name);
	ck_assert_int_eq(waiter.err, 0);
	rig_done(&rig);
}
END_TEST

START_TEST(known_and_not_on_demand)
{
	struct waiter waiter;
	struct rig rig;

	on_demand(&rig);
	rig_say(&rig, WORKLOAD("u", "1") SAY_ADDRESS);
	start(&rig, &waiter, "u", LONG_MS);
	turn_until_told(&rig, &waiter);
	ck_assert_int_eq(waiter.err, 0);
	ck_assert_uint_eq(server.sent_count, 3); /* and nobody was asked */
	rig_done(&rig);

	rig_init(&rig, NULL);
	start(&rig, &waiter, "whatever", LONG_MS);
	turn_until_told(&rig, &waiter);
	ck_assert_int_eq(waiter.err, 0);
	rig_done(&rig);
}
END_TEST

START_TEST(deadline_and_cancel)
{
	struct waiter waiter, cancelled;
	struct rig rig;

	on_demand(&rig);
	start(&rig, &waiter, "a", 5);
	start(&rig, &cancelled, "b", 5);
	xds_want_cancel(&cancelled.want);
	turn_until_told(&rig, &waiter);
	ck_assert_int_eq(waiter.err, -ETIMEDOUT);
	rig_say(&rig, "6:'a' 6:'b' " SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert_uint_eq(cancelled.told, 0);
	rig_done(&rig);
}
END_TEST

START_TEST(asked_again_on_the_next_stream)
{
	struct waiter waiter, second;
	struct rig rig;

	on_demand(&rig);
	rig_say(&rig, WORKLOAD("known", "1") SAY_ADDRESS);
	start(&rig, &waiter, "u", LONG_MS);
	start(&rig, &second, "u", LONG_MS);
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert_uint_eq(server.sent_count, 3);
	ck_assert_ptr_nonnull(strstr(server.sent[0], "v[known=1]"));
	ck_assert_str_eq(server.sent[2], "Address +u");
	rig_say(&rig, "6:'u' " SAY_ADDRESS);
	ck_assert(waiter.told && second.told);
	rig_done(&rig);
}
END_TEST

/* What was answered in a response that was lost is asked for again. */
START_TEST(answer_is_lost)
{
	struct waiter waiter;
	struct rig rig;

	on_demand(&rig);
	start(&rig, &waiter, "u", LONG_MS);
	rig.publish_err = -ENOMEM;
	rig_say(&rig, WORKLOAD("u", "1") SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 0);
	rig.publish_err = 0;
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert_str_eq(server.sent[2], "Address +u");
	rig_say(&rig, WORKLOAD("u", "1") SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert(rig_has(&rig, "u"));
	rig_done(&rig);
}
END_TEST

START_TEST(as_many_as_may_wait)
{
	static struct waiter waiters[XDS_WANTS_MAX];
	struct waiter beyond;
	struct rig rig;

	on_demand(&rig);
	for (size_t i = 0; i < XDS_WANTS_MAX; i++)
		start(&rig, &waiters[i], "u", LONG_MS);
	start(&rig, &beyond, "v", LONG_MS);
	turn_until_told(&rig, &beyond);
	ck_assert_int_eq(beyond.err, -ENOBUFS);
	ck_assert_uint_eq(waiters[0].told, 0);
	rig_say(&rig, "6:'u' " SAY_ADDRESS);
	for (size_t i = 0; i < XDS_WANTS_MAX; i++)
		ck_assert_uint_eq(waiters[i].told, 1);
	start(&rig, &beyond, "w", LONG_MS);
	ck_assert_str_eq(server.sent[server.sent_count - 1], "Address +w");
	rig_done(&rig);
}
END_TEST

/* What was answered just now is true, whatever it was. */
START_TEST(not_asked_twice)
{
	struct waiter waiter;
	struct rig rig;

	rig_init(&rig, &(struct xds_options){ .on_demand = true, .fresh_ms = 600000 });
	start(&rig, &waiter, "/10.0.0.1", LONG_MS);
	rig_say(&rig, "6:'/10.0.0.1' " SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 1);
	ck_assert_uint_eq(server.sent_count, 4); /* an ACK too */
	start(&rig, &waiter, "/10.0.0.1", LONG_MS);
	turn_until_told(&rig, &waiter);
	ck_assert_int_eq(waiter.err, 0);
	ck_assert_uint_eq(server.sent_count, 4);
	rig_done(&rig);
}
END_TEST

static void expect_anew(struct rig *rig, const char *name)
{
	uint64_t later = hb_loop_now_ms(rig->loop) + 2;
	unsigned before = server.sent_count;
	struct waiter waiter;

	while (hb_loop_now_ms(rig->loop) < later)
		ck_assert_int_eq(hb_loop_turn(rig->loop, 1), 0);
	start(rig, &waiter, name, LONG_MS);
	ck_assert_uint_eq(server.sent_count, before + 2);
	ck_assert_int_eq(strncmp(server.sent[before], "Address -", 9), 0);
	ck_assert_str_eq(server.sent[before] + 9, name);
	ck_assert_int_eq(strncmp(server.sent[before + 1], "Address +", 9), 0);
	ck_assert_str_eq(server.sent[before + 1] + 9, name);
	xds_want_cancel(&waiter.want);
}

/* istiod says nothing to who asks for what is subscribed to, so that ends first. */
START_TEST(asked_anew)
{
	struct waiter waiter;
	struct rig rig;

	rig_init(&rig, &(struct xds_options){ .on_demand = true, .fresh_ms = 1 });
	start(&rig, &waiter, "/10.0.0.1", LONG_MS);
	rig_say(&rig, "6:'/10.0.0.1' " SAY_ADDRESS);
	ck_assert_uint_eq(waiter.told, 1);
	expect_anew(&rig, "/10.0.0.1");
	/* So is what came unasked, and has gone. */
	rig_say(&rig, WORKLOAD("u", "1") SAY_ADDRESS);
	rig_say(&rig, "6:'u' " SAY_ADDRESS);
	expect_anew(&rig, "u");
	rig_done(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_wants");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, first_requests);
	tcase_add_loop_test(tcase, answered, 0, HB_ARRAY_LEN(answers));
	tcase_add_test(tcase, known_and_not_on_demand);
	tcase_add_test(tcase, deadline_and_cancel);
	tcase_add_test(tcase, asked_again_on_the_next_stream);
	tcase_add_test(tcase, answer_is_lost);
	tcase_add_test(tcase, as_many_as_may_wait);
	tcase_add_test(tcase, not_asked_twice);
	tcase_add_test(tcase, asked_anew);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
