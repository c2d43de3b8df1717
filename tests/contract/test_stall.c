/*
 * stall: an exchange whose wire stands still behind each frame (in plain) or each record (with
 * TLS), in either direction, until nothing moves any more. Then it goes on, and all must come
 * right.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "contract/exchange.h"
#include "support/any_loop.h"
#include "support/held.h"

#define TURNS      20000
#define QUIET      60 /* turns in which all that can happen without the wire has happened */
#define KEPT_BYTES 65536

/* Reads headers off the wire and stalls it behind the wanted one. */
struct gate {
	struct hb_stream *to;
	bool tls;
	unsigned seen, stall_after; /* frames or records */
	uint8_t header[HB_FRAME_HEADER];
	unsigned header_len;
	size_t left; /* of the body, or of the preface */
	bool stalled;
};

static void boundary(struct gate *gate)
{
	gate->header_len = 0;
	if (++gate->seen != gate->stall_after)
		return;
	gate->stalled = true;
	pair_stall(gate->to, true);
}

static void on_bytes(void *owner, const uint8_t *bytes, size_t len)
{
	struct gate *gate = owner;
	unsigned header_size = gate->tls ? HB_TLS_HEADER : HB_FRAME_HEADER;

	for (size_t i = 0; i < len; i++) {
		if (gate->left > 0) {
			if (--gate->left == 0)
				boundary(gate);
			continue;
		}
		gate->header[gate->header_len++] = bytes[i];
		if (gate->header_len < header_size)
			continue;
		gate->left = gate->tls ? (size_t)gate->header[3] << 8 | gate->header[4]
		                       : (size_t)gate->header[0] << 16 | gate->header[1] << 8 |
		                             gate->header[2];
		if (gate->left == 0)
			boundary(gate);
	}
}

static bool play(struct hb_loop *loop, struct hb_tls_ctx *const *ctxs, int to, unsigned stall_after)
{
	struct gate gate = { .tls = ctxs != NULL, .stall_after = stall_after };
	struct exchange x;
	const char *wrong;

	exchange_up(&x, loop, ctxs, false);
	gate.to = exchange_bottom(&x)->ends[to].wire;
	if (to == HB_H2_SERVER && !ctxs)
		gate.left = 24; /* the client's preface, RFC 9113 3.4, counts as a frame */
	pair_split(gate.to, 1);
	pair_tap(gate.to, on_bytes, &gate);
	for (unsigned i = 0; i < TURNS && !gate.stalled && !exchange_is_over(&x); i++)
		(void)exchange_play(&x, 1);
	if (gate.stalled && !exchange_is_over(&x)) {
		(void)exchange_play(&x, QUIET);
		pair_stall(gate.to, false);
	}
	ck_assert_msg(exchange_play(&x, TURNS), "to %d, stalled behind %u: it never ends", to,
	              stall_after);
	wrong = exchange_wrong(&x, true);
	ck_assert_msg(!wrong, "to %d, stalled behind %u: %s", to, stall_after, wrong);
	exchange_down(&x);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	return gate.stalled;
}

/* In plain, then with TLS. */
START_TEST(stalled_at_every_frame)
{
	struct hb_loop *loop = test_loop_new(NULL);
	struct hb_tls_ctx *ctxs[2] = { NULL };
	unsigned fds = held_fds(), stalls = 0;
	size_t held = 0;

	ck_assert_ptr_nonnull(loop);
	if (_i)
		link_ctxs_new(ctxs);
	for (int to = 0; to < 2; to++) {
		for (unsigned at = 1; play(loop, _i ? ctxs : NULL, to, at); at++)
			stalls++;
		if (!held)
			held = held_bytes(loop);
	}
	ck_assert_uint_eq(held_fds(), fds);
	ck_assert_uint_ge(stalls, 20);
	ck_assert_uint_le(held_bytes(loop), held + KEPT_BYTES);
	printf("%s: stalled in %u places\n", _i ? "tls" : "plain", stalls);
	fflush(stdout);
	hb_loop_free(loop);
	hb_tls_ctx_unref(ctxs[0]);
	hb_tls_ctx_unref(ctxs[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stall");
	TCase *tc = tcase_create("every frame");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, stalled_at_every_frame, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
