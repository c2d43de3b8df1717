/*
 * h2: one HTTP/2 connection over a stream (RFC 9113), in either role. Each request is a stream: of
 * a tunnel (CONNECT), or, asked by a client alone, an exchange that ends with trailers.
 *
 * Payload goes out in place: a buffer that may be framed gets its nine bytes in front and becomes
 * one record below; small payloads are gathered into a shared record per turn (reference/dataplane
 * 8.2, 8.3). A frame may be several records, HB_H2_FRAME_MAX bytes at most where the peer takes so
 * much (RFC 9113 4.2), and we take so much: what lies in a row is sent on at once. A stream's
 * credit is given back only while it is not paused; the connection's on receipt (8.4). Windows
 * start at HB_H2_WINDOW_FIRST and grow with demand (8.6).
 *
 * Memory: what comes is held at most as far as windows go. So streams that nobody reads hold no
 * more than HB_H2_WINDOW_FIRST each, and grown_max together. The credit of the connection does not
 * depend on them: however many stand still, the others go on.
 *
 * Ownership: hb_h2 owns the lower stream. Thread: the loop's own.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/stream.h>

#define HB_H2_WINDOW_FIRST (256u * 1024)
#define HB_H2_FRAME_MAX    (48u * 1024) /* three records: a packet of 64 KiB holds no fourth */

struct hb_h2;

struct hb_header {
	const char *name, *value; /* names in lower case */
	size_t name_len, value_len;
};

enum hb_h2_role { HB_H2_CLIENT, HB_H2_SERVER };

struct hb_h2_options { /* zero: the default in brackets; reference/datapath 1.6 */
	enum hb_h2_role role;
	uint32_t stream_window;     /* the most a stream's window may grow to [4 MiB] */
	uint32_t connection_window; /* [16 MiB] */
	uint32_t grown_max;         /* bytes that windows may grow in all, at most 15 MiB [8 MiB] */
	uint32_t header_list_max;   /* bytes [16384 client, 65536 server] */
	uint32_t streams_max;       /* granted (server) or opened at most (client) [1000, 750] */
	uint32_t ping_interval_ms;  /* [10000] */
	uint32_t ping_timeout_ms;   /* [20000] */
	bool ping_streams_only; /* no PING while there is no stream: servers of gRPC mind [false] */
	uint32_t linger_ms;     /* what a stream's clean close waits without progress [5000] */
	uint32_t begin_ms;      /* for the peer's first SETTINGS, for a header block [5000] */
	uint32_t first_stream_ms; /* server: drained when nothing was asked by then [never] */
};

/* What a peer may only send so much of, unless it works; the limits are in h2_guard.c. */
enum hb_h2_kind {
	HB_H2_RESETS, /* RST_STREAM, and breaches that made us send one */
	HB_H2_SETTINGS,
	HB_H2_PINGS,
	HB_H2_PRIORITIES,
	HB_H2_WINDOW_UPDATES,
	HB_H2_EMPTY_DATA,
	HB_H2_STRAY_DATA, /* for streams that are gone */
	HB_H2_HEADERS,    /* and CONTINUATION */
	HB_H2_OVERSIZED,  /* header_list_max bytes of a list that is larger; answered 431 */
	HB_H2_REFUSED,    /* requests above streams_max; each is answered REFUSED_STREAM */
	HB_H2_DENIED,     /* requests that were answered with anything but 200 */
	HB_H2_UNKNOWN,
	HB_H2_KINDS,
};

struct hb_h2_counters {
	uint64_t frames;            /* that came */
	uint64_t seen[HB_H2_KINDS]; /* of them */
	int flood;                  /* the kind that ended the connection, or -1 */
};

struct hb_h2_events {
	/* Server: a request's headers have come. The stream is the callee's: set its events, and
	 * answer with hb_h2_respond() now or later. It may also be closed in here, and so may the
	 * connection. NULL in a client. */
	void (*on_request)(struct hb_h2 *h2, struct hb_stream *stream);
	/* Room, drain state or the number of streams changed. May be NULL. */
	void (*on_change)(struct hb_h2 *h2);
	/* Once, last, after every stream's on_closed; then hb_h2_free() it. */
	void (*on_closed)(struct hb_h2 *h2, struct hb_end why);
};

/*
 * A peer that floods is told GOAWAY(ENHANCE_YOUR_CALM), and the connection ends with {h2, peer,
 * HB_E_FLOOD}; one that stops halfway, or never reads, ends with {h2, peer, HB_E_STALLED}.
 * Takes @lower (its on_open must have come), also on failure (NULL).
 */
struct hb_h2 *hb_h2_new(struct hb_loop *loop, struct hb_stream *lower,
                        const struct hb_h2_options *options, const struct hb_h2_events *events,
                        void *owner);
void *hb_h2_owner(const struct hb_h2 *h2);
struct hb_stream *hb_h2_lower(const struct hb_h2 *h2);
void hb_h2_free(struct hb_h2 *h2); /* only after on_closed; takes NULL */

/*
 * Client: asks for a stream; NULL: no room, draining, or no memory. It says on_open when the answer
 * is 200; any other final status closes it with {tunnel, peer, HB_E_STATUS(n)}.
 */
struct hb_stream *hb_h2_request(struct hb_h2 *h2, const struct hb_header *headers, size_t count);
/*
 * Client: a request that is not CONNECT (RFC 9113 8.1): @headers begin with :method, :scheme,
 * :authority and :path. As above, but it may be written to and finished at once, before on_open;
 * which comes with any final status, that of ":status". Headers and trailers stay until the stream
 * is freed.
 */
struct hb_stream *hb_h2_exchange(struct hb_h2 *h2, const struct hb_header *headers, size_t count);
/* Server: the answer; the stream is open from here on unless @end (no body follows). */
void hb_h2_respond(struct hb_stream *stream, const struct hb_header *headers, size_t count,
                   bool end);
/* A header of the request, until it is answered, or of the response, until on_open has returned;
 * NULL: there is none. */
const struct hb_header *hb_h2_header(const struct hb_stream *stream, const char *name);
/* The next line of that name after @line, which is of @stream; NULL: there is none. */
const struct hb_header *hb_h2_header_next(const struct hb_stream *stream,
                                          const struct hb_header *line);
/* Of an exchange, from on_finish on: the trailers' first line of that name (RFC 9113 8.1), or NULL.
 */
const struct hb_header *hb_h2_trailer(const struct hb_stream *stream, const char *name);
struct hb_h2 *hb_h2_of(const struct hb_stream *stream); /* NULL once on_closed was told */

uint32_t hb_h2_streams(const struct hb_h2 *h2);
/* Streams that could be opened now; 0 once GOAWAY was sent or received. */
uint32_t hb_h2_room(const struct hb_h2 *h2);
/* The peer's SETTINGS have come: the room is what it grants, and no guess. */
bool hb_h2_has_settings(const struct hb_h2 *h2);
bool hb_h2_is_draining(const struct hb_h2 *h2);
bool hb_h2_has_goaway(const struct hb_h2 *h2);                       /* the peer's has come */
const struct hb_h2_counters *hb_h2_counters(const struct hb_h2 *h2); /* lives with @h2 */
const char *hb_h2_kind_name(enum hb_h2_kind kind);
/*
 * No new streams; those that live go on; closes when the last is gone. A server says so twice
 * (RFC 9113 6.8); a peer that does not answer in between is waited for a second.
 */
void hb_h2_drain(struct hb_h2 *h2);
/*
 * Ends all streams now: with @why, or, when that is clean, with HB_E_CANCELLED. A clean close
 * spares those that have come to their end and only wait to be read. The first reason stands,
 * unless the second is an abort.
 */
void hb_h2_close(struct hb_h2 *h2, struct hb_end why);
