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

static struct hb_relay_side *side_of(struct hb_relay *relay, const struct hb_stream *s)
{
	return relay->a.stream == s ? &relay->a : &relay->b;
}

static struct hb_relay_side *other_of(struct hb_relay *relay, const struct hb_stream *s)
{
	return relay->a.stream == s ? &relay->b : &relay->a;
}

static void close_side(struct hb_relay_side *side, struct hb_end why)
{
	if (!side->closed)
		hb_stream_close(side->stream, why);
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
	return (uint64_t)relay->a.bytes + relay->b.bytes;
}

/* One side has finished and the other has not, and that has a limit of its own. */
static bool is_half_closed(const struct hb_relay *relay)
{
	const struct hb_relay_limits *limits = &relay->watch->limits;

	return relay->a.finished != relay->b.finished && limits->half_closed_ms &&
	       (!limits->idle_ms || limits->half_closed_ms < limits->idle_ms);
}

/* Anew from now on. */
static void listen_for_silence(struct hb_relay *relay)
{
	struct hb_relay_watch *watch = relay->watch;
	uint32_t after_ms = 0;

	assert(!relay->a.ending);
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
	if (!relay->a.ending)
		stop_watching(relay);
	relay->a.ending = true;
	relay->why = why;
}

static void count(struct hb_relay *relay, const struct hb_stream *from, size_t bytes)
{
	side_of(relay, from)->bytes += bytes;
	if (relay->totals)
		*(relay->a.stream == from ? &relay->totals->a : &relay->totals->b) += bytes;
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *to = other_of(relay, s);

	count(relay, s, hb_buf_chain_bytes(chain));
	if (to->closed)
		hb_buf_free_all(chain);
	else
		hb_stream_write(to->stream, chain);
}

static void on_spliced(struct hb_stream *from, size_t bytes)
{
	count(from->owner, from, bytes);
}

static void on_finish(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *from = side_of(relay, s), *to = other_of(relay, s);

	from->finished = true;
	if (relay->a.ending)
		return;
	hb_stream_finish(to->stream);
	if (!to->finished) {
		listen_for_silence(relay);
		return;
	}
	begin_end(relay, HB_END_CLEAN);
	close_side(from, HB_END_CLEAN);
	close_side(to, HB_END_CLEAN);
}

static void on_full(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *from = other_of(relay, s);

	side_of(relay, s)->full = true;
	if (!from->closed)
		hb_stream_pause(from->stream);
}

static void on_drained(struct hb_stream *s)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *from = other_of(relay, s);

	side_of(relay, s)->full = false;
	if (!from->closed)
		hb_stream_resume(from->stream);
}

/*
 * A peer that has sent its last byte and then says NO_ERROR wants no more of ours; what it sent is
 * whole and must still arrive, which a reset would prevent (RFC 9113 8.1).
 */
static bool may_flush(const struct hb_relay_side *gone, struct hb_end why)
{
	return why.code == 0 || (why.code == HB_E_RST(0) && gone->finished);
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct hb_relay *relay = s->owner;
	struct hb_relay_side *gone = side_of(relay, s), *other = other_of(relay, s);

	gone->closed = true;
	if (!relay->a.ending) {
		begin_end(relay, why);
		close_side(other, may_flush(gone, why) ? HB_END_CLEAN : why);
	} else if (relay->why.code == 0 && why.code < 0) {
		/* The last bytes did not make it: not a success. */
		relay->why = why;
		close_side(other, why);
	}
	if (!other->closed)
		return;
	hb_stream_free(gone->stream);
	hb_stream_free(other->stream);
	relay->on_done(relay, relay->why); /* last: the owner may free the relay in here */
}

static const struct hb_tcp_joined joined = {
	.events = {
		.on_data = on_data,
		.on_finish = on_finish,
		.on_full = on_full,
		.on_drained = on_drained,
		.on_closed = on_closed,
	},
	.on_spliced = on_spliced,
};

void hb_relay_start(struct hb_relay *relay, struct hb_loop *loop, struct hb_stream *a,
                    struct hb_stream *b, const struct hb_relay_limits *limits,
                    hb_relay_done on_done)
{
	*relay = (struct hb_relay){ .a.stream = a, .b.stream = b, .on_done = on_done };
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
	if (relay->a.ending && relay->why.code < 0)
		return;
	begin_end(relay, why);
	close_side(&relay->a, why);
	close_side(&relay->b, why);
}
