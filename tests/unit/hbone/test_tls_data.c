/*
 * tls: what is sent arrives, whole and in order, whatever the wire does; it is sealed where it is;
 * and a cut at any byte is never taken for an end.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define CLIENT "spiffe://td/ns/a/sa/client"
#define SERVER "spiffe://td/ns/a/sa/server"

static struct testca *ca;
static struct hb_tls_ctx *ctxs[2];
static struct hb_loop *loop;
static struct tls_rig rig;
static struct probe *const client = &rig.ends[HB_TLS_CLIENT];
static struct probe *const server = &rig.ends[HB_TLS_SERVER];

static void setup(void)
{
	ca = testca_new("root");
	ctxs[HB_TLS_CLIENT] =
	    rig_ctx(ca, &(struct testca_leaf){ .san = "URI:" CLIENT }, testca_pem(ca));
	ctxs[HB_TLS_SERVER] =
	    rig_ctx(ca, &(struct testca_leaf){ .san = "URI:" SERVER }, testca_pem(ca));
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	for (int i = 0; i < 2; i++)
		hb_tls_ctx_unref(ctxs[i]);
	testca_free(ca);
}

static void put_ends(uint32_t key_records)
{
	static const char *const wanted[] = { SERVER };

	rig_up(&rig, loop);
	for (int role = HB_TLS_CLIENT; role <= HB_TLS_SERVER; role++) {
		struct hb_tls_options options = {
			.role = (enum hb_tls_role)role,
			.ctx = ctxs[role],
			.identities = wanted,
			.identities_count = role == HB_TLS_CLIENT,
			.key_records = key_records,
		};

		rig_end(&rig, &options);
	}
}

static void open_both(uint32_t key_records)
{
	put_ends(key_records);
	ck_assert(rig_until(&rig, &server->opens, 1, 5000));
	ck_assert(rig_until(&rig, &client->opens, 1, 5000));
}

/* xorshift: the same numbers in every run. */
static uint32_t next_random(void)
{
	static uint32_t state = 2463534242u;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

/* ---- all of it, in order ---- */

#define BULK (8u << 20)

static uint8_t bulk[2][BULK];

/*
 * A buf of any shape: as an app's read makes it, without room before or behind, or one of several
 * windows onto a slot.
 */
static struct hb_buf *any_shape(const uint8_t *data, size_t len)
{
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));
	struct hb_buf *view;

	ck_assert_ptr_nonnull(buf);
	switch (next_random() % 4) {
	case 0:
		buf->data -= hb_buf_headroom(buf);
		break;
	case 1:
		buf->data += HB_BUF_PAYLOAD + HB_BUF_TAILROOM - len;
		break;
	default:
		break;
	}
	memcpy(buf->data, data, len);
	buf->len = (uint32_t)len;
	if (len > 1 && next_random() % 4 == 0) {
		view = hb_buf_view(buf, 0, (uint32_t)len / 2);
		ck_assert_ptr_nonnull(view);
		view->next = buf;
		buf->data += len / 2;
		buf->len -= (uint32_t)len / 2;
		return view;
	}
	return buf;
}

/* Sends some, until @end is full, and stops and starts its reading as it comes. */
static size_t send_some(struct probe *end, const uint8_t *data, size_t at)
{
	for (int i = 0; i < 8 && at < BULK && end->fulls == end->draineds; i++) {
		size_t len = 1 + next_random() % (next_random() % 2 ? 64 : HB_BUF_PAYLOAD);

		len = hb_min_size(len, BULK - at);
		hb_stream_write(end->stream, any_shape(data + at, len));
		at += len;
		if (at == BULK)
			hb_stream_finish(end->stream);
	}
	if (next_random() % 4 == 0)
		hb_stream_pause(end->stream);
	else
		hb_stream_resume(end->stream);
	return at;
}

START_TEST(eight_mebibytes_both_ways)
{
	struct probe *ends[2] = { client, server };
	size_t at[2] = { 0, 0 };

	for (size_t i = 0; i < BULK; i += 4)
		for (int e = 0; e < 2; e++) {
			uint32_t r = next_random();

			memcpy(&bulk[e][i], &r, sizeof(r));
		}
	open_both(_i ? 100 : 0);
	for (unsigned turn = 0; turn < 200000 && (!client->finishes || !server->finishes); turn++) {
		for (int e = 0; e < 2; e++)
			at[e] = send_some(ends[e], bulk[e], at[e]);
		rig.piece = 1 + next_random() % RIG_PIECE;
		rig_turn(&rig, 0);
	}
	for (int e = 0; e < 2; e++) {
		ck_assert_uint_eq(ends[e]->finishes, 1);
		ck_assert_uint_eq(ends[e]->len, BULK);
		ck_assert(memcmp(ends[e]->data, bulk[!e], BULK) == 0);
		ck_assert_uint_eq(ends[e]->stream->bytes_in, BULK);
	}
	rig_down(&rig);
}
END_TEST

/* ---- in place ---- */

#define SPIED 16

/* What the lower stream of the client was given, before it takes it. */
static struct {
	const struct hb_stream_ops *real;
	unsigned writes;
	size_t count;
	struct {
		const uint8_t *data;
		uint32_t len;
	} bufs[SPIED];
} spied;

static void spy_write(struct hb_stream *s, struct hb_buf *chain)
{
	spied.writes++;
	for (const struct hb_buf *buf = chain; buf && spied.count < SPIED; buf = buf->next) {
		spied.bufs[spied.count].data = buf->data;
		spied.bufs[spied.count++].len = buf->len;
	}
	spied.real->write(s, chain);
}

static void spy(struct hb_stream *s)
{
	static struct hb_stream_ops ops;

	memset(&spied, 0, sizeof(spied));
	spied.real = s->ops;
	ops = *s->ops;
	ops.write = spy_write;
	s->ops = &ops;
}

static struct hb_buf *full_slot(size_t len)
{
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));

	ck_assert_ptr_nonnull(buf);
	memset(buf->data, 'x', len);
	buf->len = (uint32_t)len;
	return buf;
}

START_TEST(full_slots_are_sealed_in_place)
{
	static const size_t lens[] = { HB_BUF_PAYLOAD, HB_BUF_READ_MAX + HB_FRAME_HEADER, 1, 1000 };
	const uint8_t *data[HB_ARRAY_LEN(lens)];
	struct hb_bufq q = { 0 };

	open_both(0);
	spy(rig.tcps[HB_TLS_CLIENT]);
	for (size_t i = 0; i < HB_ARRAY_LEN(lens); i++) {
		struct hb_buf *buf = full_slot(lens[i]);

		data[i] = buf->data;
		hb_bufq_push(&q, buf);
	}
	size_t slots = hb_buf_pool_slots_out(hb_loop_pool(loop));

	hb_stream_write(client->stream, hb_bufq_take(&q));
	ck_assert_uint_eq(spied.writes, 1); /* one chain for all */
	ck_assert_uint_eq(spied.count, HB_ARRAY_LEN(lens));
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), slots); /* no other slot */
	for (size_t i = 0; i < HB_ARRAY_LEN(lens); i++) {
		ck_assert_ptr_eq(spied.bufs[i].data, data[i] - HB_TLS_HEADER);
		ck_assert_uint_eq(spied.bufs[i].len, lens[i] + HB_TLS_HEADER + HB_TLS_TRAILER);
	}
	rig_down(&rig);
}
END_TEST

/* The first record after a key's last one has the key update in front: both are copied. */
START_TEST(keys_are_renewed)
{
	open_both(3);
	spy(rig.tcps[HB_TLS_CLIENT]);
	for (int i = 0; i < 6; i++) {
		struct hb_buf *buf = full_slot(5); /* sealed it is as long as a key update */
		const uint8_t *data = buf->data;

		hb_stream_write(client->stream, buf);
		ck_assert_uint_eq(spied.count, (size_t)i + 1);
		if (i == 3) {
			ck_assert_ptr_ne(spied.bufs[i].data, data - HB_TLS_HEADER);
			ck_assert_uint_eq(spied.bufs[i].len, 2 * (5 + 22));
		} else {
			ck_assert_ptr_eq(spied.bufs[i].data, data - HB_TLS_HEADER);
			ck_assert_uint_eq(spied.bufs[i].len, 5 + 22);
		}
	}
	ck_assert_uint_eq(spied.writes, 6);
	ck_assert(rig_until_size(&rig, &server->len, 30, 1000));
	for (size_t i = 0; i < 30; i++)
		ck_assert_uint_eq(server->data[i], 'x');
	rig_down(&rig);
}
END_TEST

/* ---- bounds ---- */

/* A record that comes byte by byte holds a few slots, not one per byte; an idle one holds none. */
START_TEST(a_dribbled_record)
{
	size_t most = 0, out;

	open_both(0);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	rig.piece = 1;
	hb_stream_write(client->stream, full_slot(4000));
	for (int i = 0; i < 10000 && server->len == 0; i++) {
		rig_turn(&rig, 0);
		out = hb_buf_pool_slots_out(hb_loop_pool(loop));
		most = out > most ? out : most;
	}
	ck_assert_uint_eq(server->len, 4000);
	ck_assert_uint_le(most, 12);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	rig_down(&rig);
}
END_TEST

/* What waits while nobody reads is bounded: the lower stream is paused, and the sender gets full.
 */
START_TEST(a_reader_that_does_not_come)
{
	size_t written = 0;

	open_both(0);
	hb_stream_pause(server->stream);
	for (int i = 0; i < 2000 && client->fulls == client->draineds; i++) {
		hb_stream_write(client->stream, full_slot(HB_BUF_PAYLOAD));
		written += HB_BUF_PAYLOAD;
		rig_turn(&rig, 0);
	}
	ck_assert_uint_gt(client->fulls, client->draineds);
	ck_assert_uint_eq(server->len, 0);
	hb_stream_resume(server->stream);
	ck_assert(rig_until_size(&rig, &server->len, written, 10000));
	ck_assert_uint_eq(client->fulls, client->draineds);
	rig_down(&rig);
}
END_TEST

/* Without slots nothing is lost: what came waits until there are some. */
START_TEST(a_starved_reader)
{
	struct hb_loop *ample = loop;
	struct hb_buf *hoard = NULL, *buf;

	loop = test_loop_new(&(struct hb_loop_options){ .slots_max = 256 });
	ck_assert_ptr_nonnull(loop);
	open_both(0);
	hb_stream_pause(server->stream);
	hb_stream_write(client->stream, full_slot(10000));
	hb_stream_resume(server->stream);
	while ((buf = hb_buf_new(hb_loop_pool(loop)))) {
		buf->next = hoard;
		hoard = buf;
	}
	for (int i = 0; i < 100; i++)
		rig_turn(&rig, 0);
	ck_assert_uint_eq(server->len + server->closes, 0);
	hb_buf_free_all(hoard);
	ck_assert(rig_until_size(&rig, &server->len, 10000, 1000));
	rig_down(&rig);
	hb_loop_free(loop);
	loop = ample;
}
END_TEST

/* ---- cuts ---- */

/* A little of everything: both ways, small and large, and both ends. */
static void say_all(void)
{
	static const uint8_t words[600] = { 'w' };

	if (client->opens && !client->datas && client->stream && !client->written) {
		probe_write(client, loop, words, sizeof(words), 300);
		hb_stream_finish(client->stream);
	}
	if (server->finishes && server->stream && !server->written) {
		probe_write(server, loop, words, sizeof(words), 500);
		hb_stream_close(server->stream, HB_END_CLEAN);
	}
	if (client->finishes && client->stream)
		hb_stream_close(client->stream, HB_END_CLEAN);
}

static void play(void)
{
	for (int i = 0; i < 2000 && (!client->closes || !server->closes); i++) {
		say_all();
		rig_turn(&rig, i % 8 == 7);
	}
	ck_assert_uint_eq(client->closes, 1);
	ck_assert_uint_eq(server->closes, 1);
}

/* Every byte of the handshake's and the end's first and last ones, and a sample between. */
static size_t next_cut(size_t k, size_t total)
{
	return k < 8 || k + 100 > total ? k + 1 : k + 13;
}

START_TEST(cut_at_every_byte)
{
	enum hb_tls_role from = (enum hb_tls_role)_i;
	struct probe *hearer = &rig.ends[!from];
	size_t total;

	put_ends(0);
	play();
	total = rig.passed[from];
	ck_assert_int_eq(client->end.code, 0);
	ck_assert_int_eq(server->end.code, 0);
	rig_down(&rig);

	/* Signatures differ in length: some runs have a few bytes more or fewer. */
	for (size_t k = 0; k < total + 8; k = next_cut(k, total)) {
		put_ends(0);
		rig.cut_after[from] = k;
		play();
		if (rig.lost[from] > 0 || k + 8 < total)
			ck_assert_msg(hearer->finishes == 0 && hearer->end.code != 0,
			              "cut after %zu of %zu bytes: %u finishes, %s", k, total,
			              hearer->finishes, hb_strerror(hearer->end.code));
		else
			ck_assert_uint_eq(hearer->finishes, 1);
		rig_down(&rig);
		ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_data");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, eight_mebibytes_both_ways, 0, 2);
	tcase_add_test(tc, full_slots_are_sealed_in_place);
	tcase_add_test(tc, keys_are_renewed);
	tcase_add_test(tc, a_dribbled_record);
	tcase_add_test(tc, a_reader_that_does_not_come);
	tcase_add_test(tc, a_starved_reader);
	tcase_add_loop_test(tc, cut_at_every_byte, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
