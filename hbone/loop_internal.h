/*
 * loop_internal: what the files of the loop share.
 *
 *   loop.c              turns, tasks, messages, timers; which backend
 *   loop_accept.c       accepting until stopped
 *   loop_recv.c         receivers: when each is armed, read directly, starved, or told
 *   loop_pipes.c        pipes to splice through
 *   loop_uring.c        the io_uring backend; loop_uring_slots.c: the slots lent to the kernel
 *   loop_epoll.c        the epoll backend; loop_epoll_watch.c: which descriptors it watches
 */
#pragma once

#include <stdatomic.h>

#include <hbone/loop.h>

#include "loop_pipes.h"

/* As much as is sent at once; fits the second-level cache beside what it becomes. */
#define HB_PASS_ON_BYTES (128u * 1024)

enum hb_op_kind {
	HB_OP_CONNECT,
	HB_OP_SENDMSG,
	HB_OP_POLL,
	HB_OP_RECV,
	HB_OP_ACCEPT,
	HB_OP_WAKE,  /* io_uring's own */
	HB_OP_ENDED, /* epoll's own: the result waits in value */
};

/*
 * What drives a loop. Each operation has been begun (hb_op_begin()) and ends with hb_op_end() and
 * its callback, from tell() only.
 */
struct hb_backend {
	const char *name;
	/* Sends go out together at the end of the turn, by a system call that is made anyway. */
	bool sends_together;
	/* 0 or -errno and a clause in *ret_why, constant text. close() follows in either case. */
	int (*open)(struct hb_loop *loop, unsigned entries, size_t slots_max, const char **ret_why);
	void (*close)(struct hb_loop *loop);
	/* Once, on the thread that will make all turns. 0 or -errno. */
	int (*start)(struct hb_loop *loop);

	void (*connect)(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
	                socklen_t len);
	void (*sendmsg)(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg);
	void (*poll)(struct hb_loop *loop, struct hb_op *op, int fd, short events);
	void (*cancel)(struct hb_loop *loop, struct hb_op *op); /* not of a receiver */
	void (*accept)(struct hb_accept *accept);               /* hb_accept_on_done() */

	/* hb_recv_on_done() or hb_recv_on_readable() follows, once... */
	void (*arm)(struct hb_loop *loop, struct hb_recv *recv);
	/* ...also after this, unless it returns true: let go at once. */
	bool (*disarm)(struct hb_loop *loop, struct hb_recv *recv);
	/* It does, always, and asks the kernel nothing: no need to wait for the turn's end. Where
	 * not, the node of a receiver's op is not the backend's. */
	bool disarms_at_once;
	/* Nothing of the receiver is in flight, nor will be again. */
	void (*forget)(struct hb_loop *loop, struct hb_recv *recv);
	/* Gives memory back that the next burst will take again. */
	void (*trim)(struct hb_loop *loop);
	/* How many receivers could now be given something to read into. */
	unsigned (*slots)(struct hb_loop *loop);

	/* Hands over what was prepared. 0 or -errno. */
	int (*submit)(struct hb_loop *loop);
	/* The same, then waits until something has happened; UINT64_MAX: no bound. */
	int (*wait)(struct hb_loop *loop, uint64_t wait_ms);
	/* Tells what has happened, hb_loop_pass_on() after each; what happens meanwhile is for the
	 * next turn. */
	void (*tell)(struct hb_loop *loop);
	/* Tells of operations that have ended already, though this turn has asked for them. */
	void (*tell_ended)(struct hb_loop *loop);
};
extern const struct hb_backend hb_backend_uring, hb_backend_epoll;

struct hb_loop {
	const struct hb_backend *backend;
	union {
		struct hb_uring *uring;
		struct hb_epoll *epoll;
	};
	const char *fallback_reason;
	bool started; /* by the thread that runs it, at its first turn */
	bool in_turn;
	uint64_t turns;
	unsigned sends;        /* asked for in this turn */
	unsigned sends_before; /* in a turn before that had any, on average, times SENDS_WEIGHT */
	unsigned ops;          /* in flight, but the backend's own */
	uint64_t longest_turn_us;
	uint64_t now_ms; /* taken once per turn; the wheel follows when timers have their turn */

	struct hb_wheel wheel;
	struct hb_buf_pool *pool;
	struct hb_slabs *slabs;
	struct hb_pipes pipes;
	struct hb_list tasks;
	size_t fresh_bytes; /* told by receivers since tasks ran */

	/* Receivers, by their node; loop_recv.c says what each list means. */
	const struct hb_recv_events *recv_events[HB_RECV_EVENTS_MAX]; /* each once; NULL behind */
	struct hb_list recv_waiting, recv_ready, recv_starved, recv_unwanted, recv_stopped;

	int wake_fd;                    /* an eventfd, written when the inbox ceases to be empty */
	_Atomic(struct hb_msg *) inbox; /* last first */
	atomic_bool stopping;
};

void hb_op_begin(struct hb_loop *loop, struct hb_op_base *op, enum hb_op_kind kind, int fd);
void hb_op_end(struct hb_loop *loop, struct hb_op_base *op);

/* Runs the tasks if enough has come in since they ran. Between callbacks only. */
void hb_loop_pass_on(struct hb_loop *loop);

/* So many connections of one listening socket are told in a turn: each is work for its owner. */
#define HB_ACCEPTS_PER_TURN 16
/* loop_accept.c. @more: the op goes on; else it has ended. */
void hb_accept_on_done(struct hb_accept *accept, int res, bool more);

/* loop_recv.c. The op has ended: @buf (may be NULL) has @res bytes; or 0; or -errno. */
void hb_recv_on_done(struct hb_loop *loop, struct hb_recv *recv, struct hb_buf *buf, int res);
/* The op has ended: reading directly will find something. */
void hb_recv_on_readable(struct hb_loop *loop, struct hb_recv *recv);
/* Submits what the turn has decided; true when some receiver need not wait for the kernel. */
bool hb_recv_before_wait(struct hb_loop *loop);
/* Gives every ready receiver its share of this turn. */
void hb_recv_run_ready(struct hb_loop *loop);
/* Tells on_stopped; false when there was nothing to tell. */
bool hb_recv_run_stopped(struct hb_loop *loop);
