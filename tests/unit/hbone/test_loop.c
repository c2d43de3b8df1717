/*
 * loop: messages between threads, tasks, timers, cancels that lose their race, more operations
 * than the ring holds.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

#include <hbone/loop.h>

#include "support/any_loop.h"

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- messages --- */

#define SENDERS  4
#define MESSAGES 5000

struct parcel {
	struct hb_msg msg;
	unsigned sender, number;
};

static struct hb_loop *loop;
static unsigned next_number[SENDERS], parcels;
static pthread_t loop_thread;

static void on_parcel(struct hb_msg *msg)
{
	struct parcel *parcel = hb_container_of(msg, struct parcel, msg);

	if (!pthread_equal(pthread_self(), loop_thread))
		ck_abort_msg("on the wrong thread");
	if (parcel->number != next_number[parcel->sender]++)
		ck_abort_msg("sender %u: out of order", parcel->sender);
	free(parcel);
	if (++parcels == SENDERS * MESSAGES)
		hb_loop_stop(loop);
}

static void *send_parcels(void *arg)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct parcel *parcel = calloc(1, sizeof(*parcel));

		parcel->msg.run = on_parcel;
		parcel->sender = (unsigned)(uintptr_t)arg;
		parcel->number = i;
		hb_loop_post(loop, &parcel->msg);
	}
	return NULL;
}

static void *run_loop(void *arg)
{
	loop_thread = pthread_self();
	return (void *)(intptr_t)hb_loop_run(loop);
}

START_TEST(messages_from_threads)
{
	pthread_t runner, senders[SENDERS];
	void *result;

	/* Made here, run there: how workers start. */
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(pthread_create(&runner, NULL, run_loop, NULL), 0);
	for (uintptr_t i = 0; i < SENDERS; i++)
		ck_assert_int_eq(pthread_create(&senders[i], NULL, send_parcels, (void *)i), 0);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i], NULL);
	pthread_join(runner, &result);
	ck_assert_int_eq((int)(intptr_t)result, 0);
	ck_assert_uint_eq(parcels, SENDERS * MESSAGES);
	hb_loop_free(loop);
}
END_TEST

START_TEST(stop_before_run)
{
	loop = test_loop_new(NULL);
	hb_loop_stop(loop);
	ck_assert_int_eq(hb_loop_run(loop), 0);
	hb_loop_free(loop);
	hb_loop_free(NULL);
}
END_TEST

/* --- tasks and timers --- */

struct step {
	struct hb_task task;
	struct step *then;
	unsigned ran;
};

static void on_step(struct hb_task *task)
{
	struct step *step = hb_container_of(task, struct step, task);

	step->ran++;
	if (step->then) {
		hb_loop_defer(loop, &step->then->task);
		ck_assert_uint_eq(step->then->ran, 0); /* not from inside */
	}
}

START_TEST(tasks_run_until_none_is_left)
{
	struct step c = { .then = NULL }, b = { .then = &c }, a = { .then = &b }, d = { 0 };

	loop = test_loop_new(NULL);
	hb_task_init(&a.task, on_step);
	hb_task_init(&b.task, on_step);
	hb_task_init(&c.task, on_step);
	hb_task_init(&d.task, on_step);
	hb_loop_defer(loop, &a.task);
	hb_loop_defer(loop, &a.task);
	hb_loop_defer(loop, &d.task);
	hb_loop_undefer(&d.task);
	hb_loop_undefer(&d.task);
	ck_assert_int_eq(hb_loop_turn(loop, UINT64_MAX), 0);
	ck_assert_uint_eq(a.ran, 1);
	ck_assert_uint_eq(b.ran, 1);
	ck_assert_uint_eq(c.ran, 1);
	ck_assert_uint_eq(d.ran, 0);
	hb_loop_free(loop);
}
END_TEST

struct alarm {
	struct hb_timer timer;
	uint64_t fired_ms;
};

static void on_alarm(struct hb_timer *timer)
{
	hb_container_of(timer, struct alarm, timer)->fired_ms = clock_ms();
}

START_TEST(timers_wake_the_loop)
{
	static const uint64_t after[] = { 30, 0, 10 };
	struct alarm alarms[3] = { 0 }, never = { 0 };
	uint64_t start;

	loop = test_loop_new(NULL);
	hb_timer_init(&never.timer, on_alarm);
	hb_loop_timer_start(loop, &never.timer, 5);
	hb_loop_timer_stop(loop, &never.timer);
	start = clock_ms();
	for (int i = 0; i < 3; i++) {
		hb_timer_init(&alarms[i].timer, on_alarm);
		hb_loop_timer_start(loop, &alarms[i].timer, after[i]);
	}
	while (!alarms[0].fired_ms)
		ck_assert_int_eq(hb_loop_turn(loop, UINT64_MAX), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_ge(alarms[i].fired_ms, start + after[i]);
	ck_assert_uint_le(alarms[1].fired_ms, alarms[2].fired_ms);
	ck_assert_uint_le(alarms[2].fired_ms, alarms[0].fired_ms);
	ck_assert_uint_eq(never.fired_ms, 0);
	ck_assert_uint_ge(hb_loop_now_ms(loop), start + 30);
	hb_loop_free(loop);
}
END_TEST

/* --- operations --- */

struct look {
	struct hb_op op;
	unsigned done;
	int res;
};

static void on_look(struct hb_op *op, int res)
{
	struct look *look = hb_container_of(op, struct look, op);

	ck_assert(!op->base.in_flight);
	look->done++;
	look->res = res;
}

/* clang-format off */
static const struct {
	const char *name;
	bool turn_between, signal_first, signal_after, cancel_twice;
	int want; /* 0: either */
} cancels[] = {
	{ "before it was submitted", false, false, false, false, -ECANCELED },
	{ "while it waits", true, false, false, false, -ECANCELED },
	{ "twice", true, false, false, true, -ECANCELED },
	{ "it had won before", false, true, false, false, POLLIN },
	{ "both in one turn", true, false, true, false, 0 },
};
/* clang-format on */

START_TEST(cancel)
{
	struct look look = { .op.done = on_look };
	int fd = eventfd(0, 0);

	loop = test_loop_new(NULL);
	hb_loop_cancel(loop, &look.op); /* not in flight: nothing */
	if (cancels[_i].signal_first)
		eventfd_write(fd, 1);
	hb_loop_poll(loop, &look.op, fd, POLLIN);
	if (cancels[_i].turn_between)
		ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	if (cancels[_i].signal_after)
		eventfd_write(fd, 1);
	hb_loop_cancel(loop, &look.op);
	if (cancels[_i].cancel_twice)
		hb_loop_cancel(loop, &look.op);
	ck_assert_uint_eq(look.done, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	ck_assert_msg(look.done == 1, "%s: done %u times", cancels[_i].name, look.done);
	if (cancels[_i].want)
		ck_assert_msg(look.res == cancels[_i].want, "%s: %d", cancels[_i].name, look.res);
	/* The struct may be used again. */
	eventfd_write(fd, 1);
	hb_loop_poll(loop, &look.op, fd, POLLIN);
	while (look.done == 1)
		ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);
	ck_assert_int_eq(look.res, POLLIN);
	hb_loop_free(loop);
	close(fd);
}
END_TEST

START_TEST(more_operations_than_entries)
{
	enum { LOOKS = 3000 };
	struct look *looks = calloc(LOOKS, sizeof(*looks));
	int fd = eventfd(1, 0);
	unsigned done = 0;

	loop = test_loop_new(&(struct hb_loop_options){ .entries = 16 });
	ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	for (int i = 0; i < LOOKS; i++) {
		looks[i].op.done = on_look;
		hb_loop_poll(loop, &looks[i].op, fd, POLLIN);
	}
	for (int turns = 0; done < LOOKS && turns < LOOKS; turns++) {
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
		done = 0;
		for (int i = 0; i < LOOKS; i++)
			done += looks[i].done;
	}
	ck_assert_uint_eq(done, LOOKS);
	hb_loop_free(loop);
	free(looks);
	close(fd);
}
END_TEST

START_TEST(longest_turn)
{
	loop = test_loop_new(NULL);
	ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
	/* The wait is not part of it. */
	ck_assert_uint_lt(hb_loop_longest_turn_us(loop), 20000);
	ck_assert_uint_eq(hb_loop_longest_turn_us(loop), 0);
	hb_loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, messages_from_threads);
	tcase_add_test(tc, stop_before_run);
	tcase_add_test(tc, tasks_run_until_none_is_left);
	tcase_add_test(tc, timers_wake_the_loop);
	tcase_add_loop_test(tc, cancel, 0, HB_ARRAY_LEN(cancels));
	tcase_add_test(tc, more_operations_than_entries);
	tcase_add_test(tc, longest_turn);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
