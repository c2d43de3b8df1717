/*
 * tcp_splice: from one socket to another through a pipe, so that the kernel passes on its pages
 * and nothing is copied (reference/dataplane 2: less than half of what copying takes in bulk).
 *
 *   COPYING --much came at once--> SPLICING --little came, several times; not possible--> COPYING
 *
 * For little, copying is cheaper: a pipe takes two system calls where a buffer takes one, or none
 * of its own. SPLICING is recv.by_readiness: the receiver says that there is something to read, and
 * on_readable moves it. The pipe is borrowed for that moment; only what the other socket did not
 * take stays in it, as the first of what that socket has to send, and makes it full.
 *
 * io_uring's own splice is not used: the kernel has it run by a worker thread, always, which costs
 * more than the copy that it saves.
 */
#include "tcp_internal.h"

#include <assert.h>
#include <fcntl.h>

/* Came at once: bulk. */
#define SPLICE_FROM_BYTES (64u * 1024)
/* What one stream moves in one turn. */
#define SPLICE_TURN_BYTES (256u * 1024)
/* Less than this so many times in a row: no bulk any more. */
#define THIN_BYTES (16u * 1024)
#define THIN_TIMES 4

/* Splicing asks the descriptor whether it may block. */
static bool set_nonblock(struct hb_tcp *tcp)
{
	int fd = hb_tcp_fd(tcp), flags;

	if (tcp->nonblock)
		return true;
	flags = fcntl(fd, F_GETFL);
	tcp->nonblock =
	    flags >= 0 && ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
	return tcp->nonblock;
}

void hb_tcp_came_at_once(struct hb_tcp *tcp, size_t bytes)
{
	struct hb_tcp *to = hb_tcp_splice_to(tcp);
	int r;

	if (bytes < SPLICE_FROM_BYTES || !to || to->state != HB_TCP_OPEN)
		return;
	if (!set_nonblock(tcp) || !set_nonblock(to))
		return;
	/* What was copied goes first: nothing can be spliced while it waits. */
	if (hb_tcp_sender(to) && !hb_tcp_sender(to)->op.base.in_flight) {
		r = hb_tcp_send_now(to);
		if (r < 0) {
			hb_tcp_fail(to, r);
			return;
		}
	}
	tcp->thin = 0;
	tcp->recv.by_readiness = true;
}

/* Nothing waits to be sent there, and it may be written to. */
static bool is_free(const struct hb_tcp *to)
{
	return to->state == HB_TCP_OPEN && !to->finished && hb_tcp_unsent(to) == 0 &&
	       !(hb_tcp_sender(to) && hb_tcp_sender(to)->op.base.in_flight);
}

static void copy_instead(struct hb_tcp *tcp)
{
	tcp->recv.by_readiness = false;
	hb_loop_recv_read(hb_tcp_loop(tcp), &tcp->recv);
}

static ssize_t splice_once(int from_fd, int to_fd, size_t bytes)
{
	ssize_t n;

	do
		n = splice(from_fd, NULL, to_fd, NULL, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int hb_tcp_pour(struct hb_tcp *tcp, struct hb_pipe *pipe, uint32_t *bytes)
{
	while (*bytes > 0) {
		ssize_t n = splice_once(pipe->read_fd, hb_tcp_fd(tcp), *bytes);

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
		*bytes -= (uint32_t)n;
	}
	return 0;
}

int hb_tcp_unpipe(struct hb_tcp *tcp)
{
	struct hb_tcp_sender *sender = hb_tcp_sender(tcp);
	struct hb_bufq q = { 0 };

	while (sender->piped > 0) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(hb_tcp_loop(tcp)));
		ssize_t n;

		if (!buf) {
			hb_bufq_clear(&q);
			return -ENOMEM;
		}
		n = read(sender->pipe->read_fd, buf->data,
		         hb_min_size(sender->piped, HB_BUF_PAYLOAD));
		assert(n > 0); /* it is all there, and nobody else reads it */
		buf->len = (uint32_t)n;
		sender->piped -= buf->len;
		hb_bufq_push(&q, buf);
	}
	hb_bufq_push(&q, hb_bufq_take(&sender->backlog));
	sender->backlog = q;
	return 0;
}

struct moved {
	uint64_t bytes; /* that came */
	uint32_t left;  /* of them, in the pipe */
	ssize_t from;   /* the last read: > 0 there may be more; 0 the end; or -errno */
	int to;         /* the last write: 0 or -errno */
};

static struct moved move(struct hb_tcp *from, struct hb_tcp *to, struct hb_pipe *pipe)
{
	struct moved moved = { .from = 1 };

	while (moved.bytes < SPLICE_TURN_BYTES && moved.left == 0) {
		moved.from = splice_once(hb_tcp_fd(from), pipe->write_fd, pipe->size);
		if (moved.from <= 0)
			break;
		moved.bytes += (uint64_t)moved.from;
		moved.left = (uint32_t)moved.from;
		moved.to = hb_tcp_pour(to, pipe, &moved.left);
		if (moved.to < 0)
			break;
	}
	return moved;
}

/* It was told, or has failed; how it is to be read on. */
static void go_on(struct hb_tcp *tcp, const struct moved *moved)
{
	if (moved->from == -EAGAIN) {
		tcp->thin = moved->bytes < THIN_BYTES ? (tcp->thin + 1u) & 7 : 0;
		tcp->recv.by_readiness = tcp->thin < THIN_TIMES;
		hb_loop_recv_dry(hb_tcp_loop(tcp), &tcp->recv);
	} else if (moved->from < 0) {
		hb_tcp_fail(tcp, (int)moved->from);
	} else if (moved->from == 0) {
		hb_loop_recv_pause(hb_tcp_loop(tcp), &tcp->recv);
		hb_tcp_peer_finished(tcp);
	}
}

void hb_tcp_on_readable(struct hb_recv *recv)
{
	struct hb_tcp *tcp = hb_container_of(recv, struct hb_tcp, recv),
		      *to = hb_tcp_splice_to(tcp);
	struct hb_loop *loop = hb_tcp_loop(tcp);
	struct hb_pipe *pipe = to && is_free(to) ? hb_pipe_get(loop) : NULL;
	struct moved moved;

	if (!pipe) {
		copy_instead(tcp);
		return;
	}
	moved = move(tcp, to, pipe);
	if (moved.bytes > 0) {
		tcp->stream.bytes_in += moved.bytes;
		hb_pipe_count(loop, moved.bytes);
		hb_container_of(tcp->stream.events, const struct hb_tcp_joined, events)
		    ->on_spliced(&tcp->stream, moved.bytes);
	}
	if (moved.left > 0 && moved.to == 0)
		hb_tcp_send_piped(to, pipe, moved.left);
	else
		hb_pipe_put(loop, pipe, moved.left == 0);
	if (moved.to < 0)
		hb_tcp_fail(to, moved.to);
	/* Readable, and nothing to splice: urgent data, or a socket that cannot. Reading will tell.
	 */
	if (moved.bytes == 0 && (moved.from == -EAGAIN || moved.from == -EINVAL))
		copy_instead(tcp);
	else
		go_on(tcp, &moved);
}
