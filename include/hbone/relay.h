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
	struct hb_stream *stream;
	uint64_t bytes : 60;   /* that came from this side */
	uint64_t ending : 1;   /* of side a: both are to end */
	uint64_t finished : 1; /* its last byte has come */
	uint64_t closed : 1;
	uint64_t full : 1;
};

/* How long silence lasts, in ms, before both are aborted, once to twice; 0: for ever. Bytes count
 * as they come from either side, so a reader that has stopped is silence, too. */
struct hb_relay_limits {
	uint32_t idle_ms;
	uint32_t half_closed_ms; /* instead of idle_ms, once one side has finished, if shorter */
};

struct hb_relay_watch; /* what listens for silence */

struct hb_relay_totals { /* of any number of relays */
	uint64_t a, b;   /* bytes that came from their sides */
};

struct hb_relay { /* embedded by the caller, who keeps it until on_done */
	struct hb_relay_side a, b;
	union {
		struct hb_relay_watch *watch; /* NULL: nothing does */
		struct hb_end why;            /* ending */
	};
	struct hb_relay_totals *totals; /* counts its bytes, too, as they come; NULL: nobody does.
	                                   The owner's, who sets it once the relay has started */
	hb_relay_done on_done;
};

/* Takes both streams, open and paused, and their events. @limits NULL: none. */
void hb_relay_start(struct hb_relay *relay, struct hb_loop *loop, struct hb_stream *a,
                    struct hb_stream *b, const struct hb_relay_limits *limits,
                    hb_relay_done on_done);
/* Ends both with @why, which must have a code < 0; on_done follows. */
void hb_relay_abort(struct hb_relay *relay, struct hb_end why);
