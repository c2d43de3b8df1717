/*
 * tcp_internal: what the files of tcp share.
 *
 *   tcp.c          the life of a stream: reading, pausing, closing
 *   tcp_send.c     writing, in the order that it was asked for
 *   tcp_splice.c   from one socket to another without passing through our memory
 */
#pragma once

#include <sys/uio.h>

#include <hbone/tcp.h>

#include "loop_pipes.h"
#include "tcp_splice.h"

#define HB_TCP_IOV_INLINE 4

enum hb_tcp_state {
	HB_TCP_OPEN,
	HB_TCP_CLOSING,
	HB_TCP_ENDING,
	HB_TCP_CLOSED,
};

/* A silent connection has neither of these two: they live while there is work for them. */
struct hb_tcp_sender { /* something is to be sent, or finished */
	struct hb_tcp *tcp;
	struct hb_op op;      /* a send; or, where polling, a poll for room */
	struct hb_task task;  /* flush, tell full: the end of a turn */
	struct hb_pipe *pipe; /* NULL: nothing is in one. What is goes first */
	uint32_t piped;       /* bytes in it; > 0 */
	bool polling;
	struct hb_bufq sending; /* what the send in flight looks at */
	struct hb_bufq backlog; /* after it */
	size_t small_bufs;      /* joined the backlog since it was last dense */
	struct msghdr msg;
	struct iovec iov[HB_TCP_IOV_INLINE];
	struct iovec *iov_more; /* instead of iov; lives as long as the send */
};

struct hb_tcp_guard { /* it is paused, or lingers */
	struct hb_tcp *tcp;
	struct hb_tcp_sender *sender; /* if there is one as well */
	struct hb_op watch;           /* a poll for errors, while paused */
	struct hb_timer timer;        /* OPEN: watch; CLOSING: linger */
};

struct hb_tcp { /* in a slab of its loop */
	struct hb_stream stream;
	struct hb_recv recv;
	uintptr_t parts; /* its sender and guard: hb_tcp_sender(), hb_tcp_guard() */
	/* Why it ends, CLOSING and from then on; see hb_tcp_why(). */
	int64_t code : 18;
	uint64_t layer : 4, side : 2;
	uint64_t state : 2;
	uint64_t thin : 3; /* times in a row that little was there to splice */
	uint64_t linger_ms : 17;
	bool joined : 1; /* OPEN: bulk may go past the owner, to the stream it is joined with */
	bool paused : 1;
	bool peer_finished : 1; /* the end was read */
	bool finished : 1;      /* finish or close was asked */
	bool shut : 1;          /* and done */
	bool full : 1;          /* on_full was told */
	bool recv_stopped : 1;
	bool nonblock : 1;     /* the descriptor is known to be */
	bool user_timeout : 1; /* the kernel was asked for one, which overrides its other ones */
};

static inline struct hb_tcp *hb_tcp_of(struct hb_stream *s)
{
	return hb_container_of(s, struct hb_tcp, stream);
}

static inline int hb_tcp_fd(const struct hb_tcp *tcp)
{
	return hb_recv_fd(&tcp->recv);
}

static inline struct hb_loop *hb_tcp_loop(const struct hb_tcp *tcp)
{
	return hb_slab_owner(tcp);
}

static inline struct hb_end hb_tcp_why(const struct hb_tcp *tcp)
{
	return hb_end((enum hb_layer)tcp->layer, (enum hb_side)tcp->side, (int)tcp->code);
}

static inline void hb_tcp_set_why(struct hb_tcp *tcp, struct hb_end why)
{
	tcp->layer = why.layer & 15;
	tcp->side = why.side & 3;
	tcp->code = why.code;
}

/*
 * Its parts are the sender's address; or the guard's, and 1, who then knows the sender.
 */
static inline struct hb_tcp_guard *hb_tcp_guard(const struct hb_tcp *tcp)
{
	return tcp->parts & 1 ? (struct hb_tcp_guard *)(tcp->parts - 1) : NULL; /* being read */
}

static inline struct hb_tcp_sender *hb_tcp_sender(const struct hb_tcp *tcp)
{
	if (tcp->parts & 1)
		return ((struct hb_tcp_guard *)(tcp->parts - 1))->sender;
	return (struct hb_tcp_sender *)tcp->parts; /* NULL: nothing to send */
}

static inline void hb_tcp_set_parts(struct hb_tcp *tcp, struct hb_tcp_sender *sender,
                                    struct hb_tcp_guard *guard)
{
	tcp->parts = guard ? (uintptr_t)guard + 1 : (uintptr_t)sender;
	if (guard)
		guard->sender = sender;
}

static inline size_t hb_tcp_unsent(const struct hb_tcp *tcp)
{
	const struct hb_tcp_sender *sender = hb_tcp_sender(tcp);

	return sender ? sender->piped + sender->sending.bytes + sender->backlog.bytes : 0;
}

/* Whom bulk may go to past its owner, or NULL. */
static inline struct hb_tcp *hb_tcp_splice_to(struct hb_tcp *tcp)
{
	if (!tcp->joined || tcp->state != HB_TCP_OPEN)
		return NULL;
	return hb_tcp_of(hb_container_of(tcp->stream.events, const struct hb_tcp_joined, events)
	                     ->other(&tcp->stream));
}

/* --- tcp.c --- */

/* The socket has failed with @code. */
void hb_tcp_fail(struct hb_tcp *tcp, int code);
/* Whatever cannot be done for want of it ends the stream, so that nothing is lost unseen. */
void hb_tcp_no_memory(struct hb_tcp *tcp);
/* The peer's last byte has come. Last: the owner may close it in here. */
void hb_tcp_peer_finished(struct hb_tcp *tcp);
/* CLOSING: ends when all is said by both. */
void hb_tcp_end_if_done(struct hb_tcp *tcp);
/* ENDING: tells on_closed when the kernel has let go. Last: may free. */
void hb_tcp_closed_if_idle(struct hb_tcp *tcp);
/* CLOSING: the peer takes bytes, so it gets its linger time anew. */
void hb_tcp_linger_on(struct hb_tcp *tcp);

/* --- tcp_send.c --- */

void hb_tcp_write(struct hb_stream *s, struct hb_buf *chain);
void hb_tcp_finish(struct hb_stream *s);
/* Our end comes after the backlog, at the end of a turn. */
void hb_tcp_finish_later(struct hb_tcp *tcp);
/* Everything at once, as much as the socket takes; not while a send is in flight. 0 or -errno. */
int hb_tcp_send_now(struct hb_tcp *tcp);
/* What is in @pipe, @bytes of it, goes before all else; nothing else may wait. Takes the pipe. */
void hb_tcp_send_piped(struct hb_tcp *tcp, struct hb_pipe *pipe, uint32_t bytes);
/* Nothing waits any more. */
void hb_tcp_sender_drop(struct hb_tcp *tcp);

/* --- tcp_splice.c --- */

/* The receiver's, when it goes by readiness. */
void hb_tcp_on_readable(struct hb_recv *recv);
/* So many bytes were there at once. */
void hb_tcp_came_at_once(struct hb_tcp *tcp, size_t bytes);
/* What is left in the sender's pipe goes to the head of its backlog, and the pipe back. 0; or
 * -ENOMEM, and bytes are lost. */
int hb_tcp_unpipe(struct hb_tcp *tcp);
/* From the pipe into the socket, as much as it takes: counts *bytes down. 0 or -errno. */
int hb_tcp_pour(struct hb_tcp *tcp, struct hb_pipe *pipe, uint32_t *bytes);
