/*
 * h2: one HTTP/2 connection over a stream: nghttp2 does framing, HPACK, states and windows; here
 * its callbacks become events that are told when it is not running.
 *
 *   OPEN --drain--> draining --last stream gone--> closing
 *     | hb_h2_close(), the peer's end, a protocol error
 *     v
 *   closing --lower on_closed, every stream told--> on_closed, then the owner frees
 */
#include "h2_nghttp2.h"

#include <assert.h>
#include <string.h>

/* Streams whose end is told in one turn of the loop, of one connection. */
#define ENDS_A_TURN 4

void h2_stream_uncount(struct h2_stream *st)
{
	h2_of(st)->streams_count--;
	h2_of(st)->changed = true;
	h2_wake_flush(h2_of(st));
}

void h2_stream_end(struct h2_stream *st, struct hb_end why)
{
	if (st->state == H2_STREAM_ENDED)
		return;
	/* What the owner asked for stands, but for a clean close that did not come about. */
	if (st->state != H2_STREAM_CLOSING || (st->end.code == 0 && why.code < 0))
		st->end = why;
	st->state = H2_STREAM_ENDED;
	if (st->busy) {
		hb_list_remove(&st->busy->mark);
		hb_list_remove(&st->busy->ready);
	}
	h2_window_end(st);
	hb_clutch_mark(h2_clutch_of(st), st->place);
	if (st->gone)
		h2_of(st)->gone_count--;
	else
		h2_stream_uncount(st);
	h2_wake_flush(h2_of(st));
}

/*
 * A stream's end is told with all that its owner then does: an app's connection is closed, and a
 * line written. A connection of a thousand streams that breaks off ends them all at once; they are
 * told in many turns, so that others have theirs in between.
 */
static void tell_ended(struct hb_h2 *h2)
{
	struct h2_stream *st;

	if (hb_timer_is_running(&h2->ends))
		return; /* this turn's have been told */
	for (unsigned n = 0; n < ENDS_A_TURN && (st = hb_clutch_take_marked(&h2->streams)); n++) {
		if (st->busy)
			hb_bufq_clear(&st->busy->tx);
		if (st->stream.events)
			st->stream.events->on_closed(&st->stream, st->end);
		else
			h2_stream_delete(st); /* never given to anyone */
	}
	if (h2->streams.first_marked)
		hb_loop_timer_start(h2->loop, &h2->ends, 0);
}

static void tell_ready(struct hb_h2 *h2)
{
	struct hb_list *node;

	while ((node = hb_list_shift(&h2->ready)))
		h2_stream_deliver(hb_container_of(node, struct h2_busy, ready)->st);
	if (hb_list_is_empty(&h2->later))
		return;
	hb_list_move(&h2->ready, &h2->later);
	h2_wake_flush(h2);
}

static void tell_marked(struct hb_h2 *h2)
{
	struct hb_list now, *node;

	if (hb_list_is_empty(&h2->marked))
		return;
	/* Streams that stay marked are put on the emptied list; each is looked at once. */
	now = h2->marked;
	now.next->prev = now.prev->next = &now;
	hb_list_init(&h2->marked);
	while ((node = hb_list_shift(&now)))
		h2_stream_mark(hb_container_of(node, struct h2_busy, mark)->st);
}

/* Ends all that lives on the connection with @why; streams that only wait to be read may go on. */
static void end_streams(struct hb_h2 *h2, struct hb_end why, bool also_gone)
{
	hb_clutch_for_each(struct h2_stream, st, &h2->streams) if (!st->gone || also_gone)
	    h2_stream_end(st, why);
}

/* RFC 9113 7: what the peer is told, unless nghttp2 has told it already. */
static uint32_t goaway_code(struct hb_end why)
{
	switch (why.code) {
	case HB_E_FLOOD:
		return NGHTTP2_ENHANCE_YOUR_CALM;
	case HB_E_H2:
		return NGHTTP2_PROTOCOL_ERROR;
	default:
		return NGHTTP2_NO_ERROR;
	}
}

/* There is still something to say below, and it is worth saying. */
static bool is_orderly(const struct hb_h2 *h2, struct hb_end why)
{
	switch (why.code) {
	case 0:
	case HB_E_DRAIN:
	case HB_E_IDLE:
	case HB_E_H2:
	case HB_E_FLOOD:
		return true;
	case HB_E_STALLED:
		return !h2->full_ms;
	default:
		return false;
	}
}

static void do_close(struct hb_h2 *h2)
{
	struct hb_end why = h2->end;

	h2->closing = true;
	hb_bufq_clear(&h2->unserved);
	end_streams(h2, why.code < 0 ? why : hb_end(HB_LAYER_H2, HB_SIDE_US, HB_E_CANCELLED),
	            h2->abort_asked);
	if (h2->lower_closed)
		return;
	/* One that has drained has said its last GOAWAY. */
	if (!h2->final_goaway || goaway_code(why) != NGHTTP2_NO_ERROR)
		(void)nghttp2_session_terminate_session(h2_session(h2), goaway_code(why));
	/* The streams are gone, so what is left to say is small: full or not. */
	h2->lower_full = false;
	h2_pump(h2);
	hb_stream_close(h2->lower, is_orderly(h2, why) && !h2->abort_lower ? HB_END_CLEAN : why);
}

static void do_abort(struct hb_h2 *h2)
{
	end_streams(h2, h2->end, true);
	if (!h2->lower_closed && h2->abort_lower)
		hb_stream_close(h2->lower, h2->end);
}

static void maybe_done(struct hb_h2 *h2)
{
	bool all_told = !h2->streams.first_marked;
	bool idle = h2->streams_count == 0 && all_told;
	bool over = !nghttp2_session_want_read(h2_session(h2)) &&
	            !nghttp2_session_want_write(h2_session(h2));

	if (over)
		h2_fail(h2, h2->end);
	else if (idle && (h2->goaway_in || h2->final_goaway ||
	                  (h2->draining && h2->options.role == HB_H2_CLIENT)))
		h2_fail(h2, HB_END_CLEAN);
	if (h2->lower_closed && !h2->closed_told && h2->streams_count + h2->gone_count == 0 &&
	    all_told) {
		h2->closed_told = true;
		hb_loop_undefer(&h2->flush);
		hb_loop_timer_stop(h2->loop, &h2->life);
		hb_loop_timer_stop(h2->loop, &h2->retry);
		hb_loop_timer_stop(h2->loop, &h2->ends);
		hb_loop_timer_stop(h2->loop, &h2->linger);
		hb_loop_timer_stop(h2->loop, &h2->go_on);
		h2->events->on_closed(h2, h2->end);
	}
}

static void on_flush(struct hb_task *task)
{
	struct hb_h2 *h2 = hb_container_of(task, struct hb_h2, flush);

	tell_ready(h2); /* first: what came in time is heard before an end that came with it */
	if (!h2->closing)
		h2_pump(h2);
	if (h2->close_asked && !h2->closing)
		do_close(h2);
	else if (h2->abort_asked)
		do_abort(h2);
	tell_marked(h2);
	tell_ended(h2);
	if (h2->changed) {
		h2->changed = false;
		if (h2->events->on_change && !h2->closed_told)
			h2->events->on_change(h2);
	}
	maybe_done(h2); /* last: the owner may free the connection in here */
}

static void on_retry_time(struct hb_timer *timer)
{
	h2_wake_flush(hb_container_of(timer, struct hb_h2, retry));
}

static void on_ends_time(struct hb_timer *timer)
{
	h2_wake_flush(hb_container_of(timer, struct hb_h2, ends));
}

/* ---- birth, requests, end ---- */

static void defaults(struct hb_h2_options *o)
{
	bool client = o->role == HB_H2_CLIENT;

	o->stream_window = o->stream_window ? o->stream_window : 4u << 20;
	o->connection_window = o->connection_window ? o->connection_window : 16u << 20;
	o->grown_max = o->grown_max ? o->grown_max : 8u << 20;
	o->header_list_max = o->header_list_max ? o->header_list_max : client ? 16384 : 65536;
	o->streams_max = o->streams_max ? o->streams_max : client ? 750 : 1000;
	o->ping_interval_ms = o->ping_interval_ms ? o->ping_interval_ms : 10000;
	o->ping_timeout_ms = o->ping_timeout_ms ? o->ping_timeout_ms : 20000;
	o->begin_ms = o->begin_ms ? o->begin_ms : 5000;
	o->linger_ms = o->linger_ms ? o->linger_ms : 5000;
}

static int session_start(struct hb_h2 *h2)
{
	struct hb_h2_options *o = &h2->options;
	bool client = o->role == HB_H2_CLIENT;
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
		  hb_min_u32(HB_H2_WINDOW_FIRST, o->stream_window) },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, o->header_list_max },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, HB_H2_FRAME_MAX },
		/* A client grants no pushes; of a server's limit the wire is told: h2_send.c. */
		{ client ? NGHTTP2_SETTINGS_ENABLE_PUSH : NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
		  client ? 0 : INT32_MAX },
	};
	nghttp2_session_callbacks *cb = h2_callbacks_new();
	nghttp2_mem memory = h2_memory_hooks(&h2->memory, hb_loop_slabs(h2->loop));
	nghttp2_option *option = NULL;
	nghttp2_session *session = NULL;
	int err = -ENOMEM;

	if (cb && nghttp2_option_new(&option) == 0) {
		nghttp2_option_set_no_auto_window_update(option, 1);
		nghttp2_option_set_no_closed_streams(option, 1);
		/* Its own limit (33 a second) ends honest peers: h2_guard.c knows what is served.
		 */
		nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
		/* Its limit of 8 counts a CONTINUATION again for each piece its header comes in. */
		nghttp2_option_set_max_continuations(option, 1 << 20);
		err = client ? nghttp2_session_client_new3(&session, cb, h2, option, &memory)
		             : nghttp2_session_server_new3(&session, cb, h2, option, &memory);
	}
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	if (err)
		return -ENOMEM;
	h2->session = session;
	h2->first_told = settings[0].value;
	if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, HB_ARRAY_LEN(settings)) ||
	    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
	                                          (int32_t)o->connection_window))
		return -ENOMEM;
	return 0;
}

struct hb_h2 *hb_h2_new(struct hb_loop *loop, struct hb_stream *lower,
                        const struct hb_h2_options *options, const struct hb_h2_events *events,
                        void *owner)
{
	struct hb_h2 *h2 = calloc(1, sizeof(*h2));

	if (h2) {
		h2->loop = loop;
		h2->lower = lower;
		h2->events = events;
		h2->owner = owner;
		h2->options = *options;
		defaults(&h2->options);
		hb_clutches_init(&h2->streams, hb_loop_slabs(loop), sizeof(struct h2_stream));
		hb_list_init(&h2->ready);
		hb_list_init(&h2->later);
		hb_list_init(&h2->marked);
		hb_list_init(&h2->lingering);
		hb_task_init(&h2->flush, on_flush);
		hb_timer_init(&h2->life, h2_life_on_time);
		hb_timer_init(&h2->retry, on_retry_time);
		hb_timer_init(&h2->ends, on_ends_time);
		hb_timer_init(&h2->linger, h2_on_linger_time);
		hb_timer_init(&h2->go_on, h2_on_go_on);
	}
	if (!h2 || session_start(h2) < 0) {
		/* The stream has no other owner now; it frees itself when it is closed. */
		lower->events = &hb_stream_orphan_events;
		hb_stream_close(lower, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
		if (h2)
			nghttp2_session_del(h2_session(h2));
		free(h2);
		return NULL;
	}
	lower->events = &h2_lower_events;
	lower->owner = h2;
	h2->born_ms = h2->last_in_ms = hb_loop_now_ms(loop);
	h2_guard_init(&h2->guard, options->role, h2->born_ms);
	h2_life_look(h2);
	hb_stream_resume(lower);
	h2_wake_flush(h2);
	return h2;
}

void *hb_h2_owner(const struct hb_h2 *h2)
{
	return h2->owner;
}

struct hb_stream *hb_h2_lower(const struct hb_h2 *h2)
{
	return h2->lower;
}

void hb_h2_free(struct hb_h2 *h2)
{
	if (!h2)
		return;
	assert(h2->closed_told && h2->grown == 0 && h2->unread == 0);
	nghttp2_session_del(h2_session(h2));
	hb_clutches_leave(&h2->streams); /* owners may still have some */
	hb_buf_free(h2->open);
	hb_bufq_clear(&h2->out);
	hb_stream_free(h2->lower);
	free(h2);
}

/*
 * What must stay secret is in no table that others may guess by (RFC 7541 7.1.3). What is another
 * with every request would only push out what is not, and take its place in memory at both ends.
 */
static uint8_t flags_of(const struct hb_header *header)
{
	static const char *const not_kept[] = { "authorization", "forwarded", "traceparent" };

	for (size_t i = 0; i < HB_ARRAY_LEN(not_kept); i++)
		if (header->name_len == strlen(not_kept[i]) &&
		    memcmp(header->name, not_kept[i], header->name_len) == 0)
			return NGHTTP2_NV_FLAG_NO_INDEX;
	return NGHTTP2_NV_FLAG_NONE;
}

/* nghttp2 wants its own kind of pairs; it copies them. */
static size_t to_nv(const struct hb_header *headers, size_t count, nghttp2_nv *nv, size_t max)
{
	assert(count <= max);
	for (size_t i = 0; i < count; i++)
		nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)headers[i].name,
			              (uint8_t *)(uintptr_t)headers[i].value, headers[i].name_len,
			              headers[i].value_len, flags_of(&headers[i]) };
	return count;
}

#define HEADERS_MAX 64

static struct hb_stream *request(struct hb_h2 *h2, const struct hb_header *headers, size_t count,
                                 bool exchange)
{
	nghttp2_nv nv[HEADERS_MAX];
	struct h2_stream *st;
	int32_t id;

	if (hb_h2_room(h2) == 0)
		return NULL;
	st = h2_stream_new(h2, 0);
	if (!st)
		return NULL;
	st->exchange = exchange;
	/* As a request with a body, which is submitted when there is some: h2_send.c. */
	id = nghttp2_submit_headers(h2_session(h2), NGHTTP2_FLAG_NONE, -1, NULL, nv,
	                            to_nv(headers, count, nv, HEADERS_MAX), st);
	if (id < 0) {
		h2->streams_count--;
		h2_stream_delete(st);
		return NULL;
	}
	st->id = (uint32_t)id & INT32_MAX;
	h2_guard_request(&h2->guard);
	h2_wake_flush(h2);
	return &st->stream;
}

struct hb_stream *hb_h2_request(struct hb_h2 *h2, const struct hb_header *headers, size_t count)
{
	return request(h2, headers, count, false);
}

struct hb_stream *hb_h2_exchange(struct hb_h2 *h2, const struct hb_header *headers, size_t count)
{
	return request(h2, headers, count, true);
}

void hb_h2_respond(struct hb_stream *stream, const struct hb_header *headers, size_t count,
                   bool end)
{
	struct h2_stream *st = h2_stream_of(stream);
	nghttp2_nv nv[HEADERS_MAX];
	int err;

	if (st->state != H2_STREAM_OPENING)
		return; /* the peer has gone meanwhile; on_closed says so */
	assert(count > 0);
	err = nghttp2_submit_headers(h2_session(h2_of(st)),
	                             end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, st->id,
	                             NULL, nv, to_nv(headers, count, nv, HEADERS_MAX), NULL);
	if (err) {
		h2_abort(st, NGHTTP2_INTERNAL_ERROR, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
		return;
	}
	h2_headers_clear(st);
	if (!end)
		h2_guard_request(&h2_of(st)->guard);
	else if (!st->too_large)
		h2_guard_denied(&h2_of(st)->guard);
	if (h2_guard_is_flood(&h2_of(st)->guard))
		h2_fail(h2_of(st), hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_FLOOD));
	if (end) {
		int status = h2_status_of((const uint8_t *)headers[0].value, headers[0].value_len);

		st->state = H2_STREAM_CLOSING;
		st->end = hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_STATUS(status));
		st->reset_after_tx = true;
		st->reset_code = st->too_large ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR;
		h2_window_drop(st);
		h2_stream_linger(st);
	} else {
		st->state = H2_STREAM_OPEN;
		h2_stream_look(st); /* it may have been resumed before */
		h2_stream_rest(st);
	}
	h2_wake_flush(h2_of(st));
}

struct hb_h2 *hb_h2_of(const struct hb_stream *stream)
{
	const struct h2_stream *st = h2_stream_of(stream);
	bool told = st->state == H2_STREAM_ENDED && !(h2_clutch_of(st)->marked >> st->place & 1);

	return told ? NULL : h2_of(st);
}

uint32_t hb_h2_streams(const struct hb_h2 *h2)
{
	return h2->streams_count;
}

uint32_t hb_h2_room(const struct hb_h2 *h2)
{
	uint32_t max;

	if (hb_h2_is_draining(h2) || !nghttp2_session_check_request_allowed(h2_session(h2)))
		return 0;
	max = hb_min_u32(h2->options.streams_max,
	                 nghttp2_session_get_remote_settings(
			     h2_session(h2), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
	return h2->streams_count < max ? max - h2->streams_count : 0;
}

bool hb_h2_has_settings(const struct hb_h2 *h2)
{
	return h2->settings_in;
}

bool hb_h2_is_draining(const struct hb_h2 *h2)
{
	return h2->draining || h2->goaway_in || h2->close_asked;
}

bool hb_h2_has_goaway(const struct hb_h2 *h2)
{
	return h2->goaway_in;
}

const struct hb_h2_counters *hb_h2_counters(const struct hb_h2 *h2)
{
	return &h2->guard.counters;
}

void hb_h2_drain(struct hb_h2 *h2)
{
	if (h2->draining || h2->close_asked)
		return;
	h2->draining = true;
	if (h2->options.role == HB_H2_SERVER) {
		/* RFC 9113 6.8: first the largest id, and the real one a round trip later, so that
		 * requests on their way are still served. */
		(void)nghttp2_submit_shutdown_notice(h2_session(h2));
		(void)nghttp2_submit_ping(h2_session(h2), NGHTTP2_FLAG_NONE, h2_notice_ping);
		h2->drain_ms = hb_loop_now_ms(h2->loop);
		hb_loop_timer_start(h2->loop, &h2->life, 0); /* there is a deadline more */
	}
	h2->changed = true;
	h2_wake_flush(h2);
}

void h2_fail(struct hb_h2 *h2, struct hb_end why)
{
	if (h2->close_asked)
		return;
	h2->close_asked = true;
	if (why.code < 0 || h2->end.code == 0)
		h2->end = why;
	h2_wake_flush(h2);
}

void hb_h2_close(struct hb_h2 *h2, struct hb_end why)
{
	h2_fail(h2, why);
	if (why.code == 0)
		return;
	if (h2->end.code == 0)
		h2->end = why;
	h2->abort_asked = true;
	h2->abort_lower = h2->abort_lower || !is_orderly(h2, why);
	h2_wake_flush(h2);
}
