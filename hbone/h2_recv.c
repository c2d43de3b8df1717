/*
 * h2_recv: nghttp2's callbacks: what the peer's frames mean to our streams. Streams are
 * put on lists that h2.c tells from when nghttp2 has returned; only a request is told at once, as
 * it may be answered from within a callback.
 */
#include "h2_nghttp2.h"

#include <string.h>

/* So many bufs, and one more for each so many bytes, may wait for an owner as they came. */
#define SCATTERED_BUFS  16
#define SCATTERED_BYTES 2048

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st;

	h2->listed = 0;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST || h2->options.role != HB_H2_SERVER)
		return 0;
	h2->asked = true;
	if (h2->lower_closed) /* who asked is gone, and may have asked for much */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	/* One that is gone still holds what nobody has read; nghttp2 was given no limit. */
	if (h2->close_asked || h2->streams_count + h2->gone_count >= h2->options.streams_max) {
		h2_guard_take(&h2->guard, HB_H2_REFUSED);
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
		                                NGHTTP2_REFUSED_STREAM);
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	st = h2_stream_new(h2, frame->hd.stream_id);
	if (!st)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, st);
	h2->changed = true;
	return 0;
}

int h2_status_of(const uint8_t *value, size_t len)
{
	int status = 0;

	if (len != 3)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -1;
		status = status * 10 + (value[i] - '0');
	}
	return status;
}

/*
 * RFC 9113 6.5.2: 32 bytes are counted for each field. What goes on above the limit is paid for by
 * its size: a few bytes of HPACK can ask for megabytes.
 */
static bool is_too_large(struct hb_h2 *h2, struct h2_stream *st, size_t field)
{
	uint64_t above = (uint64_t)h2->options.header_list_max + 1, before = h2->listed / above;

	h2->listed += field + 32;
	if (h2->listed / above > before) {
		st->too_large = true;
		h2_guard_take(&h2->guard, HB_H2_OVERSIZED);
	}
	return st->too_large;
}

/* What comes after the answer of an exchange. */
static bool has_trailers(const struct h2_stream *st)
{
	return st->exchange && st->state == H2_STREAM_OPEN && st->opened && !st->rx_finish;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, frame->hd.stream_id);

	if (!st || st->state == H2_STREAM_ENDED)
		return 0;
	if (h2->options.role == HB_H2_SERVER && frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers: nobody asks for them */
	if (h2->options.role == HB_H2_CLIENT && name_len == 7 && memcmp(name, ":status", 7) == 0) {
		h2_headers_clear(st); /* an earlier 1xx */
		if (st->busy)
			st->busy->status = (int16_t)h2_status_of(value, value_len);
	}
	if (is_too_large(h2, st, name_len + value_len) && h2_guard_is_flood(&h2->guard))
		return NGHTTP2_ERR_CALLBACK_FAILURE; /* what is left of the block may be long */
	if (st->too_large || (st->state != H2_STREAM_OPENING && !has_trailers(st)))
		return 0;
	if (h2_headers_add(st, name, name_len, value, value_len) < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static void request_came(struct hb_h2 *h2, struct h2_stream *st)
{
	static const struct hb_header too_large = { ":status", "431", 7, 3 };

	if (st->too_large) {
		hb_h2_respond(&st->stream, &too_large, 1, true);
		return;
	}
	h2->events->on_request(h2, &st->stream);
}

static void response_came(struct h2_stream *st)
{
	struct hb_end why = hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_H2);
	int status;

	if (has_trailers(st) && st->too_large)
		h2_abort(st, NGHTTP2_CANCEL, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_LIMIT));
	if (st->opened || st->state != H2_STREAM_OPENING)
		return;
	status = st->busy->status;
	if (status / 100 == 1)
		return;
	if ((status == 200 || (st->exchange && status >= 200)) && !st->too_large) {
		st->opened = true;
		if (st->busy->headers)
			st->busy->headers->answer = st->busy->headers->count;
		st->state = H2_STREAM_OPEN;
		hb_list_remove(&st->busy->ready);
		hb_list_add(&h2_of(st)->ready, &st->busy->ready);
		return;
	}
	if (st->too_large)
		why = hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_LIMIT);
	else if (status >= 0)
		why = hb_end(HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_STATUS(status));
	h2_abort(st, NGHTTP2_CANCEL, why);
}

/* 0, or -1 without memory. */
static int peer_finished(struct h2_stream *st)
{
	struct h2_busy *busy = h2_stream_busy(st);

	if (!busy)
		return -1;
	st->rx_finish = true;
	h2_window_look(st); /* it needs none any more */
	if (hb_list_is_empty(&busy->ready))
		hb_list_add(&h2_of(st)->ready, &busy->ready);
	return 0;
}

/* A code that only its sender knows (RFC 9113 7) is said as the last of ours. */
static struct hb_end end_of_code(uint32_t error_code)
{
	return hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_RST(hb_min_u32(error_code, 999)));
}

static void goaway_came(struct hb_h2 *h2, const nghttp2_frame *frame)
{
	h2->goaway_in = true;
	h2->changed = true;
	if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !h2->close_asked)
		h2->end = end_of_code(frame->goaway.error_code);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, frame->hd.stream_id);

	switch (frame->hd.type) {
	case NGHTTP2_DATA:
		h2_guard_data(&h2->guard, frame->hd.length, frame->hd.flags);
		break;
	case NGHTTP2_HEADERS:
		if (!st || st->state == H2_STREAM_ENDED)
			return 0;
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			request_came(h2, st);
		else if (h2->options.role == HB_H2_CLIENT)
			response_came(st);
		break;
	case NGHTTP2_GOAWAY:
		goaway_came(h2, frame);
		return 0;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) &&
		    memcmp(frame->ping.opaque_data, h2_notice_ping, sizeof(h2_notice_ping)) == 0)
			h2_send_final_goaway(h2);
		return 0;
	case NGHTTP2_RST_STREAM:
		if (st)
			st->rst_came = true;
		return 0;
	case NGHTTP2_SETTINGS:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			h2_window_settled(h2);
		else
			h2->settings_in = true;
		h2->changed = true;
		return 0;
	default:
		break;
	}
	if (st && st->state != H2_STREAM_ENDED && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    peer_finished(st) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                    size_t len, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, id);
	struct h2_busy *busy;
	struct hb_buf *view;

	(void)nghttp2_session_consume_connection(session, len);
	if (!st || st->state == H2_STREAM_CLOSING || st->state == H2_STREAM_ENDED)
		return 0;
	busy = h2_stream_busy(st);
	if (!busy)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	view = hb_buf_view(h2->in, (uint32_t)(data - h2->in->data), (uint32_t)len);
	if (!view)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	h2_guard_payload(&h2->guard, len);
	hb_bufq_push(&busy->rx, view);
	h2_window_came(st, len);
	/* A window of tiny frames must not pin a slot for each. */
	if (busy->rx.bufs > SCATTERED_BUFS + busy->rx.bytes / SCATTERED_BYTES)
		hb_bufq_compact(&busy->rx);
	if (hb_list_is_empty(&busy->ready))
		hb_list_add(&h2->ready, &busy->ready);
	return 0;
}

/* What we send tells of the peer as well. */
static void weigh_sent(struct hb_h2 *h2, const nghttp2_frame *frame)
{
	struct h2_stream *st = h2_stream_by_id(h2, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_DATA)
		h2_guard_payload(&h2->guard, frame->hd.length);
	if (frame->hd.type != NGHTTP2_RST_STREAM || (st && st->rst_sent))
		return;
	switch (frame->rst_stream.error_code) {
	case NGHTTP2_PROTOCOL_ERROR: /* nghttp2 found a breach: as good as a reset of the peer's */
	case NGHTTP2_FLOW_CONTROL_ERROR:
	case NGHTTP2_STREAM_CLOSED:
		h2_guard_take(&h2->guard, HB_H2_RESETS);
		break;
	default:
		break;
	}
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, frame->hd.stream_id);

	weigh_sent(h2, frame);
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
	    h2->end.code == 0)
		h2->end = hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_H2);
	if (!st || st->state == H2_STREAM_ENDED ||
	    (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (st->busy)
		st->busy->asked = true;
	if (frame->hd.type == NGHTTP2_DATA)
		h2_data_sent(st);
	else
		h2_headers_sent(st);
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	st->tx_finished = true;
	/* A refused request is told to stop sending; a closed stream whose backlog is out as well.
	 */
	if (st->reset_after_tx && !st->rx_finish)
		h2_reset(st, st->reset_code);
	return 0;
}

static struct hb_end end_of(struct hb_h2 *h2, struct h2_stream *st, uint32_t error_code)
{
	bool both = st->rx_finish && st->tx_finished;
	bool opening = st->state == H2_STREAM_OPENING && h2->options.role == HB_H2_CLIENT;

	if (error_code == NGHTTP2_NO_ERROR && both)
		return HB_END_CLEAN;
	/* Our own reset, after all was said, is how a clean close ends where the peer goes on. */
	if (st->state == H2_STREAM_CLOSING && st->tx_finished && st->rst_sent && !st->rst_came &&
	    error_code == st->reset_code)
		return st->end;
	/* RFC 9113 6.8 and 8.7: not processed, so another connection may be tried. */
	if (opening && h2->goaway_in && (error_code == NGHTTP2_REFUSED_STREAM || !st->busy->asked))
		return hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_GOAWAY);
	if (opening && !st->busy->asked) /* nghttp2 would not send it, and would not again */
		return h2->end.code < 0 ? h2->end : hb_end(HB_LAYER_H2, HB_SIDE_US, HB_E_LIMIT);
	if (opening && error_code == NGHTTP2_REFUSED_STREAM)
		return hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_REFUSED);
	return end_of_code(error_code);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, id);
	struct hb_end why;

	if (!st)
		return 0;
	(void)nghttp2_session_set_stream_user_data(session, id, NULL);
	why = end_of(h2, st, error_code);
	st->rst_sent = true; /* there is nothing left to reset */
	if (st->state != H2_STREAM_OPEN || error_code != NGHTTP2_NO_ERROR || !st->rx_finish) {
		h2_stream_end(st, why);
		return 0;
	}
	/* The peer's last bytes may still wait for an owner that is paused. They are told first; a
	 * stream that both have finished then waits for its owner's close. */
	st->end = why;
	st->gone = true;
	h2->gone_count++;
	if (st->busy)
		hb_bufq_clear(&st->busy->tx);
	h2_stream_uncount(st);
	if (st->finish_told && !st->tx_finished)
		h2_stream_end(st, st->end);
	return 0;
}

nghttp2_session_callbacks *h2_callbacks_new(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_data_source_read_length_callback(cb, h2_on_read_length);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_on_send_data);
	return cb;
}
