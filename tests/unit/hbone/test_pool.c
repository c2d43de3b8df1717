/*
 * pool: who shares a connection, who gets a new one, who is tried again, and what all are told when
 * it fails; against a server of our own on loopback, TLS and all.
 */
#include <check.h>

#include "support/pool_rig.h"

START_TEST(many_wait_for_one_dial)
{
	pool_rig_up();
	pool_rig_start();
	for (unsigned i = 0; i < 50; i++)
		rig_ask(i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 50, 300));
	for (unsigned i = 0; i < 50; i++) {
		ck_assert_msg(rig.gets[i].probe.stream, "%u: %s", i,
		              hb_strerror(rig.gets[i].why.code));
		ck_assert_str_eq(rig.gets[i].peer, SERVER_ID);
	}
	ck_assert_uint_eq(rig.accepted, 1);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 1);
	pool_rig_down();
}
END_TEST

START_TEST(keys_share_nothing)
{
	pool_rig_up();
	pool_rig_start();
	rig_ask_as(0, SERVER_ID, 1);
	rig_ask_as(1, SERVER_ID, 2); /* another pod */
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_uint_eq(rig.accepted, 2);
	pool_rig_down();
}
END_TEST

START_TEST(all_fail_with_the_same_reason)
{
	/* clang-format off */
	static const struct {
		const char *name, *expected;
		int code;
		bool closed_port;
		const char *shown;
	} rows[] = {
		{ "nobody listens", SERVER_ID, -ECONNREFUSED, true, "" },
		{ "the peer is somebody else", "spiffe://cluster.local/ns/demo/sa/other", HB_E_PEER_IDENTITY, false, SERVER_ID },
	};
	/* clang-format on */

	pool_rig_up();
	pool_rig_start();
	if (rows[_i].closed_port)
		rig.server_addr.port = 1;
	for (unsigned i = 0; i < 5; i++)
		rig_ask_as(i, rows[_i].expected, 1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 5, 300));
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_msg(rig.gets[i].why.code == rows[_i].code, "%s: %s", rows[_i].name,
		              hb_strerror(rig.gets[i].why.code));
		ck_assert_str_eq(rig.gets[i].peer, rows[_i].shown);
	}
	ck_assert_uint_le(rig.accepted, 1);
	/* The next one dials again: nothing is remembered against the peer. */
	rig_ask_as(5, rows[_i].expected, 1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 6, 300));
	ck_assert_int_eq(rig.gets[5].why.code, rows[_i].code);
	pool_rig_down();
}
END_TEST

/* clang-format off */
static const struct {
	uint32_t grant;
	unsigned asked, connections;
} grants[] = {
	{ 1, 5, 5 },
	{ 2, 40, 20 },
	{ 10, 25, 3 },
};
/* clang-format on */

START_TEST(a_small_grant_serves_all)
{
	unsigned asked = grants[_i].asked, again = grants[_i].grant;

	pool_rig_up();
	rig.grant = grants[_i].grant;
	pool_rig_start();
	for (unsigned i = 0; i < asked; i++)
		rig_ask(i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, asked, 2000));
	for (unsigned i = 0; i < asked; i++)
		ck_assert_msg(rig.gets[i].probe.stream, "%u: %s", i,
		              hb_strerror(rig.gets[i].why.code));
	ck_assert_uint_eq(hb_pool_connections(rig.pool), grants[_i].connections);
	/* A connection that was full is used again. */
	for (unsigned i = 0; i < again; i++)
		rig_end_get(i);
	for (unsigned i = 0; i < again; i++)
		rig_ask(asked + i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, asked + again, 500));
	ck_assert_uint_eq(hb_pool_connections(rig.pool), grants[_i].connections);
	pool_rig_down();
}
END_TEST

START_TEST(a_peer_without_settings)
{
	static const enum rig_manner manners[] = { LEAVES, NEVER_BEGINS };

	pool_rig_up();
	rig.manner = manners[_i];
	rig.options.h2.begin_ms = 1000; /* the next connection has to make it, too */
	pool_rig_start();
	for (unsigned i = 0; i < 5; i++)
		rig_ask(i);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 5, 300));
	for (unsigned i = 0; i < 5; i++)
		ck_assert_msg(rig.gets[i].why.code < 0, "%u got a tunnel", i);
	ck_assert_uint_eq(rig.accepted, 1);
	if (rig.mute)
		hb_stream_close(hb_take(&rig.mute), HB_END_CLEAN);
	/* The next one dials again. */
	rig.manner = ANSWERS;
	rig_ask(5);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 6, 300));
	ck_assert_ptr_nonnull(rig.gets[5].probe.stream);
	pool_rig_down();
}
END_TEST

START_TEST(refused_by_policy_is_final)
{
	pool_rig_up();
	rig.manner = REFUSES;
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	ck_assert_int_eq(rig.gets[0].why.code, HB_E_STATUS(401));
	ck_assert_uint_eq(rig.served_count, 1);
	/* The connection stays for others. */
	rig.manner = ANSWERS;
	rig_ask(1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_ptr_nonnull(rig.gets[1].probe.stream);
	ck_assert_uint_eq(rig.accepted, 1);
	pool_rig_down();
}
END_TEST

START_TEST(silence_has_a_deadline)
{
	pool_rig_up();
	rig.manner = IS_SILENT;
	rig.options.connect_ms = 50;
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	ck_assert_int_eq(rig.gets[0].why.code, HB_E_CONNECT_TIME);
	pool_rig_down();
}
END_TEST

START_TEST(idle_connections_are_released)
{
	pool_rig_up();
	rig.options.idle_ms = 50;
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	for (int i = 0; i < 20; i++)
		hb_loop_turn(rig.loop, 10);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 1); /* not while it is used */
	rig_end_get(0);
	for (int i = 0; i < 300 && hb_pool_connections(rig.pool); i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 0);
	pool_rig_down();
}
END_TEST

/* Two tunnels on two connections end: the first is kept for those who come, also when it is the one
 * that became idle last. */
START_TEST(spare_connections_are_released)
{
	pool_rig_up();
	rig.grant = 1;
	rig.options.idle_ms = 60000;
	rig.options.spare_ms = 20;
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	rig_ask(1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2);
	rig_end_get(_i ? 1 : 0);
	for (int i = 0; i < 10; i++)
		hb_loop_turn(rig.loop, 10);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2); /* neither is spare yet */
	rig_end_get(_i ? 0 : 1);
	for (int i = 0; i < 300 && hb_pool_connections(rig.pool) > 1; i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 1);
	for (int i = 0; i < 20; i++)
		hb_loop_turn(rig.loop, 10);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 1);
	rig_ask(2);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 3, 300));
	ck_assert_uint_eq(rig.accepted, 2); /* none was dialled anew */
	rig_end_get(2);
	pool_rig_down();
}
END_TEST

START_TEST(cancelled_waits_stay_silent)
{
	pool_rig_up();
	rig.manner = IS_SILENT;
	pool_rig_start();
	rig_ask(0);
	hb_pool_cancel(&rig.gets[0].wait); /* while it waits for a dial */
	rig_ask(1);
	ck_assert(turn_until(rig.loop, &rig.served_count, 1, 300));
	hb_pool_cancel(&rig.gets[1].wait); /* while its request is out */
	hb_pool_cancel(&rig.gets[1].wait); /* and twice */
	turn_some(rig.loop, 20);
	ck_assert_uint_eq(rig.gets_done, 0);
	ck_assert(turn_until(rig.loop, &rig.served[0].closes, 1, 300));
	pool_rig_down();
}
END_TEST

/* The connection dies while requests are out on it. */
START_TEST(lost_while_it_is_asked)
{
	struct hb_end lost = hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET);

	pool_rig_up();
	rig.manner = _i ? ANSWERS : IS_SILENT;
	pool_rig_start();
	if (_i) { /* it has worked before: it may have died while it was idle */
		rig_ask(0);
		ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
		rig.manner = IS_SILENT;
	}
	rig_ask(1);
	rig_ask(2);
	ck_assert(turn_until(rig.loop, &rig.served_count, _i ? 3 : 2, 300));
	rig.manner = ANSWERS;
	hb_h2_close(hb_container_of(rig.sessions.next, struct rig_session, node)->h2, lost);
	ck_assert(turn_until(rig.loop, &rig.gets_done, _i ? 3 : 2, 300));
	for (unsigned i = 1; i < 3; i++) {
		ck_assert_msg(!!rig.gets[i].probe.stream == !!_i, "%s",
		              hb_strerror(rig.gets[i].why.code));
		ck_assert_msg(_i || rig.gets[i].why.code < 0, "no reason is given");
	}
	ck_assert_uint_eq(hb_pool_connections(rig.pool), _i ? 1 : 0);
	pool_rig_down();
}
END_TEST

static unsigned done_when_empty;

static void on_empty_after_all(void *owner)
{
	done_when_empty = rig.gets_done;
	rig.pool_empty++;
}

/* Whoever asks a pool that drains is told so, and before the pool says that it is empty. */
START_TEST(empty_comes_after_all_were_told)
{
	pool_rig_up();
	pool_rig_start();
	hb_pool_drain(rig.pool, on_empty_after_all, NULL);
	rig_ask(0);
	rig_ask_as(1, SERVER_ID, 2);
	rig_ask(2);
	hb_pool_cancel(&rig.gets[2].wait);
	ck_assert(turn_until(rig.loop, &rig.pool_empty, 1, 100));
	ck_assert_uint_eq(done_when_empty, 2);
	ck_assert_int_eq(rig.gets[0].why.code, HB_E_DRAIN);
	ck_assert_int_eq(rig.gets[1].why.code, HB_E_DRAIN);
	ck_assert_uint_eq(rig.gets[2].done, 0);
	rig.pool_empty = 0;
	pool_rig_down();
}
END_TEST

START_TEST(going_away_is_tried_elsewhere)
{
	pool_rig_up();
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	/* The server drains; the next request finds, or makes, another connection. */
	hb_h2_drain(hb_container_of(rig.sessions.next, struct rig_session, node)->h2);
	rig_ask(1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_msg(rig.gets[1].probe.stream, "%s", hb_strerror(rig.gets[1].why.code));
	turn_some(rig.loop, 20);
	rig_ask(2);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 3, 300));
	ck_assert_ptr_nonnull(rig.gets[2].probe.stream);
	ck_assert_uint_eq(rig.accepted, 2);
	pool_rig_down();
}
END_TEST

/* A server may refuse what it seemed to have room for: here the last words of a stream that has
 * ended are not read yet. That connection is not asked twice. */
START_TEST(refused_streams_are_tried_elsewhere)
{
	struct rig_session *session;

	pool_rig_up();
	rig.grant = 1;
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	session = rig_session(false);
	probe_pause(&rig.served[0]);
	probe_resume(&rig.gets[0].probe);
	probe_write(&rig.gets[0].probe, rig.loop, "last words", 10, 10);
	probe_finish(&rig.gets[0].probe);
	probe_finish(&rig.served[0]);
	ck_assert(turn_until(rig.loop, &rig.gets[0].probe.finishes, 1, 100));
	rig_end_get(0);
	turn_some(rig.loop, 10);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 1);
	rig_ask(1);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_msg(rig.gets[1].probe.stream, "%s", hb_strerror(rig.gets[1].why.code));
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->retried, 1);
	ck_assert_uint_eq(rig.accepted, 2);
	ck_assert_uint_eq(session->served, 1);
	probe_resume(&rig.served[0]);
	turn_some(rig.loop, 10);
	probe_close(&rig.served[0], HB_END_CLEAN);
	pool_rig_down();
}
END_TEST

START_TEST(a_dead_connection_is_replaced)
{
	struct rig_session *session;

	pool_rig_up();
	pool_rig_start();
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	rig_end_get(0);
	session = hb_container_of(rig.sessions.next, struct rig_session, node);
	hb_stream_close(hb_h2_lower(session->h2), hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	rig_ask(1); /* before we know that it is dead */
	ck_assert(turn_until(rig.loop, &rig.gets_done, 2, 300));
	ck_assert_msg(rig.gets[1].probe.stream, "%s", hb_strerror(rig.gets[1].why.code));
	ck_assert_uint_eq(rig.accepted, 2);
	pool_rig_down();
}
END_TEST

START_TEST(draining_refuses)
{
	pool_rig_up();
	pool_rig_start();
	hb_pool_drain(rig.pool, NULL, NULL);
	rig_ask(0);
	ck_assert(turn_until(rig.loop, &rig.gets_done, 1, 300));
	ck_assert_int_eq(rig.gets[0].why.code, HB_E_DRAIN);
	pool_rig_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, many_wait_for_one_dial);
	tcase_add_test(tc, keys_share_nothing);
	tcase_add_loop_test(tc, all_fail_with_the_same_reason, 0, 2);
	tcase_add_loop_test(tc, a_small_grant_serves_all, 0, HB_ARRAY_LEN(grants));
	tcase_add_loop_test(tc, a_peer_without_settings, 0, 2);
	tcase_add_test(tc, refused_by_policy_is_final);
	tcase_add_test(tc, silence_has_a_deadline);
	tcase_add_test(tc, idle_connections_are_released);
	tcase_add_loop_test(tc, spare_connections_are_released, 0, 2);
	tcase_add_test(tc, cancelled_waits_stay_silent);
	tcase_add_loop_test(tc, lost_while_it_is_asked, 0, 2);
	tcase_add_test(tc, empty_comes_after_all_were_told);
	tcase_add_test(tc, going_away_is_tried_elsewhere);
	tcase_add_test(tc, refused_streams_are_tried_elsewhere);
	tcase_add_test(tc, a_dead_connection_is_replaced);
	tcase_add_test(tc, draining_refuses);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
