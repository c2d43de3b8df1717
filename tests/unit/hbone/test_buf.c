/*
 * buf: windows, the pool's bound, and queues that are consumed and compacted.
 */
#include <check.h>
#include <string.h>

#include <hbone/buf.h>

static struct hb_buf_pool *pool;

static void setup(void)
{
	pool = hb_buf_pool_new(0);
	ck_assert_ptr_nonnull(pool);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(pool), 0);
	hb_buf_pool_free(pool);
}

static struct hb_buf *make(uint32_t len, uint8_t first)
{
	struct hb_buf *buf = hb_buf_new(pool);

	ck_assert_ptr_nonnull(buf);
	for (uint32_t i = 0; i < len; i++)
		buf->data[i] = (uint8_t)(first + i);
	buf->len = len;
	return buf;
}

START_TEST(room_around)
{
	struct hb_buf *buf = make(100, 0), *view;

	ck_assert_uint_eq(hb_buf_headroom(buf), HB_BUF_HEADROOM);
	ck_assert_uint_eq(hb_buf_tailroom(buf), HB_BUF_PAYLOAD - 100 + HB_BUF_TAILROOM);
	ck_assert(hb_buf_is_sole_owner(buf));
	memset(buf->data - HB_BUF_HEADROOM, 1, HB_BUF_SLOT);
	view = hb_buf_view(buf, 10, 20);
	ck_assert(!hb_buf_is_sole_owner(buf) && !hb_buf_is_sole_owner(view));
	ck_assert_ptr_eq(view->data, buf->data + 10);
	ck_assert_uint_eq(view->len, 20);
	ck_assert_ptr_eq(hb_buf_pool_of(view), pool);
	ck_assert_uint_eq(hb_buf_pool_slots_out(pool), 1);
	hb_buf_free(buf);
	/* The view alone keeps the slot. */
	ck_assert(hb_buf_is_sole_owner(view));
	ck_assert_uint_eq(view->data[0], 1);
	ck_assert_uint_eq(hb_buf_pool_slots_out(pool), 1);
	hb_buf_free(view);
	hb_buf_free(NULL);
	hb_buf_free_all(NULL);
}
END_TEST

START_TEST(bound)
{
	struct hb_buf *bufs[3];
	struct hb_buf_pool *small = hb_buf_pool_new(3);

	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(bufs[i] = hb_buf_new(small));
	ck_assert_ptr_null(hb_buf_new(small));
	hb_buf_free(bufs[1]);
	ck_assert_ptr_nonnull(bufs[1] = hb_buf_new(small));
	ck_assert_ptr_null(hb_buf_new(small));
	for (int i = 0; i < 3; i++)
		hb_buf_free(bufs[i]);
	ck_assert_uint_eq(hb_buf_pool_slots_out(small), 0);
	hb_buf_pool_free(small);
}
END_TEST

START_TEST(last_used_is_next)
{
	struct hb_buf *a = hb_buf_new(pool), *b = hb_buf_new(pool);
	uint8_t *slot = a->data;

	hb_buf_free(b);
	hb_buf_free(a);
	a = hb_buf_new(pool);
	ck_assert_ptr_eq(a->data, slot);
	hb_buf_free(a);
	hb_buf_pool_trim(pool, 0);
}
END_TEST

START_TEST(queue_keeps_order_and_sum)
{
	struct hb_bufq q = { 0 };
	struct hb_buf *chain = make(3, 0), *buf;

	chain->next = make(4, 3);
	hb_bufq_push(&q, chain);
	hb_bufq_push(&q, NULL);
	hb_bufq_push(&q, make(5, 7));
	ck_assert_uint_eq(q.bytes, 12);
	ck_assert_uint_eq(q.bufs, 3);
	hb_bufq_consume(&q, 5);
	ck_assert_uint_eq(q.bytes, 7);
	ck_assert_uint_eq(q.bufs, 2);
	ck_assert_uint_eq(q.head->data[0], 5);
	buf = hb_bufq_shift(&q);
	ck_assert_uint_eq(buf->len, 2);
	ck_assert_ptr_null(buf->next);
	hb_buf_free(buf);
	chain = hb_bufq_take(&q);
	ck_assert_uint_eq(hb_buf_chain_bytes(chain), 5);
	ck_assert_ptr_null(hb_bufq_take(&q));
	ck_assert_ptr_null(hb_bufq_shift(&q));
	hb_bufq_push(&q, chain);
	hb_bufq_consume(&q, 5);
	ck_assert_ptr_null(q.head);
	/* What is pushed after a shift comes last. */
	for (uint8_t i = 0; i < 5; i++)
		hb_bufq_push(&q, make(1, i));
	hb_buf_free(hb_bufq_shift(&q));
	hb_bufq_consume(&q, 1);
	hb_bufq_push(&q, make(1, 5));
	for (uint8_t i = 2; i < 6; i++) {
		ck_assert_uint_eq(q.head->data[0], i);
		hb_buf_free(hb_bufq_shift(&q));
	}
	hb_bufq_push(&q, make(1, 0));
	hb_bufq_clear(&q);
	ck_assert_uint_eq(q.bytes + q.bufs, 0);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	uint32_t lens[8]; /* 0 ends, repeated `times` */
	unsigned times;
	size_t bufs_after;
} compactions[] = {
	{ "nothing", { 0 }, 1, 0 },
	{ "one small", { 7 }, 1, 1 },
	{ "a thousand small", { 10 }, 1000, 1 },
	{ "more than a slot", { 100 }, 1000, 7 },
	{ "full ones stay", { 16384 }, 4, 4 },
	{ "runs between full ones", { 5, 6, 16384, 7, 8 }, 1, 3 },
	{ "single ones between full ones", { 16384, 5 }, 3, 6 },
	{ "just under half", { 8191 }, 4, 2 },
};
/* clang-format on */

START_TEST(compact)
{
	struct hb_bufq q = { 0 };
	uint8_t next = 0;
	size_t bytes = 0;

	for (unsigned n = 0; n < compactions[_i].times; n++)
		for (const uint32_t *len = compactions[_i].lens; *len; len++) {
			hb_bufq_push(&q, make(*len, (uint8_t)bytes));
			bytes += *len;
		}
	hb_bufq_compact(&q);
	ck_assert_msg(q.bufs == compactions[_i].bufs_after, "%s: %u bufs", compactions[_i].name,
	              q.bufs);
	ck_assert_uint_eq(q.bytes, bytes);
	ck_assert_uint_eq(hb_buf_chain_bytes(q.head), bytes);
	ck_assert_uint_eq(hb_buf_pool_slots_out(pool), q.bufs);
	for (struct hb_buf *buf = q.head; buf; buf = buf->next)
		for (uint32_t i = 0; i < buf->len; i++)
			if (buf->data[i] != next++)
				ck_abort_msg("%s: bytes changed", compactions[_i].name);
	/* What is dense already is left alone. */
	hb_bufq_compact(&q);
	ck_assert_uint_eq(q.bufs, compactions[_i].bufs_after);
	hb_bufq_clear(&q);
}
END_TEST

START_TEST(compact_without_memory)
{
	struct hb_buf_pool *small = hb_buf_pool_new(3);
	struct hb_bufq q = { 0 };

	for (uint8_t i = 0; i < 3; i++) {
		struct hb_buf *buf = hb_buf_new(small);

		buf->data[0] = i;
		buf->len = 1;
		hb_bufq_push(&q, buf);
	}
	hb_bufq_compact(&q);
	ck_assert_uint_eq(q.bytes, 3);
	for (uint8_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(q.head->data[0], i);
		hb_bufq_consume(&q, 1);
	}
	hb_buf_pool_free(small);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("buf");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, room_around);
	tcase_add_test(tc, bound);
	tcase_add_test(tc, last_used_is_next);
	tcase_add_test(tc, queue_keeps_order_and_sum);
	tcase_add_loop_test(tc, compact, 0, HB_ARRAY_LEN(compactions));
	tcase_add_test(tc, compact_without_memory);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
