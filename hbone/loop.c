/*
 * loop: the ring, turns, operations, tasks and messages. See loop_internal.h for the other files.
 *
 * One system call per turn submits and waits. Completions are copied out of the ring before they
 * are told, so whatever a callback submits cannot overrun what is being read.
 */
#include <hbone/loop.h>

#include <assert.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "loop_internal.h"

#define ENTRIES   1024
#define SLOTS_MAX 65536
/* A starved receiver waits for a slot to come back, which a turn sees; if it was memory that
 * failed, nobody tells, so it is tried again. */
#define STARVED_RETRY_MS 50

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- birth and end --- */

static int open_ring(struct hb_loop *loop, unsigned entries)
{
	/* The ring is made here and belongs to whoever makes the first turn: R_DISABLED. */
	unsigned common = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
	                  IORING_SETUP_SUBMIT_ALL;
	struct io_uring_params best = {
		.flags = common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = entries * 4,
	};
	struct io_uring_params plain = {
		.flags = common | IORING_SETUP_COOP_TASKRUN,
		.cq_entries = entries * 4,
	};
	int r = io_uring_queue_init_params(entries, &loop->ring, &best);

	/* Before Linux 6.1 there is no DEFER_TASKRUN. */
	if (r == -EINVAL)
		r = io_uring_queue_init_params(entries, &loop->ring, &plain);
	return r;
}

static void arm_wake(struct hb_loop *loop)
{
	struct io_uring_sqe *sqe = hb_loop_prepare(loop, &loop->wake, HB_OP_WAKE);

	io_uring_prep_poll_add(sqe, loop->wake_fd, POLLIN);
	io_uring_sqe_set_data(sqe, &loop->wake);
}

static int init(struct hb_loop *loop, const struct hb_loop_options *options)
{
	size_t slots_max = options && options->slots_max ? options->slots_max : SLOTS_MAX;
	unsigned entries = options && options->entries ? options->entries : ENTRIES;
	int r;

	loop->now_ms = clock_us() / 1000;
	hb_wheel_init(&loop->wheel, loop->now_ms);
	hb_list_init(&loop->tasks);
	hb_list_init(&loop->recv_waiting);
	hb_list_init(&loop->recv_ready);
	hb_list_init(&loop->recv_starved);
	hb_list_init(&loop->recv_unwanted);
	hb_list_init(&loop->recv_stopped);

	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return -errno;
	loop->pool = hb_buf_pool_new(slots_max);
	if (!loop->pool)
		return -ENOMEM;
	r = open_ring(loop, entries);
	if (r < 0) {
		loop->ring.ring_fd = -1;
		return r;
	}
	r = hb_lent_init(&loop->lent, &loop->ring, slots_max);
	if (r < 0)
		return r;
	arm_wake(loop);
	return 0;
}

struct hb_loop *hb_loop_new(const struct hb_loop_options *options)
{
	struct hb_loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return NULL;
	loop->wake_fd = -1;
	loop->ring.ring_fd = -1;
	r = init(loop, options);
	if (r < 0) {
		hb_loop_free(loop);
		errno = -r;
		return NULL;
	}
	return loop;
}

void hb_loop_free(struct hb_loop *loop)
{
	if (!loop)
		return;
	assert(!loop->in_turn);
	assert(loop->ops == loop->wake.in_flight);
	assert(hb_list_is_empty(&loop->recv_stopped));
	if (loop->ring.ring_fd >= 0)
		io_uring_queue_exit(&loop->ring);
	hb_lent_done(&loop->lent);
	hb_buf_pool_free(loop->pool);
	hb_close_fd(&loop->wake_fd);
	free(loop);
}

/* --- operations --- */

static struct io_uring_sqe *get_sqe(struct hb_loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	/* Full: what is there goes now. The kernel takes less than all only when it is out of
	 * memory for the moment; if that does not pass, no promise of ours can be kept. */
	for (unsigned tries = 0; !sqe && tries < 1000; tries++) {
		assert(loop->enabled); /* more operations than entries before the first turn */
		io_uring_submit_and_get_events(&loop->ring);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	assert(sqe);
	return sqe;
}

struct io_uring_sqe *hb_loop_prepare(struct hb_loop *loop, struct hb_op *op, enum hb_op_kind kind)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	assert(!op->in_flight);
	op->in_flight = true;
	op->kind = (uint8_t)kind;
	loop->ops++;
	return sqe;
}

void hb_loop_connect(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
                     socklen_t len)
{
	struct io_uring_sqe *sqe = hb_loop_prepare(loop, op, HB_OP_PLAIN);

	io_uring_prep_connect(sqe, fd, sa, len);
	io_uring_sqe_set_data(sqe, op);
}

void hb_loop_sendmsg(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg)
{
	struct io_uring_sqe *sqe = hb_loop_prepare(loop, op, HB_OP_PLAIN);

	io_uring_prep_sendmsg(sqe, fd, msg, MSG_NOSIGNAL);
	io_uring_sqe_set_data(sqe, op);
}

void hb_loop_poll(struct hb_loop *loop, struct hb_op *op, int fd, short events)
{
	struct io_uring_sqe *sqe = hb_loop_prepare(loop, op, HB_OP_PLAIN);

	io_uring_prep_poll_add(sqe, fd, (unsigned short)events);
	io_uring_sqe_set_data(sqe, op);
}

void hb_loop_cancel(struct hb_loop *loop, struct hb_op *op)
{
	struct io_uring_sqe *sqe;

	if (!op->in_flight)
		return;
	sqe = get_sqe(loop);
	io_uring_prep_cancel(sqe, op, 0);
	/* Its own result says nothing that the op's does not. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data(sqe, NULL);
}

static void on_wake(struct hb_loop *loop)
{
	eventfd_t count;

	(void)eventfd_read(loop->wake_fd, &count); /* only to silence it until the next write */
	arm_wake(loop);
}

static void dispatch(struct hb_loop *loop, const struct io_uring_cqe *cqe)
{
	struct hb_op *op = io_uring_cqe_get_data(cqe);

	if (!op)
		return;
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		assert(op->in_flight);
		op->in_flight = false;
		loop->ops--;
	}
	switch ((enum hb_op_kind)op->kind) {
	case HB_OP_PLAIN:
		op->done(op, cqe->res);
		break;
	case HB_OP_RECV:
		hb_recv_on_done(hb_container_of(op, struct hb_recv, op), cqe->res, cqe->flags);
		break;
	case HB_OP_ACCEPT:
		hb_accept_on_done(hb_container_of(op, struct hb_accept, op), cqe->res, cqe->flags);
		break;
	case HB_OP_WAKE:
		on_wake(loop);
		break;
	}
}

/* What is there now; what comes meanwhile is the next turn's. */
/* False when there were none. */
static bool run_tasks(struct hb_loop *loop)
{
	struct hb_list *node;
	bool some = false;

	do {
		while ((node = hb_list_shift(&loop->tasks))) {
			struct hb_task *task = hb_container_of(node, struct hb_task, node);

			task->run(task); /* may free it */
			some = true;
		}
	} while (hb_recv_run_stopped(loop));
	return some;
}

/*
 * Bytes that have come in are passed on while they are in the cache. Sixteen receivers with 128 KiB
 * each would push one another out of it if all were read before any was written.
 */
void hb_loop_pass_on(struct hb_loop *loop)
{
	if (loop->fresh_bytes < HB_PASS_ON_BYTES)
		return;
	loop->fresh_bytes = 0;
	(void)run_tasks(loop);
}

static void run_completions(struct hb_loop *loop)
{
	unsigned left = io_uring_cq_ready(&loop->ring);

	while (left > 0) {
		struct io_uring_cqe *cqes[64], copies[64];
		unsigned n = io_uring_peek_batch_cqe(&loop->ring, cqes, left < 64 ? left : 64);

		for (unsigned i = 0; i < n; i++) {
			copies[i].user_data = cqes[i]->user_data;
			copies[i].res = cqes[i]->res;
			copies[i].flags = cqes[i]->flags;
		}
		io_uring_cq_advance(&loop->ring, n);
		for (unsigned i = 0; i < n; i++) {
			dispatch(loop, &copies[i]);
			hb_loop_pass_on(loop);
		}
		if (n == 0)
			return;
		left -= n;
	}
}

/* --- turns --- */

static void run_messages(struct hb_loop *loop)
{
	struct hb_msg *last = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
	struct hb_msg *first = NULL;

	while (last) {
		struct hb_msg *before = last->next;

		last->next = first;
		first = last;
		last = before;
	}
	while (first) {
		struct hb_msg *next = first->next;

		first->run(first); /* owns it */
		first = next;
	}
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How long the kernel may wait for something to happen. */
static uint64_t wait_bound_ms(const struct hb_loop *loop, uint64_t wait_ms, uint64_t now_ms)
{
	uint64_t next = hb_wheel_next_ms(&loop->wheel);
	uint64_t passed = now_ms - loop->wheel.now_ms;

	if (next != UINT64_MAX)
		wait_ms = min_u64(wait_ms, next > passed ? next - passed : 0);
	if (!hb_list_is_empty(&loop->recv_starved))
		wait_ms = min_u64(wait_ms, STARVED_RETRY_MS);
	return wait_ms;
}

static int submit_and_wait(struct hb_loop *loop, uint64_t wait_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(wait_ms / 1000),
		.tv_nsec = (long long)(wait_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;
	int r;

	if (wait_ms == 0)
		r = io_uring_submit_and_get_events(&loop->ring);
	else if (wait_ms == UINT64_MAX)
		r = io_uring_submit_and_wait(&loop->ring, 1);
	else
		r = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &ts, NULL);
	/* EAGAIN and EBUSY: the kernel took a part; the rest goes with the next turn. */
	if (r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
		r = 0;
	return r < 0 ? r : 0;
}

static int turn(struct hb_loop *loop, uint64_t wait_ms)
{
	uint64_t start_us, took_us;
	int r;

	assert(!loop->in_turn);
	loop->in_turn = true;
	if (!loop->enabled) {
		/* liburing 2.3 declares io_uring_enable_rings() but does not export it. */
		r = io_uring_register((unsigned)loop->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
		                      NULL, 0);
		if (r < 0)
			goto out;
		loop->enabled = true;
		hb_lent_fill(&loop->lent, loop->pool);
	}

	/* Put off outside a turn: something has happened, so this one does not wait. */
	if (run_tasks(loop))
		wait_ms = 0;
	if (hb_recv_before_wait(loop))
		wait_ms = 0;
	r = submit_and_wait(loop, wait_bound_ms(loop, wait_ms, clock_us() / 1000));
	if (r < 0)
		goto out;

	start_us = clock_us();
	loop->now_ms = start_us / 1000;
	/* Ready before completions: a receiver that becomes ready by one has had its share. Timers
	 * after both: what has happened in time wins against its deadline. */
	hb_recv_run_ready(loop);
	run_completions(loop);
	hb_wheel_advance(&loop->wheel, loop->now_ms);
	run_messages(loop);
	(void)run_tasks(loop);
	took_us = clock_us() - start_us;
	if (took_us > loop->longest_turn_us)
		loop->longest_turn_us = took_us;
out:
	loop->in_turn = false;
	return r;
}

int hb_loop_turn(struct hb_loop *loop, uint64_t wait_ms)
{
	int r = turn(loop, wait_ms);

	if (r < 0)
		return r;
	/* A turn ends with a submit; hb_loop_run() leaves that to the next turn's only call. */
	(void)hb_recv_before_wait(loop);
	r = io_uring_submit(&loop->ring);
	return r < 0 && r != -EAGAIN && r != -EBUSY && r != -EINTR ? r : 0;
}

int hb_loop_run(struct hb_loop *loop)
{
	int r = 0;

	while (r == 0 && !atomic_exchange(&loop->stopping, false))
		r = turn(loop, UINT64_MAX);
	return r;
}

/* From any thread. */
static void wake_up(struct hb_loop *loop)
{
	(void)eventfd_write(loop->wake_fd, 1); /* fails only when it is readable already */
}

void hb_loop_stop(struct hb_loop *loop)
{
	atomic_store(&loop->stopping, true);
	wake_up(loop);
}

void hb_loop_post(struct hb_loop *loop, struct hb_msg *msg)
{
	struct hb_msg *last = atomic_load_explicit(&loop->inbox, memory_order_relaxed);

	do
		msg->next = last;
	while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &last, msg,
	                                              memory_order_release, memory_order_relaxed));
	/* Whoever made it non-empty has woken the loop, which takes all at once. */
	if (!last)
		wake_up(loop);
}

/* --- the rest --- */

const char *hb_loop_backend(const struct hb_loop *loop)
{
	return "io_uring";
}

uint64_t hb_loop_longest_turn_us(struct hb_loop *loop)
{
	uint64_t us = loop->longest_turn_us;

	loop->longest_turn_us = 0;
	return us;
}

uint64_t hb_loop_now_ms(const struct hb_loop *loop)
{
	return loop->now_ms;
}

struct hb_buf_pool *hb_loop_pool(struct hb_loop *loop)
{
	return loop->pool;
}

void hb_loop_timer_start(struct hb_loop *loop, struct hb_timer *timer, uint64_t after_ms)
{
	/* Outside a turn the loop's time may be long past; within, the wheel's lags behind. */
	uint64_t now_ms = loop->in_turn ? loop->now_ms : clock_us() / 1000;

	if (after_ms > 0 && after_ms < UINT64_MAX / 2)
		after_ms += now_ms - loop->wheel.now_ms;
	hb_wheel_start(&loop->wheel, timer, after_ms);
}

void hb_loop_timer_stop(struct hb_loop *loop, struct hb_timer *timer)
{
	hb_wheel_stop(&loop->wheel, timer);
}

void hb_task_init(struct hb_task *task, void (*run)(struct hb_task *task))
{
	hb_list_init(&task->node);
	task->run = run;
}

void hb_loop_defer(struct hb_loop *loop, struct hb_task *task)
{
	if (hb_list_is_empty(&task->node))
		hb_list_add(&loop->tasks, &task->node);
}

void hb_loop_undefer(struct hb_task *task)
{
	hb_list_remove(&task->node);
}
