/*
 * frames: a peer of HTTP/2 written by hand, frame by frame, that says what no library would let it
 * say, and remembers what it was told. It sits on the far end of a stream that carries HTTP/2.
 *
 * It answers SETTINGS and PING, unless it is told not to; else it does only what it is asked.
 */
#pragma once

#include "support/probe.h"

enum frame_type { /* RFC 9113 6 */
	          FRAME_DATA = 0,
	          FRAME_HEADERS = 1,
	          FRAME_RST_STREAM = 3,
	          FRAME_SETTINGS = 4,
	          FRAME_PING = 6,
	          FRAME_GOAWAY = 7,
	          FRAME_WINDOW_UPDATE = 8,
	          FRAME_TYPES = 10,
};
enum { FLAG_ACK = 1, FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4 };

struct frames {
	struct probe probe; /* of the stream; data is what was heard */
	struct hb_loop *loop;
	size_t parsed;                    /* of probe.data */
	bool keeps_pings, keeps_settings; /* answers none */
	unsigned counts[FRAME_TYPES];
	/* The last of their kind. */
	uint32_t rst_id, rst_code, goaway_last, goaway_code, headers_id;
	uint64_t data_bytes;
	uint32_t data_longest; /* of a frame */
	/* Set after frames_init(), or NULL: told each DATA frame. */
	void (*on_data)(struct frames *frames, uint32_t id, const uint8_t *payload, uint32_t len);
	uint64_t credit; /* for the connection, granted since the preface */
	bool end_stream; /* on any stream */
};

/* Takes @wire, open. @client: it says the preface, too. @window: its initial stream window. */
void frames_init(struct frames *frames, struct hb_loop *loop, struct hb_stream *wire, bool client,
                 uint32_t window);
void frames_done(struct frames *frames);
/* Reads what has come; answers SETTINGS and PING. */
void frames_look(struct frames *frames);

void frames_say(struct frames *frames, enum frame_type type, uint8_t flags, uint32_t id,
                const void *payload, uint32_t len);
/* SETTINGS_MAX_FRAME_SIZE. */
void frames_take_long(struct frames *frames, uint32_t frame_max);
/* A CONNECT to 10.0.0.1:80, without END_STREAM. */
void frames_request(struct frames *frames, uint32_t id);
void frames_answer(struct frames *frames, uint32_t id, int status, uint8_t flags); /* 200 or 503 */
void frames_rst(struct frames *frames, uint32_t id, uint32_t code);
void frames_goaway(struct frames *frames, uint32_t last_id, uint32_t code);
/* For a stream, or for the connection (0). */
void frames_credit(struct frames *frames, uint32_t id, uint32_t bytes);
