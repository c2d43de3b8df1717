/*
 * relay: joins two streams until both have ended: bytes both ways, back-pressure, half-close.
 * Knows nothing of what it joins, but that bulk between two sockets is spliced by the kernel where
 * SIGPIPE is not left at its default, which splice(2) would raise. Thread: the loop's own.
 *
 *   side A            side B   relay does                               reports
 *   data              open     write to B                               -
 *   data              full     pause A until B drained                  -
 *   finish            open     finish B after its backlog               -
 *   finish            finish   close both, cleanly                      clean
 *   closed, code < 0  open     close B now with A's end                 A's end, unchanged
 *   silence both ways, idle_ms abort both                               relay, us, HB_E_IDLE
 *   the same after one finish, half_closed_ms                           relay, us, HB_E_HALF_CLOSED
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/stream.h>

struct hb_relay;
/* Runs once, last, when both streams are gone (they are freed by the relay). */
typedef void (*hb_relay_done)(struct hb_relay *relay, struct hb_end why);

struct hb_relay_side {
	/* The stream, whose marks tell how far it has come; when both are gone, what came from it:
	 * the bytes, doubled, and 1. */
	uintptr_t at;
};

/* How long silence lasts, in ms, before both are aborted, once to twice; 0: for ever. Bytes count
 * as they come from either side, so a reader that has stopped is silence, too. */
struct hb_relay_limits {
	uint32_t idle_ms;
	uint32_t half_closed_ms; /* instead of idle_ms, once one side has finished, if shorter */
};

struct hb_relay_watch; /* what listens for silence */

/* What any number of relays share; the caller's, who keeps it until the last of them is done. */
struct hb_relay_group {
	hb_relay_done on_done;
	uint64_t a, b; /* bytes that came from their sides, counted as they come */
};

struct hb_relay { /* embedded by the caller, who keeps it until on_done */
	struct hb_relay_side a, b;
	union {
		struct hb_relay_watch *watch; /* NULL: nothing does */
		struct hb_end why;            /* ending */
	};
	struct hb_relay_group *group;
};

/* Takes both streams, open and paused, and their events. @limits NULL: none. */
void hb_relay_start(struct hb_relay *relay, struct hb_loop *loop, struct hb_stream *a,
                    struct hb_stream *b, const struct hb_relay_limits *limits,
                    struct hb_relay_group *group);
/* What has come from a side since its stream was made. */
uint64_t hb_relay_bytes(const struct hb_relay_side *side);
/* The stream of a side takes no more for now; not after on_done. */
bool hb_relay_is_full(const struct hb_relay_side *side);
/* Ends both with @why, which must have a code < 0; on_done follows. */
void hb_relay_abort(struct hb_relay *relay, struct hb_end why);
