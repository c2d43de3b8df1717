/*
 * h2_rig: our HTTP/2 in either role over a pair, and a peer written by hand at the other end. One
 * rig at a time: a program is one table of rows.
 */
#pragma once

#include <hbone/tunnel.h>

#include "support/frames.h"
#include "support/pair.h"

#define TUNNELS 64
#define LONG_MS 60000u /* longer than a test */

extern const struct hb_end policy; /* an abort of our own */

struct h2_rig {
	struct hb_loop *loop;
	struct hb_h2 *h2;           /* NULL once closed */
	struct hb_stream *wires[2]; /* ours, the peer's */
	struct frames peer;
	struct probe tunnels[TUNNELS];
	unsigned tunnels_count, closes;
	struct hb_end why;
	/* Set before rig_up(). */
	bool peer_never_acknowledges;
	void (*on_request)(struct hb_stream *stream); /* the tunnel is the last of tunnels */
};

extern struct h2_rig rig;

/* Turns until all has happened that can without waiting. */
void settle(void);
void up_with(const struct hb_h2_options *options, size_t slots_max);
void up(enum hb_h2_role role); /* with a linger time of LONG_MS */
struct probe *open_tunnel(void);
struct probe *last_tunnel(void);
/* The lower stream is full from the next byte on, as long as the peer does not read. */
void peer_stops_reading(void);
void peer_reads_on(void);
/* Ends what lives; checks the contract and the buffers. */
void down(void);
