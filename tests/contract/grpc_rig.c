/*
 * grpc_rig: see the header.
 */
#include "contract/grpc_rig.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/any_loop.h"

struct grpc_rig rig;

static void on_open(void *ctx)
{
	struct heard *heard = ctx;

	ck_assert(heard->call && !heard->ends);
	heard->opens++;
}

static void on_message(void *ctx, uint8_t *bytes, size_t size)
{
	struct heard *heard = ctx;

	ck_assert(heard->call && !heard->ends && bytes);
	free(heard->last);
	heard->last = bytes;
	heard->last_size = size;
	heard->bytes += size;
	heard->messages++;
	if (heard->pauses)
		grpc_call_pause(heard->call);
	if (heard->answers)
		ck_assert(grpc_call_send(heard->call, "ack", 3));
	if (heard->cancels)
		grpc_call_cancel(hb_take(&heard->call));
	if (heard->closes) {
		heard->call = NULL;
		grpc_channel_close(hb_take(&rig.channel), NULL, NULL);
	}
}

static void on_end(void *ctx, const struct grpc_status *status)
{
	struct heard *heard = ctx;

	ck_assert(heard->call && !heard->ends);
	ck_assert_uint_lt(strlen(status->message), sizeof(heard->text));
	strcpy(heard->text, status->message);
	heard->status = *status;
	heard->ends++;
	heard->call = NULL;
	if (heard->calls_at_end)
		(void)call();
	if (heard->closes_at_end)
		grpc_channel_close(hb_take(&rig.channel), NULL, NULL);
}

static const struct grpc_events events = {
	.on_open = on_open,
	.on_message = on_message,
	.on_end = on_end,
};

static struct hb_stream *make_lower(void *ctx)
{
	rig.connections++;
	ck_assert_uint_eq(rig.connections, 1); /* a row has one connection */
	return rig.wires[0];
}

void settle(void)
{
	for (int i = 0; i < 6; i++) {
		turn_some(rig.loop, 3);
		frames_look(&rig.server);
	}
}

static void count_close(void *owner)
{
	rig.closes++;
}

void rig_setup_with(struct grpc_channel_config config, uint32_t window)
{
	char why[256];

	rig.loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(rig.loop);
	rig = (struct grpc_rig){ .loop = rig.loop };
	pair_new(rig.loop, rig.wires);
	frames_init(&rig.server, rig.loop, rig.wires[1], false, window);
	config.url = "https://127.0.0.1:15012";
	config.roots = "SYSTEM";
	rig.channel = grpc_channel_new(rig.loop, &config, why, sizeof(why));
	ck_assert_msg(rig.channel != NULL, "%s", why);
	rig.channel->make_lower = make_lower;
}

void rig_setup(void)
{
	rig_setup_with((struct grpc_channel_config){ .cluster_id = "c1" }, 65535);
}

void rig_teardown(void)
{
	if (rig.channel) {
		grpc_channel_close(rig.channel, count_close, NULL);
		for (unsigned i = 0; i < rig.calls_count; i++)
			rig.calls[i].call = NULL; /* cancelled with it */
		settle();
	}
	if (!rig.connections) { /* the pair's end is nobody's */
		rig.wires[0]->events = &hb_stream_orphan_events;
		hb_stream_close(rig.wires[0], hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
	}
	probe_close(&rig.server.probe, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
	ck_assert(turn_until(rig.loop, &rig.server.probe.closes, 1, 100));
	if (rig.channel)
		ck_assert_msg(turn_until(rig.loop, &rig.closes, 1, 100),
		              "the channel never rig.closes");
	turn_some(rig.loop, 6);
	frames_done(&rig.server);
	for (unsigned i = 0; i < rig.calls_count; i++)
		free(rig.calls[i].last);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(rig.loop)), 0);
	hb_loop_free(rig.loop);
}

struct heard *call_with(struct grpc_call_options options)
{
	struct heard *heard = &rig.calls[rig.calls_count++];

	heard->call = grpc_call_new(rig.channel, "/p.S/M", &options, &events, heard);
	ck_assert_ptr_nonnull(heard->call);
	return heard;
}

struct heard *call(void)
{
	return call_with((struct grpc_call_options){ 0 });
}

void say_headers(void)
{
	SAY(FRAME_HEADERS, FLAG_END_HEADERS, 1, OK TYPE);
}

void check_end(const struct heard *heard, enum grpc_kind kind, int code, const char *text)
{
	ck_assert_msg(heard->ends == 1, "it has not ended");
	ck_assert_msg(heard->status.kind == kind && heard->status.code == code, "%s %d: %s",
	              grpc_kind_name(heard->status.kind), heard->status.code, heard->text);
	ck_assert_msg(strstr(heard->text, text) != NULL, "\"%s\"", heard->text);
}
