/*
 * pool_outer: double HBONE: what flows share behind a gateway, what each end is asked for and has
 * to prove, and how the ends of the outer reach the inner.
 */
#include <check.h>
#include <string.h>
#include <time.h>

#include "support/pool_rig.h"

#define WEB "web.demo.svc.cluster.local:80"
#define API "api.demo.svc.cluster.local:80"

static void up(void)
{
	pool_rig_up();
	rig.is_gateway = true;
}

static void expect_tunnel(unsigned i)
{
	ck_assert_msg(rig.gets[i].probe.stream, "%u: %s", i, hb_strerror(rig.gets[i].why.code));
	ck_assert_str_eq(rig.gets[i].peer, SERVER_ID);
}

static void wait_for(unsigned gets)
{
	ck_assert_msg(turn_until(rig.loop, &rig.gets_done, gets, 500), "%u of %u", rig.gets_done,
	              gets);
}

START_TEST(flows_share_the_inner_connection)
{
	up();
	pool_rig_start();
	for (unsigned i = 0; i < 5; i++)
		rig_ask_through(i, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(5);
	for (unsigned i = 0; i < 5; i++)
		expect_tunnel(i);
	ck_assert_uint_eq(rig.accepted, 1);
	ck_assert_uint_eq(rig.inner_accepted, 1);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2);
	ck_assert_str_eq(rig.authority, WEB);
	ck_assert_str_eq(rig.network, "ours"); /* the inner CONNECT was the last */
	ck_assert_str_eq(rig.gets[0].workload, "far");
	pool_rig_down();
}
END_TEST

START_TEST(bytes_go_both_ways)
{
	static uint8_t data[300000];
	struct probe *near = &rig.gets[0].probe, *far = &rig.served[0];

	up();
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(1);
	expect_tunnel(0);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	probe_resume(near);
	probe_write(near, rig.loop, data, sizeof(data), 5000);
	probe_write(far, rig.loop, data, sizeof(data), 5000);
	ck_assert(turn_until_size(rig.loop, &far->len, sizeof(data), 1000));
	ck_assert(turn_until_size(rig.loop, &near->len, sizeof(data), 1000));
	ck_assert_mem_eq(near->data, data, sizeof(data));
	ck_assert_mem_eq(far->data, data, sizeof(data));
	probe_finish(near);
	ck_assert(turn_until(rig.loop, &far->finishes, 1, 100));
	ck_assert_uint_eq(near->closes, 0);
	pool_rig_down();
}
END_TEST

START_TEST(another_destination_shares_the_outer_only)
{
	up();
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, API);
	wait_for(2);
	expect_tunnel(0);
	expect_tunnel(1);
	ck_assert_uint_eq(rig.accepted, 1);
	ck_assert_uint_eq(rig.inner_accepted, 2);
	/* A direct tunnel to the gateway's address is another key. */
	rig_ask_as(2, GATEWAY_ID, 2);
	wait_for(3);
	ck_assert_uint_eq(rig.accepted, 2);
	pool_rig_down();
}
END_TEST

/* The gateway spreads inner connections over backends, so none takes all flows. */
START_TEST(few_tunnels_on_an_inner_connection)
{
	up();
	rig.options.inner_streams_max = 2;
	pool_rig_start();
	for (unsigned i = 0; i < 5; i++)
		rig_ask_through(i, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(5);
	for (unsigned i = 0; i < 5; i++)
		expect_tunnel(i);
	ck_assert_uint_eq(rig.accepted, 1);
	ck_assert_uint_eq(rig.inner_accepted, 3);
	/* One that was full is used again. */
	rig_end_get(0);
	rig_end_get(1);
	rig_ask_through(5, GATEWAY_ID, SERVER_ID, WEB);
	rig_ask_through(6, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(7);
	ck_assert_uint_eq(rig.inner_accepted, 3);
	pool_rig_down();
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *gateway, *server;
	enum rig_manner outer, inner;
	struct hb_end why;
	bool closed_port;
} failures[] = {
	{ "nobody listens", GATEWAY_ID, SERVER_ID, ANSWERS, ANSWERS,
	  { HB_LAYER_TCP, HB_SIDE_PEER, -ECONNREFUSED }, true },
	{ "another gateway", SERVER_ID, SERVER_ID, ANSWERS, ANSWERS,
	  { HB_LAYER_TLS, HB_SIDE_US, HB_E_PEER_IDENTITY }, false },
	{ "another server behind it", GATEWAY_ID, GATEWAY_ID, ANSWERS, ANSWERS,
	  { HB_LAYER_TLS, HB_SIDE_US, HB_E_PEER_IDENTITY }, false },
	{ "the gateway says no", GATEWAY_ID, SERVER_ID, REFUSES, ANSWERS,
	  { HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_STATUS(401) }, false },
	{ "the gateway is silent", GATEWAY_ID, SERVER_ID, IS_SILENT, ANSWERS,
	  { HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CONNECT_TIME }, false },
	{ "the gateway resets the tunnel", GATEWAY_ID, SERVER_ID, RESETS, ANSWERS,
	  { HB_LAYER_H2, HB_SIDE_PEER, HB_E_RST(10) }, false },
	{ "the server says no", GATEWAY_ID, SERVER_ID, ANSWERS, REFUSES,
	  { HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_STATUS(401) }, false },
	{ "the server is silent", GATEWAY_ID, SERVER_ID, ANSWERS, IS_SILENT,
	  { HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CONNECT_TIME }, false },
	{ "the server leaves after TLS", GATEWAY_ID, SERVER_ID, ANSWERS, LEAVES,
	  { HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED }, false },
};
/* clang-format on */

START_TEST(all_fail_with_the_reason)
{
	struct hb_end want = failures[_i].why;

	up();
	rig.manner = failures[_i].outer;
	rig.inner_manner = failures[_i].inner;
	rig.options.connect_ms = 300;
	pool_rig_start();
	if (failures[_i].closed_port)
		rig.server_addr.port = 1;
	for (unsigned i = 0; i < 3; i++)
		rig_ask_through(i, failures[_i].gateway, failures[_i].server, WEB);
	wait_for(3);
	for (unsigned i = 0; i < 3; i++) {
		struct hb_end why = rig.gets[i].why;

		ck_assert_msg(why.layer == want.layer && why.side == want.side &&
		                  why.code == want.code,
		              "%s: %s %s %s", failures[_i].name, hb_layer_name(why.layer),
		              hb_side_name(why.side), hb_strerror(why.code));
	}
	pool_rig_down();
}
END_TEST

/* What ends the outer tunnel, or its connection, is what the flows inside are told. */
START_TEST(the_reason_goes_through)
{
	struct hb_end lost = hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET);
	struct hb_h2 *outer;

	up();
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, API);
	wait_for(2);
	expect_tunnel(0);
	outer = rig_session(false)->h2;
	if (_i == 0) /* the gateway's connection is lost */
		hb_stream_close(hb_h2_lower(outer), lost);
	else /* the gateway ends one outer tunnel */
		hb_stream_close(hb_h2_lower(rig_session(true)->h2), lost);
	ck_assert(turn_until(rig.loop, &rig.gets[0].probe.closes, 1, 200));
	ck_assert_msg(rig.gets[0].probe.end.side == HB_SIDE_PEER &&
	                  rig.gets[0].probe.end.code == (_i == 0 ? -ECONNRESET : HB_E_RST(10)),
	              "%s %s", hb_layer_name(rig.gets[0].probe.end.layer),
	              hb_strerror(rig.gets[0].probe.end.code));
	if (_i == 1) { /* the other one lives */
		turn_some(rig.loop, 20);
		ck_assert_uint_eq(rig.gets[1].probe.closes, 0);
		ck_assert_uint_eq(hb_pool_connections(rig.pool), 2);
	} else {
		ck_assert(turn_until(rig.loop, &rig.gets[1].probe.closes, 1, 200));
		ck_assert_uint_eq(hb_pool_connections(rig.pool), 0);
	}
	/* And the next one begins anew. */
	rig_ask_through(2, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(3);
	expect_tunnel(2);
	pool_rig_down();
}
END_TEST

START_TEST(idle_ones_are_released_from_within)
{
	up();
	rig.options.idle_ms = 50;
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(1);
	for (int i = 0; i < 20; i++)
		hb_loop_turn(rig.loop, 10);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2); /* not while it is used */
	rig_end_get(0);
	for (int i = 0; i < 600 && hb_pool_connections(rig.pool); i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 0);
	pool_rig_down();
}
END_TEST

/* A gateway that drains is not kept by new flows on old inner connections. */
START_TEST(a_gateway_that_goes_gets_no_new_flows)
{
	up();
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(1);
	hb_h2_drain(rig_session(false)->h2);
	turn_some(rig.loop, 30);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(2);
	expect_tunnel(1);
	ck_assert_uint_eq(rig.accepted, 2);
	ck_assert_uint_eq(rig.inner_accepted, 2);
	/* The old flow goes on; with its end the old connections go. */
	ck_assert_uint_eq(rig.gets[0].probe.closes, 0);
	rig_end_get(0);
	for (int i = 0; i < 300 && hb_pool_connections(rig.pool) > 2; i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2);
	ck_assert_uint_eq(rig.gets[1].probe.closes, 0);
	pool_rig_down();
}
END_TEST

/* It goes while the far end has not said its SETTINGS: who waits is served by a new one. */
START_TEST(a_gateway_goes_during_the_greeting)
{
	up();
	rig.inner_manner = NEVER_BEGINS;
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, WEB);
	for (int i = 0; i < 300 && !rig.mute; i++)
		hb_loop_turn(rig.loop, 20);
	hb_h2_drain(rig_session(false)->h2);
	turn_some(rig.loop, 30);
	rig.inner_manner = ANSWERS;
	rig_begin(hb_take(&rig.mute), true);
	wait_for(2);
	expect_tunnel(0);
	expect_tunnel(1);
	ck_assert_uint_eq(rig.accepted, 2);
	pool_rig_down();
}
END_TEST

/* The pool drains or a pod leaves at each stage of the way. */
START_TEST(it_ends_at_any_stage)
{
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN);
	int stage = _i / 2;

	up();
	pool_rig_start();
	rig.manner = stage == 1 ? IS_SILENT : ANSWERS;
	rig.inner_manner = stage == 2 ? IS_SILENT : ANSWERS;
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	for (int i = 0; i < 300 && stage > 0 && rig.served_count == 0; i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(rig.served_count, stage > 0);
	turn_some(rig.loop, 1); /* the first dial has begun */
	if (_i % 2)
		hb_pool_close_scope(rig.pool, 1, why);
	else
		hb_pool_drain(rig.pool, NULL, NULL);
	if (stage < 2 || _i % 2) {
		wait_for(1);
		ck_assert_int_eq(rig.gets[0].why.code, HB_E_DRAIN);
	} else {
		hb_pool_cancel(&rig.gets[0].wait);
	}
	pool_rig_down();
}
END_TEST

/* Each wait on its way is dropped, and nothing is left of it. */
START_TEST(cancelled_at_any_stage)
{
	up();
	pool_rig_start();
	rig.manner = _i == 1 ? IS_SILENT : ANSWERS;
	rig.inner_manner = _i == 2 ? IS_SILENT : ANSWERS;
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	for (int i = 0; i < 300 && _i > 0 && rig.served_count == 0; i++)
		hb_loop_turn(rig.loop, 20);
	hb_pool_cancel(&rig.gets[0].wait);
	turn_some(rig.loop, 20);
	ck_assert_uint_eq(rig.gets_done, 0);
	pool_rig_down();
}
END_TEST

static struct hb_tls_crls *revoking(const char *chain)
{
	hb_cleanup(hb_free_ptr) char *text = testca_crl(rig.ca, chain, 3600);
	struct hb_tls_crls *crls = NULL;
	char why[128];

	ck_assert_int_eq(hb_tls_crls_parse(text, strlen(text), &crls, why, sizeof(why)), 0);
	return crls;
}

/* The certificate of the gateway has ended, or that of what is behind it. */
START_TEST(one_of_two_expires)
{
	pool_rig_up_lasting(_i ? 7200 : 1800, _i ? 1800 : 7200);
	rig.is_gateway = true;
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(1);
	ck_assert_uint_eq(hb_pool_recheck(rig.pool, NULL, time(NULL) + 3600), 0);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->expired, 1);
	turn_some(rig.loop, 30);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(2);
	expect_tunnel(1);
	ck_assert_uint_eq(rig.accepted, _i ? 2 : 1);
	ck_assert_uint_eq(rig.inner_accepted, 2);
	ck_assert_uint_eq(rig.gets[0].probe.closes, 0);
	rig_end_get(0);
	for (int i = 0; i < 300 && hb_pool_connections(rig.pool) > 2; i++)
		hb_loop_turn(rig.loop, 20);
	ck_assert_uint_eq(hb_pool_connections(rig.pool), 2);
	pool_rig_down();
}
END_TEST

/* The gateway is revoked, or what is behind it, or that is found out in the inner handshake. */
START_TEST(one_of_two_is_revoked)
{
	struct hb_tls_crls *crls;

	up();
	pool_rig_start();
	rig_ask_through(0, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(1);
	crls = revoking(_i ? rig.gateway_pem.chain : rig.server_pem.chain);
	ck_assert_uint_eq(hb_pool_recheck(rig.pool, crls, time(NULL)), 1);
	hb_tls_crls_unref(crls);
	ck_assert(turn_until(rig.loop, &rig.gets[0].probe.closes, 1, 300));
	ck_assert_int_eq(rig.gets[0].probe.end.code, HB_TLS_REVOKED);
	rig_ask_through(1, GATEWAY_ID, SERVER_ID, WEB);
	wait_for(2);
	ck_assert_ptr_null(rig.gets[1].probe.stream);
	ck_assert_int_eq(rig.gets[1].why.code, HB_TLS_REVOKED);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->revoked, 1);
	ck_assert_uint_eq(hb_pool_counters(rig.pool)->failed, _i ? 2 : 1);
	pool_rig_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_outer");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, flows_share_the_inner_connection);
	tcase_add_test(tc, bytes_go_both_ways);
	tcase_add_test(tc, another_destination_shares_the_outer_only);
	tcase_add_test(tc, few_tunnels_on_an_inner_connection);
	tcase_add_loop_test(tc, all_fail_with_the_reason, 0, HB_ARRAY_LEN(failures));
	tcase_add_loop_test(tc, the_reason_goes_through, 0, 2);
	tcase_add_test(tc, idle_ones_are_released_from_within);
	tcase_add_test(tc, a_gateway_that_goes_gets_no_new_flows);
	tcase_add_test(tc, a_gateway_goes_during_the_greeting);
	tcase_add_loop_test(tc, it_ends_at_any_stage, 0, 6);
	tcase_add_loop_test(tc, cancelled_at_any_stage, 0, 3);
	tcase_add_loop_test(tc, one_of_two_expires, 0, 2);
	tcase_add_loop_test(tc, one_of_two_is_revoked, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
