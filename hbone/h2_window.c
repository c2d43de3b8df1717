/*
 * h2_window: how much the peer may still send us on each stream, and so what all of them together
 * can make us hold.
 *
 * The connection's credit goes back on receipt, so a stream that nobody reads takes nothing from
 * the others but memory: its window. Each stream has a first one. More comes out of what the
 * connection has for all, grown_max:
 *
 *  - a stream whose owner keeps up has its window doubled whenever it has used the present one up,
 *    as long as that takes at most a quarter of what is left: whoever comes later finds some;
 *  - one that has carried PROVEN_BYTES may take all that is left: no socket's buffers swallow that
 *    much, so somebody reads it;
 *  - when half of it is out, a stream that was found standing, half a window unread, gets less
 *    credit back than it was told: its window is halved, down to the first one.
 *
 * A stream is charged for what its window or its unread bytes have above the first window.
 *
 * The first window is 256 KiB while little stands unread. Once much does, the peer is told a
 * smaller one (RFC 9113 6.9.2), which at once takes the difference from every stream; those that
 * are read grow back at no charge.
 */
#include "h2_nghttp2.h"

/* Charges are kept in so many bytes, rounded up. */
#define UNIT         65536u
#define PROVEN_BYTES (16u << 20)
/* The first window once MUCH_BYTES stand unread on a connection, until there are but FEW_BYTES. */
#define WINDOW_SMALL (64u * 1024)
/* So many streams may have that much each; where more may live, each has less, but no less than. */
#define SMALL_STREAMS 200u
#define SMALL_MIN     (16u * 1024)
#define MUCH_BYTES    (4u << 20)
#define FEW_BYTES     (1u << 20)

static uint32_t first_of(const struct hb_h2 *h2)
{
	return hb_min_u32(HB_H2_WINDOW_FIRST, h2->options.stream_window);
}

static uint32_t small_of(const struct hb_h2 *h2)
{
	uint32_t share = WINDOW_SMALL / h2->options.streams_max * SMALL_STREAMS;
	uint32_t small = share > WINDOW_SMALL ? WINDOW_SMALL
	                 : share > SMALL_MIN  ? share
	                                      : SMALL_MIN;

	return hb_min_u32(small, first_of(h2));
}

/* A window so large costs so many units. */
static uint32_t units_of(const struct hb_h2 *h2, uint32_t window)
{
	uint32_t first = first_of(h2);

	return window > first ? (window - first + UNIT - 1) / UNIT : 0;
}

static void charge(struct h2_stream *st, uint32_t units)
{
	units = hb_min_u32(units, H2_CHARGED_MAX);
	h2_of(st)->grown += units - st->charged;
	st->charged = units & H2_CHARGED_MAX;
}

static uint32_t units_max(const struct hb_h2 *h2)
{
	return hb_min_u32(h2->options.grown_max / UNIT, H2_CHARGED_MAX);
}

/* What new streams have, and what the peer has acknowledged. */
static uint32_t granted_first(const struct hb_h2 *h2)
{
	return nghttp2_session_get_local_settings(h2_session(h2),
	                                          NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
}

static void tell_first(struct hb_h2 *h2, uint32_t window)
{
	nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window };

	/* Not before the last word has been acknowledged. */
	if (h2->close_asked || h2->first_told != granted_first(h2) || h2->first_told == window)
		return;
	if (nghttp2_submit_settings(h2_session(h2), NGHTTP2_FLAG_NONE, &entry, 1) == 0)
		h2->first_told = window;
	h2_wake_flush(h2);
}

void h2_window_begin(struct h2_stream *st)
{
	st->window = granted_first(h2_of(st));
}

void h2_window_weigh(struct hb_h2 *h2)
{
	if (h2->unread >= MUCH_BYTES)
		tell_first(h2, small_of(h2));
	else if (h2->unread <= FEW_BYTES)
		tell_first(h2, first_of(h2));
}

void h2_window_settled(struct hb_h2 *h2)
{
	hb_clutch_for_each(struct h2_stream, st, &h2->streams)
	{
		int32_t window;

		if (!h2_stream_has_window(st))
			continue;
		window = nghttp2_session_get_stream_effective_local_window_size(h2_session(h2),
		                                                                (int32_t)st->id);
		st->window = window > 0 ? (uint32_t)window : granted_first(h2);
		st->since_grown = 0;
		h2_window_look(st);
	}
	h2_window_weigh(h2);
}

static void set_window(struct h2_stream *st, uint32_t window)
{
	st->since_grown = 0;
	if (nghttp2_session_set_local_window_size(h2_session(h2_of(st)), NGHTTP2_FLAG_NONE, st->id,
	                                          (int32_t)window) == 0)
		st->window = window;
}

static void grow(struct h2_stream *st)
{
	const struct hb_h2 *h2 = h2_of(st);
	uint32_t window = hb_min_u32(st->window * 2, h2->options.stream_window);
	uint32_t more = units_of(h2, window) - hb_min_u32(units_of(h2, window), st->charged);
	uint32_t left = units_max(h2) - hb_min_u32(units_max(h2), h2->grown);
	bool proven = st->stream.bytes_in >= PROVEN_BYTES;

	if (more <= (proven ? left : left / 4))
		set_window(st, window);
}

static bool is_tight(const struct hb_h2 *h2)
{
	return h2->grown >= units_max(h2) / 2;
}

/* Credit for what was taken, and a window as it is needed. */
static void give_back(struct h2_stream *st, size_t bytes)
{
	struct hb_h2 *h2 = h2_of(st);
	bool stood = h2_rx_bytes(st) + bytes >= st->window / 2;

	(void)nghttp2_session_consume_stream(h2_session(h2), st->id, bytes);
	st->since_grown += (uint32_t)bytes;
	if (st->rx_finish)
		return;
	if (stood && st->window > first_of(h2) && is_tight(h2))
		set_window(st, st->window / 2 > first_of(h2) ? st->window / 2 : first_of(h2));
	else if (st->since_grown >= st->window && st->window < h2->options.stream_window)
		grow(st);
}

void h2_window_took(struct h2_stream *st, size_t bytes)
{
	struct hb_h2 *h2 = h2_of(st);

	h2->unread -= bytes;
	if (h2_stream_has_window(st))
		give_back(st, bytes);
	h2_window_look(st);
	h2_window_weigh(h2);
	h2_wake_flush(h2);
}

void h2_window_came(struct h2_stream *st, size_t bytes)
{
	h2_of(st)->unread += bytes;
}

void h2_window_drop(struct h2_stream *st)
{
	h2_of(st)->unread -= h2_rx_bytes(st);
	if (st->busy)
		hb_bufq_clear(&st->busy->rx);
	h2_window_look(st);
	h2_window_weigh(h2_of(st));
}

void h2_window_look(struct h2_stream *st)
{
	struct hb_h2 *h2 = h2_of(st);
	bool needed = h2_stream_has_window(st) && !st->rx_finish;
	uint32_t window = needed ? units_of(h2, st->window) : 0;
	uint32_t unread = units_of(h2, h2_rx_bytes(st));

	charge(st, window > unread ? window : unread);
}

void h2_window_end(struct h2_stream *st)
{
	h2_window_drop(st);
	charge(st, 0);
}
