/*
 * relay: joins two streams until both have ended.
 *
 *   running --both finished, one closed, silence, abort--> ending --both closed--> on_done
 */
#include <hbone/relay.h>

#include <assert.h>

#include "tcp_splice.h"

struct hb_relay_watch {
	struct hb_relay *relay;
	struct hb_loop *loop;
	struct hb_timer timer;
	uint64_t seen; /* bytes of both sides at the last look */
	struct hb_relay_limits limits;
};

/* In the marks of a side's stream. */
enum {
	FINISHED = 1, /* its last byte has come */
	CLOSED = 2,
	FULL = 4,
	ENDING = 8, /* of side a: both are to end */
};

static struct hb_stream *stream_of(const struct hb_relay_side *side)
{
	return (struct hb_stream *)side->at;
}

static bool is(const struct hb_relay_side *side, unsigned mark)
{
	return stream_of(side)->marks & mark;
}

static bool is_ending(const struct hb_relay *relay)
{
	return is(&relay->a, ENDING);
}

static struct hb_relay_side *other_of(struct hb_relay *relay, const struct hb_stream *s)
{
	return stream_of(&relay->a) == s ? &relay->b : &relay->a;
}

uint64_t hb_relay_bytes(const struct hb_relay_side *side)
{
	return side->at & 1 ? side->at >> 1 : stream_of(side)->bytes_in;
}

bool hb_relay_is_full(const struct hb_relay_side *side)
{
	return is(side, FULL);
}

static void close_side(struct hb_relay_side *side, struct hb_end why)
{
	if (!is(side, CLOSED))
		hb_stream_close(stream_of(side), why);
}

static void stop_watching(struct hb_relay *relay)
{
	struct hb_relay_watch *watch = hb_take(&relay->watch);

	if (watch)
		hb_loop_timer_stop(watch->loop, &watch->timer);
	free(watch);
}

static uint64_t bytes_seen(const struct hb_relay *relay)
{
	return hb_relay_bytes(&relay->a) + hb_relay_bytes(&relay->b);
}

/* One side has finished and the other has not, and that has a limit of its own. */
static bool is_half_closed(const struct hb_relay *relay)
{
	const struct hb_relay_limits *limits = &relay->watch->limits;

	return is(&relay->a, FINISHED) != is(&relay->b, FINISHED) && limits->half_closed_ms &&
	       (!limits->idle_ms || limits->half_closed_ms < limits->idle_ms);
}

/* Anew from now on. */
static void listen_for_silence(struct hb_relay *relay)
{
	struct hb_relay_watch *watch = relay->watch;
	uint32_t after_ms = 0;

	assert(!is_ending(relay));
	if (!watch)
		return;
	after_ms = is_half_closed(relay) ? watch->limits.half_closed_ms : watch->limits.idle_ms;
	watch->seen = bytes_seen(relay);
	if (after_ms)
		hb_loop_timer_start(watch->loop, &watch->timer, after_ms);
}

static void on_silence_time(struct hb_timer *timer)
{
	struct hb_relay_watch *watch = hb_container_of(timer, struct hb_relay_watch, timer);
	struct hb_relay *relay = watch->relay;
	int code = is_half_closed(relay) ? HB_E_HALF_CLOSED : HB_E_IDLE;

	if (watch->seen == bytes_seen(relay))
		hb_relay_abort(relay, hb_end(HB_LAYER_RELAY, HB_SIDE_US, code));
	else
		listen_for_silence(relay);
}

/* 0 or -ENOMEM. */
static int start_watch(struct hb_relay *relay, struct hb_loop *loop,
                       const struct hb_relay_limits *limits)
{
	struct hb_relay_watch *watch = malloc(sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct hb_relay_watch){ .relay = relay, .loop = loop, .limits = *limits };
	hb_timer_init(&watch->timer, on_silence_time);
	relay->watch = watch;
	listen_for_silence(relay);
	return 0;
}

static void begin_end(struct hb_relay *relay, struct hb_end why)
{
	/* One that ends already is told of another reason. */
	if (!is_ending(relay))
		stop_watching(relay);
	stream_of(&relay->a)->marks |= ENDING;
	relay->why = why;
}

static void count(struct hb_relay *relay, const struct hb_stream *from, size_t bytes)
{
	*(stream_of(&relay->a) == from ? &relay->group->a : &relay->group->b) += bytes;
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *to = other_of(relay, s);

	count(relay, s, hb_buf_chain_bytes(chain));
	if (is(to, CLOSED))
		hb_buf_free_all(chain);
	else
		hb_stream_write(stream_of(to), chain);
}

static struct hb_stream *other_stream(struct hb_stream *s)
{
	return stream_of(other_of(s->owner, s));
}

static void on_spliced(struct hb_stream *from, size_t bytes)
{
	count(from->owner, from, bytes);
}

static void on_finish(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *to = other_of(relay, s);

	s->marks |= FINISHED;
	if (is_ending(relay))
		return;
	hb_stream_finish(stream_of(to));
	if (!is(to, FINISHED)) {
		listen_for_silence(relay);
		return;
	}
	begin_end(relay, HB_END_CLEAN);
	hb_stream_close(s, HB_END_CLEAN);
	close_side(to, HB_END_CLEAN);
}

static void on_full(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *from = other_of(relay, s);

	s->marks |= FULL;
	if (!is(from, CLOSED))
		hb_stream_pause(stream_of(from));
}

static void on_drained(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *from = other_of(relay, s);

	s->marks &= (uint8_t)~FULL;
	if (!is(from, CLOSED))
		hb_stream_resume(stream_of(from));
}

/*
 * A peer that has sent its last byte and then says NO_ERROR wants no more of ours; what it sent is
 * whole and must still arrive, which a reset would prevent (RFC 9113 8.1).
 */
static bool may_flush(const struct hb_stream *gone, struct hb_end why)
{
	return why.code == 0 || (why.code == HB_E_RST(0) && gone->marks & FINISHED);
}

/* Both are closed: they go, and what came from them is all that is kept. */
static void free_side(struct hb_relay_side *side)
{
	struct hb_stream *stream = stream_of(side);

	side->at = (uintptr_t)stream->bytes_in << 1 | 1;
	hb_stream_free(stream);
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *other = other_of(relay, s);

	s->marks |= CLOSED;
	if (!is_ending(relay)) {
		begin_end(relay, why);
		close_side(other, may_flush(s, why) ? HB_END_CLEAN : why);
	} else if (relay->why.code == 0 && why.code < 0) {
		/* The last bytes did not make it: not a success. */
		relay->why = why;
		close_side(other, why);
	}
	if (!is(other, CLOSED))
		return;
	free_side(&relay->a);
	free_side(&relay->b);
	relay->group->on_done(relay, relay->why); /* last: the owner may free the relay in here */
}

static const struct hb_tcp_joined joined = {
	.events = {
		.on_data = on_data,
		.on_finish = on_finish,
		.on_full = on_full,
		.on_drained = on_drained,
		.on_closed = on_closed,
	},
	.other = other_stream,
	.on_spliced = on_spliced,
};

void hb_relay_start(struct hb_relay *relay, struct hb_loop *loop, struct hb_stream *a,
                    struct hb_stream *b, const struct hb_relay_limits *limits,
                    struct hb_relay_group *group)
{
	*relay = (struct hb_relay){ .a.at = (uintptr_t)a, .b.at = (uintptr_t)b, .group = group };
	a->marks = b->marks = 0;
	a->owner = b->owner = relay;
	a->events = b->events = &joined.events;
	if (limits && (limits->idle_ms || limits->half_closed_ms) &&
	    start_watch(relay, loop, limits) < 0) {
		hb_relay_abort(relay, hb_end(HB_LAYER_RELAY, HB_SIDE_US, -ENOMEM));
		return;
	}
	(void)hb_tcp_join(a, b); /* else they are not both sockets */
	hb_stream_resume(a);
	hb_stream_resume(b);
}

void hb_relay_abort(struct hb_relay *relay, struct hb_end why)
{
	assert(why.code < 0);
	if (is_ending(relay) && relay->why.code < 0)
		return;
	begin_end(relay, why);
	close_side(&relay->a, why);
	close_side(&relay->b, why);
}
