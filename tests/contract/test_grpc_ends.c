/*
 * grpc_ends: every way in which a call ends, wherever the wire is split or cut.
 */
#include "contract/grpc_rig.h"

#include <check.h>
#include <string.h>

/* ---- ends ---- */

/* clang-format off */
static const struct end_row {
	const char *name;
	const char *headers; size_t headers_len; bool last; /* of the answer; last: END_STREAM */
	const char *data;    size_t data_len;
	const char *trailers; size_t trailers_len;
	enum grpc_kind kind; int code; const char *text;
	unsigned messages;
} rows[] = {
#define TEXT(s) s, sizeof(s) - 1
#define NO NULL, 0
	{ "trailers only", TEXT(OK TYPE STATUS("7") MESSAGE("\x08", "no%20%21")), true, NO, NO,
	  GRPC_END_SERVER, GRPC_PERMISSION_DENIED, "no !", 0 },
	{ "trailers only, and the stream goes on", TEXT(OK TYPE STATUS("7")), false, NO, NO,
	  GRPC_END_SERVER, GRPC_PERMISSION_DENIED, "", 0 },
	{ "a status in the trailers", TEXT(OK TYPE), false, TEXT("\0\0\0\0\1a"), TEXT(STATUS("5") MESSAGE("\x04", "gone")),
	  GRPC_END_SERVER, GRPC_NOT_FOUND, "gone", 1 },
	{ "a code that nobody knows", TEXT(OK TYPE), false, NO, TEXT("\x00\x0b" "grpc-status" "\x02" "99"),
	  GRPC_END_SERVER, 99, "", 0 },
	{ "trailers without a status", TEXT(OK TYPE), false, NO, TEXT("\x00\x01" "a" "\x01" "b"),
	  GRPC_END_PROTOCOL, GRPC_UNKNOWN, "without a status", 0 },
	{ "a status that is no number", TEXT(OK TYPE), false, NO, TEXT(STATUS("x")),
	  GRPC_END_PROTOCOL, GRPC_UNKNOWN, "no number", 0 },
	{ "no trailers at all", TEXT(OK TYPE), true, NO, NO,
	  GRPC_END_PROTOCOL, GRPC_UNKNOWN, "without a status", 0 },
	{ "HTTP 503", TEXT("\x08\x03" "503"), true, NO, NO,
	  GRPC_END_SERVER, GRPC_UNAVAILABLE, "HTTP status 503", 0 },
	{ "HTTP 404 with a page", TEXT("\x8d"), false, TEXT("<html>"), NO,
	  GRPC_END_SERVER, GRPC_UNIMPLEMENTED, "HTTP status 404", 0 },
	{ "HTTP 503 with a status of gRPC", TEXT("\x08\x03" "503" STATUS("8")), true, NO, NO,
	  GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "", 0 },
	{ "a page of HTML", TEXT(OK "\x0f\x10\x09" "text/html"), false, TEXT("<html>"), NO,
	  GRPC_END_PROTOCOL, GRPC_INTERNAL, "not application/grpc", 0 },
	{ "another kind of gRPC", TEXT(OK "\x0f\x10\x14" "application/grpc-web"), false, NO, NO,
	  GRPC_END_PROTOCOL, GRPC_INTERNAL, "not application/grpc", 0 },
	{ "the kind that says protobuf", TEXT(OK "\x0f\x10\x16" "application/grpc+proto"), false, NO, TEXT(STATUS("0")),
	  GRPC_END_SERVER, GRPC_OK, "", 0 },
	{ "too large a message", TEXT(OK TYPE), false, TEXT("\0\0\x40\0\1"), NO,
	  GRPC_END_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED, "4194305 bytes, above the limit of 4194304", 0 },
	{ "a compressed message", TEXT(OK TYPE), false, TEXT("\1\0\0\0\1a"), NO,
	  GRPC_END_PROTOCOL, GRPC_INTERNAL, "compressed", 0 },
	{ "half a message", TEXT(OK TYPE), false, TEXT("\0\0\0\0\2a"), TEXT(STATUS("0")),
	  GRPC_END_PROTOCOL, GRPC_INTERNAL, "inside a message", 0 },
	{ "half a message, and an error", TEXT(OK TYPE), false, TEXT("\0\0\0\0\2a"), TEXT(STATUS("8")),
	  GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "", 0 },
};
/* clang-format on */

/* The answer of a row. */
static void say_row(const struct end_row *row)
{
	frames_say(&rig.server, FRAME_HEADERS, FLAG_END_HEADERS | (row->last ? FLAG_END_STREAM : 0),
	           1, row->headers, (uint32_t)row->headers_len);
	if (row->data)
		frames_say(&rig.server, FRAME_DATA, 0, 1, row->data, (uint32_t)row->data_len);
	if (row->trailers)
		frames_say(&rig.server, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1,
		           row->trailers, (uint32_t)row->trailers_len);
}

START_TEST(ends_by_table)
{
	const struct end_row *row = &rows[_i];
	struct heard *c = call();

	settle();
	say_row(row);
	settle();
	check_end(c, row->kind, row->code, row->text);
	ck_assert_uint_eq(c->messages, row->messages);
}
END_TEST

/* The same, byte by byte. */
START_TEST(split_anywhere)
{
	const struct end_row *row = &rows[_i];
	struct heard *c = call();

	pair_split(rig.wires[0], 1);
	settle();
	say_row(row);
	for (int i = 0; i < 40; i++)
		settle();
	check_end(c, row->kind, row->code, row->text);
	ck_assert_uint_eq(c->messages, row->messages);
}
END_TEST

#define ROW_CUT 2 /* "a status in the trailers" */

/* However far the answer came: one end, and never one that the server did not say. */
START_TEST(cut_anywhere)
{
	struct heard *c = call();

	pair_cut(rig.wires[0], (uint64_t)_i);
	settle();
	say_row(&rows[ROW_CUT]);
	settle();
	if (c->ends && c->status.kind == GRPC_END_SERVER)
		check_end(c, GRPC_END_SERVER, GRPC_NOT_FOUND, "gone");
	else if (_i < 15) /* inside its SETTINGS */
		check_end(c, GRPC_END_CONNECT, GRPC_UNAVAILABLE, "could not connect");
	else
		check_end(c, GRPC_END_LOST, GRPC_UNAVAILABLE, "was lost");
}
END_TEST

START_TEST(reset_by_the_server)
{
	static const struct {
		uint32_t reset;
		int code;
	} resets[] = { { 2, GRPC_INTERNAL },
		       { 8, GRPC_CANCELLED },
		       { 11, GRPC_RESOURCE_EXHAUSTED } };
	struct heard *c = call();

	settle();
	say_headers();
	frames_rst(&rig.server, 1, resets[_i].reset);
	settle();
	check_end(c, GRPC_END_LOST, resets[_i].code, "has reset the call");
}
END_TEST

START_TEST(goaway)
{
	struct heard *c = call();

	settle();
	if (_i == 2)
		grpc_call_finish(c->call);
	say_headers();
	frames_goaway(&rig.server, _i ? 1 : 0, 0);
	settle();
	if (_i == 0) { /* it was not among those that were looked at */
		check_end(c, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "lets its connections go");
		return;
	}
	/* Its calls go on until they end, or until the server has enough of it. */
	ck_assert_uint_eq(c->ends, 0);
	ck_assert_ptr_null(grpc_channel_peer(rig.channel));
	if (_i == 2) {
		SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
		settle();
		check_end(c, GRPC_END_SERVER, GRPC_OK, "");
		return;
	}
	probe_close(&rig.server.probe, HB_END_CLEAN);
	settle();
	check_end(c, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "lets its connections go");
}
END_TEST

/* "too_many_pings": to call again at once would be wrong. */
START_TEST(goaway_with_an_error)
{
	struct heard *c = call();

	settle();
	say_headers();
	frames_goaway(&rig.server, 1, 11);
	probe_close(&rig.server.probe, HB_END_CLEAN);
	settle();
	check_end(c, GRPC_END_LOST, GRPC_RESOURCE_EXHAUSTED, "");
}
END_TEST

START_TEST(deadline)
{
	struct heard *c = call_with((struct grpc_call_options){ .deadline_ms = 30 });

	ck_assert(turn_until(rig.loop, &c->ends, 1, 100));
	check_end(c, GRPC_END_DEADLINE, GRPC_DEADLINE_EXCEEDED, "within 30 ms");
	settle();
	ck_assert_uint_eq(rig.server.rst_code, 8);
}
END_TEST

START_TEST(no_token)
{
	struct grpc_channel_config config = { .token = "/nowhere/token" };
	struct heard *c;

	rig_setup_with(config, 65535);
	c = call();
	settle();
	check_end(c, GRPC_END_TOKEN, GRPC_UNAUTHENTICATED, "/nowhere/token cannot be read");
	ck_assert_uint_eq(rig.server.counts[FRAME_HEADERS], 0);
	rig_teardown();
}
END_TEST

/* ---- a server that says nothing ---- */

/* Far less than a config may say, so that a test need not wait. */
static void hurry(void)
{
	rig.channel->settings.keepalive_ms = 60;
	rig.channel->settings.keepalive_timeout_ms = 40;
}

START_TEST(pinged_while_there_is_a_call)
{
	struct heard *c;

	hurry();
	c = call();
	settle();
	for (int i = 0; i < 200 && rig.server.counts[FRAME_PING] < 3; i++) {
		(void)hb_loop_turn(rig.loop, 10);
		frames_look(&rig.server);
	}
	ck_assert_uint_ge(rig.server.counts[FRAME_PING], 3);
	ck_assert_uint_eq(c->ends, 0);
	rig.server.keeps_pings = true;
	ck_assert(turn_until(rig.loop, &c->ends, 1, 200));
	settle();
	check_end(c, GRPC_END_LOST, GRPC_UNAVAILABLE, "was lost: ");
}
END_TEST

/* A PING without a call is against the rules of gRPC's servers: the connection goes, and in
 * silence. */
START_TEST(gone_when_nobody_calls)
{
	struct heard *c;

	hurry();
	c = call();
	settle();
	say_headers();
	SAY(FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STATUS("0"));
	settle();
	check_end(c, GRPC_END_SERVER, GRPC_OK, "");
	ck_assert_ptr_nonnull(grpc_channel_peer(rig.channel));
	ck_assert(turn_until(rig.loop, &rig.server.probe.finishes, 1, 200));
	frames_look(&rig.server);
	ck_assert_uint_eq(rig.server.counts[FRAME_PING], 0);
	ck_assert_uint_eq(rig.server.goaway_code, 0);
	ck_assert_ptr_null(grpc_channel_peer(rig.channel));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grpc_ends");
	TCase *tc = tcase_create("rows"), *own = tcase_create("own channel");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, ends_by_table, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, split_anywhere, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, cut_anywhere, 1, 110);
	tcase_add_loop_test(tc, reset_by_the_server, 0, 3);
	tcase_add_loop_test(tc, goaway, 0, 3);
	tcase_add_test(tc, goaway_with_an_error);
	tcase_add_test(tc, deadline);
	tcase_add_test(tc, pinged_while_there_is_a_call);
	tcase_add_test(tc, gone_when_nobody_calls);
	tcase_add_test(own, no_token);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, own);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
