/*
 * pool, its limits: each is hit, said in its own words and counted.
 */
#include <check.h>

#include "support/pool_rig.h"

/* clang-format off */
static const struct {
	const char *name;
	size_t offset; /* of the option */
	enum hb_pool_limit limit;
	int code;
	unsigned served; /* of 5 gets: two of pod 1, one each of pods 2 to 4; 1 stream per connection */
} limits[] = {
	{ "connections in all", offsetof(struct hb_pool_options, connections_max),
	  HB_POOL_CONNECTIONS, HB_E_POOL_CONNECTIONS, 3 },
	{ "connections of a key", offsetof(struct hb_pool_options, key_connections_max),
	  HB_POOL_KEY_CONNECTIONS, HB_E_KEY_CONNECTIONS, 4 },
	{ "those who wait, in all", offsetof(struct hb_pool_options, waiters_max),
	  HB_POOL_WAITERS, HB_E_POOL_WAITERS, 3 },
	{ "those who wait, of a key", offsetof(struct hb_pool_options, key_waiters_max),
	  HB_POOL_KEY_WAITERS, HB_E_KEY_WAITERS, 4 },
};
/* clang-format on */

START_TEST(a_limit_is_hit)
{
	bool of_key = limits[_i].served == 4;
	unsigned served = 0;

	pool_rig_up();
	rig.options.h2.streams_max = 1;
	*(uint32_t *)(void *)((char *)&rig.options + limits[_i].offset) = of_key ? 1 : 3;
	pool_rig_start();
	for (unsigned i = 0; i < 5; i++)
		rig_ask_as(i, SERVER_ID, i == 0 ? 1 : i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 5, 500));
	for (unsigned i = 0; i < 5; i++) {
		if (rig.gets[i].probe.stream) {
			served++;
			continue;
		}
		ck_assert_msg(rig.gets[i].why.code == limits[_i].code, "%s: %s", limits[_i].name,
		              hb_strerror(rig.gets[i].why.code));
		ck_assert_int_eq(rig.gets[i].why.layer, HB_LAYER_TUNNEL);
		ck_assert_int_eq(rig.gets[i].why.side, HB_SIDE_US);
	}
	ck_assert_msg(served == limits[_i].served, "%s: %u", limits[_i].name, served);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->limited[limits[_i].limit], 5 - served);
	/* There is room again for all when the first have gone. */
	for (unsigned i = 0; i < 5; i++)
		rig_end_get(i);
	turn_some(rig.loop, 20);
	rig_ask_as(5, SERVER_ID, 1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 6, 300));
	ck_assert_msg(rig.gets[5].probe.stream, "%s", hb_strerror(rig.gets[5].why.code));
	pool_rig_down();
}
END_TEST

/* Told from the loop, and not at all when it was cancelled first. */
START_TEST(a_refused_wait_can_be_cancelled)
{
	pool_rig_up();
	rig.options.waiters_max = 1;
	pool_rig_start();
	rig_ask(0);
	rig_ask_as(1, SERVER_ID, 2);
	rig_ask_as(2, SERVER_ID, 3);
	hb_pool_cancel(&rig.gets[1].wait);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_uint_eq(rig.gets[1].done, 0);
	ck_assert_int_eq(rig.gets[2].why.code, HB_E_POOL_WAITERS);
	pool_rig_down();
}
END_TEST

START_TEST(our_own_streams_max_is_kept)
{
	pool_rig_up();
	rig.options.h2.streams_max = 3;
	pool_rig_start();
	for (unsigned i = 0; i < 8; i++)
		rig_ask(i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 8, 500));
	for (unsigned i = 0; i < 8; i++)
		ck_assert_msg(rig.gets[i].probe.stream, "%u: %s", i,
		              hb_strerror(rig.gets[i].why.code));
	ck_assert_uint_eq(rig.accepted, 3);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->connections, 3);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->tunnels, 8);
	pool_rig_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_limits");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_limit_is_hit, 0, HB_ARRAY_LEN(limits));
	tcase_add_test(tc, a_refused_wait_can_be_cancelled);
	tcase_add_test(tc, our_own_streams_max_is_kept);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
