/*
 * tls whose handshakes wait for their turns: they come about, end while they wait, and hold no more
 * than so much of what comes meanwhile.
 */
#include <check.h>
#include <string.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define CLIENT "spiffe://td/ns/a/sa/client"
#define SERVER "spiffe://td/ns/a/sa/server"

static struct testca *ca;
static struct hb_loop *loop, *stuck; /* stuck: its turns never come */
static struct hb_pace pace;

static void setup(void)
{
	ca = testca_new("root");
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	stuck = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert(loop && stuck);
}

static void teardown(void)
{
	hb_pace_done(&pace);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	hb_loop_free(stuck);
	testca_free(ca);
}

static void put_end(struct tls_rig *rig, enum hb_tls_role role, uint32_t handshake_ms)
{
	const char *own = role == HB_TLS_SERVER ? "URI:" SERVER : "URI:" CLIENT;
	const char *expected[] = { SERVER };
	struct hb_tls_options options = {
		.role = role,
		.ctx = rig_ctx(ca, &(struct testca_leaf){ .san = own }, testca_pem(ca)),
		.identities = expected,
		.identities_count = 1,
		.handshake_ms = handshake_ms,
		.pace = &pace,
		.pace_group = 7,
	};

	rig_end(rig, &options);
	hb_tls_ctx_unref(options.ctx);
}

START_TEST(both_open)
{
	static struct tls_rig rig;

	hb_pace_init(&pace, loop, 1);
	rig_up(&rig, loop);
	rig.piece = (size_t)_i; /* each piece is another step */
	put_end(&rig, HB_TLS_SERVER, 0);
	put_end(&rig, HB_TLS_CLIENT, 0);
	ck_assert(rig_until(&rig, &rig.ends[HB_TLS_SERVER].opens, 1, 20000));
	ck_assert(rig_until(&rig, &rig.ends[HB_TLS_CLIENT].opens, 1, 20000));
	probe_write(&rig.ends[HB_TLS_CLIENT], loop, "hello", 5, 5);
	ck_assert(rig_until_size(&rig, &rig.ends[HB_TLS_SERVER].len, 5, 20000));
	rig_down(&rig);
}
END_TEST

/* The turn that it waits for never comes. */
static struct probe *waiting(struct tls_rig *rig, uint32_t handshake_ms, const void *said,
                             size_t len)
{
	hb_pace_init(&pace, stuck, 1);
	rig_up(rig, loop);
	put_end(rig, HB_TLS_SERVER, handshake_ms);
	ck_assert_int_eq(write(rig->wire[HB_TLS_SERVER], said, len), (ssize_t)len);
	for (int i = 0; i < 5; i++)
		hb_loop_turn(loop, 5);
	return &rig->ends[HB_TLS_SERVER];
}

START_TEST(the_deadline_does_not_wait)
{
	static struct tls_rig rig;
	struct probe *server = waiting(&rig, 50, "\x16\x03\x01", 3);

	ck_assert(turn_until(loop, &server->closes, 1, 100));
	ck_assert_int_eq(server->end.code, HB_E_HANDSHAKE_TIME);
	rig_down(&rig);
}
END_TEST

START_TEST(closed_while_it_waits)
{
	static struct tls_rig rig;
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT);
	struct probe *server = waiting(&rig, 0, "\x16\x03\x01", 3);

	hb_stream_close(server->stream, why);
	ck_assert(turn_until(loop, &server->closes, 1, 100));
	ck_assert_int_eq(server->end.code, HB_E_LIMIT);
	rig_down(&rig);
}
END_TEST

START_TEST(the_peer_leaves_while_it_waits)
{
	static struct tls_rig rig;
	struct probe *server = waiting(&rig, 100, "\x16\x03\x01", 3);

	close(rig.wire[HB_TLS_SERVER]);
	rig.wire[HB_TLS_SERVER] = -1;
	ck_assert(turn_until(loop, &server->closes, 1, 100));
	rig_down(&rig);
}
END_TEST

START_TEST(what_comes_meanwhile_is_bounded)
{
	static uint8_t much[65536];
	static struct tls_rig rig;
	struct probe *server = waiting(&rig, 0, much, 1024);
	size_t out;

	for (int i = 0; i < 200; i++) {
		(void)!write(rig.wire[HB_TLS_SERVER], much, sizeof(much));
		hb_loop_turn(loop, 0);
	}
	/* 256 KiB, and what one turn reads more. */
	out = hb_buf_pool_slots_out(hb_loop_pool(loop));
	ck_assert_msg(out >= 8 && out <= 40, "%zu slots", out);
	ck_assert_uint_eq(server->closes, 0);
	hb_stream_close(server->stream, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_LIMIT));
	ck_assert(turn_until(loop, &server->closes, 1, 100));
	rig_down(&rig);
}
END_TEST

int main(void)
{
	static const int pieces[] = { RIG_PIECE, 50, 1 };
	Suite *suite = suite_create("tls_pace");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < HB_ARRAY_LEN(pieces); i++)
		tcase_add_loop_test(tc, both_open, pieces[i], pieces[i] + 1);
	tcase_add_test(tc, the_deadline_does_not_wait);
	tcase_add_test(tc, closed_while_it_waits);
	tcase_add_test(tc, the_peer_leaves_while_it_waits);
	tcase_add_test(tc, what_comes_meanwhile_is_bounded);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
