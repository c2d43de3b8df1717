/*
 * h2_peer: a peer written by hand that does what peers should not, or sends all in one go. Each row
 * was a way to stall for ever, to grow without a bound, or never to end.
 */
#include <check.h>
#include <string.h>

#include "contract/h2_rig.h"

/* ---- what waits must be told ---- */

START_TEST(bytes_that_come_with_the_answer)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_tunnel();
	probe_resume(c); /* before it is open, and never again */
	settle();
	frames_answer(&rig.peer, 1, 200, 0);
	frames_say(&rig.peer, FRAME_DATA, FLAG_END_STREAM, 1, "hello", 5);
	settle();
	ck_assert_uint_eq(c->opens, 1);
	ck_assert_uint_eq(c->len, 5);
	ck_assert_uint_eq(c->finishes, 1);
	down();
}
END_TEST

START_TEST(an_answer_that_is_all)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_tunnel();
	probe_resume(c);
	settle();
	frames_answer(&rig.peer, 1, 200, FLAG_END_STREAM);
	settle();
	ck_assert_uint_eq(c->opens, 1);
	ck_assert_uint_eq(c->finishes, 1);
	down();
}
END_TEST

START_TEST(bytes_that_come_before_we_answer)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	frames_say(&rig.peer, FRAME_DATA, FLAG_END_STREAM, 1, "hello", 5);
	settle();
	probe_resume(&rig.tunnels[0]);
	settle();
	ck_assert_uint_eq(rig.tunnels[0].len, 0);
	hb_tunnel_accept(rig.tunnels[0].stream, NULL);
	settle();
	ck_assert_uint_eq(rig.tunnels[0].len, 5);
	ck_assert_uint_eq(rig.tunnels[0].finishes, 1);
	down();
}
END_TEST

START_TEST(closed_between_the_answer_and_its_telling)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_tunnel();
	settle();
	frames_answer(&rig.peer, 1, 200, 0);
	turn_some(rig.loop, 1);
	c->opens = 0; /* whether or not it was told by now, nothing is told after the close */
	probe_close(c, policy);
	settle();
	ck_assert_uint_eq(c->opens, 0);
	ck_assert_int_eq(c->end.code, HB_E_POLICY);
	down();
}
END_TEST

/* ---- bounds ---- */

START_TEST(unread_streams_count)
{
	up_with(&(struct hb_h2_options){ .role = HB_H2_SERVER, .streams_max = 4 }, 0);
	for (uint32_t id = 1; id < 40; id += 2) {
		frames_request(&rig.peer, id);
		settle();
		if (rig.peer.counts[FRAME_RST_STREAM])
			break;
		hb_tunnel_accept(last_tunnel()->stream, NULL); /* and nobody reads it */
		frames_say(&rig.peer, FRAME_DATA, FLAG_END_STREAM, id, "pinned", 6);
		frames_rst(&rig.peer, id, 0);
		settle();
	}
	ck_assert_uint_eq(rig.tunnels_count, 4);
	ck_assert_uint_eq(rig.peer.rst_id, 9);
	ck_assert_uint_eq(rig.peer.rst_code, 7); /* REFUSED_STREAM */
	ck_assert_uint_eq(rig.peer.counts[FRAME_RST_STREAM], 1);
	/* Room again as soon as one is read. */
	probe_resume(&rig.tunnels[0]);
	settle();
	ck_assert_uint_eq(rig.tunnels[0].len, 6);
	frames_request(&rig.peer, 11);
	settle();
	ck_assert_uint_eq(rig.tunnels_count, 5);
	down();
}
END_TEST

START_TEST(tiny_frames_pin_little)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	settle();
	hb_tunnel_accept(rig.tunnels[0].stream, NULL);
	for (unsigned i = 0; i < 5000; i++) {
		frames_say(&rig.peer, FRAME_DATA, 0, 1, "x", 1);
		if (i % 100 == 0)
			settle();
	}
	settle();
	ck_assert_uint_lt(hb_buf_pool_slots_out(hb_loop_pool(rig.loop)), 40);
	probe_resume(&rig.tunnels[0]);
	settle();
	ck_assert_uint_eq(rig.tunnels[0].len, 5000);
	down();
}
END_TEST

START_TEST(answers_to_one_that_never_reads)
{
	/* Until it acknowledges our SETTINGS it may ask for more than we grant. */
	rig.peer_never_acknowledges = true;
	up_with(&(struct hb_h2_options){ .role = HB_H2_SERVER, .streams_max = 1 }, 0);
	pair_linger(rig.wires[0], 10);
	peer_stops_reading();
	for (uint32_t id = 1; id < 20000 && rig.h2; id += 2) {
		frames_request(&rig.peer, id); /* each is to be refused, in vain */
		if (id % 100 == 1)
			settle();
	}
	ck_assert_msg(turn_until(rig.loop, &rig.closes, 1, 100), "nothing is too much");
	ck_assert_int_eq(rig.why.code, HB_E_FLOOD);
	down();
}
END_TEST

START_TEST(one_that_talks_and_never_reads)
{
	up_with(&(struct hb_h2_options){ .role = HB_H2_SERVER,
	                                 .ping_interval_ms = 10,
	                                 .ping_timeout_ms = 20 },
	        0);
	peer_stops_reading();
	for (int i = 0; i < 4000 && rig.h2; i++) {
		if (i % 4 == 0)
			frames_say(&rig.peer, FRAME_PING, FLAG_ACK, 0, "i live!!", 8);
		hb_loop_turn(rig.loop, 2);
	}
	ck_assert_uint_eq(rig.closes, 1);
	ck_assert_int_eq(rig.why.code, HB_E_STALLED);
	down();
}
END_TEST

START_TEST(reset_streams_return_their_credit)
{
	static const uint8_t data[8000];
	uint64_t sent = 0;

	up_with(&(struct hb_h2_options){ .role = HB_H2_SERVER, .connection_window = 65535 }, 0);
	for (uint32_t id = 1; id < 2 * 40; id += 2) {
		frames_request(&rig.peer, id);
		settle();
		hb_tunnel_accept(last_tunnel()->stream, NULL);
		frames_say(&rig.peer, FRAME_DATA, 0, id, data, sizeof(data)); /* is never read */
		settle();
		probe_close(last_tunnel(), policy);
		frames_say(&rig.peer, FRAME_DATA, 0, id, data,
		           sizeof(data)); /* crosses our reset */
		settle();
		frames_say(&rig.peer, FRAME_DATA, 0, id, data, sizeof(data)); /* after it */
		settle();
		sent += 3 * sizeof(data);
		ck_assert_msg(rig.closes == 0, "%s", hb_strerror(rig.why.code));
		ck_assert_uint_lt(sent, rig.peer.credit + 65535);
	}
	down();
}
END_TEST

/* ---- drain ---- */

START_TEST(drain_without_an_answer_has_a_deadline)
{
	up_with(&(struct hb_h2_options){ .role = HB_H2_SERVER, .ping_timeout_ms = 30 }, 0);
	pair_linger(rig.wires[0], 10);
	rig.peer.keeps_pings = true;
	hb_h2_drain(rig.h2);
	settle();
	frames_say(&rig.peer, FRAME_PING, FLAG_ACK, 0, "other   ", 8); /* not the one we wait for */
	settle();
	ck_assert_uint_eq(rig.peer.counts[FRAME_GOAWAY], 1);
	ck_assert_uint_eq(rig.peer.goaway_last, INT32_MAX);
	ck_assert_msg(turn_until(rig.loop, &rig.closes, 1, 100), "it waits for ever");
	frames_look(&rig.peer);
	ck_assert_uint_ge(rig.peer.counts[FRAME_GOAWAY], 2);
	ck_assert_uint_eq(rig.peer.goaway_last, 0);
	ck_assert_int_eq(rig.why.code, 0);
	down();
}
END_TEST

START_TEST(drain_says_it_twice)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	settle();
	hb_tunnel_accept(rig.tunnels[0].stream, NULL);
	probe_resume(&rig.tunnels[0]);
	hb_h2_drain(rig.h2);
	frames_request(&rig.peer, 3); /* on its way meanwhile: it is served */
	settle();
	ck_assert_uint_eq(rig.tunnels_count, 2);
	ck_assert_uint_eq(rig.peer.counts[FRAME_GOAWAY], 2);
	ck_assert_uint_eq(rig.peer.goaway_last, 3);
	probe_close(&rig.tunnels[1], policy);
	frames_request(&rig.peer, 5); /* too late */
	settle();
	ck_assert_uint_eq(rig.tunnels_count, 2);
	ck_assert_uint_eq(rig.closes, 0);
	frames_say(&rig.peer, FRAME_DATA, FLAG_END_STREAM, 1, NULL, 0);
	settle();
	probe_close(&rig.tunnels[0], HB_END_CLEAN);
	settle();
	ck_assert_uint_eq(rig.peer.probe.finishes, 1);
	down();
}
END_TEST

START_TEST(a_client_that_said_goaway_is_drained_too)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	frames_goaway(&rig.peer, 0, 0);
	settle();
	hb_h2_drain(rig.h2);
	settle();
	ck_assert_uint_eq(rig.peer.goaway_last, 1);
	ck_assert_uint_eq(rig.closes, 0);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2 peer");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, bytes_that_come_with_the_answer);
	tcase_add_test(tc, an_answer_that_is_all);
	tcase_add_test(tc, bytes_that_come_before_we_answer);
	tcase_add_test(tc, closed_between_the_answer_and_its_telling);
	tcase_add_test(tc, unread_streams_count);
	tcase_add_test(tc, tiny_frames_pin_little);
	tcase_add_test(tc, answers_to_one_that_never_reads);
	tcase_add_test(tc, one_that_talks_and_never_reads);
	tcase_add_test(tc, reset_streams_return_their_credit);
	tcase_add_test(tc, drain_without_an_answer_has_a_deadline);
	tcase_add_test(tc, drain_says_it_twice);
	tcase_add_test(tc, a_client_that_said_goaway_is_drained_too);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
