/*
 * h2_stream: one HTTP/2 stream as a stream of bytes: its queues, marks, pause and end.
 *
 *   OPENING --200 / respond--> OPEN --close(clean)--> CLOSING --+
 *      |                         |                              | nghttp2 closes the stream, abort,
 *      +-------------------------+------------------------------+ lost patience, connection's end
 *                                v
 *                              ENDED --on_closed--> the owner frees it
 */
#include "h2_internal.h"

#include <string.h>

/* RFC 9113 7 */
enum { NO_ERROR = 0, INTERNAL_ERROR = 2, CANCEL = 8, CONNECT_ERROR = 10 };

/* What a stream that was held up gives at a time. */
#define SHARE_BYTES (256u * 1024)

static const struct hb_stream_ops ops;

struct h2_busy *h2_stream_busy(struct h2_stream *st)
{
	struct h2_busy *busy = st->busy;

	if (busy)
		return busy;
	busy = hb_slab_get(hb_loop_slabs(h2_of(st)->loop), sizeof(*busy));
	if (!busy)
		return NULL;
	busy->st = st;
	hb_list_init(&busy->ready);
	hb_list_init(&busy->mark);
	st->busy = busy;
	return busy;
}

static void busy_free(struct h2_stream *st)
{
	struct h2_busy *busy = st->busy;

	if (!busy)
		return;
	hb_list_remove(&busy->ready);
	hb_list_remove(&busy->mark);
	hb_bufq_clear(&busy->tx);
	hb_bufq_clear(&busy->rx);
	h2_headers_clear(st);
	hb_slab_put(busy);
	st->busy = NULL;
}

void h2_stream_rest(struct h2_stream *st)
{
	const struct h2_busy *busy = st->busy;
	bool tells = st->rx_finish && !st->finish_told;

	if (busy && st->state == H2_STREAM_OPEN && !tells && !busy->tx.head && !busy->rx.head &&
	    !busy->headers && hb_list_is_empty(&busy->ready) && hb_list_is_empty(&busy->mark))
		busy_free(st);
}

struct h2_stream *h2_stream_new(struct hb_h2 *h2, int32_t id)
{
	unsigned place;
	struct h2_stream *st = hb_clutch_get(&h2->streams, &place);

	if (!st)
		return NULL;
	st->stream.ops = &ops;
	st->place = place & 15;
	st->id = (uint32_t)id & INT32_MAX;
	st->paused = true;
	if (!h2_stream_busy(st)) {
		hb_clutch_put(h2_clutch_of(st), st->place, sizeof(*st));
		return NULL;
	}
	h2_window_begin(st);
	h2->streams_count++;
	return st;
}

void h2_stream_delete(struct h2_stream *st)
{
	busy_free(st);
	hb_clutch_put(h2_clutch_of(st), st->place, sizeof(*st));
}

int h2_headers_add(struct h2_stream *st, const uint8_t *name, size_t name_len, const uint8_t *value,
                   size_t value_len)
{
	uint32_t need = (uint32_t)(name_len + value_len);
	struct h2_busy *busy = h2_stream_busy(st); /* trailers may come to a silent one */
	struct h2_headers *headers = busy ? busy->headers : NULL;
	struct hb_header *header;

	if (busy && !headers)
		headers = busy->headers = calloc(1, sizeof(*headers));
	if (!headers)
		return -ENOMEM;
	if (headers->count == headers->list_size) {
		uint32_t size = headers->list_size ? headers->list_size * 2 : 8;
		struct hb_header *list = realloc(headers->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		headers->list = list;
		headers->list_size = size;
	}
	if (headers->text_size - headers->text_len < need) {
		uint32_t size = (headers->text_size + need) * 2;
		char *text = realloc(headers->text, size);

		if (!text)
			return -ENOMEM;
		/* The list points into the text, which may have moved. */
		for (uint32_t i = 0; i < headers->count; i++) {
			header = &headers->list[i];
			header->value = text + (header->value - headers->text);
			header->name = text + (header->name - headers->text);
		}
		headers->text = text;
		headers->text_size = size;
	}
	header = &headers->list[headers->count++];
	header->name = headers->text + headers->text_len;
	header->name_len = name_len;
	memcpy(headers->text + headers->text_len, name, name_len);
	header->value = header->name + name_len;
	header->value_len = value_len;
	memcpy(headers->text + headers->text_len + name_len, value, value_len);
	headers->text_len += need;
	return 0;
}

void h2_headers_clear(struct h2_stream *st)
{
	struct h2_headers *headers = st->busy ? hb_take(&st->busy->headers) : NULL;

	if (!headers)
		return;
	free(headers->list);
	free(headers->text);
	free(headers);
}

/* The first from number @i on, before number @end. */
static const struct hb_header *find_header(const struct h2_headers *headers, uint32_t i,
                                           uint32_t end, const char *name, size_t len)
{
	for (; headers && i < end; i++)
		if (headers->list[i].name_len == len &&
		    memcmp(headers->list[i].name, name, len) == 0)
			return &headers->list[i];
	return NULL;
}

static const struct h2_headers *headers_of(const struct h2_stream *st)
{
	return st->busy ? st->busy->headers : NULL;
}

/* How many are not trailers. */
static uint32_t answer_count(const struct h2_stream *st)
{
	const struct h2_headers *headers = headers_of(st);

	if (!headers)
		return 0;
	return st->exchange && st->opened ? headers->answer : headers->count;
}

const struct hb_header *hb_h2_header(const struct hb_stream *stream, const char *name)
{
	const struct h2_stream *st = h2_stream_of(stream);

	return find_header(headers_of(st), 0, answer_count(st), name, strlen(name));
}

const struct hb_header *hb_h2_trailer(const struct hb_stream *stream, const char *name)
{
	const struct h2_stream *st = h2_stream_of(stream);
	const struct h2_headers *headers = headers_of(st);

	return find_header(headers, answer_count(st), headers ? headers->count : 0, name,
	                   strlen(name));
}

const struct hb_header *hb_h2_header_next(const struct hb_stream *stream,
                                          const struct hb_header *line)
{
	const struct h2_stream *st = h2_stream_of(stream);
	const struct h2_headers *headers = headers_of(st);
	uint32_t i = (uint32_t)(line - headers->list), answer = answer_count(st);

	return find_header(headers, i + 1, i < answer ? answer : headers->count, line->name,
	                   line->name_len);
}

static bool is_listening(const struct h2_stream *st)
{
	return st->state == H2_STREAM_OPEN && !st->paused;
}

void h2_stream_look(struct h2_stream *st)
{
	bool waits = h2_rx_bytes(st) || (st->rx_finish && !st->finish_told);

	/* What waits keeps it busy. */
	if (!is_listening(st) || !waits || !hb_list_is_empty(&st->busy->ready))
		return;
	hb_list_add(&h2_of(st)->ready, &st->busy->ready);
	hb_loop_defer(h2_of(st)->loop, &h2_of(st)->flush);
}

static bool is_tight(const struct h2_stream *st)
{
	return hb_buf_pool_is_tight(hb_loop_pool(h2_of(st)->loop));
}

/* The owner has to see that its far side is full before it is given more. */
static struct hb_buf *take_share(struct h2_stream *st)
{
	uint32_t most = is_tight(st) ? HB_BUF_TIGHT_HIGH : SHARE_BYTES;
	struct hb_bufq *rx = &st->busy->rx;
	struct hb_bufq share = { 0 };

	if (rx->bytes <= most)
		return hb_bufq_take(rx);
	while (rx->head && share.bytes < most)
		hb_bufq_push(&share, hb_bufq_shift(rx));
	return hb_bufq_take(&share);
}

/* It may be given back, but not freed, by the owner in these. */
static void deliver(struct h2_stream *st)
{
	struct hb_buf *chain;
	size_t bytes;

	if (st->state == H2_STREAM_OPEN && st->opened && !st->open_told) {
		st->open_told = true;
		/* It may have been resumed before, and what to hear may have come with the answer.
		 */
		h2_stream_look(st);
		if (st->stream.events->on_open)
			st->stream.events->on_open(&st->stream);
		if (!st->exchange)
			h2_headers_clear(st);
		return;
	}
	if (!is_listening(st))
		return;
	if (h2_rx_bytes(st)) {
		chain = take_share(st);
		bytes = hb_buf_chain_bytes(chain);
		st->stream.bytes_in += bytes;
		h2_window_took(st, bytes);
		if (h2_rx_bytes(st))
			hb_list_add(&h2_of(st)->later, &st->busy->ready);
		else if (st->rx_finish)
			hb_list_add(&h2_of(st)->ready, &st->busy->ready);
		st->stream.events->on_data(&st->stream, chain);
		return;
	}
	if (st->rx_finish && !st->finish_told) {
		st->finish_told = true;
		st->stream.events->on_finish(&st->stream);
		/* The peer reset it after its last byte: it takes no more of ours. */
		if (st->gone && !st->tx_finished)
			h2_stream_end(st, st->end);
	}
}

/* An exchange need not wait for the answer. */
static bool may_write(const struct h2_stream *st)
{
	return st->state == H2_STREAM_OPEN || (st->exchange && st->state == H2_STREAM_OPENING);
}

void h2_stream_deliver(struct h2_stream *st)
{
	deliver(st);
	h2_stream_rest(st);
}

static bool is_high(const struct h2_stream *st)
{
	return h2_tx_bytes(st) > (is_tight(st) ? HB_BUF_TIGHT_HIGH : HB_H2_STREAM_HIGH);
}

static bool is_low(const struct h2_stream *st)
{
	return h2_tx_bytes(st) <= (is_tight(st) ? HB_BUF_TIGHT_LOW : HB_H2_STREAM_LOW);
}

void h2_stream_mark(struct h2_stream *st)
{
	if (!may_write(st))
		return;
	if (!st->busy->full_told && is_high(st)) {
		st->busy->full_told = true;
		hb_list_add(&h2_of(st)->marked, &st->busy->mark);
		st->stream.events->on_full(&st->stream);
	} else if (st->busy->full_told && !is_low(st)) {
		hb_list_add(&h2_of(st)->marked, &st->busy->mark);
	} else if (st->busy->full_told) {
		st->busy->full_told = false;
		st->stream.events->on_drained(&st->stream);
	}
	h2_stream_rest(st);
}

static void stream_write(struct hb_stream *s, struct hb_buf *chain)
{
	struct h2_stream *st = h2_stream_of(s);
	struct h2_busy *busy;

	if (!may_write(st) || st->tx_finish || st->gone) {
		hb_buf_free_all(chain);
		return;
	}
	busy = h2_stream_busy(st);
	if (!busy) {
		hb_buf_free_all(chain);
		h2_abort(st, INTERNAL_ERROR, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
		return;
	}
	hb_bufq_push(&busy->tx, chain);
	if (is_high(st) && !busy->full_told && hb_list_is_empty(&st->busy->mark))
		hb_list_add(&h2_of(st)->marked, &st->busy->mark);
	h2_wake(st);
}

static void stream_finish(struct hb_stream *s)
{
	struct h2_stream *st = h2_stream_of(s);

	if (!may_write(st) || st->tx_finish || st->gone)
		return;
	st->tx_finish = true;
	h2_wake(st);
}

static void stream_pause(struct hb_stream *s)
{
	h2_stream_of(s)->paused = true;
}

static void stream_resume(struct hb_stream *s)
{
	struct h2_stream *st = h2_stream_of(s);

	st->paused = false;
	h2_stream_look(st);
}

/* RFC 9113 7: what the peer can learn from us about why. */
static uint32_t reset_code_of(struct hb_end why)
{
	switch (why.code) {
	case -ECONNRESET:
	case -EPIPE:
	case -ETIMEDOUT:
	case HB_E_USER_TIME:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ECONNREFUSED:
		return CONNECT_ERROR;
	default:
		return CANCEL;
	}
}

/*
 * The backlog goes first. A peer that has not finished then: RFC 9113 8.1 gives the server NO_ERROR
 * to tell it to stop. A client has only CANCEL, which would overtake what the peer has not read
 * yet; so it waits for the peer's end, as long as its patience lasts.
 */
static void close_cleanly(struct h2_stream *st)
{
	if (!h2_stream_busy(st)) {
		h2_abort(st, INTERNAL_ERROR, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
		return;
	}
	st->state = H2_STREAM_CLOSING;
	st->end = HB_END_CLEAN;
	st->tx_finish = true;
	h2_window_drop(st); /* nothing is told but the end from here on */
	st->reset_after_tx = h2_of(st)->options.role == HB_H2_SERVER && !st->rx_finish;
	st->reset_code = NO_ERROR;
	h2_stream_linger(st);
	if (st->tx_finished && st->reset_after_tx)
		h2_reset(st, NO_ERROR);
	else
		h2_wake(st);
}

static void stream_close(struct hb_stream *s, struct hb_end why)
{
	struct h2_stream *st = h2_stream_of(s);
	bool told_open = st->state == H2_STREAM_OPEN && (!st->opened || st->open_told);

	if (st->state == H2_STREAM_ENDED)
		return;
	if (st->gone)
		h2_stream_end(st, why.code < 0 ? why : st->end);
	else if (why.code < 0)
		h2_abort(st, reset_code_of(why), why);
	else if (told_open)
		close_cleanly(st);
	else if (st->state != H2_STREAM_CLOSING)
		h2_abort(st, CANCEL, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_CANCELLED));
}

void h2_stream_linger(struct h2_stream *st)
{
	struct hb_h2 *h2 = h2_of(st);

	st->busy->linger_at_ms = (uint32_t)hb_loop_now_ms(h2->loop) + h2->options.linger_ms;
	hb_list_remove(&st->busy->mark);
	hb_list_add(&h2->lingering, &st->busy->mark);
	if (!hb_timer_is_running(&h2->linger))
		hb_loop_timer_start(h2->loop, &h2->linger, h2->options.linger_ms);
}

/* All was taken: what the peer still had to say is not our loss. */
static void lose_patience(struct h2_stream *st)
{
	uint32_t code = h2_of(st)->options.role == HB_H2_SERVER ? NO_ERROR : CANCEL;

	if (st->tx_finished)
		h2_abort(st, code, st->end);
	else
		h2_abort(st, CANCEL, hb_end(HB_LAYER_H2, HB_SIDE_PEER, -ETIMEDOUT));
}

void h2_on_linger_time(struct hb_timer *timer)
{
	struct hb_h2 *h2 = hb_container_of(timer, struct hb_h2, linger);
	uint32_t now_ms = (uint32_t)hb_loop_now_ms(h2->loop);

	while (!hb_list_is_empty(&h2->lingering)) {
		struct h2_busy *busy = hb_container_of(h2->lingering.next, struct h2_busy, mark);
		int32_t left_ms = (int32_t)(busy->linger_at_ms - now_ms);

		if (left_ms > 0) {
			hb_loop_timer_start(h2->loop, timer, (uint32_t)left_ms);
			return;
		}
		lose_patience(busy->st); /* takes it off the list */
	}
}

static void stream_free(struct hb_stream *s)
{
	h2_stream_delete(h2_stream_of(s));
}

static const struct hb_stream_ops ops = {
	.write = stream_write,
	.finish = stream_finish,
	.pause = stream_pause,
	.resume = stream_resume,
	.close = stream_close,
	.free = stream_free,
};
