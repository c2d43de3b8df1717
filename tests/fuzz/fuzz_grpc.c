/*
 * fuzz_grpc: a server's bytes. Even inputs: messages and status texts by themselves. Odd ones:
 * frames of HTTP/2 to a call, whose owner pauses, goes on, sends and cancels; however that goes,
 * the call has one end, and nothing is left.
 */
#include <stdlib.h>
#include <string.h>

#include "control/grpc_internal.h"
#include "fuzz/input.h"
#include "support/frames.h"
#include "support/pair.h"

#define MESSAGE_MAX 3000u
#define ACTIONS     64
#define MESSAGES    1024u /* more than fit into an input */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* ---- texts ---- */

static void read_messages(struct input *in)
{
	struct grpc_reader reader = { .max = MESSAGE_MAX };
	size_t piece = 1u + input_byte(in), came = 0;
	enum grpc_read got = GRPC_READ_ALL;

	while (in->left && (got == GRPC_READ_ALL || got == GRPC_READ_MESSAGE)) {
		const uint8_t *at = in->at;
		size_t len = hb_min_size(piece, in->left), size;
		uint8_t *message;

		came += len;
		in->at += len;
		in->left -= len;
		do {
			got = grpc_reader_take(&reader, &at, &len, &message, &size);
			if (got != GRPC_READ_MESSAGE)
				break;
			assert(message && size <= MESSAGE_MAX && size <= came);
			free(message);
		} while (len > 0);
		assert(reader.room <= 2 * came + 4096 && reader.len <= reader.room);
		assert(got > GRPC_READ_MESSAGE || len == 0);
	}
	grpc_reader_done(&reader);
}

static void read_texts(const struct input *in)
{
	const char *text = (const char *)in->at;
	char out[64];
	size_t n = grpc_message_decode(text, in->left, out, sizeof(out));

	assert(n < sizeof(out) && strlen(out) == n);
	for (size_t i = 0; i < n; i++)
		assert(out[i] >= ' ' && out[i] <= '~');
	assert(grpc_status_decode(text, in->left) >= -1);
}

/* ---- a call ---- */

static struct {
	struct hb_stream *wires[2];
	struct frames server;
	struct grpc_call *call; /* NULL once it is gone */
	unsigned ends, closes;
	uint8_t manners; /* of the owner */
} world;

static void on_message(void *ctx, uint8_t *message, size_t size)
{
	assert(world.call && message && size <= MESSAGE_MAX);
	free(message);
	if (world.manners & 1)
		grpc_call_pause(world.call);
	if (world.manners & 2)
		(void)grpc_call_send(world.call, "ack", 3);
	if (world.manners & 4)
		grpc_call_cancel(hb_take(&world.call));
}

static void on_end(void *ctx, const struct grpc_status *status)
{
	assert(world.call && status->kind < GRPC_END_KINDS);
	for (const char *c = status->message; *c; c++)
		assert(*c >= ' ' && *c <= '~');
	world.call = NULL;
	world.ends++;
}

static void on_closed(void *owner)
{
	world.closes++;
}

static struct hb_stream *make_lower(void *ctx)
{
	return world.wires[0];
}

static void act(struct input *in)
{
	static const enum frame_type types[] = { FRAME_DATA,       FRAME_HEADERS, FRAME_DATA,
		                                 FRAME_RST_STREAM, FRAME_GOAWAY,  FRAME_PING };
	uint8_t what = input_byte(in), flags = input_byte(in);
	uint32_t len = (uint32_t)hb_min_size(input_byte(in), in->left);

	if (what % 8 < HB_ARRAY_LEN(types)) {
		frames_say(&world.server, types[what % 8],
		           flags & (FLAG_END_STREAM | FLAG_END_HEADERS), what % 8 >= 4 ? 0 : 1,
		           in->at, len);
		in->at += len;
		in->left -= len;
	} else if (world.call && what % 8 == 6) {
		grpc_call_resume(world.call);
	} else if (world.call) {
		grpc_call_finish(world.call);
	}
	if (what & 0x80)
		input_turn(2);
}

static void call_server(struct input *in)
{
	static const struct grpc_events events = { .on_message = on_message, .on_end = on_end };
	struct grpc_channel_config config = { .url = "https://127.0.0.1:1", .roots = "SYSTEM" };
	const struct grpc_call_options options = { .max_message = MESSAGE_MAX };
	struct grpc_channel *channel;
	bool cancels;
	char why[256];

	memset(&world, 0, sizeof(world));
	world.manners = input_byte(in);
	cancels = world.manners & 4;
	pair_new(input_loop(), world.wires);
	frames_init(&world.server, input_loop(), world.wires[1], false, 65535);
	channel = grpc_channel_new(input_loop(), &config, why, sizeof(why));
	assert(channel);
	channel->make_lower = make_lower;
	world.call = grpc_call_new(channel, "/p.S/M", &options, &events, NULL);
	assert(world.call);
	input_turn(3);
	for (int i = 0; i < ACTIONS && in->left; i++)
		act(in);
	input_turn(6);
	probe_close(&world.server.probe, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
	/* One message for each time, where its owner pauses. */
	for (unsigned i = 0; i < MESSAGES && world.call; i++) {
		grpc_call_resume(world.call);
		input_turn(6);
	}
	assert(!world.call && (world.ends == 1 || cancels));
	grpc_channel_close(channel, on_closed, NULL);
	input_turn(12);
	assert(world.closes == 1);
	frames_done(&world.server);
	assert(hb_buf_pool_slots_out(hb_loop_pool(input_loop())) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { bytes, len };

	if (input_byte(&in) % 2) {
		call_server(&in);
	} else {
		read_texts(&in);
		read_messages(&in);
	}
	return 0;
}
