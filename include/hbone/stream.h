/*
 * stream: the byte pipe that everybody speaks: tcp, tls, tunnel, and the pair in memory of the
 * tests. relay joins any two of them.
 *
 * Life: a stream is made in opening or open state. Opening streams (a tunnel that waits for its
 * 200, a TLS handshake) say on_open once, or on_closed. Each side's bytes end with finish; a stream
 * ends with close, and tells so by on_closed: once, as its last event, also when the owner asked.
 * Only in or after on_closed may hb_stream_free() be called.
 *
 * Rules for owners
 *  - set events before the loop runs again; write and finish only after on_open (streams that are
 *    made open say no on_open).
 *  - write takes the chain whatever happens. It never refuses: on_full asks the owner to stop, and
 *    on_drained to go on. A stream that is written to while full stays correct, but grows.
 *  - close(clean) flushes what was written, finishes if that was not done, drops what still comes
 *    and ends when the peer has finished too, or after the linger time. close(code < 0) drops the
 *    backlog and ends at once; tcp answers with RST, a tunnel with RST_STREAM.
 *  - reading is off until the first resume(). paused streams deliver no on_data and no on_finish.
 *  - close while closing is allowed; the first reason stands, unless the second is an abort.
 *
 * Rules for implementations
 *  - no event runs inside an operation; each is told from the loop.
 *  - after an event that may close or free, do not touch the stream without asking for its state.
 *
 * Thread: the loop's own.
 */
#pragma once

#include <hbone/buf.h>
#include <hbone/error.h>

struct hb_stream;

struct hb_stream_ops {
	void (*write)(struct hb_stream *s, struct hb_buf *chain);
	void (*finish)(struct hb_stream *s);
	void (*pause)(struct hb_stream *s);
	void (*resume)(struct hb_stream *s);
	void (*close)(struct hb_stream *s, struct hb_end why);
	void (*free)(struct hb_stream *s);
};

struct hb_stream_events {
	void (*on_open)(struct hb_stream *s); /* may be NULL */
	void (*on_data)(struct hb_stream *s,
	                struct hb_buf *chain);   /* gives the chain, never empty */
	void (*on_finish)(struct hb_stream *s);  /* the peer's last byte has come */
	void (*on_full)(struct hb_stream *s);    /* backlog passed the high mark */
	void (*on_drained)(struct hb_stream *s); /* and is below the low one */
	void (*on_closed)(struct hb_stream *s, struct hb_end why); /* once, last */
};

struct hb_stream {
	const struct hb_stream_ops *ops;
	const struct hb_stream_events *events;
	void *owner;            /* the events' user sets it and alone reads it */
	uint64_t bytes_in : 56; /* delivered by on_data so far, or past it */
	uint64_t marks : 8;     /* the events' user's too; 0 at first */
};

static inline void hb_stream_write(struct hb_stream *s, struct hb_buf *chain)
{
	s->ops->write(s, chain);
}

static inline void hb_stream_finish(struct hb_stream *s)
{
	s->ops->finish(s);
}

static inline void hb_stream_pause(struct hb_stream *s)
{
	s->ops->pause(s);
}

static inline void hb_stream_resume(struct hb_stream *s)
{
	s->ops->resume(s);
}

static inline void hb_stream_close(struct hb_stream *s, struct hb_end why)
{
	s->ops->close(s, why);
}

/* Takes NULL. Only after on_closed. */
static inline void hb_stream_free(struct hb_stream *s)
{
	if (s)
		s->ops->free(s);
}

/* For a stream that nobody wants any more: frees it when it is closed. Set events and close it. */
extern const struct hb_stream_events hb_stream_orphan_events;
