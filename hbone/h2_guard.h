/*
 * h2_guard: counts a peer's HTTP/2 frames by kind, and says when it floods.
 *
 * Every kind has a budget. A frame takes one from it; time and useful work (requests answered,
 * payload carried) put some back. So a flood ends after a bounded number of frames, and a peer that
 * works may be as chatty as its work is, at any rate.
 *
 * It also says how much is served in one turn of the loop, so that a peer with many small frames
 * holds nobody up.
 *
 * It walks the frame headers itself: what nghttp2 passes over (unknown frames, frames of streams
 * that are gone) costs as well. What only nghttp2's callbacks know is told by take().
 *
 * Pure: bytes and the time are given. Knows nothing of streams, nghttp2 and what is done about it.
 */
#pragma once

#include <hbone/h2.h>

struct h2_guard {
	struct hb_h2_counters counters;
	uint64_t refilled_ms;
	uint64_t block_ms; /* when the header block began that is not whole yet; 0: none */
	int32_t left[HB_H2_KINDS];
	int32_t turn_left; /* work; the frame that makes it negative is served yet */
	uint32_t skip;     /* bytes of a payload, or of the preface, that are still to come */
	uint8_t head[9];   /* a frame header that came in pieces */
	uint8_t head_len;
	bool block_ends; /* with the payload that comes */
};

void h2_guard_init(struct h2_guard *guard, enum hb_h2_role role, uint64_t now_ms);
/*
 * The next bytes of the connection, whole frames or not. How many of them to serve in this turn:
 * all, or up to the end of a frame. When it floods, none are to be served.
 */
size_t h2_guard_frames(struct h2_guard *guard, const uint8_t *data, size_t len, uint64_t now_ms);
/* One of a kind that the bytes alone do not show. */
void h2_guard_take(struct h2_guard *guard, enum hb_h2_kind kind);
/* A DATA frame has reached its stream: until then it counts as stray. */
void h2_guard_data(struct h2_guard *guard, size_t len, uint8_t flags);
/* Somebody else (nghttp2) has found a flood of @kind. */
void h2_guard_blame(struct h2_guard *guard, enum hb_h2_kind kind);
/* A new turn of the loop: frames may be served again. */
void h2_guard_turn(struct h2_guard *guard);
/* Useful: a request was accepted (server) or sent (client); payload came or went in one frame. */
void h2_guard_request(struct h2_guard *guard);
/* A request was answered, and with no (server): so many are useful, for all kinds but this. */
void h2_guard_denied(struct h2_guard *guard);
void h2_guard_payload(struct h2_guard *guard, size_t len);

static inline bool h2_guard_is_flood(const struct h2_guard *guard)
{
	return guard->counters.flood >= 0;
}
