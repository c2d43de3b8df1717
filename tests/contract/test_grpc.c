/*
 * grpc: messages both ways, pauses, windows, and owners that act inside their events.
 */
#include "contract/grpc_rig.h"

#include <check.h>
#include <string.h>

/* ---- what goes and comes ---- */

START_TEST(unary)
{
	struct heard *c = call();

	ck_assert(grpc_call_send(c->call, "hello", 5));
	grpc_call_finish(c->call);
	ck_assert_uint_eq(rig.connections, 0); /* nothing runs inside */
	settle();
	ck_assert_uint_eq(rig.server.counts[FRAME_HEADERS], 1);
	ck_assert_uint_eq(rig.server.data_bytes, 10);
	ck_assert(rig.server.end_stream);
	say_headers();
	SAY(FRAME_DATA, 0, 1, "\0\0\0\0\5world");
	SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
	settle();
	ck_assert_uint_eq(c->opens, 1);
	ck_assert_uint_eq(c->messages, 1);
	ck_assert_mem_eq(c->last, "world", 5);
	check_end(c, GRPC_END_SERVER, GRPC_OK, "");
	ck_assert_str_eq(c->text, "");
}
END_TEST

START_TEST(both_ways)
{
	struct heard *c = call();

	c->answers = true;
	ck_assert(grpc_call_send(c->call, "subscribe", 9));
	settle();
	say_headers();
	for (unsigned i = 1; i <= 20; i++) {
		SAY(FRAME_DATA, 0, 1, "\0\0\0\0\2pu\0\0\0\0\2sh");
		settle();
		ck_assert_uint_eq(c->messages, 2 * i);
		ck_assert_uint_eq(rig.server.data_bytes, 14 + 2 * i * 8);
	}
	ck_assert(!rig.server.end_stream);
	SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
	settle();
	check_end(c, GRPC_END_SERVER, GRPC_OK, "");
	/* We had not finished: the server is told that nobody reads on. */
	ck_assert_uint_eq(rig.server.rst_code, 8);
}
END_TEST

START_TEST(large_messages_wait_for_the_server)
{
	static uint8_t large[3u << 20];
	struct heard *c = call();

	settle();
	for (int i = 0; i < 5; i++)
		ck_assert(grpc_call_send(c->call, large, sizeof(large)));
	ck_assert(!grpc_call_send(c->call, large, sizeof(large))); /* above GRPC_QUEUE_MAX */
	ck_assert(!grpc_call_send(c->call, large, GRPC_MESSAGE_MAX + 1));
	settle();
	ck_assert_uint_eq(rig.server.data_bytes, 65535);
	frames_credit(&rig.server, 0, 16u << 20);
	for (unsigned i = 0; i < 400 && rig.server.data_bytes < 5 * (sizeof(large) + 5); i++) {
		frames_credit(&rig.server, 1, 65536);
		settle();
	}
	ck_assert_uint_eq(rig.server.data_bytes, 5 * (sizeof(large) + 5));
	ck_assert(grpc_call_send(c->call, "more", 4));
	grpc_call_finish(c->call);
	ck_assert(!grpc_call_send(c->call, "late", 4));
	frames_credit(&rig.server, 1, 65536);
	settle();
	ck_assert(rig.server.end_stream);
}
END_TEST

START_TEST(paused)
{
	struct heard *c = call();

	c->pauses = true;
	settle();
	say_headers();
	SAY(FRAME_DATA, 0, 1, "\0\0\0\0\1a\0\0\0\0\1b");
	SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
	settle();
	ck_assert_uint_eq(c->messages, 1);
	ck_assert_uint_eq(c->ends, 0);
	grpc_call_resume(c->call);
	ck_assert_uint_eq(c->messages, 1); /* not inside */
	settle();
	ck_assert_uint_eq(c->messages, 2);
	ck_assert_uint_eq(c->ends, 0);
	grpc_call_resume(c->call);
	settle();
	check_end(c, GRPC_END_SERVER, GRPC_OK, "");
}
END_TEST

/* A server that pushes to a paused owner is stopped by the window. */
START_TEST(paused_for_long)
{
	static const uint8_t zeros[16384];
	struct heard *c = call_with((struct grpc_call_options){ .max_message = 200u << 20 });

	settle();
	say_headers();
	grpc_call_pause(c->call);
	SAY(FRAME_DATA, 0, 1, "\0\1\0\0\0"); /* 16 MiB to come */
	for (unsigned i = 0; i < 15; i++)
		frames_say(&rig.server, FRAME_DATA, 0, 1, zeros, sizeof(zeros));
	settle();
	ck_assert_uint_eq(rig.server.counts[FRAME_WINDOW_UPDATE],
	                  1); /* the connection's, at its start */
	ck_assert_uint_eq(c->call->reader.len, 0);
	grpc_call_resume(c->call);
	settle();
	ck_assert_uint_eq(c->call->reader.len, 15 * sizeof(zeros));
	ck_assert_uint_gt(rig.server.counts[FRAME_WINDOW_UPDATE], 1);
}
END_TEST

/* ---- owners ---- */

START_TEST(cancelled_in_a_message)
{
	struct heard *c = call();

	c->cancels = true;
	settle();
	say_headers();
	SAY(FRAME_DATA, 0, 1, "\0\0\0\0\1a\0\0\0\0\1b");
	settle();
	ck_assert_uint_eq(c->messages, 1);
	ck_assert_uint_eq(c->ends, 0);
	ck_assert_uint_eq(rig.server.rst_code, 8);
}
END_TEST

START_TEST(cancelled_anywhere)
{
	struct heard *c = call();

	ck_assert(grpc_call_send(c->call, "hello", 5));
	for (int i = 0; i < _i; i++)
		turn_some(rig.loop, 1);
	if (_i == 7) { /* its end is due */
		say_headers();
		SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
		grpc_call_pause(c->call);
		settle();
	}
	grpc_call_cancel(hb_take(&c->call));
	settle();
	ck_assert_uint_eq(c->ends, 0);
}
END_TEST

START_TEST(channel_closed_in_a_message)
{
	struct heard *c = call();

	(void)call();
	c->closes = true;
	settle();
	say_headers();
	SAY(FRAME_DATA, 0, 1, "\0\0\0\0\1a\0\0\0\0\1b");
	settle();
	ck_assert_uint_eq(c->messages, 1);
	ck_assert_uint_eq(c->ends + rig.calls[1].ends, 0);
	ck_assert_ptr_null(rig.channel);
}
END_TEST

/* Behind an end that is told there may be others that are due, and what was made in it. */
START_TEST(channel_closed_at_an_end)
{
	struct heard *c = call(), *other = call();

	c->closes_at_end = true;
	c->calls_at_end = _i;
	settle();
	frames_rst(&rig.server, 1, 8);
	frames_rst(&rig.server, 3, 8);
	settle();
	ck_assert_uint_eq(c->ends, 1);
	ck_assert_uint_eq(other->ends, 0);
	ck_assert_ptr_null(rig.channel);
}
END_TEST

START_TEST(called_again_at_an_end)
{
	struct heard *c = call();

	c->calls_at_end = true;
	settle();
	frames_rst(&rig.server, 1, 8);
	settle();
	ck_assert_uint_eq(c->ends, 1);
	ck_assert_uint_eq(rig.server.headers_id, 3);
	ck_assert_uint_eq(rig.calls[1].ends, 0);
}
END_TEST

START_TEST(calls_share_a_connection)
{
	for (int i = 0; i < 8; i++)
		(void)call();
	settle();
	ck_assert_uint_eq(rig.server.counts[FRAME_HEADERS], 8);
	ck_assert_uint_eq(rig.server.headers_id, 15);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grpc");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, unary);
	tcase_add_test(tc, both_ways);
	tcase_add_test(tc, large_messages_wait_for_the_server);
	tcase_add_test(tc, paused);
	tcase_add_test(tc, paused_for_long);
	tcase_add_test(tc, cancelled_in_a_message);
	tcase_add_loop_test(tc, cancelled_anywhere, 0, 8);
	tcase_add_test(tc, channel_closed_in_a_message);
	tcase_add_loop_test(tc, channel_closed_at_an_end, 0, 2);
	tcase_add_test(tc, called_again_at_an_end);
	tcase_add_test(tc, calls_share_a_connection);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
