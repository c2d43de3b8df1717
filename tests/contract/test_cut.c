/*
 * cut: a whole exchange over HBONE whose wire is cut at every byte, in either direction, in pieces
 * of several sizes. Nothing crashes, nothing hangs, nothing is kept, and nothing that was cut off
 * is told as a success.
 *
 *     test_cut plain|tls|double [share shares]      only every shares-th byte, from share on
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/exchange.h"
#include "support/any_loop.h"
#include "support/held.h"

#define TURNS      20000
#define KEPT_BYTES 65536 /* that the second half may hold more: malloc's own ways */

static struct hb_tls_ctx *ctxs[2];
static bool tls, is_double;
static unsigned share, shares = 1;

static const uint32_t splits[] = { 0, 7, 1 };

struct run {
	const char *name; /* for messages */
	uint32_t split;
	int to; /* the end that receives what is cut */
	uint64_t at;
};

/* Bytes that each end is told in a run without a cut. */
static void measure(struct hb_loop *loop, uint64_t ret_bytes[2])
{
	struct exchange x;
	struct hb_stream *wires[2];

	exchange_up(&x, loop, tls ? ctxs : NULL, is_double);
	for (int i = 0; i < 2; i++)
		wires[i] = exchange_bottom(&x)->ends[i].wire;
	for (unsigned i = 0; i < TURNS && !exchange_is_over(&x); i++) {
		for (int j = 0; j < 2; j++)
			if (!exchange_bottom(&x)->ends[j].closes)
				ret_bytes[j] = wires[j]->bytes_in;
		(void)exchange_play(&x, 1);
	}
	ck_assert_msg(exchange_is_over(&x), "a run without a cut does not end");
	ck_assert_msg(!exchange_wrong(&x, true), "a run without a cut: %s",
	              exchange_wrong(&x, true));
	exchange_down(&x);
}

static void play(struct hb_loop *loop, const struct run *run)
{
	struct exchange x;
	const char *wrong;

	exchange_up(&x, loop, tls ? ctxs : NULL, is_double);
	for (int i = 0; i < 2; i++)
		pair_split(exchange_bottom(&x)->ends[i].wire, run->split);
	pair_cut(exchange_bottom(&x)->ends[run->to].wire, run->at);
	ck_assert_msg(exchange_play(&x, TURNS), "split %u, to %d, cut at %llu: it never ends",
	              run->split, run->to, (unsigned long long)run->at);
	wrong = exchange_wrong(&x, false);
	ck_assert_msg(!wrong, "split %u, to %d, cut at %llu: %s", run->split, run->to,
	              (unsigned long long)run->at, wrong);
	exchange_down(&x);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
}

START_TEST(cut_at_every_byte)
{
	struct hb_loop *loop = test_loop_new(NULL);
	uint64_t bytes[2] = { 0 };
	size_t held = 0;
	unsigned fds, runs = 0;

	ck_assert_ptr_nonnull(loop);
	if (tls)
		link_ctxs_new(ctxs);
	measure(loop, bytes);
	fds = held_fds();
	/* With TLS the last bytes vary by a few: signatures are of several lengths. */
	for (int to = 0; to < 2; to++) {
		for (uint64_t at = share; at <= bytes[to] + 8; at += shares) {
			play(loop, &(struct run){ .split = splits[_i], .to = to, .at = at });
			runs++;
		}
		/* By now malloc has its own reserves, too. */
		if (!held)
			held = held_bytes(loop);
	}
	ck_assert_uint_eq(held_fds(), fds);
	ck_assert_msg(held_bytes(loop) <= held + KEPT_BYTES, "holds %zu bytes, %zu halfway",
	              held_bytes(loop), held);
	hb_loop_free(loop);
	for (int i = 0; i < 2; i++)
		hb_tls_ctx_unref(ctxs[i]);
	printf("split %u: %u runs, %llu bytes to the client, %llu to the server\n", splits[_i],
	       runs, (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
	fflush(stdout);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("cut");
	TCase *tc = tcase_create("every byte");
	SRunner *runner = srunner_create(suite);
	int failed;

	is_double = argc > 1 && strcmp(argv[1], "double") == 0;
	tls = is_double || (argc > 1 && strcmp(argv[1], "tls") == 0);
	if (argc > 3) {
		share = (unsigned)strtoul(argv[2], NULL, 10);
		shares = (unsigned)strtoul(argv[3], NULL, 10);
	}
	if (argc < 2 || shares == 0)
		return 2;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, cut_at_every_byte, 0, HB_ARRAY_LEN(splits));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
