/*
 * recv: a receiver gets every byte once and in order, whatever it is told to do meanwhile; silent
 * ones own no slot, busy ones no more than their share, starved ones do not spin.
 */
#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "hbone/buf_internal.h"
#include <hbone/loop.h>

#include "support/any_loop.h"

#define MANY 64

struct reader {
	struct hb_recv recv;
	struct hb_bufq kept; /* when keep is set */
	uint64_t got, this_turn;
	unsigned datas, ends, stopped;
	int end;
	bool keep, wants;
	uint32_t seed;
	int peer;
};

static struct hb_loop *loop;
static struct reader readers[MANY];

static uint8_t byte_at(uint64_t pos)
{
	return (uint8_t)(pos * 7 + (pos >> 8));
}

static void on_recv(struct hb_recv *recv, struct hb_buf *chain, int res)
{
	struct reader *r = hb_container_of(recv, struct reader, recv);

	ck_assert_uint_eq(r->stopped, 0);
	ck_assert_msg(r->wants, "told while paused");
	if (res <= 0) {
		ck_assert_ptr_null(chain);
		r->ends++;
		r->end = res;
		r->wants = false;
		return;
	}
	ck_assert_uint_eq(hb_buf_chain_bytes(chain), (size_t)res);
	for (struct hb_buf *buf = chain; buf; buf = buf->next)
		for (uint32_t i = 0; i < buf->len; i++)
			if (buf->data[i] != byte_at(r->got++))
				ck_abort_msg("byte %zu is wrong", (size_t)r->got - 1);
	r->datas++;
	r->this_turn += (uint64_t)res;
	if (r->keep)
		hb_bufq_push(&r->kept, chain);
	else
		hb_buf_free_all(chain);
}

static void on_stopped(struct hb_recv *recv)
{
	hb_container_of(recv, struct reader, recv)->stopped++;
}

static const struct hb_recv_events recv_events = { .on_recv = on_recv, .on_stopped = on_stopped };

static void resume(struct reader *r)
{
	r->wants = true;
	hb_loop_recv_resume(loop, &r->recv);
}

static void pause_it(struct reader *r)
{
	r->wants = false;
	hb_loop_recv_pause(loop, &r->recv);
}

static void setup_slots(size_t slots_max)
{
	loop = test_loop_new(&(struct hb_loop_options){ .slots_max = slots_max });
	ck_assert_ptr_nonnull(loop);
	memset(readers, 0, sizeof(readers));
	for (unsigned i = 0; i < MANY; i++) {
		struct reader *r = &readers[i];
		int fds[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		hb_recv_init(&r->recv, loop, fds[0], HB_BUF_READ_MAX, &recv_events);
		r->peer = fds[1];
		r->seed = i + 1;
	}
}

static void setup(void)
{
	setup_slots(0);
}

static void turn(void)
{
	ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
}

static void teardown(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		hb_loop_recv_stop(loop, &readers[i].recv);
		hb_loop_recv_stop(loop, &readers[i].recv);
		hb_loop_recv_resume(loop, &readers[i].recv);
		ck_assert_uint_eq(readers[i].stopped, 0);
	}
	for (int i = 0; i < 4; i++)
		turn();
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_uint_eq(readers[i].stopped, 1);
		hb_bufq_clear(&readers[i].kept);
		close(readers[i].recv.op.value);
		if (readers[i].peer >= 0)
			close(readers[i].peer);
	}
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

static void give(struct reader *r, uint64_t from, size_t len)
{
	static uint8_t bytes[300000];

	ck_assert_uint_le(len, sizeof(bytes));
	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(from + i);
	ck_assert_int_eq(send(r->peer, bytes, len, MSG_DONTWAIT), (ssize_t)len);
}

static uint64_t sum_got(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MANY; i++)
		sum += readers[i].got;
	return sum;
}

START_TEST(silent_ones_own_no_slot)
{
	for (unsigned i = 0; i < MANY; i++)
		resume(&readers[i]);
	turn();
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	for (unsigned i = 0; i < MANY; i++)
		give(&readers[i], 0, 100);
	/* Recent kernels complete twenty at a time. */
	for (int i = 0; i < MANY; i++)
		turn();
	ck_assert_uint_eq(sum_got(), MANY * 100);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
}
END_TEST

START_TEST(a_turn_gives_at_most_its_share)
{
	struct reader *r = &readers[0];
	int size = 200000; /* the kernel takes twice that */

	ck_assert_int_eq(setsockopt(r->peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	resume(r);
	turn();
	give(r, 0, 300000);
	while (r->got < 300000) {
		r->this_turn = 0;
		turn();
		ck_assert_uint_le(r->this_turn, 240 * 1024);
	}
	/* In chains, not in a callback per buf. */
	ck_assert_uint_le(r->datas, 4);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	bool data, reset, pause_first;
	int want;
} ends[] = {
	{ "end", false, false, false, 0 },
	{ "end while paused", false, false, true, 0 },
	{ "data, then end", true, false, false, 0 },
	{ "data, then end, while paused", true, false, true, 0 },
	{ "reset", false, true, false, -ECONNRESET },
	{ "reset while paused", false, true, true, -ECONNRESET },
};
/* clang-format on */

START_TEST(end_is_told_once_and_last)
{
	struct reader *r = &readers[0];
	size_t len = ends[_i].data ? 40000 : 0;

	resume(r);
	turn();
	if (ends[_i].pause_first)
		pause_it(r); /* the op is in flight */
	if (len)
		give(r, 0, len);
	if (ends[_i].reset) {
		/* A Unix socket resets when it closes over unread bytes. */
		ck_assert_int_eq(send(r->recv.op.value, "x", 1, 0), 1);
	}
	close(r->peer);
	r->peer = -1;
	for (int i = 0; i < 5; i++)
		turn();
	if (ends[_i].pause_first) {
		ck_assert_uint_eq(r->ends + r->datas, 0);
		resume(r);
		ck_assert_uint_eq(r->ends + r->datas, 0);
		for (int i = 0; i < 5; i++)
			turn();
	}
	ck_assert_msg(r->ends == 1 && r->end == ends[_i].want, "%s: %u, %d", ends[_i].name, r->ends,
	              r->end);
	ck_assert_uint_eq(r->got, len);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
}
END_TEST

START_TEST(paused_and_resumed_at_random)
{
	enum { BYTES = 300000 };
	uint64_t given[4] = { 0 };
	uint32_t seed = (uint32_t)_i + 1;

	while (readers[0].got + readers[1].got + readers[2].got + readers[3].got < 4 * BYTES) {
		unsigned n;
		struct reader *r;

		seed = seed * 1664525u + 1013904223u;
		n = seed >> 8 & 3;
		r = &readers[n];
		switch (seed >> 10 & 3) {
		case 0:
			pause_it(r);
			break;
		case 1:
		case 2:
			resume(r);
			break;
		default:
			turn();
		}
		if (given[n] < BYTES && given[n] - r->got < 60000) {
			size_t len = 1 + (seed >> 12) % 40000;

			len = hb_min_size(len, BYTES - given[n]);
			give(r, given[n], len);
			given[n] += len;
		}
	}
	for (unsigned n = 0; n < 4; n++)
		ck_assert_uint_eq(readers[n].got, BYTES);
}
END_TEST

/* Owners keep all slots: the others wait without turning, and go on when slots come back. */
static void starve(size_t slots_max, size_t each)
{
	struct timespec before, after;
	uint64_t sum;
	unsigned turns;

	setup_slots(slots_max);
	for (unsigned i = 0; i < MANY; i++) {
		readers[i].keep = true;
		resume(&readers[i]);
		give(&readers[i], 0, each);
	}
	for (int i = 0; i < 20; i++)
		turn();
	sum = sum_got();
	ck_assert_uint_lt(sum, MANY * each);
	ck_assert_uint_le(hb_buf_pool_slots_out(hb_loop_pool(loop)), slots_max);

	/* A turn with nothing to do waits. */
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (turns = 0; turns < 3; turns++)
		ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ck_assert_int_ge(
	    (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 40);
	ck_assert_uint_eq(sum_got(), sum);

	for (turns = 0; sum_got() < MANY * each; turns++) {
		for (unsigned i = 0; i < MANY; i++)
			hb_bufq_clear(&readers[i].kept);
		turn();
		ck_assert_uint_lt(turns, 20000);
	}
	teardown();
}

START_TEST(starved_small)
{
	starve(8, 100);
}
END_TEST

START_TEST(starved_bulk)
{
	starve(16, 50000);
}
END_TEST

START_TEST(starved_to_the_last_slot)
{
	starve(1, 100);
}
END_TEST

/* A trim in the midst: all are heard as before, also those that wait all the while. */
START_TEST(a_trim_loses_nothing)
{
	const size_t slots_max = 1024;
	size_t lent_before, lent_in_burst, sent = 0;

	setup_slots(slots_max);
	for (unsigned i = 0; i < MANY; i++)
		resume(&readers[i]);
	turn();
	lent_before = slots_max - hb_buf_pool_room(hb_loop_pool(loop));
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < MANY; i++)
			give(&readers[i], round * 10, 10);
		sent += MANY * 10;
		for (unsigned turns = 0; sum_got() < sent; turns++) {
			for (unsigned i = 0; i < MANY; i++)
				hb_bufq_clear(&readers[i].kept);
			ck_assert_uint_lt(turns, 1000);
			turn();
		}
		for (unsigned i = 0; i < MANY; i++)
			hb_bufq_clear(&readers[i].kept);
		turn();
		lent_in_burst = slots_max - hb_buf_pool_room(hb_loop_pool(loop));
		if (round % 2 == 0)
			continue;
		if (lent_before > 0 && round == 1)
			ck_assert_uint_gt(lent_in_burst, lent_before);
		hb_loop_trim(loop);
		ck_assert_uint_le(slots_max - hb_buf_pool_room(hb_loop_pool(loop)), lent_in_burst);
	}
	teardown();
}
END_TEST

START_TEST(stopped_in_every_state)
{
	struct reader *armed = &readers[0], *unwanted = &readers[1], *busy = &readers[2],
		      *held = &readers[3], *fresh = &readers[4];

	resume(armed);
	resume(unwanted);
	resume(busy);
	resume(held);
	turn();
	pause_it(unwanted);
	give(busy, 0, 150000);
	pause_it(held);
	give(held, 0, 100);
	turn();
	resume(held);
	hb_loop_recv_stop(loop, &busy->recv);
	hb_loop_recv_stop(loop, &held->recv);
	resume(fresh);
	/* teardown stops the rest, and finds each told once and no slot lost. */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("recv");
	TCase *tc = tcase_create("all"), *starved = tcase_create("starved");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, silent_ones_own_no_slot);
	tcase_add_test(tc, a_turn_gives_at_most_its_share);
	tcase_add_loop_test(tc, end_is_told_once_and_last, 0, HB_ARRAY_LEN(ends));
	tcase_add_loop_test(tc, paused_and_resumed_at_random, 0, 8);
	tcase_add_test(tc, stopped_in_every_state);
	tcase_add_test(starved, starved_small);
	tcase_add_test(starved, starved_bulk);
	tcase_add_test(starved, starved_to_the_last_slot);
	tcase_add_test(starved, a_trim_loses_nothing);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, starved);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
