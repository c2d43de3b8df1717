/*
 * loop: one thread's events: kernel operations, timers, work put off to the end of the turn, and
 * messages from other threads. What drives it, io_uring or epoll, is not shown here.
 *
 * A turn: collect completions, run their callbacks, fire timers, take messages, run deferred tasks
 * until none is left, submit. Callbacks never run inside the function that took them.
 *
 * Operations live inside their owner (struct hb_op and its kin are embedded) and must stay in place
 * until their callback has run, because the kernel refers to them meanwhile; that holds after a
 * cancel too: the callback still runs, once. So does the descriptor: close it after that callback.
 *
 * Thread: everything is the loop's own thread's, but hb_loop_post() and hb_loop_stop().
 */
#pragma once

#include <sys/socket.h>

#include <hbone/buf.h>
#include <hbone/slab.h>
#include <hbone/timer.h>

struct hb_loop;

enum hb_loop_choice {
	HB_LOOP_AUTO, /* io_uring where all that we use of it is to be had, else epoll */
	HB_LOOP_IO_URING,
	HB_LOOP_EPOLL,
};

struct hb_loop_options {
	size_t slots_max; /* bound on buffers out at once; 0: 65536 */
	unsigned entries; /* submission queue of io_uring; 0: 1024 */
	enum hb_loop_choice backend;
};

/*
 * @options NULL: all 0. NULL on failure, errno says why. The thread that makes the first turn owns
 * it from then on; before, another may prepare operations, fewer than options->entries, and timers
 * and tasks.
 */
struct hb_loop *hb_loop_new(const struct hb_loop_options *options);
/* No operation may be in flight; messages that still wait are not run. Takes NULL. */
void hb_loop_free(struct hb_loop *loop);
/* Turns until hb_loop_stop(). 0 or -errno. */
int hb_loop_run(struct hb_loop *loop);
/* One turn; waits at most @wait_ms (0: does not wait; UINT64_MAX: no bound of its own). For tests.
 */
int hb_loop_turn(struct hb_loop *loop, uint64_t wait_ms);
void hb_loop_stop(struct hb_loop *loop); /* from any thread */

const char *hb_loop_backend(const struct hb_loop *loop); /* "io_uring" or "epoll" */
/* Why HB_LOOP_AUTO could not have io_uring, a clause to print; else NULL. Constant text. */
const char *hb_loop_fallback_reason(const struct hb_loop *loop);

/* Microseconds of the longest turn, the wait left out, since this was last asked. */
uint64_t hb_loop_longest_turn_us(struct hb_loop *loop);

uint64_t hb_loop_now_ms(const struct hb_loop *loop); /* monotonic, taken once per turn */
struct hb_buf_pool *hb_loop_pool(struct hb_loop *loop);
/* For quiet times: gives memory back that is kept for the next burst. */
void hb_loop_trim(struct hb_loop *loop);
struct hb_slabs *hb_loop_slabs(struct hb_loop *loop); /* for what lives no longer than the loop */
/* Bytes that went from socket to socket without a copy, so far: what relay joins, tcp with tcp. */
uint64_t hb_loop_spliced_bytes(const struct hb_loop *loop);

void hb_loop_timer_start(struct hb_loop *loop, struct hb_timer *timer, uint64_t after_ms);
void hb_loop_timer_stop(struct hb_loop *loop, struct hb_timer *timer);

/* Work for the end of this turn. A task that is waiting is not added twice. */
struct hb_task {
	struct hb_list node; /* hb_list_init() it, or hb_task_init() */
	void (*run)(struct hb_task *task);
};
void hb_task_init(struct hb_task *task, void (*run)(struct hb_task *task));
void hb_loop_defer(struct hb_loop *loop, struct hb_task *task);
void hb_loop_undefer(struct hb_task *task); /* also when it is not waiting */

/* A message from any thread; run() gets it on the loop's thread and owns it. FIFO per sender. */
struct hb_msg {
	struct hb_msg *next;
	void (*run)(struct hb_msg *msg);
};
void hb_loop_post(struct hb_loop *loop, struct hb_msg *msg);

/* One kernel operation. res: the kernel's result, >= 0 or -errno; -ECANCELED after a cancel. */
struct hb_op_base {
	struct hb_list node; /* the loop's, as all that follows; valid while in flight */
	int value;           /* the descriptor; of an op that has ended, its result */
	short events;        /* of a poll; of a receiver's that has ended, its result */
	bool in_flight;      /* owners may read it */
	uint8_t kind;
};
struct hb_op {
	struct hb_op_base base;
	void (*done)(struct hb_op *op, int res);
};

void hb_loop_connect(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
                     socklen_t len);
/* @msg and all it points to stay until done. May complete short. One send per socket at a time. */
void hb_loop_sendmsg(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg);
/* Whether sendmsg(2) is the cheaper way for one more send in this turn: with epoll always, with
 * io_uring where turns have few. It is counted, so ask once for each. */
bool hb_loop_sends_directly(struct hb_loop *loop);
/* res: poll(2) events. */
void hb_loop_poll(struct hb_loop *loop, struct hb_op *op, int fd, short events);
/* Asks to end it early; done still runs, with what really happened. */
void hb_loop_cancel(struct hb_loop *loop, struct hb_op *op);

/* Accepting, until stopped, at most 16 in a turn. Sockets are non-blocking and close-on-exec. */
struct hb_accept {
	struct hb_op op; /* the loop's */
	/* @fd: yours; or -errno of one failed accept (it goes on by itself, after a pause if the
	 * process is out of descriptors); or -ECANCELED, once, last, after hb_loop_accept_stop().
	 */
	void (*on_accept)(struct hb_accept *accept, int fd);
	struct hb_loop *loop;
	int fd;
	struct hb_timer retry;
	uint64_t turn; /* the loop's, as all that follows */
	unsigned told; /* in that turn */
	int *held;     /* descriptors that wait for the next */
	unsigned held_count, held_at, held_size;
	struct hb_timer go_on;
	bool stopping;
};
void hb_loop_accept(struct hb_loop *loop, struct hb_accept *accept, int listen_fd,
                    void (*on_accept)(struct hb_accept *accept, int fd));
void hb_loop_accept_stop(struct hb_accept *accept);

struct hb_recv;

/*
 * Receiving into buffers of the pool. No buffer is held while nothing comes. A turn gives one
 * receiver at most 240 KiB. @read_max: bytes per buf, at most HB_BUF_PAYLOAD.
 */
struct hb_recv_events {
	/* res > 0: @chain is yours and has res bytes. 0: end of stream. < 0: -errno. After 0, an
	 * error or hb_loop_recv_pause()'s end nothing more comes until hb_loop_recv_resume(). */
	void (*on_recv)(struct hb_recv *recv, struct hb_buf *chain, int res);
	/* In its place where by_readiness is set: there is something to read, and who is told reads
	 * it from the descriptor. It is told again next turn, unless hb_loop_recv_dry() or
	 * hb_loop_recv_pause() was called inside. NULL: by_readiness is never set. */
	void (*on_readable)(struct hb_recv *recv);
	/* The kernel has let go after hb_loop_recv_stop(); the struct may be freed. */
	void (*on_stopped)(struct hb_recv *recv);
};

struct hb_recv {
	struct hb_op_base
	    op; /* the loop's; its node: in flight the backend's, else a list by state */
	struct hb_buf *held; /* the loop's: arrived while being paused; one, or NULL */
	uint16_t read_max;
	int16_t held_res;      /* the loop's: an end that is to be told */
	uint8_t state;         /* the loop's */
	uint8_t listener;      /* the loop's: which of its tables of events */
	bool by_readiness : 1; /* the owner may change it inside on_recv() and on_readable() */
	bool is_dry : 1; /* the loop's: the last read took all there was, nothing is heard since */
	bool ends : 1;   /* the loop's: a short read may not have taken all, see loop_epoll.c */
};
/* @loop of all that follow is the same one: a receiver does without a pointer to it. There may be
 * HB_RECV_EVENTS_MAX different @events to a loop. */
#define HB_RECV_EVENTS_MAX 8
void hb_recv_init(struct hb_recv *recv, struct hb_loop *loop, int fd, uint32_t read_max,
                  const struct hb_recv_events *events);
static inline int hb_recv_fd(const struct hb_recv *recv)
{
	return recv->op.value;
}
void hb_loop_recv_resume(struct hb_loop *loop, struct hb_recv *recv);
/* No on_recv from here on; nothing is lost. */
void hb_loop_recv_pause(struct hb_loop *loop, struct hb_recv *recv);
/* Inside on_readable(): reading has found nothing more (-EAGAIN). */
void hb_loop_recv_dry(struct hb_loop *loop, struct hb_recv *recv);
/* Inside on_readable(), last: reads as it does otherwise, and tells on_recv(). */
void hb_loop_recv_read(struct hb_loop *loop, struct hb_recv *recv);
/* For good; on_stopped comes from the loop. */
void hb_loop_recv_stop(struct hb_loop *loop, struct hb_recv *recv);
