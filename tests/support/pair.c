/*
 * pair: see the header. An end keeps what travels to it; its peer's backlog is just that.
 *
 *   OPEN --close(clean)--> CLOSING --backlog told, peer's finish--> ENDING --task--> CLOSED
 *     |                       | linger time                           ^
 *     +---- abort, reset -----+---------------------------------------+
 *
 * Everything is told from the end's one task, one event a run; there is no other place.
 */
#include "support/pair.h"

#include <assert.h>

#include <hbone/tcp.h>

enum state {
	OPEN,
	CLOSING,
	ENDING,
	CLOSED,
};

struct end {
	struct hb_stream stream;
	struct hb_loop *loop;
	struct end *peer;
	struct hb_task task;
	struct hb_timer linger;
	struct hb_bufq inbox; /* on its way to us */
	struct hb_end why;
	uint64_t cut_at, stall_at; /* UINT64_MAX: never */
	void (*tap)(void *owner, const uint8_t *bytes, size_t len);
	void *tap_owner;
	size_t high, low;
	uint32_t split, linger_ms;
	enum state state;
	bool paused, stalled;
	bool finished;    /* we have no more to say */
	bool told_finish; /* the peer's finish, or it was dropped in CLOSING */
	bool full;        /* on_full was told */
	bool freed;
};

static struct end *of_stream(const struct hb_stream *s)
{
	return hb_container_of(s, struct end, stream);
}

static void poke(struct end *e)
{
	if (e->state != CLOSED)
		hb_loop_defer(e->loop, &e->task);
}

/* The first reason stands, unless it was clean and this one is not. */
static void end(struct end *e, struct hb_end why)
{
	if (e->state == CLOSED)
		return;
	if (e->state != ENDING || e->why.code == 0)
		e->why = why;
	e->state = ENDING;
	hb_bufq_clear(&e->inbox);
	hb_loop_timer_stop(e->loop, &e->linger);
	poke(e);
}

static void reset_from_peer(struct end *e)
{
	/* One that is on its way out after all was said does not hear it any more. */
	if (e->state != ENDING)
		end(e, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
}

static bool is_delivered(const struct end *e)
{
	return e->peer->inbox.bytes == 0;
}

/* The next piece for the owner, cut to the split, to the stall and to the cut. */
static struct hb_buf *next_piece(struct end *e)
{
	uint64_t max = e->split ? e->split : UINT32_MAX;
	struct hb_buf *buf = e->inbox.head, *view;

	if (e->cut_at - e->stream.bytes_in < max)
		max = e->cut_at - e->stream.bytes_in;
	if (e->stall_at - e->stream.bytes_in < max)
		max = e->stall_at - e->stream.bytes_in;
	if (buf->len <= max)
		return hb_bufq_shift(&e->inbox);
	view = hb_buf_view(buf, 0, (uint32_t)max);
	assert(view);
	hb_bufq_consume(&e->inbox, (size_t)max);
	return view;
}

/* One event about what came; false when there is none now. */
static bool receive(struct end *e)
{
	struct hb_buf *piece;

	if (e->stream.bytes_in >= e->stall_at) {
		e->stalled = true;
		e->stall_at = UINT64_MAX;
	}
	if (e->state == CLOSING && !e->stalled) {
		/* Dropped, like the finish. */
		if (e->inbox.bytes > 0)
			poke(e->peer);
		hb_bufq_clear(&e->inbox);
		e->told_finish = e->told_finish || e->peer->finished;
		return false;
	}
	if (e->state != OPEN || e->paused || e->stalled)
		return false;
	if (e->inbox.bytes > 0) {
		piece = next_piece(e);
		e->stream.bytes_in += piece->len;
		if (e->tap)
			e->tap(e->tap_owner, piece->data, piece->len);
		poke(e->peer); /* its backlog has shrunk */
		if (e->peer->state == CLOSING)
			hb_loop_timer_start(e->loop, &e->peer->linger, e->peer->linger_ms);
		poke(e);
		e->stream.events->on_data(&e->stream, piece);
		return true;
	}
	if (e->peer->finished && !e->told_finish) {
		e->told_finish = true;
		poke(e);
		e->stream.events->on_finish(&e->stream);
		return true;
	}
	return false;
}

/* Full and drained. */
static void mark(struct end *e)
{
	size_t backlog = e->peer->inbox.bytes;

	if (e->state != OPEN)
		return;
	if (!e->full && backlog > e->high) {
		e->full = true;
		e->stream.events->on_full(&e->stream);
	} else if (e->full && backlog < e->low) {
		e->full = false;
		e->stream.events->on_drained(&e->stream);
	}
}

static void on_task(struct hb_task *task)
{
	struct end *e = hb_container_of(task, struct end, task);

	if (e->state != ENDING && e->stream.bytes_in >= e->cut_at) {
		reset_from_peer(e->peer);
		reset_from_peer(e);
	}
	if (e->state == CLOSING && is_delivered(e) && e->told_finish)
		end(e, e->why);
	if (e->state == ENDING) {
		hb_loop_undefer(&e->task);
		e->state = CLOSED;
		e->stream.events->on_closed(&e->stream, e->why); /* last: may free */
		return;
	}
	if (receive(e))
		return;
	if (e->state == CLOSING && is_delivered(e) && e->told_finish)
		poke(e);
	else
		mark(e);
}

static void on_linger(struct hb_timer *timer)
{
	struct end *e = hb_container_of(timer, struct end, linger);

	if (is_delivered(e)) {
		end(e, e->why);
		return;
	}
	end(e, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ETIMEDOUT));
	reset_from_peer(e->peer);
}

static void pair_write(struct hb_stream *s, struct hb_buf *chain)
{
	struct end *e = of_stream(s);

	if (e->state != OPEN || e->finished) {
		hb_buf_free_all(chain);
		return;
	}
	if (e->peer->state >= ENDING) {
		/* Nobody is there any more, and says so. */
		hb_buf_free_all(chain);
		reset_from_peer(e);
		return;
	}
	hb_bufq_push(&e->peer->inbox, chain);
	poke(e);
	poke(e->peer);
}

static void pair_finish(struct hb_stream *s)
{
	struct end *e = of_stream(s);

	if (e->state != OPEN)
		return;
	e->finished = true;
	poke(e->peer);
}

static void pair_pause(struct hb_stream *s)
{
	of_stream(s)->paused = true;
}

static void pair_resume(struct hb_stream *s)
{
	struct end *e = of_stream(s);

	e->paused = false;
	poke(e);
}

static void pair_close(struct hb_stream *s, struct hb_end why)
{
	struct end *e = of_stream(s);

	if (why.code < 0) {
		if (e->state != CLOSED)
			reset_from_peer(e->peer);
		end(e, why);
		return;
	}
	if (e->state != OPEN)
		return;
	e->finished = true;
	e->state = CLOSING;
	e->why = why;
	hb_loop_timer_start(e->loop, &e->linger, e->linger_ms);
	poke(e);
	poke(e->peer);
}

static void pair_free(struct hb_stream *s)
{
	struct end *e = of_stream(s);

	assert(e->state == CLOSED && !e->freed);
	e->freed = true;
	/* Both ends are one block; the second to go takes it along. */
	if (e->peer->freed)
		free(e < e->peer ? e : e->peer);
}

static const struct hb_stream_ops ops = {
	.write = pair_write,
	.finish = pair_finish,
	.pause = pair_pause,
	.resume = pair_resume,
	.close = pair_close,
	.free = pair_free,
};

void pair_new(struct hb_loop *loop, struct hb_stream *ret_ends[2])
{
	struct end *ends = calloc(2, sizeof(*ends));

	assert(ends);
	for (int i = 0; i < 2; i++) {
		struct end *e = &ends[i];

		e->stream.ops = &ops;
		e->loop = loop;
		e->peer = &ends[1 - i];
		e->cut_at = e->stall_at = UINT64_MAX;
		e->high = HB_TCP_HIGH;
		e->low = HB_TCP_LOW;
		e->linger_ms = HB_TCP_LINGER_MS;
		e->paused = true;
		hb_task_init(&e->task, on_task);
		hb_timer_init(&e->linger, on_linger);
		ret_ends[i] = &e->stream;
	}
}

void pair_split(struct hb_stream *to, uint32_t bytes_max)
{
	of_stream(to)->split = bytes_max;
}

void pair_stall(struct hb_stream *to, bool stalled)
{
	of_stream(to)->stalled = stalled;
	poke(of_stream(to));
}

void pair_stall_at(struct hb_stream *to, uint64_t at)
{
	of_stream(to)->stall_at = at;
	poke(of_stream(to));
}

void pair_tap(struct hb_stream *to, void (*on_bytes)(void *owner, const uint8_t *bytes, size_t len),
              void *owner)
{
	of_stream(to)->tap = on_bytes;
	of_stream(to)->tap_owner = owner;
}

void pair_cut(struct hb_stream *to, uint64_t at)
{
	of_stream(to)->cut_at = at;
	poke(of_stream(to));
}

void pair_marks(struct hb_stream *to, size_t high, size_t low)
{
	struct end *writer = of_stream(to)->peer;

	writer->high = high;
	writer->low = low;
}

void pair_linger(struct hb_stream *s, uint32_t linger_ms)
{
	of_stream(s)->linger_ms = linger_ms;
}

size_t pair_in_transit(const struct hb_stream *to)
{
	return of_stream(to)->inbox.bytes;
}
