/*
 * loop_internal: what the files of the loop share. Only they include liburing.
 *
 *   loop.c         the ring, turns, operations, tasks, messages
 *   loop_accept.c  accepting until stopped
 *   loop_recv.c    receivers: when each is armed, read directly, starved, or told
 *   loop_slots.c   the slots that are lent to the kernel
 */
#pragma once

#include <liburing.h>
#include <stdatomic.h>

#include <hbone/loop.h>

/* Lent slots: what one turn of many small messages uses; 1 MiB at most. A power of two. */
#define HB_LENT_MAX   64
#define HB_LENT_GROUP 0
/* As much as is sent at once; fits the second-level cache beside what it becomes. */
#define HB_PASS_ON_BYTES (128u * 1024)

enum hb_op_kind {
	HB_OP_PLAIN, /* res goes to done */
	HB_OP_RECV,
	HB_OP_ACCEPT,
	HB_OP_WAKE,
};

/* The slots that the kernel may fill, by buffer id. */
struct hb_lent {
	struct io_uring_buf_ring *ring;
	struct hb_buf *bufs[HB_LENT_MAX]; /* NULL: not lent now */
	unsigned lent;                    /* not NULL */
	unsigned target;                  /* how many there should be */
};

struct hb_loop {
	struct io_uring ring;
	bool enabled; /* by the thread that runs it, at its first turn */
	bool in_turn;
	unsigned ops; /* in flight, but the loop's own */
	uint64_t longest_turn_us;
	uint64_t now_ms; /* taken once per turn; the wheel follows when timers have their turn */

	struct hb_wheel wheel;
	struct hb_buf_pool *pool;
	struct hb_lent lent;
	struct hb_list tasks;
	size_t fresh_bytes; /* told by receivers since tasks ran */

	/* Receivers, by their node; loop_recv.c says what each list means. */
	struct hb_list recv_waiting, recv_ready, recv_starved, recv_unwanted, recv_stopped;

	struct hb_op wake;              /* a poll on wake_fd */
	int wake_fd;                    /* an eventfd, written when the inbox ceases to be empty */
	_Atomic(struct hb_msg *) inbox; /* last first */
	atomic_bool stopping;
};

/* A submission entry for @op, which is in flight from here on. Never NULL. */
struct io_uring_sqe *hb_loop_prepare(struct hb_loop *loop, struct hb_op *op, enum hb_op_kind kind);

/* Runs the tasks if enough has come in since they ran. Between callbacks only. */
void hb_loop_pass_on(struct hb_loop *loop);

void hb_accept_on_done(struct hb_accept *accept, int res, unsigned flags);

/* loop_recv.c */
void hb_recv_on_done(struct hb_recv *recv, int res, unsigned flags);
/* Submits what the turn has decided; true when some receiver need not wait for the kernel. */
bool hb_recv_before_wait(struct hb_loop *loop);
/* Gives every ready receiver its share of this turn. */
void hb_recv_run_ready(struct hb_loop *loop);
/* Tells on_stopped; false when there was nothing to tell. */
bool hb_recv_run_stopped(struct hb_loop *loop);

/* loop_slots.c */
int hb_lent_init(struct hb_lent *lent, struct io_uring *ring, size_t slots_max);
void hb_lent_done(struct hb_lent *lent); /* the ring is closed already */
/* Lends until the target is reached or the pool says no. */
void hb_lent_fill(struct hb_lent *lent, struct hb_buf_pool *pool);
/* The slot that a completion with these flags has used, or NULL; another is lent in its place. */
struct hb_buf *hb_lent_take(struct hb_lent *lent, struct hb_buf_pool *pool, unsigned cqe_flags);
