/*
 * h2_send: how payload becomes frames, and frames records.
 */
#include "h2_nghttp2.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

/* Payloads below this are gathered into a shared record: a copy is cheaper than a record. */
#define GATHER_BELOW 4096u
/* What one flush hands to the lower stream before others get their turn. */
#define FLUSH_MAX (256u * 1024)
/* How long to wait for a buffer when the pool's bound is reached. */
#define RETRY_MS 10u

/*
 * nghttp2 asks for payload while it holds an item for the stream, 150 bytes that a silent stream
 * does without: the item is made when there is something to send and goes with the last of it.
 */
static void offer(struct h2_stream *st)
{
	nghttp2_data_provider body = { .read_callback = h2_on_read };
	bool some = h2_tx_bytes(st) || (st->tx_finish && !st->tx_finished);
	int err;

	/* nghttp2 takes none for a stream that it has not begun yet. */
	if (st->tx_offered || !some ||
	    (st->exchange && st->state == H2_STREAM_OPENING && !st->busy->asked))
		return;
	err = nghttp2_submit_data(h2_session(h2_of(st)), NGHTTP2_FLAG_END_STREAM, (int32_t)st->id,
	                          &body);
	st->tx_offered = err == 0;
	if (err == NGHTTP2_ERR_NOMEM)
		h2_abort(st, NGHTTP2_INTERNAL_ERROR, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
}

void h2_wake(struct h2_stream *st)
{
	struct hb_h2 *h2 = h2_of(st);

	offer(st);
	h2_wake_flush(h2);
}

void h2_headers_sent(struct h2_stream *st)
{
	if (st->exchange && st->state != H2_STREAM_ENDED)
		offer(st);
}

void h2_data_sent(struct h2_stream *st)
{
	if (!st->tx_taken)
		return;
	st->tx_taken = st->tx_offered = false;
	if (st->state != H2_STREAM_ENDED)
		offer(st);
	h2_stream_rest(st);
}

void h2_reset(struct h2_stream *st, uint32_t code)
{
	if (st->rst_sent)
		return;
	st->rst_sent = true;
	st->reset_code = code & 15; /* none of ours is larger: RFC 9113 7 */
	(void)nghttp2_submit_rst_stream(h2_session(h2_of(st)), NGHTTP2_FLAG_NONE, st->id, code);
	h2_wake_flush(h2_of(st));
}

/*
 * nghttp2 goes on with the stream until its RST_STREAM is out, which takes as long as the lower
 * stream is full. It asks by id from then on, and finds nobody.
 */
void h2_abort(struct h2_stream *st, uint32_t code, struct hb_end why)
{
	h2_reset(st, code);
	(void)nghttp2_session_set_stream_user_data(h2_session(h2_of(st)), st->id, NULL);
	h2_stream_end(st, why);
}

static void seal_open(struct hb_h2 *h2)
{
	if (h2->open)
		hb_bufq_push(&h2->out, hb_take(&h2->open));
}

/* Appends to the gathered record. 0, or -ENOMEM with nothing appended that was not whole. */
static int gather(struct hb_h2 *h2, const uint8_t *data, size_t len)
{
	while (len > 0) {
		size_t n;

		if (h2->open && h2->open->len == HB_BUF_PAYLOAD)
			seal_open(h2);
		if (!h2->open)
			h2->open = hb_buf_new(hb_loop_pool(h2->loop));
		if (!h2->open)
			return -ENOMEM;
		n = hb_min_size(len, HB_BUF_PAYLOAD - h2->open->len);
		memcpy(h2->open->data + h2->open->len, data, n);
		h2->open->len += (uint32_t)n;
		data += n;
		len -= n;
	}
	return 0;
}

static bool fits_in_place(const struct hb_buf *buf)
{
	return buf->len >= GATHER_BELOW && buf->len <= HB_BUF_READ_MAX &&
	       hb_buf_is_sole_owner(buf) &&
	       hb_buf_headroom(buf) >= HB_FRAME_HEADER + HB_TLS_HEADER &&
	       hb_buf_tailroom(buf) >= HB_TLS_TRAILER;
}

/* Bytes of the first bufs of @buf that go in place and together have at most @most. */
static size_t run_in_place(const struct hb_buf *buf, size_t most)
{
	size_t n = 0;

	for (; buf && n + buf->len <= most && fits_in_place(buf); buf = buf->next)
		n += buf->len;
	return n;
}

/*
 * How long a frame may be. Where many streams have much to send, nghttp2 takes one frame of each in
 * turn, and what its far side sends on to its app at once is as much as lies there in a row. So a
 * frame is as long as the peer takes, and is several records. A stream with little to say waits for
 * one of each of the others at most.
 */
ssize_t h2_on_read_length(nghttp2_session *session, uint8_t type, int32_t id,
                          int32_t session_window, int32_t stream_window, uint32_t frame_max,
                          void *user)
{
	return hb_min_u32(frame_max, HB_H2_FRAME_MAX); /* nghttp2 itself looks at the windows */
}

/* nghttp2 asks how much goes into the next frame. */
ssize_t h2_on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                   uint32_t *data_flags, nghttp2_data_source *source, void *user)
{
	struct h2_stream *st = h2_stream_by_id(user, id);
	const struct hb_buf *head;
	size_t n;

	if (!st || st->state == H2_STREAM_ENDED)
		return NGHTTP2_ERR_DEFERRED;
	head = st->busy ? st->busy->tx.head : NULL;
	*data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	n = run_in_place(head, length);
	length = hb_min_size(length, HB_BUF_READ_MAX);
	if (!head || n > 0) {
		/* our end alone, or bufs that each become a record */
	} else if (head->len >= length) {
		n = length;
	} else {
		/* Small ones share a frame, up to the next that goes in place. */
		for (n = head->len, head = head->next;
		     head && n + head->len <= length && !fits_in_place(head); head = head->next)
			n += head->len;
	}
	if (n == h2_tx_bytes(st)) {
		st->tx_taken = true;
		*data_flags |= NGHTTP2_DATA_FLAG_EOF;
		if (!st->tx_finish)
			*data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	}
	return (ssize_t)n;
}

/* nghttp2 would go on while windows allow, past what the lower stream may take. */
static int enough(struct hb_h2 *h2)
{
	h2->more = h2->out.bytes >= FLUSH_MAX;
	return h2->more ? NGHTTP2_ERR_PAUSE : 0;
}

/* The header goes in front of the first; each is a record. */
static void send_in_place(struct hb_h2 *h2, struct hb_bufq *tx, const uint8_t *framehd,
                          size_t length)
{
	struct hb_buf *head = hb_bufq_shift(tx);

	seal_open(h2);
	length -= head->len;
	head->data -= HB_FRAME_HEADER;
	head->len += HB_FRAME_HEADER;
	memcpy(head->data, framehd, HB_FRAME_HEADER);
	hb_bufq_push(&h2->out, head);
	while (length > 0) {
		head = hb_bufq_shift(tx);
		length -= head->len;
		hb_bufq_push(&h2->out, head);
	}
}

int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
                    size_t length, nghttp2_data_source *source, void *user)
{
	struct hb_h2 *h2 = user;
	struct h2_stream *st = h2_stream_by_id(h2, frame->hd.stream_id);
	struct hb_bufq none = { 0 }, *tx;

	/* The frame may have waited for a buffer, and its stream may have been reset meanwhile. */
	if (!st || st->state == H2_STREAM_ENDED)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	tx = st->busy ? &st->busy->tx : &none;
	assert(tx->bytes >= length);
	if (st->state == H2_STREAM_CLOSING)
		h2_stream_linger(st);
	if (length > 0 && run_in_place(tx->head, length) == length) {
		send_in_place(h2, tx, framehd, length);
		return enough(h2);
	}
	/* Room for all of it first: a frame must not be left half written. */
	if (h2->open && h2->open->len + HB_FRAME_HEADER + length > HB_BUF_PAYLOAD)
		seal_open(h2);
	if (gather(h2, framehd, HB_FRAME_HEADER) < 0) {
		hb_loop_timer_start(h2->loop, &h2->retry, RETRY_MS);
		return NGHTTP2_ERR_WOULDBLOCK;
	}
	while (length > 0) {
		size_t n = hb_min_size(length, tx->head->len);
		int err = gather(h2, tx->head->data, n);

		assert(err == 0); /* the record had room for the whole frame */
		(void)err;
		hb_bufq_consume(tx, n);
		length -= n;
	}
	return enough(h2);
}

/*
 * The first frame out of a server is its SETTINGS, of which MAX_CONCURRENT_STREAMS is the last
 * entry. nghttp2 was given one that is never reached: once the peer has acknowledged the limit it
 * takes a stream too many for a breach of the whole connection, where RFC 9113 5.1.2 has that
 * stream alone refused. The limit is written here and kept in h2_recv.c.
 */
static void grant_streams(struct hb_h2 *h2)
{
	uint32_t max = htonl(h2->options.streams_max);

	if (h2->settings_out || h2->options.role != HB_H2_SERVER)
		return;
	h2->settings_out = true;
	memcpy(h2->open->data + h2->open->len - sizeof(max), &max, sizeof(max));
}

void h2_pump(struct hb_h2 *h2)
{
	const uint8_t *data;
	ssize_t n = 0;

	h2->more = false;
	while (!h2->lower_full && !h2->lower_closed && !h2->more) {
		n = nghttp2_session_mem_send(h2_session(h2), &data);
		if (n <= 0)
			break;
		if (gather(h2, data, (size_t)n) < 0) {
			n = NGHTTP2_ERR_NOMEM;
			break;
		}
		grant_streams(h2);
	}
	seal_open(h2);
	if (h2->out.head && h2->lower_closed)
		hb_bufq_clear(&h2->out);
	else if (h2->out.head)
		hb_stream_write(h2->lower, hb_bufq_take(&h2->out));
	if (h2->more)
		h2_wake_flush(h2);
	if (n < 0)
		h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_US,
		                   n == NGHTTP2_ERR_NOMEM ? -ENOMEM : HB_E_H2));
}
