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
 * Sending: one sendmsg in flight, never two (their short results would reorder bytes). What it
 * looks at is kept apart in `sending`, so the rest of the backlog may be moved about meanwhile.
 */
#include <hbone/tcp.h>

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

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

struct hb_tcp {
	struct hb_stream stream;
	struct hb_loop *loop;
	struct hb_recv recv;
	struct hb_op send;
	struct hb_op watch;     /* a poll for errors, while paused */
	struct hb_task task;    /* flush, tell full, tell errors: the end of a turn */
	struct hb_timer timer;  /* OPEN: watch; CLOSING: linger */
	struct hb_bufq sending; /* what the send in flight looks at */
	struct hb_bufq backlog; /* after it */
	struct msghdr msg;
	struct iovec iov[IOV_INLINE];
	struct iovec *iov_more; /* instead of iov; lives as long as the send */
	size_t small_bufs;      /* joined the backlog since it was last dense */
	struct hb_end why;
	int fd;
	int error; /* a send failed inside write; the task tells */
	uint32_t linger_ms;
	uint8_t state;
	bool paused;
	bool peer_finished; /* the end was read */
	bool finished;      /* finish or close was asked */
	bool shut;          /* and done */
	bool full;          /* on_full was told */
	bool recv_stopped;
};

static struct hb_tcp *of_stream(struct hb_stream *s)
{
	return hb_container_of(s, struct hb_tcp, stream);
}

static size_t unsent(const struct hb_tcp *tcp)
{
	return tcp->sending.bytes + tcp->backlog.bytes;
}

/* --- the end --- */

static void closed_if_idle(struct hb_tcp *tcp)
{
	if (tcp->state != ENDING || !tcp->recv_stopped || tcp->send.in_flight ||
	    tcp->watch.in_flight)
		return;
	hb_bufq_clear(&tcp->sending);
	hb_loop_undefer(&tcp->task);
	close(tcp->fd);
	tcp->fd = -1;
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
		(void)setsockopt(tcp->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (tcp->state == ENDING)
		return;
	tcp->state = ENDING;
	hb_loop_timer_stop(tcp->loop, &tcp->timer);
	hb_bufq_clear(&tcp->backlog);
	hb_loop_cancel(tcp->loop, &tcp->send);
	hb_loop_cancel(tcp->loop, &tcp->watch);
	hb_loop_recv_stop(&tcp->recv);
}

static void fail(struct hb_tcp *tcp, int code)
{
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

/* --- sending --- */

/* A few bytes may hold a whole slot each; a peer that does not read must not pin them all. */
static void compact_if_scattered(struct hb_tcp *tcp)
{
	if (tcp->small_bufs < COMPACT_BUFS)
		return;
	hb_bufq_compact(&tcp->backlog);
	tcp->small_bufs = 0;
}

static void join_backlog(struct hb_tcp *tcp, struct hb_buf *chain)
{
	size_t before = tcp->backlog.bytes;

	for (struct hb_buf *buf = chain; buf; buf = buf->next)
		tcp->small_bufs += buf->len < COMPACT_BYTES;
	hb_bufq_push(&tcp->backlog, chain);
	tcp->stream.bytes_out += tcp->backlog.bytes - before;
}

/* Makes msg look at as much of the backlog as one send takes. */
static void gather(struct hb_tcp *tcp)
{
	struct iovec *iov = tcp->iov;
	size_t iov_max = IOV_INLINE, n = 0;

	compact_if_scattered(tcp);
	while (tcp->sending.bufs < IOV_MAX_BUFS && tcp->backlog.head)
		hb_bufq_push(&tcp->sending, hb_bufq_shift(&tcp->backlog));
	if (!tcp->backlog.head)
		tcp->small_bufs = 0;
	if (tcp->sending.bufs > IOV_INLINE) {
		/* Without memory it goes in small pieces. */
		tcp->iov_more = malloc(tcp->sending.bufs * sizeof(*iov));
		if (tcp->iov_more) {
			iov = tcp->iov_more;
			iov_max = tcp->sending.bufs;
		}
	}
	for (struct hb_buf *buf = tcp->sending.head; buf && n < iov_max; buf = buf->next)
		iov[n++] = (struct iovec){ buf->data, buf->len };
	tcp->msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = n };
}

static void sent(struct hb_tcp *tcp, ssize_t res)
{
	free(hb_take(&tcp->iov_more));
	if (res > 0)
		hb_bufq_consume(&tcp->sending, (size_t)res);
}

/* At once, as much as the socket takes; only when no send is in flight. */
static void send_now(struct hb_tcp *tcp)
{
	while (unsent(tcp) > 0) {
		ssize_t res;
		size_t asked;

		gather(tcp);
		asked = tcp->sending.bytes;
		res = sendmsg(tcp->fd, &tcp->msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (res < 0)
			res = -errno;
		sent(tcp, res);
		if (res < 0 && res != -EAGAIN && res != -EINTR)
			tcp->error = (int)res;
		if (res < (ssize_t)asked)
			return;
	}
}

static void shut(struct hb_tcp *tcp)
{
	tcp->shut = true;
	/* ENOTCONN: the peer's reset; receiving reports it. */
	(void)shutdown(tcp->fd, SHUT_WR);
}

/* Sends what waits, through the kernel; then our end, when it was asked for. */
static void flush(struct hb_tcp *tcp)
{
	if (tcp->state >= ENDING || tcp->send.in_flight)
		return;
	if (unsent(tcp) > 0) {
		gather(tcp);
		hb_loop_sendmsg(tcp->loop, &tcp->send, tcp->fd, &tcp->msg);
	} else if (tcp->finished) {
		if (!tcp->shut)
			shut(tcp);
		end_if_done(tcp);
	}
}

static void on_send(struct hb_op *op, int res)
{
	struct hb_tcp *tcp = hb_container_of(op, struct hb_tcp, send);

	sent(tcp, res);
	if (tcp->state == ENDING) {
		closed_if_idle(tcp);
		return;
	}
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		fail(tcp, res);
		return;
	}
	if (tcp->state == CLOSING)
		hb_loop_timer_start(tcp->loop, &tcp->timer, tcp->linger_ms);
	flush(tcp);
	if (tcp->full && unsent(tcp) < HB_TCP_LOW && tcp->state == OPEN) {
		tcp->full = false;
		tcp->stream.events->on_drained(&tcp->stream);
	}
}

static void on_task(struct hb_task *task)
{
	struct hb_tcp *tcp = hb_container_of(task, struct hb_tcp, task);

	if (tcp->error) {
		fail(tcp, tcp->error);
		return;
	}
	flush(tcp);
	if (tcp->state != OPEN)
		return;
	if (!tcp->full && unsent(tcp) > HB_TCP_HIGH) {
		tcp->full = true;
		tcp->stream.events->on_full(&tcp->stream);
	} else if (tcp->full && unsent(tcp) < HB_TCP_LOW) {
		tcp->full = false;
		tcp->stream.events->on_drained(&tcp->stream);
	}
}

static void tcp_write(struct hb_stream *s, struct hb_buf *chain)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || tcp->finished || tcp->error) {
		hb_buf_free_all(chain);
		return;
	}
	join_backlog(tcp, chain);
	if (tcp->send.in_flight) {
		compact_if_scattered(tcp);
	} else if (unsent(tcp) >= SEND_NOW_BYTES) {
		send_now(tcp);
		/* The rest waits for room in the kernel; the next write must not try again. */
		if (!tcp->error)
			flush(tcp);
	}
	hb_loop_defer(tcp->loop, &tcp->task);
}

static void tcp_finish(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || tcp->finished)
		return;
	tcp->finished = true;
	hb_loop_defer(tcp->loop, &tcp->task);
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

static void on_watch(struct hb_op *op, int res)
{
	struct hb_tcp *tcp = hb_container_of(op, struct hb_tcp, watch);
	socklen_t len = sizeof(int);
	int error = 0;

	if (tcp->state == ENDING) {
		closed_if_idle(tcp);
		return;
	}
	/* POLLHUP alone: both sides have finished, and what came before may still be unread. */
	if (res < 0 || !(res & POLLERR))
		return;
	if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		fail(tcp, -error);
}

static void on_timer(struct hb_timer *timer)
{
	struct hb_tcp *tcp = hb_container_of(timer, struct hb_tcp, timer);

	if (tcp->state == OPEN) {
		if (!tcp->watch.in_flight)
			hb_loop_poll(tcp->loop, &tcp->watch, tcp->fd, POLLERR);
	} else if (tcp->state == CLOSING) {
		/* All was taken by the peer's kernel: what it still had to say is not our loss. */
		end(tcp, tcp->shut ? tcp->why : hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ETIMEDOUT));
	}
}

static void tcp_pause(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || tcp->paused)
		return;
	tcp->paused = true;
	hb_loop_recv_pause(&tcp->recv);
	hb_loop_timer_start(tcp->loop, &tcp->timer, WATCH_AFTER_MS);
}

static void tcp_resume(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	if (tcp->state != OPEN || !tcp->paused)
		return;
	tcp->paused = false;
	hb_loop_timer_stop(tcp->loop, &tcp->timer);
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
	tcp->finished = true;
	hb_loop_timer_start(tcp->loop, &tcp->timer, tcp->linger_ms);
	if (!tcp->peer_finished)
		hb_loop_recv_resume(&tcp->recv);
	hb_loop_defer(tcp->loop, &tcp->task);
}

static void tcp_free(struct hb_stream *s)
{
	struct hb_tcp *tcp = of_stream(s);

	assert(tcp->state == CLOSED);
	free(tcp);
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

static void set_option(int fd, int level, int name, uint32_t value)
{
	int v = (int)value;

	/* Unix sockets know none of them; a kernel without one runs with its default. */
	(void)setsockopt(fd, level, name, &v, sizeof(v));
}

/* Pacing halves what a path that never leaves this node can carry. */
static void choose_unpaced(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 &&
	    strcmp(name, "bbr") == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", strlen("reno"));
}

static void set_options(int fd, const struct hb_tcp_options *options)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (options->keepalive_idle_s) {
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, options->keepalive_idle_s);
	}
	if (options->keepalive_interval_s)
		set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->keepalive_interval_s);
	if (options->keepalive_probes)
		set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_probes);
	if (options->user_timeout_ms)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms);
	if (options->unpaced)
		choose_unpaced(fd);
}

struct hb_stream *hb_tcp_new(struct hb_loop *loop, int fd, const struct hb_tcp_options *options)
{
	struct hb_tcp *tcp = calloc(1, sizeof(*tcp));

	if (!tcp) {
		close(fd);
		return NULL;
	}
	set_options(fd, options);
	tcp->stream.ops = &ops;
	tcp->loop = loop;
	tcp->fd = fd;
	tcp->paused = true;
	tcp->linger_ms = options->linger_ms ? options->linger_ms : HB_TCP_LINGER_MS;
	tcp->send.done = on_send;
	tcp->watch.done = on_watch;
	hb_task_init(&tcp->task, on_task);
	hb_timer_init(&tcp->timer, on_timer);
	hb_loop_timer_start(loop, &tcp->timer, WATCH_AFTER_MS);
	hb_recv_init(&tcp->recv, loop, fd, options->read_max);
	tcp->recv.on_recv = on_recv;
	tcp->recv.on_stopped = on_stopped;
	return &tcp->stream;
}
