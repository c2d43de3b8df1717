/*
 * stalled: streams of one connection that nobody reads, in either direction, whether they never
 * were or have been carrying so much that their windows grew. However many they are: another stream
 * goes on, what they hold is bounded, and all of it comes back.
 */
#include <assert.h>
#include <check.h>
#include <stdio.h>

#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/pair.h"

#define STALLED_MAX 200u
#define MANY        750u
#define GOOD_BYTES  (24u << 20)
#define GROWN_BYTES (4u << 20) /* after so many a window alone on its connection is the largest */
#define TURNS       20000u
#define PIECE       HB_BUF_READ_MAX
#define BACKLOG_MAX (512u * 1024) /* that a sender keeps, who stops when it is told */
#define OTHER_BYTES (2u << 20)    /* on the wire, and for the good stream */
#define GROWN_MAX   (8u << 20)    /* the default of hb_h2_options.grown_max */

/* One end of a tunnel: sends as long as it may, or reads as long as it likes. */
struct end {
	struct hb_stream *stream;  /* NULL once closed; freed */
	uint64_t sent, send_bytes; /* so far, and in all */
	uint64_t read, read_bytes; /* so far, and before it reads no more */
	bool full, finished;
};

static struct {
	struct hb_loop *loop;
	struct hb_stream *wires[2];
	struct hb_h2 *h2[2];          /* by enum hb_h2_role; NULL once closed */
	struct end ends[2][MANY + 1]; /* by role and number */
	unsigned count, asked;
} rig;

static void send_on(struct end *end)
{
	while (end->stream && !end->full && end->sent < end->send_bytes) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(rig.loop));

		ck_assert_ptr_nonnull(buf);
		buf->len = PIECE;
		end->sent += PIECE;
		hb_stream_write(end->stream, buf);
		if (end->sent % (BACKLOG_MAX / 4) < PIECE)
			return; /* full is told from the loop */
	}
	if (end->stream && end->sent >= end->send_bytes && end->send_bytes && !end->finished) {
		end->finished = true;
		hb_stream_finish(end->stream);
	}
}

static void on_open(struct hb_stream *stream)
{
	send_on(stream->owner);
}

static void on_data(struct hb_stream *stream, struct hb_buf *chain)
{
	struct end *end = stream->owner;

	end->read += hb_buf_chain_bytes(chain);
	hb_buf_free_all(chain);
	if (end->read >= end->read_bytes)
		hb_stream_pause(stream);
}

static void on_finish(struct hb_stream *stream)
{
	(void)stream;
}

static void on_full(struct hb_stream *stream)
{
	struct end *end = stream->owner;

	end->full = true;
}

static void on_drained(struct hb_stream *stream)
{
	struct end *end = stream->owner;

	end->full = false;
}

static void on_closed(struct hb_stream *stream, struct hb_end why)
{
	struct end *end = stream->owner;

	(void)why;
	end->stream = NULL;
	hb_stream_free(stream);
}

static const struct hb_stream_events events = {
	.on_open = on_open,
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

static void take(enum hb_h2_role role, unsigned index, struct hb_stream *stream)
{
	struct end *end = &rig.ends[role][index];

	*end = (struct end){ .stream = stream };
	stream->owner = end;
	stream->events = &events;
}

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	(void)h2;
	take(HB_H2_SERVER, rig.asked++, stream);
	hb_tunnel_accept(stream, "");
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	(void)why;
	rig.h2[h2 == rig.h2[HB_H2_SERVER]] = NULL;
	hb_h2_free(h2);
}

static const struct hb_h2_events h2_events = { .on_request = on_request,
	                                       .on_closed = on_h2_closed };

static void turns(unsigned count)
{
	while (count-- > 0) {
		ck_assert_int_eq(hb_loop_turn(rig.loop, 0), 0);
		for (unsigned i = 0; i < rig.count; i++) {
			send_on(&rig.ends[HB_H2_CLIENT][i]);
			send_on(&rig.ends[HB_H2_SERVER][i]);
		}
	}
}

static void up_for(unsigned streams)
{
	memset(&rig, 0, sizeof(rig));
	rig.loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(rig.loop);
	pair_new(rig.loop, rig.wires);
	for (int role = 0; role < 2; role++) {
		struct hb_h2_options options = { .role = (enum hb_h2_role)role,
			                         .streams_max = streams };

		rig.h2[role] = hb_h2_new(rig.loop, rig.wires[role], &options, &h2_events, NULL);
		ck_assert_ptr_nonnull(rig.h2[role]);
	}
	turns(10);
}

static void up(void)
{
	up_for(STALLED_MAX + 1);
}

static void down(void)
{
	for (int role = 0; role < 2; role++)
		if (rig.h2[role])
			hb_h2_close(rig.h2[role], hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY));
	for (unsigned i = 0; i < 400 && (rig.h2[0] || rig.h2[1]); i++)
		turns(1);
	ck_assert(!rig.h2[0] && !rig.h2[1]);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(rig.loop)), 0);
	hb_loop_free(rig.loop);
}

/* A tunnel on which @from sends @bytes, of which the other end reads @read. */
static struct end *carry(enum hb_h2_role from, uint64_t bytes, uint64_t read)
{
	struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };
	struct hb_stream *stream = hb_tunnel_open(rig.h2[HB_H2_CLIENT], &request);
	unsigned index = rig.count;
	struct end *to;

	ck_assert_ptr_nonnull(stream);
	take(HB_H2_CLIENT, index, stream);
	turns(3);
	ck_assert_uint_eq(rig.asked, ++rig.count);
	rig.ends[from][index].send_bytes = bytes;
	to = &rig.ends[!from][index];
	to->read_bytes = read;
	if (read)
		hb_stream_resume(to->stream);
	return to;
}

static void read_until(struct end *end, uint64_t bytes, const char *who)
{
	for (unsigned i = 0; i < TURNS && end->read < bytes; i++)
		turns(1);
	ck_assert_msg(end->read >= bytes, "%s stands still after %lu bytes", who,
	              (unsigned long)end->read);
}

static size_t held_bytes(void)
{
	return hb_buf_pool_slots_out(hb_loop_pool(rig.loop)) * HB_BUF_PAYLOAD;
}

static const unsigned counts[] = { 1, 4, 50, STALLED_MAX };

/* Bit 0: uploads, not downloads; bit 1: they were read at first. The rest: how many. */
START_TEST(others_go_on)
{
	enum hb_h2_role from = _i & 1 ? HB_H2_CLIENT : HB_H2_SERVER;
	uint64_t read = _i & 2 ? GROWN_BYTES : 0;
	unsigned n = counts[_i / 4];
	size_t held, held_max = n * (size_t)(HB_H2_WINDOW_FIRST + BACKLOG_MAX) + OTHER_BYTES;
	struct end *good;

	up();
	if (read)
		held_max += GROWN_MAX;
	for (unsigned i = 0; i < n; i++) {
		struct end *slow = carry(from, UINT64_MAX, read);

		if (read)
			read_until(slow, read, "one that is read at first");
	}
	turns(50);
	held = held_bytes();
	good = carry(from, GOOD_BYTES, UINT64_MAX);
	read_until(good, GOOD_BYTES, "the good one");
	turns(50);
	printf("%3u %s that are %s: %zu KiB held, %zu each\n", n, _i & 1 ? "uploads" : "downloads",
	       read ? "not read any more" : "never read", held / 1024, held / 1024 / n);
	fflush(stdout);
	ck_assert_uint_le(held, held_max);
	ck_assert_uint_le(held_bytes(), held_max);
	/* Without them there is nothing left, and a new one grows as the first did. */
	for (unsigned i = 0; i < n; i++)
		hb_stream_close(rig.ends[!from][i].stream,
		                hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY));
	turns(50);
	ck_assert_uint_le(held_bytes(), OTHER_BYTES);
	read_until(carry(from, GOOD_BYTES, UINT64_MAX), GOOD_BYTES, "one that came later");
	down();
}
END_TEST

/* Where more may live, each gets less: all of them hold little more than 200 would. */
START_TEST(many_hold_what_few_may)
{
	const uint64_t each = 64u << 10, most = 20u << 20;
	struct end *good;

	ck_assert_uint_gt(MANY * each, 2 * most);
	up_for(MANY + 1);
	for (unsigned i = 0; i < MANY; i++)
		(void)carry(HB_H2_SERVER, each, 0);
	turns(50);
	printf("%3u downloads where so many may live: %lu KiB came\n", MANY,
	       (unsigned long)(rig.wires[HB_H2_CLIENT]->bytes_in / 1024));
	fflush(stdout);
	ck_assert_uint_le(rig.wires[HB_H2_CLIENT]->bytes_in, most);
	good = carry(HB_H2_SERVER, GOOD_BYTES, UINT64_MAX);
	read_until(good, GOOD_BYTES, "the good one");
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stalled");
	TCase *tc = tcase_create("others");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, others_go_on, 0, 4 * HB_ARRAY_LEN(counts));
	tcase_add_test(tc, many_hold_what_few_may);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
