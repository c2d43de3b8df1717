/*
 * tcp: a socket as a stream.
 *
 *   OPEN --close(clean)--> CLOSING --flushed, shut, peer's end--> ENDING --kernel lets go--> CLOSED
 *     |                       | linger time, reset                  ^
 *     +---- abort, error -----+-------------------------------------+
 *
 * In OPEN and CLOSING the backlog is sent; CLOSING drops what comes. ENDING cancels what is in
 * flight; only on_send, on_watch and on_stopped lead out of it, because the kernel may use the ops
 * until then. on_closed is told in the moment CLOSED is entered.
 *
 * What an idle connection does not need is not there: a sender is made by a write and goes when all
 * is sent; a guard is there while the stream is paused, or lingers.
 */
#include "tcp_internal.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "tcp_options.h"

/* A stream that is paused for longer is watched for the peer's reset. */
#define WATCH_AFTER_MS 100

static void on_watch(struct hb_op *op, int res);
static void on_timer(struct hb_timer *timer);

/* --- the guard --- */

/* The one it has, or a new one. NULL: no memory. */
static struct hb_tcp_guard *guard_get(struct hb_tcp *tcp)
{
	struct hb_tcp_guard *guard = hb_tcp_guard(tcp);

	if (guard)
		return guard;
	guard = malloc(sizeof(*guard));
	if (!guard)
		return NULL;
	*guard = (struct hb_tcp_guard){ .tcp = tcp, .watch.done = on_watch };
	hb_timer_init(&guard->timer, on_timer);
	hb_tcp_set_parts(tcp, hb_tcp_sender(tcp), guard);
	return guard;
}

/* It guards no more; it goes when the kernel has let go. */
static void guard_drop(struct hb_tcp *tcp)
{
	struct hb_tcp_guard *guard = hb_tcp_guard(tcp);

	if (!guard)
		return;
	hb_loop_timer_stop(hb_tcp_loop(tcp), &guard->timer);
	hb_loop_cancel(hb_tcp_loop(tcp), &guard->watch);
	if (guard->watch.base.in_flight)
		return;
	hb_tcp_set_parts(tcp, guard->sender, NULL);
	free(guard);
}

/* --- the end --- */

void hb_tcp_closed_if_idle(struct hb_tcp *tcp)
{
	if (tcp->state != HB_TCP_ENDING || !tcp->recv_stopped)
		return;
	hb_tcp_sender_drop(tcp);
	if (tcp->parts)
		return;
	close(hb_tcp_fd(tcp));
	tcp->state = HB_TCP_CLOSED;
	tcp->stream.events->on_closed(&tcp->stream, hb_tcp_why(tcp)); /* last: may free */
}

/* The first reason stands, unless it was clean and this one is not. */
static void end(struct hb_tcp *tcp, struct hb_end why)
{
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (tcp->state == HB_TCP_CLOSED)
		return;
	if (tcp->state != HB_TCP_ENDING || tcp->code == 0)
		hb_tcp_set_why(tcp, why);
	if (why.code < 0)
		(void)setsockopt(hb_tcp_fd(tcp), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (tcp->state == HB_TCP_ENDING)
		return;
	tcp->state = HB_TCP_ENDING;
	if (hb_tcp_sender(tcp))
		hb_loop_cancel(hb_tcp_loop(tcp), &hb_tcp_sender(tcp)->op);
	hb_tcp_sender_drop(tcp);
	guard_drop(tcp);
	hb_loop_recv_stop(hb_tcp_loop(tcp), &tcp->recv);
}

void hb_tcp_fail(struct hb_tcp *tcp, int code)
{
	if (code == -ETIMEDOUT && tcp->user_timeout)
		code = HB_E_USER_TIME;
	end(tcp, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, code));
}

static void on_stopped(struct hb_recv *recv)
{
	struct hb_tcp *tcp = hb_container_of(recv, struct hb_tcp, recv);

	tcp->recv_stopped = true;
	hb_tcp_closed_if_idle(tcp);
}

void hb_tcp_end_if_done(struct hb_tcp *tcp)
{
	if (tcp->state == HB_TCP_CLOSING && tcp->shut && tcp->peer_finished)
		end(tcp, hb_tcp_why(tcp));
}

void hb_tcp_no_memory(struct hb_tcp *tcp)
{
	end(tcp, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ENOMEM));
}
/* --- receiving --- */

void hb_tcp_peer_finished(struct hb_tcp *tcp)
{
	tcp->peer_finished = true;
	tcp->stream.events->on_finish(&tcp->stream);
}

static void on_recv(struct hb_recv *recv, struct hb_buf *chain, int res)
{
	struct hb_tcp *tcp = hb_container_of(recv, struct hb_tcp, recv);
	struct hb_stream *s = &tcp->stream;

	if (res < 0) {
		hb_tcp_fail(tcp, res);
	} else if (tcp->state == HB_TCP_CLOSING) {
		hb_buf_free_all(chain);
		tcp->peer_finished = res == 0;
		hb_tcp_end_if_done(tcp);
	} else if (res > 0) {
		s->bytes_in += (uint64_t)res;
		s->events->on_data(s, chain);
		if (tcp->joined)
			hb_tcp_came_at_once(tcp, (size_t)res);
	} else {
		hb_tcp_peer_finished(tcp);
	}
}

static const struct hb_recv_events recv_events = {
	.on_recv = on_recv,
	.on_readable = hb_tcp_on_readable,
	.on_stopped = on_stopped,
};

static void on_watch(struct hb_op *op, int res)
{
	struct hb_tcp *tcp = hb_container_of(op, struct hb_tcp_guard, watch)->tcp;
	socklen_t len = sizeof(int);
	int error = 0;

	if (tcp->state == HB_TCP_ENDING) {
		guard_drop(tcp);
		hb_tcp_closed_if_idle(tcp);
		return;
	}
	if (tcp->state == HB_TCP_OPEN && !tcp->paused) {
		guard_drop(tcp);
		return;
	}
	if (res == -ECANCELED && tcp->state == HB_TCP_OPEN) {
		/* It was read meanwhile, and is paused again. */
		hb_loop_timer_start(hb_tcp_loop(tcp), &hb_tcp_guard(tcp)->timer, WATCH_AFTER_MS);
		return;
	}
	/* POLLHUP alone: both sides have finished, and what came before may still be unread. */
	if (res < 0 || !(res & POLLERR))
		return;
	if (getsockopt(hb_tcp_fd(tcp), SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		hb_tcp_fail(tcp, -error);
}

static void on_timer(struct hb_timer *timer)
{
	struct hb_tcp_guard *guard = hb_container_of(timer, struct hb_tcp_guard, timer);
	struct hb_tcp *tcp = guard->tcp;

	if (tcp->state == HB_TCP_OPEN) {
		if (!guard->watch.base.in_flight)
			hb_loop_poll(hb_tcp_loop(tcp), &guard->watch, hb_tcp_fd(tcp), POLLERR);
	} else if (tcp->state == HB_TCP_CLOSING) {
		/* All was taken by the peer's kernel: what it still had to say is not our loss. */
		end(tcp,
		    tcp->shut ? hb_tcp_why(tcp) : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ETIMEDOUT));
	}
}

static bool start_timer(struct hb_tcp *tcp, uint32_t after_ms)
{
	struct hb_tcp_guard *guard = guard_get(tcp);

	if (guard)
		hb_loop_timer_start(hb_tcp_loop(tcp), &guard->timer, after_ms);
	return guard;
}

void hb_tcp_linger_on(struct hb_tcp *tcp)
{
	hb_loop_timer_start(hb_tcp_loop(tcp), &hb_tcp_guard(tcp)->timer, tcp->linger_ms);
}

static void tcp_pause(struct hb_stream *s)
{
	struct hb_tcp *tcp = hb_tcp_of(s);

	if (tcp->state != HB_TCP_OPEN || tcp->paused)
		return;
	tcp->paused = true;
	hb_loop_recv_pause(hb_tcp_loop(tcp), &tcp->recv);
	if (!start_timer(tcp, WATCH_AFTER_MS))
		hb_tcp_no_memory(tcp);
}

static void tcp_resume(struct hb_stream *s)
{
	struct hb_tcp *tcp = hb_tcp_of(s);

	if (tcp->state != HB_TCP_OPEN || !tcp->paused)
		return;
	tcp->paused = false;
	guard_drop(tcp);
	if (!tcp->peer_finished)
		hb_loop_recv_resume(hb_tcp_loop(tcp), &tcp->recv);
}

static void tcp_close(struct hb_stream *s, struct hb_end why)
{
	struct hb_tcp *tcp = hb_tcp_of(s);

	if (why.code < 0) {
		end(tcp, why);
		return;
	}
	if (tcp->state != HB_TCP_OPEN)
		return;
	tcp->state = HB_TCP_CLOSING;
	hb_tcp_set_why(tcp, why);
	if (!start_timer(tcp, tcp->linger_ms)) {
		hb_tcp_no_memory(tcp);
		return;
	}
	if (!tcp->peer_finished)
		hb_loop_recv_resume(hb_tcp_loop(tcp), &tcp->recv);
	hb_tcp_finish_later(tcp);
}

static void tcp_free(struct hb_stream *s)
{
	struct hb_tcp *tcp = hb_tcp_of(s);

	assert(tcp->state == HB_TCP_CLOSED);
	hb_slab_put(tcp);
}

/* --- birth --- */

static const struct hb_stream_ops ops = {
	.write = hb_tcp_write,
	.finish = hb_tcp_finish,
	.pause = tcp_pause,
	.resume = tcp_resume,
	.close = tcp_close,
	.free = tcp_free,
};

bool hb_tcp_join(struct hb_stream *a, struct hb_stream *b)
{
	if (a->ops != &ops || b->ops != &ops)
		return false;
	hb_tcp_of(a)->joined = hb_tcp_of(b)->joined = true;
	return true;
}

struct hb_stream *hb_tcp_new(struct hb_loop *loop, int fd, const struct hb_tcp_options *options)
{
	struct hb_tcp *tcp = hb_slab_get(hb_loop_slabs(loop), sizeof(*tcp));

	if (!tcp) {
		close(fd);
		return NULL;
	}
	if (!options->inherited)
		hb_tcp_set_options(fd, options);
	tcp->stream.ops = &ops;
	tcp->paused = true;
	tcp->user_timeout = options->user_timeout_ms > 0;
	tcp->linger_ms = hb_min_u32(options->linger_ms ? options->linger_ms : HB_TCP_LINGER_MS,
	                            HB_TCP_LINGER_MAX_MS);
	hb_recv_init(&tcp->recv, loop, fd, options->read_max, &recv_events);
	if (!start_timer(tcp, WATCH_AFTER_MS)) {
		close(fd);
		hb_slab_put(tcp);
		return NULL;
	}
	return &tcp->stream;
}
