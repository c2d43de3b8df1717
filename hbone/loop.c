/*
 * loop: turns, tasks, messages and timers, and the choice of what drives them. See loop_internal.h
 * for the other files.
 */
#include "loop_internal.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <time.h>

#define ENTRIES   1024
#define SLOTS_MAX 65536
/* A starved receiver waits for a slot to come back, which a turn sees; if it was memory that
 * failed, nobody tells, so it is tried again. */
#define STARVED_RETRY_MS 50
/* So few sends are cheaper one by one: given to the ring, their own completions would end the wait
 * that they were submitted with, and the loop would go round once more for nothing. Where there are
 * many connections a short turn now and then is no reason: what is sent late arrives together, and
 * what arrives together is answered together. */
#define FEW_SENDS    2
#define SENDS_WEIGHT 8

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- birth and end --- */

static int open_backend(struct hb_loop *loop, const struct hb_backend *backend,
                        const struct hb_loop_options *options)
{
	unsigned entries = options->entries ? options->entries : ENTRIES;
	const char *why = NULL;
	int r;

	loop->backend = backend;
	r = backend->open(loop, entries, options->slots_max, &why);
	if (r < 0) {
		backend->close(loop);
		loop->backend = NULL;
		loop->fallback_reason = why;
	}
	return r;
}

static int choose_backend(struct hb_loop *loop, const struct hb_loop_options *options)
{
	switch (options->backend) {
	case HB_LOOP_AUTO:
		if (open_backend(loop, &hb_backend_uring, options) == 0)
			return 0;
		return open_backend(loop, &hb_backend_epoll, options);
	case HB_LOOP_IO_URING:
		return open_backend(loop, &hb_backend_uring, options);
	case HB_LOOP_EPOLL:
		return open_backend(loop, &hb_backend_epoll, options);
	}
	return -EINVAL;
}

static int init(struct hb_loop *loop, struct hb_loop_options options)
{
	loop->now_ms = clock_us() / 1000;
	hb_wheel_init(&loop->wheel, loop->now_ms);
	hb_pipes_init(&loop->pipes);
	hb_list_init(&loop->tasks);
	hb_list_init(&loop->recv_waiting);
	hb_list_init(&loop->recv_ready);
	hb_list_init(&loop->recv_starved);
	hb_list_init(&loop->recv_unwanted);
	hb_list_init(&loop->recv_stopped);

	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return -errno;
	if (!options.slots_max)
		options.slots_max = SLOTS_MAX;
	loop->pool = hb_buf_pool_new(options.slots_max);
	loop->slabs = hb_slabs_new(loop);
	if (!loop->pool || !loop->slabs)
		return -ENOMEM;
	return choose_backend(loop, &options);
}

struct hb_loop *hb_loop_new(const struct hb_loop_options *options)
{
	struct hb_loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return NULL;
	loop->wake_fd = -1;
	r = init(loop, options ? *options : (struct hb_loop_options){ 0 });
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
	assert(loop->ops == 0);
	if (loop->backend) {
		assert(hb_list_is_empty(&loop->recv_stopped));
		loop->backend->close(loop);
	}
	assert(loop->pipes.out == 0);
	hb_pipes_close(&loop->pipes);
	hb_buf_pool_free(loop->pool);
	hb_slabs_free(loop->slabs);
	hb_close_fd(&loop->wake_fd);
	free(loop);
}

/* --- operations --- */

void hb_op_begin(struct hb_loop *loop, struct hb_op_base *op, enum hb_op_kind kind, int fd)
{
	assert(!op->in_flight);
	hb_list_init(&op->node);
	op->value = fd;
	op->in_flight = true;
	op->kind = (uint8_t)kind;
	loop->ops++;
}

void hb_op_end(struct hb_loop *loop, struct hb_op_base *op)
{
	assert(op->in_flight);
	op->in_flight = false;
	loop->ops--;
}

void hb_loop_connect(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
                     socklen_t len)
{
	hb_op_begin(loop, &op->base, HB_OP_CONNECT, fd);
	loop->backend->connect(loop, op, fd, sa, len);
}

void hb_loop_sendmsg(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg)
{
	hb_op_begin(loop, &op->base, HB_OP_SENDMSG, fd);
	loop->backend->sendmsg(loop, op, fd, msg);
}

void hb_loop_poll(struct hb_loop *loop, struct hb_op *op, int fd, short events)
{
	hb_op_begin(loop, &op->base, HB_OP_POLL, fd);
	loop->backend->poll(loop, op, fd, events);
}

void hb_loop_cancel(struct hb_loop *loop, struct hb_op *op)
{
	if (op->base.in_flight)
		loop->backend->cancel(loop, op);
}

/* --- turns --- */

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
 * Bytes that have come in are passed on while they are in the cache. Sixteen receivers with 240 KiB
 * each would push one another out of it if all were read before any was written.
 */
void hb_loop_pass_on(struct hb_loop *loop)
{
	if (loop->fresh_bytes < HB_PASS_ON_BYTES)
		return;
	loop->fresh_bytes = 0;
	(void)run_tasks(loop);
	/* What has been sent is not needed any more: the next receiver fills the same slots. */
	loop->backend->tell_ended(loop);
}

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

static int turn(struct hb_loop *loop, uint64_t wait_ms)
{
	uint64_t start_us, took_us;
	int r;

	assert(!loop->in_turn);
	loop->in_turn = true;
	if (!loop->started) {
		r = loop->backend->start(loop);
		if (r < 0)
			goto out;
		loop->started = true;
	}

	/* Put off outside a turn: something has happened, so this one does not wait. */
	if (run_tasks(loop))
		wait_ms = 0;
	if (hb_recv_before_wait(loop))
		wait_ms = 0;
	r = loop->backend->wait(loop, wait_bound_ms(loop, wait_ms, clock_us() / 1000));
	if (r < 0)
		goto out;

	loop->turns++;
	if (loop->sends > 0)
		loop->sends_before += loop->sends - loop->sends_before / SENDS_WEIGHT;
	loop->sends = 0;
	start_us = clock_us();
	loop->now_ms = start_us / 1000;
	/* Ready before completions: a receiver that becomes ready by one has had its share. Timers
	 * after both: what has happened in time wins against its deadline. */
	hb_recv_run_ready(loop);
	loop->backend->tell(loop);
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
	return loop->backend->submit(loop);
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
	return loop->backend->name;
}

const char *hb_loop_fallback_reason(const struct hb_loop *loop)
{
	return loop->fallback_reason;
}

uint64_t hb_loop_longest_turn_us(struct hb_loop *loop)
{
	uint64_t us = loop->longest_turn_us;

	loop->longest_turn_us = 0;
	return us;
}

bool hb_loop_sends_directly(struct hb_loop *loop)
{
	if (!loop->backend->sends_together)
		return true;
	return ++loop->sends <= FEW_SENDS && loop->sends_before <= FEW_SENDS * SENDS_WEIGHT;
}

uint64_t hb_loop_now_ms(const struct hb_loop *loop)
{
	return loop->now_ms;
}

struct hb_buf_pool *hb_loop_pool(struct hb_loop *loop)
{
	return loop->pool;
}

void hb_loop_trim(struct hb_loop *loop)
{
	hb_pipes_close(&loop->pipes);
	loop->backend->trim(loop); /* first: what it has borrowed may come back */
	hb_buf_pool_trim(loop->pool, 0);
	hb_slabs_trim(loop->slabs);
}

struct hb_slabs *hb_loop_slabs(struct hb_loop *loop)
{
	return loop->slabs;
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
