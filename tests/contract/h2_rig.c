/*
 * h2_rig: see the header.
 */
#include "contract/h2_rig.h"
#include "support/any_loop.h"

#include <check.h>

const struct hb_end policy = { HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY };
static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };

struct h2_rig rig;

static void on_request(struct hb_h2 *conn, struct hb_stream *stream)
{
	ck_assert_uint_lt(rig.tunnels_count, TUNNELS);
	probe_init(&rig.tunnels[rig.tunnels_count++], stream);
	if (rig.on_request)
		rig.on_request(stream);
}

static void on_closed(struct hb_h2 *conn, struct hb_end end)
{
	rig.closes++;
	rig.why = end;
	rig.h2 = NULL;
	hb_h2_free(conn);
}

static const struct hb_h2_events events = { .on_request = on_request, .on_closed = on_closed };

void settle(void)
{
	for (int i = 0; i < 6; i++) {
		turn_some(rig.loop, 3);
		frames_look(&rig.peer);
	}
}

void up_with(const struct hb_h2_options *options, size_t slots_max)
{
	rig.loop = test_loop_new(&(struct hb_loop_options){ .slots_max = slots_max });
	ck_assert_ptr_nonnull(rig.loop);
	rig.tunnels_count = rig.closes = 0;
	pair_new(rig.loop, rig.wires);
	pair_linger(rig.wires[0], LONG_MS);
	frames_init(&rig.peer, rig.loop, rig.wires[1], options->role == HB_H2_SERVER, 65535);
	rig.peer.keeps_settings = rig.peer_never_acknowledges;
	rig.h2 = hb_h2_new(rig.loop, rig.wires[0], options, &events, NULL);
	ck_assert_ptr_nonnull(rig.h2);
	settle();
}

void up(enum hb_h2_role role)
{
	up_with(&(struct hb_h2_options){ .role = role, .linger_ms = LONG_MS }, 0);
}

struct probe *open_tunnel(void)
{
	struct probe *probe = &rig.tunnels[rig.tunnels_count++];
	struct hb_stream *stream = hb_tunnel_open(rig.h2, &request);

	ck_assert_ptr_nonnull(stream);
	probe_init(probe, stream);
	return probe;
}

struct probe *last_tunnel(void)
{
	return &rig.tunnels[rig.tunnels_count - 1];
}

void down(void)
{
	if (rig.h2)
		hb_h2_close(rig.h2, policy);
	settle();
	probe_close(&rig.peer.probe, policy);
	ck_assert(turn_until(rig.loop, &rig.peer.probe.closes, 1, 100));
	ck_assert_msg(turn_until(rig.loop, &rig.closes, 1, 100), "the connection never ends");
	for (unsigned i = 0; i < rig.tunnels_count; i++) {
		ck_assert_msg(rig.tunnels[i].closes == 1, "tunnel %u never ends", i);
		ck_assert_msg(!rig.tunnels[i].broken, "tunnel %u: %s", i, rig.tunnels[i].broken);
		probe_done(&rig.tunnels[i]);
	}
	frames_done(&rig.peer);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(rig.loop)), 0);
	hb_loop_free(rig.loop);
}

void peer_stops_reading(void)
{
	pair_marks(rig.wires[1], 0, 1);
	probe_pause(&rig.peer.probe);
	frames_say(&rig.peer, FRAME_PING, 0, 0, "fill it!", 8);
	settle();
}

void peer_reads_on(void)
{
	probe_resume(&rig.peer.probe);
	settle();
}
