/*
 * tcp_send: what is written, in its order: what is in a pipe, the send in flight, the backlog.
 *
 * One sendmsg in flight, never two (their short results would reorder bytes). What it looks at is
 * kept apart in `sending`, so the rest of the backlog may be moved about meanwhile. A pipe is only
 * taken over when nothing else waits; its rest goes out before anything written later.
 */
#include "tcp_internal.h"

#include <poll.h>

/* So much is not kept until the turn's end: sent while it is in the cache. */
#define SEND_NOW_BYTES (128u * 1024)
#define IOV_MAX_BUFS   64
/* When so many bufs below that size have joined the backlog, it is compacted. */
#define COMPACT_BUFS  16
#define COMPACT_BYTES 2048

static void on_send(struct hb_op *op, int res);
static void on_task(struct hb_task *task);

/* The one it has, or a new one. NULL: no memory. */
static struct hb_tcp_sender *sender_get(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	if (sender)
		return sender;
	sender = malloc(sizeof(*sender));
	if (!sender)
		return NULL;
	*sender = (struct hb_tcp_sender){ .tcp = tcp, .op.done = on_send };
	hb_task_init(&sender->task, on_task);
	hb_tcp_set_parts(tcp, sender, hb_tcp_guard(tcp));
	return sender;
}

static void sender_free(struct hb_tcp *tcp)
{
	free(hb_tcp_sender(tcp));
	hb_tcp_set_parts(tcp, NULL, hb_tcp_guard(tcp));
}

/* Unless the kernel uses it still. */
void hb_tcp_sender_drop(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	if (!sender)
		return;
	if (sender->pipe)
		hb_pipe_put(hb_tcp_loop(tcp), hb_take(&sender->pipe), false);
	sender->piped = 0;
	hb_bufq_clear(&sender->backlog);
	hb_loop_undefer(&sender->task);
	if (sender->op.base.in_flight)
		return;
	hb_bufq_clear(&sender->sending);
	sender_free(tcp);
}

/* Nothing waits, not even the turn's end. */
static void sender_put(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	if (sender && hb_tcp_unsent(tcp) == 0 && !sender->op.base.in_flight &&
	    hb_list_is_empty(&sender->task.node))
		sender_free(tcp);
}
/* A few bytes may hold a whole slot each; a peer that does not read must not pin them all. */
static void compact_if_scattered(struct hb_tcp_sender *sender)
{
	if (sender->small_bufs < COMPACT_BUFS)
		return;
	hb_bufq_compact(&sender->backlog);
	sender->small_bufs = 0;
}

static void join_backlog(struct hb_tcp_sender *sender, struct hb_buf *chain)
{
	for (struct hb_buf *buf = chain; buf; buf = buf->next)
		sender->small_bufs += buf->len < COMPACT_BYTES;
	hb_bufq_push(&sender->backlog, chain);
}

/* Makes msg look at as much of the backlog as one send takes. */
static void gather(struct hb_tcp_sender *sender)
{
	struct iovec *iov = sender->iov;
	size_t iov_max = HB_TCP_IOV_INLINE, n = 0;

	compact_if_scattered(sender);
	while (sender->sending.bufs < IOV_MAX_BUFS && sender->backlog.head)
		hb_bufq_push(&sender->sending, hb_bufq_shift(&sender->backlog));
	if (!sender->backlog.head)
		sender->small_bufs = 0;
	if (sender->sending.bufs > HB_TCP_IOV_INLINE) {
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

static void sent(struct hb_tcp_sender *sender, ssize_t res)
{
	free(hb_take(&sender->iov_more));
	if (res > 0)
		hb_bufq_consume(&sender->sending, (size_t)res);
}

int hb_tcp_send_now(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	while (sender && hb_tcp_unsent(tcp) > 0) {
		ssize_t res;
		size_t asked;

		gather(sender);
		asked = sender->sending.bytes;
		res = sendmsg(hb_tcp_fd(tcp), &sender->msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (res < 0)
			res = -errno;
		sent(sender, res);
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
	/* The close that follows at once says it as well, as nothing is left to be read. */
	if (tcp->state == HB_TCP_CLOSING && tcp->peer_finished)
		return;
	/* ENOTCONN: the peer's reset; receiving reports it. */
	(void)shutdown(hb_tcp_fd(tcp), SHUT_WR);
}

/*
 * False: it is not empty yet, or the stream has failed. A poll of io_uring also ends when the peer
 * finishes, and would at once, again and again; and Linux 6.1 calls a socket with a small send
 * buffer writable that splice finds no room in. So where a poll was of no use, bytes are copied.
 */
static bool empty_pipe(struct hb_tcp *tcp, bool polled)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);
	uint32_t before = sender->piped;
	int r = hb_tcp_pour(tcp, sender->pipe, &sender->piped);

	if (r == 0 && polled && sender->piped == before)
		r = hb_tcp_unpipe(tcp);
	if (r == -ENOMEM) {
		hb_tcp_no_memory(tcp);
	} else if (r < 0) {
		hb_tcp_fail(tcp, r);
	} else if (sender->piped > 0) {
		sender->polling = true;
		hb_loop_poll(hb_tcp_loop(tcp), &sender->op, hb_tcp_fd(tcp), POLLOUT);
	} else {
		hb_pipe_put(hb_tcp_loop(tcp), hb_take(&sender->pipe), true);
		return true;
	}
	return false;
}

/* Sends what waits, through the kernel; then our end, when it was asked for. */
static void flush(struct hb_tcp *tcp, bool polled)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	if (tcp->state >= HB_TCP_ENDING || (sender && sender->op.base.in_flight))
		return;
	if (sender && sender->pipe && !empty_pipe(tcp, polled))
		return;
	if (hb_tcp_unsent(tcp) > 0) {
		gather(sender);
		hb_loop_sendmsg(hb_tcp_loop(tcp), &sender->op, hb_tcp_fd(tcp), &sender->msg);
	} else if (tcp->finished) {
		if (!tcp->shut)
			shut(tcp);
		hb_tcp_end_if_done(tcp);
	}
}

/* What is in a pipe is full whatever its size: a pipe is not for keeping bytes. */
static void tell_room(struct hb_tcp *tcp)
{
	bool tight = hb_buf_pool_is_tight(hb_loop_pool(hb_tcp_loop(tcp)));
	const struct hb_tcp_sender *sender = hb_tcp_sender(tcp);
	bool piped = sender && sender->pipe;
	size_t unsent = hb_tcp_unsent(tcp);

	if (tcp->state != HB_TCP_OPEN)
		return;
	if (!tcp->full && (piped || unsent > (tight ? HB_BUF_TIGHT_HIGH : HB_TCP_HIGH))) {
		tcp->full = true;
		tcp->stream.events->on_full(&tcp->stream);
	} else if (tcp->full && !piped && unsent < (tight ? HB_BUF_TIGHT_LOW : HB_TCP_LOW)) {
		tcp->full = false;
		tcp->stream.events->on_drained(&tcp->stream);
	}
}

static void on_send(struct hb_op *op, int res)
{
	struct hb_tcp_sender *sender = hb_container_of(op, struct hb_tcp_sender, op);
	struct hb_tcp *tcp = sender->tcp;
	bool polled = sender->polling;

	sender->polling = false;
	if (!polled) /* else res is no number of bytes */
		sent(sender, res);
	if (tcp->state == HB_TCP_ENDING) {
		hb_tcp_closed_if_idle(tcp);
		return;
	}
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		hb_tcp_fail(tcp, res);
		return;
	}
	if (tcp->state == HB_TCP_CLOSING)
		hb_tcp_linger_on(tcp);
	flush(tcp, polled);
	if (tcp->full)
		tell_room(tcp);
	sender_put(tcp);
}

/* A send in flight, or what is in a pipe, comes first. */
static bool may_send_directly(const struct hb_tcp *tcp)
{
	const struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	return tcp->state < HB_TCP_ENDING && !sender->op.base.in_flight && !sender->pipe &&
	       sender->backlog.head && hb_loop_sends_directly(hb_tcp_loop(tcp));
}

/* 0; or -errno, and the stream has failed. What finds no room waits for it as an operation. */
static int send_directly(struct hb_tcp *tcp)
{
	size_t before = hb_tcp_unsent(tcp);
	int r = hb_tcp_send_now(tcp);

	if (r < 0)
		hb_tcp_fail(tcp, r);
	else if (tcp->state == HB_TCP_CLOSING && hb_tcp_unsent(tcp) < before)
		hb_tcp_linger_on(tcp);
	return r;
}

static void on_task(struct hb_task *task)
{
	struct hb_tcp *tcp = hb_container_of(task, struct hb_tcp_sender, task)->tcp;

	if (may_send_directly(tcp) && send_directly(tcp) < 0)
		return;
	flush(tcp, false);
	tell_room(tcp);
	sender_put(tcp);
}

void hb_tcp_write(struct hb_stream *s, struct hb_buf *chain)
{
	struct hb_tcp *tcp = hb_tcp_of(s);
	struct hb_tcp_sender *sender;
	int r = 0;

	if (tcp->state != HB_TCP_OPEN || tcp->finished) {
		hb_buf_free_all(chain);
		return;
	}
	sender = sender_get(tcp);
	if (!sender) {
		hb_buf_free_all(chain);
		hb_tcp_no_memory(tcp);
		return;
	}
	join_backlog(sender, chain);
	if (sender->op.base.in_flight) {
		compact_if_scattered(sender);
	} else if (hb_tcp_unsent(tcp) >= SEND_NOW_BYTES) {
		r = hb_tcp_send_now(tcp);
		/* The rest waits for room in the kernel; the next write must not try again. */
		if (r == 0)
			flush(tcp, false);
	}
	if (r < 0)
		hb_tcp_fail(tcp, r);
	else
		hb_loop_defer(hb_tcp_loop(tcp), &sender->task);
}

void hb_tcp_finish_later(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = sender_get(tcp);

	tcp->finished = true;
	if (sender)
		hb_loop_defer(hb_tcp_loop(tcp), &sender->task);
	else
		hb_tcp_no_memory(tcp);
}

void hb_tcp_finish(struct hb_stream *s)
{
	struct hb_tcp *tcp = hb_tcp_of(s);

	if (tcp->state == HB_TCP_OPEN && !tcp->finished)
		hb_tcp_finish_later(tcp);
}

void hb_tcp_send_piped(struct hb_tcp *tcp, struct hb_pipe *pipe, uint32_t bytes)
{
	struct hb_tcp_sender *sender = sender_get(tcp);

	if (!sender) {
		hb_pipe_put(hb_tcp_loop(tcp), pipe, false);
		hb_tcp_no_memory(tcp);
		return;
	}
	sender->pipe = pipe;
	sender->piped = bytes;
	flush(tcp, false);
	/* The turn's end tells that it is full. */
	if (hb_tcp_sender(tcp))
		hb_loop_defer(hb_tcp_loop(tcp), &sender->task);
}
