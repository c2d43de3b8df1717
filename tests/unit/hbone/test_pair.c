/*
 * pair: the fake keeps the contract that it stands for: bytes, ends, marks, split, stall and cut.
 */
#include <check.h>
#include <string.h>

#include <hbone/loop.h>
#include <hbone/stream.h>

#include "support/any_loop.h"
#include "support/pair.h"

struct seen {
	struct hb_stream *s;
	char text[64];
	size_t len;
	unsigned datas, finishes, fulls, draineds, closeds;
	struct hb_end why;
};

static struct hb_loop *loop;
static struct seen a, b;

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct seen *seen = s->owner;

	for (struct hb_buf *buf = chain; buf; buf = buf->next) {
		ck_assert_uint_gt(buf->len, 0);
		for (uint32_t i = 0; i < buf->len; i++)
			seen->text[seen->len++ % sizeof(seen->text)] = (char)buf->data[i];
	}
	seen->datas++;
	hb_buf_free_all(chain);
}

static void on_finish(struct hb_stream *s)
{
	((struct seen *)s->owner)->finishes++;
}

static void on_full(struct hb_stream *s)
{
	((struct seen *)s->owner)->fulls++;
}

static void on_drained(struct hb_stream *s)
{
	((struct seen *)s->owner)->draineds++;
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct seen *seen = s->owner;

	seen->closeds++;
	seen->why = why;
	seen->s = NULL;
	hb_stream_free(s);
}

static const struct hb_stream_events events = { NULL,    on_data,    on_finish,
	                                        on_full, on_drained, on_closed };

static void setup(void)
{
	struct hb_stream *ends[2];

	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	pair_new(loop, ends);
	a = (struct seen){ .s = ends[0] };
	b = (struct seen){ .s = ends[1] };
	ends[0]->events = ends[1]->events = &events;
	ends[0]->owner = &a;
	ends[1]->owner = &b;
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
}

static void teardown(void)
{
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN);

	if (a.s)
		hb_stream_close(a.s, why);
	if (b.s)
		hb_stream_close(b.s, why);
	turn();
	ck_assert_uint_eq(a.closeds, 1);
	ck_assert_uint_eq(b.closeds, 1);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

static void write_text(struct seen *from, const char *text)
{
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));

	ck_assert_ptr_nonnull(buf);
	buf->len = (uint32_t)strlen(text);
	memcpy(buf->data, text, buf->len);
	hb_stream_write(from->s, buf);
}

START_TEST(bytes_wait_for_resume)
{
	write_text(&a, "hello");
	hb_stream_finish(a.s);
	turn();
	ck_assert_uint_eq(b.datas + b.finishes, 0);
	ck_assert_uint_eq(pair_in_transit(b.s), 5);
	hb_stream_resume(b.s);
	ck_assert_uint_eq(b.datas, 0);
	turn();
	ck_assert_str_eq(b.text, "hello");
	ck_assert_uint_eq(b.finishes, 1);
	ck_assert_uint_eq(b.s->bytes_in, 5);
	/* The other direction is still open. */
	hb_stream_resume(a.s);
	write_text(&b, "back");
	turn();
	ck_assert_str_eq(a.text, "back");
}
END_TEST

START_TEST(split_tells_pieces)
{
	pair_split(b.s, 2);
	hb_stream_resume(b.s);
	write_text(&a, "hello");
	turn();
	ck_assert_str_eq(b.text, "hello");
	ck_assert_uint_eq(b.datas, 3);
}
END_TEST

START_TEST(stall_holds_everything)
{
	pair_stall(b.s, true);
	hb_stream_resume(b.s);
	write_text(&a, "hello");
	hb_stream_finish(a.s);
	turn();
	ck_assert_uint_eq(b.datas + b.finishes, 0);
	pair_stall(b.s, false);
	turn();
	ck_assert_uint_eq(b.len, 5);
	ck_assert_uint_eq(b.finishes, 1);
}
END_TEST

START_TEST(cut_resets_both_at_the_byte)
{
	pair_cut(b.s, 3);
	hb_stream_resume(b.s);
	write_text(&a, "hello");
	turn();
	ck_assert_str_eq(b.text, "hel");
	ck_assert_int_eq(a.why.code, -ECONNRESET);
	ck_assert_int_eq(b.why.code, -ECONNRESET);
	ck_assert_int_eq(b.why.layer, HB_LAYER_TCP);
	ck_assert_int_eq(b.why.side, HB_SIDE_PEER);
}
END_TEST

START_TEST(marks)
{
	pair_marks(b.s, 6, 3);
	write_text(&a, "123456");
	turn();
	ck_assert_uint_eq(a.fulls, 0);
	write_text(&a, "7");
	turn();
	ck_assert_uint_eq(a.fulls, 1);
	ck_assert_uint_eq(a.draineds, 0);
	hb_stream_resume(b.s);
	turn();
	ck_assert_uint_eq(a.draineds, 1);
}
END_TEST

START_TEST(abort_is_a_reset_for_the_peer)
{
	write_text(&a, "lost");
	hb_stream_close(a.s, hb_end(HB_LAYER_RELAY, HB_SIDE_US, HB_E_IDLE));
	ck_assert_uint_eq(a.closeds, 0);
	turn();
	ck_assert_int_eq(a.why.code, HB_E_IDLE);
	ck_assert_int_eq(b.why.code, -ECONNRESET);
	ck_assert_uint_eq(b.datas, 0);
}
END_TEST

START_TEST(clean_close_waits_for_both)
{
	write_text(&a, "last words");
	hb_stream_close(a.s, HB_END_CLEAN);
	turn();
	ck_assert_uint_eq(a.closeds, 0);
	hb_stream_resume(b.s);
	turn();
	ck_assert_str_eq(b.text, "last words");
	ck_assert_uint_eq(b.finishes, 1);
	ck_assert_uint_eq(a.closeds, 0);
	write_text(&b, "dropped");
	hb_stream_close(b.s, HB_END_CLEAN);
	turn();
	ck_assert_uint_eq(a.closeds, 1);
	ck_assert_uint_eq(b.closeds, 1);
	ck_assert_int_eq(a.why.code | b.why.code, 0);
	ck_assert_uint_eq(a.datas, 0);
}
END_TEST

START_TEST(clean_close_gives_up_on_a_stalled_peer)
{
	pair_linger(a.s, 1);
	write_text(&a, "never read");
	hb_stream_close(a.s, HB_END_CLEAN);
	while (!a.closeds)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	turn();
	ck_assert_int_eq(a.why.code, -ETIMEDOUT);
	ck_assert_int_eq(b.why.code, -ECONNRESET);
}
END_TEST

START_TEST(write_to_one_that_left_is_reset)
{
	pair_linger(a.s, 1);
	hb_stream_close(a.s, HB_END_CLEAN);
	while (!a.closeds)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	ck_assert_int_eq(a.why.code, 0);
	ck_assert_uint_eq(b.closeds, 0);
	write_text(&b, "anybody?");
	turn();
	ck_assert_int_eq(b.why.code, -ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pair");
	TCase *tc = tcase_create("contract");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bytes_wait_for_resume);
	tcase_add_test(tc, split_tells_pieces);
	tcase_add_test(tc, stall_holds_everything);
	tcase_add_test(tc, cut_resets_both_at_the_byte);
	tcase_add_test(tc, marks);
	tcase_add_test(tc, abort_is_a_reset_for_the_peer);
	tcase_add_test(tc, clean_close_waits_for_both);
	tcase_add_test(tc, clean_close_gives_up_on_a_stalled_peer);
	tcase_add_test(tc, write_to_one_that_left_is_reset);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
