/*
 * frames: HTTP/2 by hand.
 */
#include "support/frames.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
	return at + 4;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void frames_say(struct frames *frames, enum frame_type type, uint8_t flags, uint32_t id,
                const void *payload, uint32_t len)
{
	uint8_t *frame = malloc(HB_FRAME_HEADER + len);

	if (!frame)
		abort();
	put32(frame, len << 8 | (uint32_t)type);
	frame[4] = flags;
	put32(frame + 5, id);
	if (len)
		memcpy(frame + HB_FRAME_HEADER, payload, len);
	probe_write(&frames->probe, frames->loop, frame, HB_FRAME_HEADER + len, HB_BUF_READ_MAX);
	free(frame);
}

void frames_init(struct frames *frames, struct hb_loop *loop, struct hb_stream *wire, bool client,
                 uint32_t window)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t settings[6] = { 0, 4 }; /* SETTINGS_INITIAL_WINDOW_SIZE */

	*frames = (struct frames){ .loop = loop };
	probe_init(&frames->probe, wire);
	probe_resume(&frames->probe);
	if (client)
		probe_write(&frames->probe, loop, preface, sizeof(preface) - 1, 100);
	put32(settings + 2, window);
	frames_say(frames, FRAME_SETTINGS, 0, 0, settings, sizeof(settings));
}

void frames_done(struct frames *frames)
{
	probe_done(&frames->probe);
}

static void heard(struct frames *frames, enum frame_type type, uint8_t flags, uint32_t id,
                  const uint8_t *payload, uint32_t len)
{
	if (type < FRAME_TYPES)
		frames->counts[type]++;
	if ((type == FRAME_DATA || type == FRAME_HEADERS) && (flags & FLAG_END_STREAM))
		frames->end_stream = true;
	switch (type) {
	case FRAME_DATA:
		frames->data_bytes += len;
		if (len > frames->data_longest)
			frames->data_longest = len;
		if (frames->on_data)
			frames->on_data(frames, id, payload, len);
		break;
	case FRAME_HEADERS:
		frames->headers_id = id;
		break;
	case FRAME_RST_STREAM:
		frames->rst_id = id;
		frames->rst_code = get32(payload);
		break;
	case FRAME_SETTINGS:
		if (!(flags & FLAG_ACK) && !frames->keeps_settings)
			frames_say(frames, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
		break;
	case FRAME_PING:
		if (!(flags & FLAG_ACK) && !frames->keeps_pings)
			frames_say(frames, FRAME_PING, FLAG_ACK, 0, payload, len);
		break;
	case FRAME_GOAWAY:
		frames->goaway_last = get32(payload);
		frames->goaway_code = get32(payload + 4);
		break;
	case FRAME_WINDOW_UPDATE:
		if (id == 0)
			frames->credit += get32(payload);
		break;
	default:
		break;
	}
}

void frames_look(struct frames *frames)
{
	const struct probe *probe = &frames->probe;

	/* What a client says begins with its preface. */
	if (frames->parsed == 0 && probe->len > 0 && probe->data[0] == 'P') {
		if (probe->len < 24)
			return;
		frames->parsed = 24;
	}
	while (probe->len - frames->parsed >= HB_FRAME_HEADER) {
		const uint8_t *at = probe->data + frames->parsed;
		uint32_t len = get32(at) >> 8;

		if (probe->len - frames->parsed < HB_FRAME_HEADER + len)
			return;
		frames->parsed += HB_FRAME_HEADER + len;
		heard(frames, at[3], at[4], get32(at + 5), at + HB_FRAME_HEADER, len);
	}
}

void frames_take_long(struct frames *frames, uint32_t frame_max)
{
	uint8_t settings[6] = { 0, 5 };

	put32(settings + 2, frame_max);
	frames_say(frames, FRAME_SETTINGS, 0, 0, settings, sizeof(settings));
}

/* HPACK, RFC 7541: literals without indexing, names from the static table. */
void frames_request(struct frames *frames, uint32_t id)
{
	static const char block[] = "\x02\x07"
				    "CONNECT"
				    "\x01\x0b"
				    "10.0.0.1:80";

	frames_say(frames, FRAME_HEADERS, FLAG_END_HEADERS, id, block, sizeof(block) - 1);
}

void frames_answer(struct frames *frames, uint32_t id, int status, uint8_t flags)
{
	const char *block = status == 200 ? "\x88"
	                                  : "\x08\x03"
	                                    "503";

	frames_say(frames, FRAME_HEADERS, FLAG_END_HEADERS | flags, id, block,
	           (uint32_t)strlen(block));
}

void frames_rst(struct frames *frames, uint32_t id, uint32_t code)
{
	uint8_t payload[4];

	put32(payload, code);
	frames_say(frames, FRAME_RST_STREAM, 0, id, payload, sizeof(payload));
}

void frames_goaway(struct frames *frames, uint32_t last_id, uint32_t code)
{
	uint8_t payload[8];

	put32(put32(payload, last_id), code);
	frames_say(frames, FRAME_GOAWAY, 0, 0, payload, sizeof(payload));
}

void frames_credit(struct frames *frames, uint32_t id, uint32_t bytes)
{
	uint8_t payload[4];

	put32(payload, bytes);
	frames_say(frames, FRAME_WINDOW_UPDATE, 0, id, payload, sizeof(payload));
}
