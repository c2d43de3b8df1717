/*
 * h2_owner: owners that act at awkward times: inside on_request, before a request is sent, while
 * the lower stream is full or no buffer is to be had. Each row was a way to crash, to wait for
 * ever, or to be told a wrong end.
 */
#include <check.h>
#include <string.h>

#include "contract/h2_rig.h"

static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };

/* ---- a lower stream that is full ---- */

START_TEST(abort_does_not_wait_for_the_peer)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	c = open_tunnel();
	settle();
	frames_answer(&rig.peer, 1, 200, 0);
	settle();
	ck_assert_uint_eq(c->opens, 1);
	peer_stops_reading();
	probe_write(c, rig.loop, "backlog", 7, 7);
	settle();
	probe_close(c, policy);
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_uint_eq(rig.peer.counts[FRAME_RST_STREAM], 0);
	peer_reads_on();
	ck_assert_uint_eq(rig.peer.rst_id, 1);
	ck_assert_uint_eq(rig.peer.rst_code, 8);
	ck_assert_uint_eq(rig.peer.data_bytes, 0);
	down();
}
END_TEST

START_TEST(closed_before_it_was_asked_for)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	peer_stops_reading();
	c = open_tunnel();
	settle();
	probe_close(c, _i ? policy : HB_END_CLEAN);
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_eq(c->end.code, _i ? HB_E_POLICY : HB_E_CANCELLED);
	ck_assert_uint_eq(hb_h2_streams(rig.h2), 0);
	peer_reads_on();
	ck_assert_uint_eq(rig.peer.counts[FRAME_HEADERS], 0);
	/* The next one is as good as ever. */
	c = open_tunnel();
	settle();
	ck_assert_uint_eq(rig.peer.counts[FRAME_HEADERS], 1);
	frames_answer(&rig.peer, rig.peer.headers_id, 200, 0);
	settle();
	ck_assert_uint_eq(c->opens, 1);
	down();
}
END_TEST

START_TEST(goaway_overtakes_a_request)
{
	struct probe *c;

	up(HB_H2_CLIENT);
	peer_stops_reading();
	c = open_tunnel();
	frames_goaway(&rig.peer, 0, 0);
	settle();
	peer_reads_on();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_eq(c->end.code, HB_E_GOAWAY); /* not processed: it may be tried again */
	ck_assert_uint_eq(rig.peer.counts[FRAME_HEADERS], 0);
	down();
}
END_TEST

START_TEST(a_request_too_large_to_send)
{
	static char baggage[100000];
	struct hb_tunnel_request large = request;
	struct probe *c = &rig.tunnels[0];

	memset(baggage, 'b', sizeof(baggage) - 1);
	large.baggage = baggage;
	up(HB_H2_CLIENT);
	probe_init(c, hb_tunnel_open(rig.h2, &large));
	rig.tunnels_count = 1;
	settle();
	ck_assert_uint_eq(c->closes, 1);
	ck_assert_int_eq(c->end.code, HB_E_LIMIT); /* trying again is no use */
	ck_assert_int_eq(c->end.side, HB_SIDE_US);
	ck_assert_uint_eq(rig.closes, 0);
	down();
}
END_TEST

START_TEST(goaway_gets_out_although_full)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	settle();
	hb_tunnel_accept(rig.tunnels[0].stream, NULL);
	settle();
	peer_stops_reading();
	probe_write(&rig.tunnels[0], rig.loop, "backlog", 7, 7);
	settle();
	hb_h2_close(rig.h2, HB_END_CLEAN);
	settle();
	ck_assert_uint_eq(rig.tunnels[0].closes, 1);
	peer_reads_on();
	ck_assert_uint_eq(rig.peer.counts[FRAME_GOAWAY], 1);
	ck_assert_uint_eq(rig.peer.goaway_last, 1);
	ck_assert_uint_eq(rig.peer.probe.finishes, 1);
	ck_assert_msg(!rig.peer.end_stream, "what was cut off looks finished");
	down();
}
END_TEST

/* Frames that waited for a buffer, of a stream that was reset meanwhile. */
START_TEST(reset_while_it_waits_for_a_buffer)
{
	struct hb_buf *all = NULL;
	struct probe *c;

	up_with(&(struct hb_h2_options){ .role = HB_H2_CLIENT }, 256);
	c = open_tunnel();
	settle();
	frames_answer(&rig.peer, 1, 200, 0);
	settle();
	probe_write(c, rig.loop, "small", 5, 5);
	for (;;) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(rig.loop));

		if (!buf)
			break;
		buf->next = all;
		all = buf;
	}
	settle();
	ck_assert_uint_eq(rig.peer.data_bytes, 0);
	hb_buf_free_all(all);
	probe_close(c, policy);
	for (int i = 0; i < 10; i++)
		hb_loop_turn(rig.loop, 5);
	settle();
	ck_assert_uint_eq(rig.peer.data_bytes, 0);
	ck_assert_uint_ge(rig.peer.counts[FRAME_RST_STREAM], 1);
	ck_assert_uint_eq(rig.closes, 0);
	down();
}
END_TEST

/* ---- owners ---- */

static void close_at_once(struct hb_stream *stream)
{
	probe_close(last_tunnel(), policy);
}

static void close_all(struct hb_stream *stream)
{
	hb_h2_close(rig.h2, policy);
}

static void answer_and_leave(struct hb_stream *stream)
{
	hb_tunnel_accept(stream, NULL);
	probe_write(last_tunnel(), rig.loop, "bye", 3, 3);
	probe_close(last_tunnel(), HB_END_CLEAN);
}

static void refuse_twice(struct hb_stream *stream)
{
	hb_tunnel_refuse(stream, 401);
	hb_tunnel_refuse(stream, 503);
	hb_tunnel_accept(stream, NULL);
	probe_close(last_tunnel(), HB_END_CLEAN);
}

static void drain_all(struct hb_stream *stream)
{
	hb_h2_drain(rig.h2);
	hb_tunnel_accept(stream, NULL);
}

/* clang-format off */
static const struct {
	const char *name;
	void (*act)(struct hb_stream *stream);
	unsigned told; /* of two requests that come in one read */
	bool ends;     /* each that is told */
	int code;
	unsigned rsts;
	uint32_t rst_code;
} owners[] = {
	{ "closes the stream",          close_at_once,    2, true,  HB_E_POLICY,      2, 8 },
	{ "closes the connection",      close_all,        1, true,  HB_E_POLICY,      0, 0 },
	{ "answers, writes and closes", answer_and_leave, 2, true,  0,                2, 0 },
	{ "refuses twice and accepts",  refuse_twice,     2, true,  HB_E_STATUS(401), 2, 0 },
	{ "drains and accepts",         drain_all,        2, false, 0,                0, 0 },
};
/* clang-format on */

START_TEST(owners_act_in_on_request)
{
	const char *name = owners[_i].name;

	rig.on_request = owners[_i].act;
	up(HB_H2_SERVER);
	/* In one buf, so that one call of nghttp2 sees both. */
	pair_stall(rig.wires[0], true);
	frames_request(&rig.peer, 1);
	frames_request(&rig.peer, 3);
	pair_stall(rig.wires[0], false);
	settle();
	ck_assert_msg(rig.tunnels_count == owners[_i].told, "%s: %u told", name, rig.tunnels_count);
	for (unsigned i = 0; i < rig.tunnels_count; i++) {
		ck_assert_msg(rig.tunnels[i].closes == owners[_i].ends, "%s: tunnel %u", name, i);
		ck_assert_msg(!owners[_i].ends || rig.tunnels[i].end.code == owners[_i].code,
		              "%s: %s", name, hb_strerror(rig.tunnels[i].end.code));
	}
	ck_assert_msg(rig.peer.counts[FRAME_RST_STREAM] == owners[_i].rsts, "%s: %u resets", name,
	              rig.peer.counts[FRAME_RST_STREAM]);
	ck_assert_msg(rig.peer.rst_code == owners[_i].rst_code, "%s: RST %u", name,
	              rig.peer.rst_code);
	down();
}
END_TEST

START_TEST(an_abort_ends_what_a_clean_close_spared)
{
	up(HB_H2_SERVER);
	frames_request(&rig.peer, 1);
	settle();
	hb_tunnel_accept(rig.tunnels[0].stream, NULL);
	probe_finish(&rig.tunnels[0]);
	frames_say(&rig.peer, FRAME_DATA, FLAG_END_STREAM, 1, "unread", 6);
	settle();
	probe_finish(&rig.peer.probe);
	settle();
	/* The connection is over, but for what nobody has read. */
	ck_assert_uint_eq(rig.peer.probe.closes + rig.closes + rig.tunnels[0].closes, 0);
	hb_h2_close(rig.h2, policy);
	settle();
	ck_assert_uint_eq(rig.closes, 1);
	ck_assert_int_eq(rig.tunnels[0].end.code, HB_E_POLICY);
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("h2 owner");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, abort_does_not_wait_for_the_peer);
	tcase_add_loop_test(tc, closed_before_it_was_asked_for, 0, 2);
	tcase_add_test(tc, goaway_overtakes_a_request);
	tcase_add_test(tc, a_request_too_large_to_send);
	tcase_add_test(tc, goaway_gets_out_although_full);
	tcase_add_test(tc, reset_while_it_waits_for_a_buffer);
	tcase_add_loop_test(tc, owners_act_in_on_request, 0, HB_ARRAY_LEN(owners));
	tcase_add_test(tc, an_abort_ends_what_a_clean_close_spared);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
