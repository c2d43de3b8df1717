/*
 * h2_nghttp2: what the files that see nghttp2 share: h2.c (the connection), h2_lower.c (bytes in),
 * h2_send.c (bytes out), h2_recv.c (nghttp2's callbacks) and h2_life.c (deadlines).
 */
#pragma once

#include "h2_internal.h"

#include <nghttp2/nghttp2.h>

/* What the PING behind a drain's notice carries: its answer comes a round trip after the notice. */
static const uint8_t h2_notice_ping[8] = "notice";

static inline nghttp2_session *h2_session(const struct hb_h2 *h2)
{
	return h2->session;
}

/* Something changed: look after it at the end of the turn. */
static inline void h2_wake_flush(struct hb_h2 *h2)
{
	hb_loop_defer(h2->loop, &h2->flush);
}

/* NULL: nobody's any more. Never a stream that was freed. */
static inline struct h2_stream *h2_stream_by_id(const struct hb_h2 *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2_session(h2), id);
}

/* h2_memory.c: what a session is made with; @memory outlives it. */
nghttp2_mem h2_memory_hooks(struct h2_memory *memory, struct hb_slabs *slabs);

/* h2_send.c */
ssize_t h2_on_read_length(nghttp2_session *session, uint8_t type, int32_t id,
                          int32_t session_window, int32_t stream_window, uint32_t frame_max,
                          void *user);
ssize_t h2_on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                   uint32_t *data_flags, nghttp2_data_source *source, void *user);
int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
                    size_t length, nghttp2_data_source *source, void *user);
/* The request of an exchange has gone: what was written before may follow. */
void h2_headers_sent(struct h2_stream *st);
/* A DATA frame has gone: there may be more to offer. */
void h2_data_sent(struct h2_stream *st);
/* Lets nghttp2 speak while the lower stream takes it. */
void h2_pump(struct hb_h2 *h2);

/* h2_lower.c */
extern const struct hb_stream_events h2_lower_events; /* owner: the connection */
void h2_on_go_on(struct hb_timer *timer);

/* h2_recv.c */
nghttp2_session_callbacks *h2_callbacks_new(void);  /* NULL: no memory */
int h2_status_of(const uint8_t *value, size_t len); /* three digits, or -1 */

/* h2_life.c */
void h2_life_look(struct hb_h2 *h2); /* acts on what is due, and sleeps until the next */
void h2_life_on_time(struct hb_timer *timer);
void h2_send_final_goaway(struct hb_h2 *h2); /* of a server that drains: the real last id; once */

/* h2.c */
void h2_fail(struct hb_h2 *h2, struct hb_end why); /* closes it, if nobody has */
void h2_stream_uncount(struct h2_stream *st);      /* it no longer counts against the limits */
