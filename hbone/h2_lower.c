/*
 * h2_lower: what the peer's bytes do: the stream below, and how much of it is served in a turn.
 *
 * Frames cost the same whether anybody gains by them or not, and a turn of the loop is everybody's:
 * so a connection is served so much work a turn (h2_guard.c), and what is left then is held until
 * the next (its timers may come first: then twice as much in one). Meanwhile the stream below is
 * paused, so no more than one turn's reading is ever held.
 */
#include "h2_nghttp2.h"

/* Frames that wait to be sent, data left out; and so many more for each stream that may live. */
#define QUEUE_MAX        1000u
#define QUEUE_STREAM_MAX 8u

static struct hb_h2 *h2_of_lower(const struct hb_stream *lower)
{
	return lower->owner;
}

static void flooded(struct hb_h2 *h2)
{
	h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_FLOOD));
}

/* The bytes of @buf that were served: all, but when the turn's work is done. */
static size_t receive(struct hb_h2 *h2, struct hb_buf *buf)
{
	size_t len = h2_guard_frames(&h2->guard, buf->data, buf->len, h2->last_in_ms);
	ssize_t n;

	if (h2_guard_is_flood(&h2->guard)) {
		flooded(h2);
		return len;
	}
	h2->in = buf;
	n = nghttp2_session_mem_recv(h2_session(h2), buf->data, len);
	h2->in = NULL;
	/* nghttp2's own limit: of the answers to PING and SETTINGS that the peer does not read. */
	if (n == NGHTTP2_ERR_FLOODED)
		h2_guard_blame(&h2->guard, HB_H2_PINGS);
	if (h2_guard_is_flood(&h2->guard))
		flooded(h2);
	else if (n == NGHTTP2_ERR_NOMEM || n == NGHTTP2_ERR_CALLBACK_FAILURE)
		h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
	else if (n < 0)
		h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_H2));
	return len;
}

/* Serves what is held, as long as the turn has work left. */
static void serve(struct hb_h2 *h2)
{
	while (h2->unserved.head && !h2->closing && !h2->close_asked) {
		struct hb_buf *buf = h2->unserved.head;
		size_t len = buf->len, served = receive(h2, buf);

		if (served < len) {
			hb_bufq_consume(&h2->unserved, served);
			break;
		}
		hb_buf_free(hb_bufq_shift(&h2->unserved));
	}
	if (h2->closing || h2->close_asked)
		hb_bufq_clear(&h2->unserved);
	h2_window_weigh(h2);
	/* A peer that asks and asks and never reads: nghttp2 would keep every answer. */
	if (nghttp2_session_get_outbound_queue_size(h2_session(h2)) >
	    QUEUE_MAX + QUEUE_STREAM_MAX * (size_t)h2->options.streams_max)
		h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_LIMIT));
	h2_wake_flush(h2);
}

void h2_on_go_on(struct hb_timer *timer)
{
	struct hb_h2 *h2 = hb_container_of(timer, struct hb_h2, go_on);

	h2_guard_turn(&h2->guard);
	serve(h2);
	if (h2->unserved.bytes)
		hb_loop_timer_start(h2->loop, &h2->go_on, 0);
	else
		hb_stream_resume(h2->lower);
}

static void lower_on_data(struct hb_stream *lower, struct hb_buf *chain)
{
	struct hb_h2 *h2 = h2_of_lower(lower);

	h2->last_in_ms = hb_loop_now_ms(h2->loop);
	h2->ping_sent_ms = 0;
	h2_guard_turn(&h2->guard);
	hb_bufq_push(&h2->unserved, chain);
	serve(h2);
	if (h2->unserved.bytes) {
		hb_stream_pause(h2->lower);
		hb_loop_timer_start(h2->loop, &h2->go_on, 0);
	}
}

/*
 * Nothing comes any more: what came in time is heard, whatever it costs. That is little: a request
 * that cannot be answered is not told (h2_recv.c), and there may be thousands of them.
 */
static void serve_rest(struct hb_h2 *h2)
{
	hb_loop_timer_stop(h2->loop, &h2->go_on);
	while (h2->unserved.bytes) {
		h2_guard_turn(&h2->guard);
		serve(h2);
	}
}

/* What a GOAWAY with an error said already is why the connection ends, however it then does. */
static struct hb_end why_ended(const struct hb_h2 *h2, struct hb_end why)
{
	return h2->end.code < 0 ? h2->end : why;
}

static void lower_on_finish(struct hb_stream *lower)
{
	struct hb_h2 *h2 = h2_of_lower(lower);

	h2_fail(h2,
	        why_ended(h2, h2->streams_count ? hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED)
	                                        : HB_END_CLEAN));
}

static void lower_on_full(struct hb_stream *lower)
{
	struct hb_h2 *h2 = h2_of_lower(lower);

	h2->lower_full = true;
	h2->full_ms = hb_loop_now_ms(h2->loop);
}

static void lower_on_drained(struct hb_stream *lower)
{
	struct hb_h2 *h2 = h2_of_lower(lower);

	h2->lower_full = false;
	h2->full_ms = 0;
	h2_wake_flush(h2);
}

static void lower_on_closed(struct hb_stream *lower, struct hb_end why)
{
	struct hb_h2 *h2 = h2_of_lower(lower);

	h2->lower_closed = true;
	serve_rest(h2);
	if (why.code == 0 && h2->streams_count)
		why = hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED);
	h2_fail(h2, why_ended(h2, why));
	h2_wake_flush(h2); /* also when it was closing already */
}

const struct hb_stream_events h2_lower_events = {
	.on_data = lower_on_data,
	.on_finish = lower_on_finish,
	.on_full = lower_on_full,
	.on_drained = lower_on_drained,
	.on_closed = lower_on_closed,
};
