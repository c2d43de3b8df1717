/*
 * timer: the wheel against a list that is searched, and what may be done from inside on_time.
 */
#include <check.h>
#include <hbone/timer.h>

#define TIMERS 512
#define STEPS  100000

/* The model: when each timer is due, 0 when it is not running. */
static struct model {
	struct hb_timer timer;
	uint64_t at_ms;
} models[TIMERS];
static struct hb_wheel wheel;
static uint64_t advancing_to, last_at_ms;
static unsigned fired;
static uint64_t seed;

/* ck_assert writes to a pipe each time it is passed; here it is passed ten million times. */
#define check(ok, ...)                                                                             \
	do {                                                                                       \
		if (!(ok))                                                                         \
			ck_abort_msg(__VA_ARGS__);                                                 \
	} while (0)

static uint32_t random_u32(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static void start(struct model *m, uint64_t after_ms)
{
	hb_wheel_start(&wheel, &m->timer, after_ms);
	m->at_ms = wheel.now_ms + after_ms;
}

static void stop(struct model *m)
{
	hb_wheel_stop(&wheel, &m->timer);
	m->at_ms = 0;
}

static uint64_t random_after(void)
{
	/* All magnitudes alike: every level, and its borders. */
	unsigned bits = random_u32() % 33;

	return (((uint64_t)random_u32() << 2) & (((uint64_t)1 << bits) - 1)) + random_u32() % 3;
}

static void on_model(struct hb_timer *timer)
{
	struct model *m = hb_container_of(timer, struct model, timer);

	check(m->at_ms != 0, "timer %zd fired and was not running", m - models);
	check(m->at_ms <= advancing_to, "timer %zd fired too early", m - models);
	check(m->at_ms >= last_at_ms, "timer %zd fired out of order", m - models);
	check(!hb_timer_is_running(timer), "timer %zd still runs", m - models);
	last_at_ms = m->at_ms;
	m->at_ms = 0;
	fired++;
	if (random_u32() % 4 == 0)
		start(m, random_after());
	if (random_u32() % 4 == 0)
		stop(&models[random_u32() % TIMERS]);
}

static void check_model(void)
{
	uint64_t first = UINT64_MAX, next = hb_wheel_next_ms(&wheel);
	size_t running = 0;

	for (size_t i = 0; i < TIMERS; i++) {
		struct model *m = &models[i];

		check(hb_timer_is_running(&m->timer) == (m->at_ms != 0), "timer %zu", i);
		if (!m->at_ms)
			continue;
		running++;
		if (m->at_ms < first)
			first = m->at_ms;
	}
	ck_assert_uint_eq(wheel.timers, running);
	ck_assert_int_eq(next == UINT64_MAX, running == 0);
	if (running)
		check(wheel.now_ms + next <= first, "next_ms is late");
}

START_TEST(against_model)
{
	uint64_t now = (uint64_t)_i * 1000003 + 1;

	seed = (uint64_t)_i + 1;
	fired = 0;
	hb_wheel_init(&wheel, now);
	for (size_t i = 0; i < TIMERS; i++) {
		hb_timer_init(&models[i].timer, on_model);
		models[i].at_ms = 0;
	}
	for (unsigned step = 0; step < STEPS; step++) {
		struct model *m = &models[random_u32() % TIMERS];

		switch (random_u32() % 4) {
		case 0:
		case 1:
			start(m, random_after());
			break;
		case 2:
			stop(m);
			break;
		default:
			now += random_u32() % 8 ? random_u32() % 100 : random_after();
			advancing_to = now;
			last_at_ms = 0;
			hb_wheel_advance(&wheel, now);
			check(wheel.now_ms == now, "the time is wrong");
			for (size_t i = 0; i < TIMERS; i++)
				check(!models[i].at_ms || models[i].at_ms >= now,
				      "timer %zu is late", i);
		}
		if (step % 64 == 0)
			check_model();
	}
	ck_assert_uint_gt(fired, STEPS / 20);
}
END_TEST

static unsigned rounds;

static void on_again(struct hb_timer *timer)
{
	rounds++;
	hb_wheel_start(&wheel, timer, 0);
}

START_TEST(started_inside_fires_next_time)
{
	struct hb_timer timer;

	rounds = 0;
	hb_wheel_init(&wheel, 5);
	hb_timer_init(&timer, on_again);
	hb_wheel_start(&wheel, &timer, 0);
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_uint_eq(hb_wheel_next_ms(&wheel), 0);
		hb_wheel_advance(&wheel, 5);
		ck_assert_uint_eq(rounds, i);
	}
	hb_wheel_stop(&wheel, &timer);
	ck_assert_uint_eq(hb_wheel_next_ms(&wheel), UINT64_MAX);
}
END_TEST

static struct hb_timer other;

static void on_stop_other(struct hb_timer *timer)
{
	hb_wheel_stop(&wheel, &other);
}

static void on_never(struct hb_timer *timer)
{
	ck_abort_msg("a stopped timer fired");
}

START_TEST(stopped_by_one_due_at_the_same_time)
{
	struct hb_timer timer;

	hb_wheel_init(&wheel, 0);
	hb_timer_init(&timer, on_stop_other);
	hb_timer_init(&other, on_never);
	hb_wheel_start(&wheel, &timer, 10);
	hb_wheel_start(&wheel, &other, 10);
	hb_wheel_advance(&wheel, 100);
	ck_assert_uint_eq(wheel.timers, 0);
}
END_TEST

static unsigned once;

static void on_once(struct hb_timer *timer)
{
	once++;
}

START_TEST(exact_at_every_border)
{
	/* clang-format off */
	static const uint64_t rows[] = { 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 16777216,
		(1u << 30) - 1, 1u << 30, (1ull << 30) + 1, 5ull << 30 };
	/* clang-format on */
	static const uint64_t starts[] = { 0, 1, 63, 64, 4095, 123456789 };

	for (size_t i = 0; i < HB_ARRAY_LEN(starts); i++) {
		struct hb_timer timer;
		uint64_t after = rows[_i];

		once = 0;
		hb_wheel_init(&wheel, starts[i]);
		hb_timer_init(&timer, on_once);
		hb_wheel_start(&wheel, &timer, after);
		hb_wheel_advance(&wheel, starts[i] + after - 1);
		ck_assert_msg(once == 0, "%zu from %zu fired early", (size_t)after,
		              (size_t)starts[i]);
		hb_wheel_advance(&wheel, starts[i] + after);
		ck_assert_msg(once == 1, "%zu from %zu did not fire", (size_t)after,
		              (size_t)starts[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("timer");
	TCase *tc = tcase_create("wheel");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, against_model, 0, 3);
	tcase_add_test(tc, started_inside_fires_next_time);
	tcase_add_test(tc, stopped_by_one_due_at_the_same_time);
	tcase_add_loop_test(tc, exact_at_every_border, 0, 14);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
