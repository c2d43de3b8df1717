/*
 * h2_internal: what h2.c (the connection, nghttp2) and h2_stream.c (a stream's queues) share.
 */
#pragma once

#include <hbone/clutch.h>
#include <hbone/h2.h>
#include <hbone/list.h>

#include "h2_guard.h"

#define HB_H2_STREAM_HIGH (256u * 1024) /* backlog marks of one stream's outgoing bytes */
#define HB_H2_STREAM_LOW  (64u * 1024)

enum h2_stream_state {
	H2_STREAM_OPENING, /* client: asked; server: to be answered */
	H2_STREAM_OPEN,
	H2_STREAM_CLOSING, /* closed cleanly, or refused; what still comes is dropped */
	H2_STREAM_ENDED,   /* on_closed is due or told */
};

/* Kept until the request is answered, or its answer told; an exchange's as long as it is there. */
struct h2_headers {
	struct hb_header *list;
	char *text;
	uint32_t count, text_len, text_size, list_size;
	uint32_t answer; /* of an exchange that is open: those before its trailers */
};

struct h2_stream;

/* What only a stream needs that has something to say or to tell. */
struct h2_busy {
	struct h2_stream *st;
	struct hb_list ready; /* in h2->ready: has something to deliver */
	struct hb_list mark;  /* OPEN: in h2->marked, its backlog is or was high; CLOSING: in
	                         h2->lingering */
	struct hb_bufq tx, rx;
	struct h2_headers *headers; /* NULL: none */
	uint32_t linger_at_ms;      /* CLOSING: when its patience ends; the clock modulo 2^32 */
	int16_t status;             /* client, OPENING: of the response, 0 before */
	bool asked : 1;             /* client, OPENING: HEADERS were sent */
	bool full_told : 1;
};

#define H2_CHARGED_MAX 255u

struct h2_stream { /* in a clutch of its connection's */
	struct hb_stream stream;
	struct h2_busy *busy; /* NULL: it is OPEN and silent; or it was, and has ended */
	union {
		struct {
			uint32_t window;      /* what we grant now */
			uint32_t since_grown; /* bytes told since it became so */
		};
		struct hb_end end; /* CLOSING, ENDED or gone: h2_stream_has_window() no more */
	};
	uint64_t id : 31;
	uint64_t charged : 8; /* of h2->grown */
	uint64_t state : 2;
	uint64_t place : 4;      /* in its clutch */
	uint64_t reset_code : 4; /* of our RST_STREAM, sent or to be sent once the backlog is out */
	bool paused : 1;
	bool rx_finish : 1;
	bool finish_told : 1;
	bool tx_finish : 1;   /* asked for */
	bool tx_finished : 1; /* END_STREAM was sent */
	bool tx_offered : 1;  /* nghttp2 holds an item, and will ask for what there is to send */
	bool tx_taken : 1;    /* it has asked for the last of it: the item goes with this frame */
	bool open_told : 1;
	bool opened : 1;
	bool rst_sent : 1;
	bool too_large : 1;
	bool gone : 1; /* nghttp2 has closed it, but its last bytes or finish are not told yet */
	bool rst_came : 1; /* the peer has reset it */
	bool reset_after_tx : 1;
	bool exchange : 1; /* hb_h2_exchange() asked for it */
};

struct h2_memory { /* nghttp2's */
	struct hb_slabs *slabs;
	struct h2_mapped {
		void *at; /* NULL: none */
		size_t bytes;
	} mapped[2]; /* its one large buffer, and the larger one that takes its place */
};

struct hb_h2 {
	struct hb_loop *loop;
	struct hb_stream *lower;
	void *session;           /* nghttp2's */
	struct h2_memory memory; /* and some of what it allocates */
	const struct hb_h2_events *events;
	void *owner;
	struct hb_h2_options options;
	struct hb_clutches streams; /* marked: they have ended, which is to be told */
	struct hb_list ready, marked;
	struct hb_list later;     /* ready again, once the others have had their share */
	struct hb_list lingering; /* all wait equally long: the first is the first due */
	struct hb_task flush;
	struct hb_timer life, retry; /* retry: no buffer was to be had */
	struct hb_timer ends;        /* runs: of those on ended, this turn's are told */
	struct hb_timer linger;      /* for the first of lingering */
	struct hb_buf *open;         /* the record that small frames are gathered in, or NULL */
	struct hb_bufq out;          /* records for the lower stream */
	struct hb_buf *in;           /* the buffer that nghttp2 is reading now */
	struct hb_bufq unserved;     /* came, and waits for the next turn; the lower is paused */
	struct hb_timer go_on;       /* runs while something is unserved */
	struct h2_guard guard;
	uint64_t listed; /* bytes of the header list that is coming */
	/* When, on the loop's clock. 0: not, or not any more */
	uint64_t born_ms, last_in_ms, ping_sent_ms;
	uint64_t full_ms;       /* the lower stream is full since */
	uint64_t drain_ms;      /* server: the first of two GOAWAY went out */
	uint32_t streams_count; /* those that are not gone or ended */
	uint32_t gone_count;
	uint32_t first_told; /* the first window of a stream that the peer was told last */
	size_t unread;       /* bytes on all streams' rx */
	uint32_t grown;      /* what streams may hold above their first windows: h2_window.c */
	struct hb_end end;
	bool lower_full, lower_closed, close_asked, closing, closed_told, changed;
	bool abort_asked, abort_lower; /* by hb_h2_close(): ends what a clean close spares */
	bool draining, goaway_in, final_goaway;
	bool settings_in, asked; /* the peer's came; it has begun a request */
	bool settings_out;       /* ours are in the first record */
	bool more;               /* a flush stopped before nghttp2 had said all */
};

static inline struct h2_stream *h2_stream_of(const struct hb_stream *s)
{
	return hb_container_of(s, struct h2_stream, stream);
}

static inline struct hb_clutch *h2_clutch_of(const struct h2_stream *st)
{
	return hb_clutch_of(st, st->place, sizeof(*st));
}

/* Whose it is, until on_closed was told. */
static inline struct hb_h2 *h2_of(const struct h2_stream *st)
{
	return hb_container_of(hb_clutch_set(h2_clutch_of(st)), struct hb_h2, streams);
}

/* Where not, nothing comes any more, or it is dropped; and how it ends stands in its place. */
static inline bool h2_stream_has_window(const struct h2_stream *st)
{
	return st->state <= H2_STREAM_OPEN && !st->gone;
}

static inline uint32_t h2_tx_bytes(const struct h2_stream *st)
{
	return st->busy ? st->busy->tx.bytes : 0;
}

static inline uint32_t h2_rx_bytes(const struct h2_stream *st)
{
	return st->busy ? st->busy->rx.bytes : 0;
}

/* h2_window.c */
void h2_window_begin(struct h2_stream *st);
void h2_window_came(struct h2_stream *st, size_t bytes); /* they are on rx */
void h2_window_took(struct h2_stream *st, size_t bytes); /* its owner has: they are off rx */
void h2_window_drop(struct h2_stream *st);               /* nobody will: clears rx */
void h2_window_weigh(struct hb_h2 *h2);                  /* does much stand unread? */
void h2_window_settled(struct hb_h2 *h2);  /* the peer has acknowledged our settings */
void h2_window_look(struct h2_stream *st); /* what it holds, or may come to hold, has changed */
void h2_window_end(struct h2_stream *st);  /* it holds nothing any more */

/* h2_stream.c */
struct h2_stream *h2_stream_new(struct hb_h2 *h2, int32_t id);
void h2_stream_delete(struct h2_stream *st);
/* What it is busy with; NULL: no memory. Never so before it is OPEN, nor while it is CLOSING. */
struct h2_busy *h2_stream_busy(struct h2_stream *st);
/* If it is silent now it keeps nothing for it. */
void h2_stream_rest(struct h2_stream *st);
int h2_headers_add(struct h2_stream *st, const uint8_t *name, size_t name_len, const uint8_t *value,
                   size_t value_len);
void h2_headers_clear(struct h2_stream *st);
/* Sees to it that what waits to be heard is told, if its owner listens. */
void h2_stream_look(struct h2_stream *st);
/* Tells data, finish and open that wait. */
void h2_stream_deliver(struct h2_stream *st);
/* Tells full or drained as the backlog asks. */
void h2_stream_mark(struct h2_stream *st);
/* CLOSING: it has made progress, and its patience begins anew. */
void h2_stream_linger(struct h2_stream *st);
void h2_on_linger_time(struct hb_timer *timer);

/* h2.c, for h2_stream.c: each is a few lines over nghttp2 */
void h2_wake(struct h2_stream *st);                          /* there is something to send */
void h2_reset(struct h2_stream *st, uint32_t code);          /* submits RST_STREAM, once */
void h2_stream_end(struct h2_stream *st, struct hb_end why); /* on_closed will be told */
/* Resets it, and ends it for its owner now, whether or not the peer takes the news. */
void h2_abort(struct h2_stream *st, uint32_t code, struct hb_end why);
