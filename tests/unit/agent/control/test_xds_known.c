/*
 * xds_known: what a client has taken, the next one begins with; and when it is served.
 */
#include <check.h>
#include <string.h>

#include "unit/agent/control/laststate_fixture.h"
#include "unit/agent/control/xds_rig.h"

static void begin(struct rig *rig, struct laststate *known)
{
	struct xds_options options = { .known = known };

	rig_init(rig, &options);
}

/* A mesh of one workload and one policy, on the disk. */
static void leave_a_mesh(void)
{
	struct laststate *state = open_it();
	struct rig rig;

	begin(&rig, state);
	ck_assert_str_eq(server.sent[0], "node Address");
	rig_say(&rig, WORKLOAD("a", "7") WORKLOAD("b", "8") SAY_ADDRESS);
	rig_say(&rig, "2:{2:{2:{1:'p' 2:'n'}} 3:'n/p'} " SAY_POLICY);
	rig_say(&rig, "6:'b' " SAY_ADDRESS);
	ck_assert(!xds_view(rig.xds)->from_known);
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	rig_done(&rig);
	laststate_close(state);
}

static bool is_ready(const struct rig *rig)
{
	return xds_is_ready(rig->xds);
}

START_TEST(begins_with_what_was_known)
{
	struct laststate *state;
	struct rig rig;

	leave_a_mesh();
	state = open_it();
	begin(&rig, state);
	ck_assert_str_eq(server.sent[0], "node Address v[a=7]");
	ck_assert_str_eq(server.sent[1], "node Authorization v[n/p]");
	ck_assert_uint_eq(rig.publishes, 1);
	ck_assert(rig_has(&rig, "a") && !rig_has(&rig, "b"));
	ck_assert_uint_eq(xds_view(rig.xds)->restored, 2);
	/* The server may answer yet. */
	ck_assert(!xds_is_ready(rig.xds));
	rig_until(&rig, is_ready);
	ck_assert(xds_view(rig.xds)->from_known);
	ck_assert_uint_eq(rig.readies, 1);
	/* It does, and what went meanwhile goes. */
	rig_say(&rig, "6:'a' " SAY_ADDRESS);
	ck_assert(!rig_has(&rig, "a"));
	ck_assert(xds_view(rig.xds)->from_known);
	rig_say(&rig, SAY_POLICY);
	ck_assert(!xds_view(rig.xds)->from_known);
	ck_assert_uint_eq(rig.readies, 1);
	ck_assert_uint_eq(laststate_report(state).records, 1);
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

START_TEST(served_at_once_where_the_server_is_away)
{
	struct laststate *state;
	struct rig rig;

	leave_a_mesh();
	state = open_it();
	begin(&rig, state);
	rig_end(&rig, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "refused");
	ck_assert(xds_is_ready(rig.xds) && xds_view(rig.xds)->from_known);
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

START_TEST(answered_in_time)
{
	struct laststate *state;
	struct rig rig;

	leave_a_mesh();
	state = open_it();
	begin(&rig, state);
	rig_say(&rig, WORKLOAD("c", "9") SAY_ADDRESS);
	rig_say(&rig, SAY_POLICY);
	ck_assert(xds_is_ready(rig.xds) && !xds_view(rig.xds)->from_known);
	ck_assert(rig_has(&rig, "a") && rig_has(&rig, "c"));
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert(!xds_view(rig.xds)->from_known);
	ck_assert_uint_eq(rig.readies, 1);
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

START_TEST(without_a_file_nothing_is_served)
{
	struct laststate *state = open_it();
	struct rig rig;

	begin(&rig, state);
	rig_end(&rig, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "refused");
	ck_assert(!xds_is_ready(rig.xds));
	rig_say(&rig, WORKLOAD("a", "7") SAY_ADDRESS);
	ck_assert(!xds_is_ready(rig.xds));
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

/* Written by an agent that could read more, or less. */
START_TEST(what_cannot_be_read_is_asked_for_again)
{
	struct laststate *state = open_it();
	struct rig rig;

	ck_assert_int_eq(put(state, A, "bad", "3", "\x0a\x05", 2), 0);
	ck_assert_int_eq(put(state, "x.Other", "o", "3", "?", 1), 0);
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	state = open_it();
	begin(&rig, state);
	ck_assert_str_eq(server.sent[0], "node Address v[bad]");
	ck_assert_uint_eq(xds_view(rig.xds)->restored, 0);
	rig_say(&rig, "6:'bad' " SAY_ADDRESS);
	ck_assert_uint_eq(laststate_report(state).records, 1);
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

/* More than one slice; and freed in between. */
START_TEST(many)
{
	struct laststate *state = open_it();
	struct xds_options options = { 0 };
	struct rig rig;
	char name[16];

	for (int i = 0; i < 1000; i++) {
		uint8_t value[8] = { 0x0a,
			             6,
			             0xa2,
			             1,
			             3,
			             (uint8_t)('a' + i / 100),
			             (uint8_t)('a' + i / 10 % 10),
			             (uint8_t)('a' + i % 10) };

		snprintf(name, sizeof(name), "%.3s", (const char *)value + 5);
		ck_assert_int_eq(put(state, A, name, "1", value, sizeof(value)), 0);
	}
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	state = open_it();
	begin(&rig, state);
	ck_assert_uint_eq(xds_view(rig.xds)->restored, 1000);
	ck_assert(rig_has(&rig, "aaa") && rig_has(&rig, "jjj"));
	options = rig.options;
	xds_free(rig.xds);
	server.call = NULL;
	rig.xds = xds_new(rig.loop, &options);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert(xds_is_busy(rig.xds));
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

START_TEST(no_memory_to_publish)
{
	struct laststate *state;
	struct xds_options options;
	struct rig rig;

	leave_a_mesh();
	state = open_it();
	begin(&rig, state);
	options = rig.options;
	xds_free(rig.xds);
	server.call = NULL;
	rig.publish_err = -ENOMEM;
	rig.xds = xds_new(rig.loop, &options);
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert_str_eq(server.sent[0], "node Address");
	rig_end(&rig, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "refused");
	ck_assert(!xds_is_ready(rig.xds));
	rig_done(&rig);
	laststate_close(state);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_known");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, begins_with_what_was_known);
	tcase_add_test(tcase, served_at_once_where_the_server_is_away);
	tcase_add_test(tcase, answered_in_time);
	tcase_add_test(tcase, without_a_file_nothing_is_served);
	tcase_add_test(tcase, what_cannot_be_read_is_asked_for_again);
	tcase_add_test(tcase, many);
	tcase_add_test(tcase, no_memory_to_publish);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
