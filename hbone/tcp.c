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
 *
 * Sending: one sendmsg in flight, never two (their short results would reorder bytes). What it
 * looks at is kept apart in `sending`, so the rest of the backlog may be moved about meanwhile.
 */
#include <hbone/tcp.h>

#include <assert.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "tcp_options.h"

/* So much is not kept until the turn's end: sent while it is in the cache. */
#define SEND_NOW_BYTES (128u * 1024)
#define IOV_MAX_BUFS   64
#define IOV_INLINE     4
/* When so many bufs below that size have joined the backlog, it is compacted. */
#define COMPACT_BUFS  16
#define COMPACT_BYTES 2048
/* A stream that is paused for longer is watched for the peer's reset. */
#define WATCH_AFTER_MS 100

enum tcp_state {
	OPEN,
	CLOSING,
	ENDING,
	CLOSED,
};

/* A silent connection has neither of these two: they live while there is work for them. */
struct sender { /* something is to be sent, or finished */
	struct hb_tcp *tcp;
	struct hb_op op;
	struct hb_task task;    /* flush, tell full: the end of a turn */
	struct hb_bufq sending; /* what the send in flight looks at */
	struct hb_bufq backlog; /* after it */
	size_t small_bufs;      /* joined the backlog since it was last dense */
	struct msghdr msg;
	struct iovec iov[IOV_INLINE];
	struct iovec *iov_more; /* instead of iov; lives as long as the send */
};

struct guard { /* it is paused, or lingers */
	struct hb_tcp *tcp;
	struct hb_op watch;    /* a poll for errors, while paused */
	struct hb_timer timer; /* OPEN: watch; CLOSING: linger */
};

struct hb_tcp {
	struct hb_stream stream;
	struct hb_recv recv;
	struct sender *sender; /* NULL: nothing to send */
	struct guard *guard;   /* NULL: being read, and OPEN or ENDING */
	struct hb_end why;
	uint32_t linger_ms;
	uint8_t state;
	bool paused : 1;
	bool peer_finished : 1; /* the end was read */
	bool finished : 1;      /* finish or close was asked */
	bool shut : 1;          /* and done */
	bool full : 1;          /* on_full was told */
	bool recv_stopped : 1;
	bool user_timeout : 1; /* the kernel was asked for one, which overrides its other ones */
};

static void on_send(struct hb_op *op, int res);
static void on_task(struct hb_task *task);
static void on_watch(struct hb_op *op, int res);
static void on_timer(struct hb_timer *timer);

static struct hb_tcp *of_stream(struct hb_stream *s)
{
	return hb_container_of(s, struct hb_tcp, stream);
}

static int fd_of(const struct hb_tcp *tcp)
{
	return tcp->recv.fd;
}

static struct hb_loop *loop_of(const struct hb_tcp *tcp)
{
	return tcp->recv.loop;
}

/* --- the two that come and go --- */

/* The one it has, or a new one. NULL: no memory. */
static struct sender *sender_get(struct hb_tcp *tcp)
{
	struct sender *sender = tcp->sender;

	if (sender)
		return sender;
	sender = malloc(sizeof(*sender));
	if (!sender)
		return NULL;
	*sender = (struct sender){ .tcp = tcp, .op.done = on_send };
	hb_task_init(&sender->task, on_task);
	tcp->sender = sender;
	return sender;
}

static size_t unsent(const struct hb_tcp *tcp)
{
	return tcp->sender ? tcp->sender->sending.bytes + tcp->sender->backlog.bytes : 0;
}

/* Unless the kernel uses it still. */
static void sender_drop(struct hb_tcp *tcp)
{
	struct sender *sender = tcp->sender;

	if (!sender)
		return;
	hb_bufq_clear(&sender->backlog);
	hb_loop_undefer(&sender->task);
	if (sender->op.in_flight)
		return;
	hb_bufq_clear(&sender->sending);
	free(hb_take(&tcp->sender));
}

/* Nothing waits, not even the turn's end. */
static void sender_put(struct hb_tcp *tcp)
{
	struct sender *sender = tcp->sender;

	if (sender && unsent(tcp) == 0 && !sender->op.in_flight &&
	    hb_list_is_empty(&sender->task.node))
		free(hb_take(&tcp->sender));
}

/* As sender_get(). */
static struct guard *guard_get(struct hb_tcp *tcp)
{
	struct guard *guard = tcp->guard;

	if (guard)
		return guard;
	guard = malloc(sizeof(*guard));
	if (!guard)
		return NULL;
	*guard = (struct guard){ .tcp = tcp, .watch.done = on_watch };
	hb_timer_init(&guard->timer, on_timer);
	tcp->guard = guard;
	return guard;
}

/* It guards no more; it goes when the kernel has let go. */
static void guard_drop(struct hb_tcp *tcp)
{
	if (!tcp->guard)
		return;
	hb_loop_timer_stop(loop_of(tcp), &tcp->guard->timer);
	hb_loop_cancel(loop_of(tcp), &tcp->guard->watch);
	if (!tcp->guard->watch.in_flight)
		free(hb_take(&tcp->guard));
}

/* --- the end --- */

static void closed_if_idle(struct hb_tcp *tcp)
{
	if (tcp->state != ENDING || !tcp->recv_stopped)
		return;
	sender_drop(tcp);
	if (tcp->sender || tcp->guard)
		return;
	close(fd_of(tcp));
	tcp->state = CLOSED;
	tcp->stream.events->on_closed(&tcp->stream, tcp->why); /* last: may free */
}

/* The first reason stands, unless it was clean and this one is not. */
static void end(struct hb_tcp *tcp, struct hb_end why)
{
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (tcp->state == CLOSED)
		return;
	if (tcp->state != ENDING || tcp->why.code == 0)
		tcp->why = why;
	if (why.code < 0)
		(void)setsockopt(fd_of(tcp), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (tcp->state == ENDING)
		return;
	tcp->state = ENDING;
	if (tcp->sender)
		hb_loop_cancel(loop_of(tcp), &tcp->sender->op);
	sender_drop(tcp);
	guard_drop(tcp);
	hb_loop_recv_stop(&tcp->recv);
}

static void fail(struct hb_tcp *tcp, int code)
{
	if (code == -ETIMEDOUT && tcp->user_timeout)
		code = HB_E_USER_TIME;
	end(tcp, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, code));
}

static void on_stopped(struct hb_recv *recv)
{
	struct hb_tcp *tcp = hb_container_of(recv, struct hb_tcp, recv);

	tcp->recv_stopped = true;
	closed_if_idle(tcp);
}

static void end_if_done(struct hb_tcp *tcp)
{
	if (tcp->state == CLOSING && tcp->shut && tcp->peer_finished)
		end(tcp, tcp->why);
}

/* Whatever cannot be done for want of it ends the stream, so that nothing is lost unseen. */
static void no_memory(struct hb_tcp *tcp)
{
	end(tcp, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ENOMEM));
}

/* --- sending --- */

/* A few bytes may hold a whole slot each; a peer that does not read must not pin them all. */
static void compact_if_scattered(struct sender *sender)
{
	if (sender->small_bufs < COMPACT_BUFS)
		return;
	hb_bufq_compact(&sender->backlog);
	sender->small_bufs = 0;
}

static void join_backlog(struct sender *sender, struct hb_buf *chain)
{
	size_t before = sender->backlog.bytes;

	for (struct hb_buf *buf = chain; buf; buf = buf->next)
		sender->small_bufs += buf->len < COMPACT_BYTES;
	hb_bufq_push(&sender->backlog, chain);
	sender->tcp->stream.bytes_out += sender->backlog.bytes - before;
}

/* Makes msg look at as much of the backlog as one send takes. */
static void gather(struct sender *sender)
{
	struct iovec *iov = sender->iov;
	size_t iov_max = IOV_INLINE, n = 0;

	compact_if_scattered(sender);
	while (sender->sending.bufs < IOV_MAX_BUFS && sender->backlog.head)
		hb_bufq_push(&sender->sending, hb_bufq_shift(&sender->backlog));
	if (!sender->backlog.head)
		sender->small_bufs = 0;
	if (sender->sending.bufs > IOV_INLINE) {
		/* Without memory it goes in small pieces. */
		sender->iov_more = malloc(sender->sending.bufs * sizeof(*iov));
		if (sender->iov_more) {
			iov = sender->iov_more;
			iov_max = sender->sending.bufs;
		}
	}
	for (struct hb_buf *buf = sender->sending.head; buf && n < iov_max; buf = buf->next)
		iov[n++] = (struct iovec){ buf->data, buf->len };
	sender->msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = n };
}

static void sent(struct sender *sender, ssize_t res)
{
	free(hb_take(&sender->iov_more));
	if (res > 0)
		hb_bufq_consume(&sender->sending, (size_t)res);
}

/* At once, as much as the socket takes; only when no send is in flight. 0 or -errno. */
static int send_now(struct hb_tcp *tcp)
{
	while (unsent(tcp) > 0) {
		ssize_t res;
		size_t asked;

		gather(tcp->sender);
		asked = tcp->sender->sending.bytes;
		res = sendmsg(fd_of(tcp), &tcp->sender->msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (res < 0)
			res = -errno;
		sent(tcp->sender, res);
		if (res < 0 && res != -EAGAIN && res != -EINTR)
			return (int)res;
		if (res < (ssize_t)asked)
			return 0;
	}
	return 0;
}

static void shut(struct hb_tcp *tcp)
{
	tcp->shut = true;
	/* ENOTCONN: the peer's reset; receiving reports it. */
	(void)shutdown(fd_of(tcp), SHUT_WR);
}

/* Sends what waits, through the kernel; then our end, when it was asked for. */
static void flush(struct hb_tcp *tcp)
{
	struct sender *sender = tcp->sender;

	if (tcp->state >= ENDING || (sender && sender->op.in_flight))
		return;
	if (unsent(tcp) > 0) {
		gather(sender);
		hb_loop_sendmsg(loop_of(tcp), &sender->op, fd_of(tcp), &sender->msg);
	} else if (tcp->finished) {
		if (!tcp->shut)
			shut(tcp);
		end_if_done(tcp);
	}
}

static void tell_room(struct hb_tcp *tcp)
{
	bool tight = hb_buf_pool_is_tight(hb_loop_pool(loop_of(tcp)));

	if (tcp->state != OPEN)
		return;
	if (!tcp->full && unsent(tcp) > (tight ? HB_BUF_TIGHT_HIGH : HB_TCP_HIGH)) {
		tcp->full = true;
		tcp->stream.events->on_full(&tcp->stream);
	} else if (tcp->full && unsent(tcp) < (tight ? HB_BUF_TIGHT_LOW : HB_TCP_LOW)) {
		tcp->full = false;
		tcp->stream.events->on_drained(&tcp->stream);
	}
}

static void on_send(struct hb_op *op, int res)
{
	struct sender *sender = hb_container_of(op, struct sender, op);
	struct hb_tcp *tcp = sender->tcp;

	sent(sender, res);
	if (tcp->state == ENDING) {
		closed_if_idle(tcp);
		return;
	}
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		fail(tcp, res);
		return;
	}
	if (tcp->state == CLOSING)
		hb_loop_timer_start(loop_of(tcp), &tcp->guard->timer, tcp->linger_ms);
	flush(tcp);
	if (tcp->full)
		tell_room(tcp);
	sender_put(tcp);
}

static void on_task(struct hb_task *task)
{
	struct hb_tcp *tcp = hb_container_of(task, struct sender, task)->tcp;

	flush(tcp);
	tell_room(tcp);
	sender_put(tcp);
}

static void tcp_write(struct hb_stream *s, struct hb_buf *chain)
{
	struct hb_tcp *tcp = of_stream(s);
	struct sender *sender;
	int r = 0;

	if (tcp->state != OPEN || tcp->finished) {
		hb_buf_free_all(chain);
		return;
	}
	sender = sender_get(tcp);
	if (!sender) {
		hb_buf_free_all(chain);
		no_memory(tcp);
		return;
	}
	join_backlog(sender, chain);
	if (sender->op.in_flight) {
		compact_if_scattered(sender);
	} else if (unsent(tcp) >= SEND_NOW_BYTES) {
		r = send_now(tcp);
		/* The rest waits for room in the kernel; the next write must not try again. */
		if (r == 0)
			flush(tcp);
	}
	if (r < 0)
		fail(tcp, r);
	else
		hb_loop_defer(loop_of(tcp), &sender->task);
}

/* Our end comes after the backlog, at the end of a turn. */
static void finish_later(struct hb_tcp *tcp)
{
	struct sender *sender = sender_get(tcp);

	tcp->finished = true;
	if (sender)
		hb_loop_defer(loop_of(tcp), &sender->task);
	else
		no_memory(tcp);
}

static void tcp_finish(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state == OPEN && !tcp->finished)
		finish_later(tcp);
}

/* --- receiving --- */

static void on_recv(struct hb_recv *recv, struct hb_buf *chain, int res)
{
	struct hb_tcp *tcp = hb_container_of(recv, struct hb_tcp, recv);
	struct hb_stream *s = &tcp->stream;

	if (res < 0) {
		fail(tcp, res);
	} else if (tcp->state == CLOSING) {
		hb_buf_free_all(chain);
		tcp->peer_finished = res == 0;
		end_if_done(tcp);
	} else if (res > 0) {
		s->bytes_in += (uint64_t)res;
		s->events->on_data(s, chain);
	} else {
		tcp->peer_finished = true;
		s->events->on_finish(s);
	}
}

static const struct hb_recv_events recv_events = {
	.on_recv = on_recv,
	.on_stopped = on_stopped,
};

static void on_watch(struct hb_op *op, int res)
{
	struct hb_tcp *tcp = hb_container_of(op, struct guard, watch)->tcp;
	socklen_t len = sizeof(int);
	int error = 0;

	if (tcp->state == ENDING) {
		guard_drop(tcp);
		closed_if_idle(tcp);
		return;
	}
	if (tcp->state == OPEN && !tcp->paused) {
		guard_drop(tcp);
		return;
	}
	if (res == -ECANCELED && tcp->state == OPEN) {
		/* It was read meanwhile, and is paused again. */
		hb_loop_timer_start(loop_of(tcp), &tcp->guard->timer, WATCH_AFTER_MS);
		return;
	}
	/* POLLHUP alone: both sides have finished, and what came before may still be unread. */
	if (res < 0 || !(res & POLLERR))
		return;
	if (getsockopt(fd_of(tcp), SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		fail(tcp, -error);
}

static void on_timer(struct hb_timer *timer)
{
	struct guard *guard = hb_container_of(timer, struct guard, timer);
	struct hb_tcp *tcp = guard->tcp;

	if (tcp->state == OPEN) {
		if (!guard->watch.in_flight)
			hb_loop_poll(loop_of(tcp), &guard->watch, fd_of(tcp), POLLERR);
	} else if (tcp->state == CLOSING) {
		/* All was taken by the peer's kernel: what it still had to say is not our loss. */
		end(tcp, tcp->shut ? tcp->why : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ETIMEDOUT));
	}
}

static bool start_timer(struct hb_tcp *tcp, uint32_t after_ms)
{
	struct guard *guard = guard_get(tcp);

	if (guard)
		hb_loop_timer_start(loop_of(tcp), &guard->timer, after_ms);
	return guard;
}

static void tcp_pause(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || tcp->paused)
		return;
	tcp->paused = true;
	hb_loop_recv_pause(&tcp->recv);
	if (!start_timer(tcp, WATCH_AFTER_MS))
		no_memory(tcp);
}

static void tcp_resume(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || !tcp->paused)
		return;
	tcp->paused = false;
	guard_drop(tcp);
	if (!tcp->peer_finished)
		hb_loop_recv_resume(&tcp->recv);
}

static void tcp_close(struct hb_stream *s, struct hb_end why)
{
	struct hb_tcp *tcp = of_stream(s);

	if (why.code < 0) {
		end(tcp, why);
		return;
	}
	if (tcp->state != OPEN)
		return;
	tcp->state = CLOSING;
	tcp->why = why;
	if (!start_timer(tcp, tcp->linger_ms)) {
		no_memory(tcp);
		return;
	}
	if (!tcp->peer_finished)
		hb_loop_recv_resume(&tcp->recv);
	finish_later(tcp);
}

static void tcp_free(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	assert(tcp->state == CLOSED);
	hb_slab_put(tcp);
}

/* --- birth --- */

static const struct hb_stream_ops ops = {
	.write = tcp_write,
	.finish = tcp_finish,
	.pause = tcp_pause,
	.resume = tcp_resume,
	.close = tcp_close,
	.free = tcp_free,
};

struct hb_stream *hb_tcp_new(struct hb_loop *loop, int fd, const struct hb_tcp_options *options)
{
	struct hb_tcp *tcp = hb_slab_get(hb_loop_slabs(loop), sizeof(*tcp));

	if (!tcp) {
		close(fd);
		return NULL;
	}
	hb_tcp_set_options(fd, options);
	tcp->stream.ops = &ops;
	tcp->paused = true;
	tcp->user_timeout = options->user_timeout_ms > 0;
	tcp->linger_ms = options->linger_ms ? options->linger_ms : HB_TCP_LINGER_MS;
	hb_recv_init(&tcp->recv, loop, fd, options->read_max, &recv_events);
	if (!start_timer(tcp, WATCH_AFTER_MS)) {
		close(fd);
		hb_slab_put(tcp);
		return NULL;
	}
	return &tcp->stream;
}
