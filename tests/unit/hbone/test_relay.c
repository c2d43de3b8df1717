/*
 * relay: the table of relay.h, row by row: an app on either side, the relay between them; over Unix
 * sockets and TCP, copied and spliced.
 */
#include <check.h>
#include <signal.h>
#include <string.h>

#include <hbone/relay.h>
#include <hbone/tcp.h>

#include "support/any_loop.h"
#include "support/probe.h"
#include "support/sockets.h"

static int family;
static bool spliced;
static struct hb_loop *loop;
static struct hb_relay relay;
static struct probe app[2];
static unsigned done;
static struct hb_end why;
static uint64_t spliced_bytes; /* in all, when down */
static uint8_t bytes[8 << 20];

static void on_done(struct hb_relay *r, struct hb_end end)
{
	ck_assert_ptr_eq(r, &relay);
	done++;
	why = end;
}

static struct hb_stream *tcp(int fd)
{
	struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX, .linger_ms = 100 };
	struct hb_stream *s = hb_tcp_new(loop, fd, &options);

	ck_assert_ptr_nonnull(s);
	return s;
}

static struct hb_relay_group group = { .on_done = on_done };

static void up_within(const struct hb_relay_limits *limits)
{
	int fds[2][2];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 11);
	done = 0;
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	for (int i = 0; i < 2; i++) {
		sockets_connected(family, fds[i]);
		probe_init(&app[i], tcp(fds[i][0]));
		hb_stream_resume(app[i].stream);
	}
	hb_relay_start(&relay, loop, tcp(fds[0][1]), tcp(fds[1][1]), limits, &group);
}

static void up(void)
{
	up_within(NULL);
}

static void down(void)
{
	ck_assert(turn_until(loop, &done, 1, 300));
	for (int i = 0; i < 2; i++) {
		if (app[i].stream)
			hb_stream_close(app[i].stream, HB_END_CLEAN);
		ck_assert(turn_until(loop, &app[i].closes, 1, 300));
		ck_assert_msg(!app[i].broken, "app %d: %s", i, app[i].broken);
		probe_done(&app[i]);
	}
	ck_assert_uint_eq(done, 1);
	spliced_bytes = hb_loop_spliced_bytes(loop);
	hb_loop_free(loop);
}

START_TEST(both_ways)
{
	group.a = 1;
	group.b = 2;
	up();
	for (int i = 0; i < 2; i++) {
		probe_write(&app[i], loop, bytes, sizeof(bytes), i ? 1000 : HB_BUF_READ_MAX);
		hb_stream_finish(app[i].stream);
	}
	ck_assert(turn_until(loop, &app[0].finishes, 1, 20000));
	ck_assert(turn_until(loop, &app[1].finishes, 1, 20000));
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(app[i].len, sizeof(bytes));
		ck_assert(memcmp(app[i].data, bytes, sizeof(bytes)) == 0);
	}
	down();
	ck_assert_int_eq(why.code, 0);
	ck_assert_uint_eq(hb_relay_bytes(&relay.a), sizeof(bytes));
	ck_assert_uint_eq(hb_relay_bytes(&relay.b), sizeof(bytes));
	ck_assert_uint_eq(group.a, 1 + sizeof(bytes));
	ck_assert_uint_eq(group.b, 2 + sizeof(bytes));
	if (spliced)
		ck_assert_uint_gt(spliced_bytes, sizeof(bytes));
	else
		ck_assert_uint_eq(spliced_bytes, 0);
}
END_TEST

START_TEST(half_close_goes_on)
{
	up();
	hb_stream_finish(app[_i].stream);
	ck_assert(turn_until(loop, &app[!_i].finishes, 1, 100));
	ck_assert_uint_eq(done, 0);
	probe_write(&app[!_i], loop, bytes, 500000, 5000);
	hb_stream_finish(app[!_i].stream);
	ck_assert(turn_until(loop, &app[_i].finishes, 1, 1000));
	ck_assert_uint_eq(app[_i].len, 500000);
	down();
	ck_assert_int_eq(why.code, 0);
}
END_TEST

START_TEST(full_side_pauses_the_other)
{
	size_t before;

	up();
	hb_stream_pause(app[1].stream);
	probe_write(&app[0], loop, bytes, sizeof(bytes), HB_BUF_READ_MAX);
	turn_some(loop, 500);
	before = hb_relay_bytes(&relay.a);
	turn_some(loop, 100);
	ck_assert_uint_eq(hb_relay_bytes(&relay.a), before); /* it stands still ... */
	ck_assert_uint_lt(before, sizeof(bytes) / 2);        /* ... early */
	ck_assert(hb_relay_is_full(&relay.b));
	hb_stream_resume(app[1].stream);
	ck_assert(turn_until_size(loop, &app[1].len, sizeof(bytes), 20000));
	ck_assert(memcmp(app[1].data, bytes, sizeof(bytes)) == 0);
	hb_relay_abort(&relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	down();
	ck_assert_int_eq(why.code, HB_E_DRAIN);
}
END_TEST

START_TEST(reset_stays_reset)
{
	up();
	probe_write(&app[!_i], loop, bytes, 1000, 1000);
	ck_assert(turn_until_size(loop, &app[_i].len, 1000, 100));
	/* A socket pair knows no RST: the abrupt end is an EOF with unread bytes, or EPIPE. */
	hb_stream_pause(app[_i].stream);
	probe_write(&app[!_i], loop, bytes, 100000, 5000);
	turn_some(loop, 20);
	hb_stream_close(app[_i].stream, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
	down();
	ck_assert_msg(why.code < 0, "a truncated flow was reported as %s", hb_strerror(why.code));
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	struct hb_relay_limits limits;
	bool half_closed;
	int code; /* 0: it goes on */
} silences[] = {
	{ "open, idle limit",               { 100, 0 },    false, HB_E_IDLE },
	{ "open, half-closed limit",        { 0, 100 },    false, 0 },
	{ "half-closed, no limit",          { 0, 0 },     true,  0 },
	{ "half-closed, idle limit",        { 100, 0 },    true,  HB_E_IDLE },
	{ "half-closed, half-closed limit", { 0, 100 },    true,  HB_E_HALF_CLOSED },
	{ "half-closed, idle is longer",    { 60000, 100 }, true, HB_E_HALF_CLOSED },
	{ "half-closed, idle is shorter",   { 100, 60000 }, true, HB_E_IDLE },
};
/* clang-format on */

/* Bit 0: which side is the first to finish. */
START_TEST(silence_ends)
{
	int first = _i & 1;
	uint64_t start_ms;

	up_within(&silences[_i / 2].limits);
	probe_write(&app[first], loop, bytes, 1000, 1000);
	if (silences[_i / 2].half_closed)
		probe_finish(&app[first]);
	ck_assert(turn_until_size(loop, &app[!first].len, 1000, 100));
	start_ms = hb_loop_now_ms(loop);
	while (!done && hb_loop_now_ms(loop) < start_ms + (silences[_i / 2].code ? 30000 : 250))
		ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
	ck_assert_msg(done == (silences[_i / 2].code != 0), "%s", silences[_i / 2].name);
	if (!done)
		hb_relay_abort(&relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	down();
	if (!silences[_i / 2].code)
		return;
	ck_assert_msg(why.code == silences[_i / 2].code, "%s: %s", silences[_i / 2].name,
	              hb_strerror(why.code));
	ck_assert_int_eq(why.layer, HB_LAYER_RELAY);
	ck_assert_int_eq(why.side, HB_SIDE_US);
}
END_TEST

/* What goes on after a half-close is not cut off, however long it takes. */
START_TEST(half_closed_goes_on_while_bytes_come)
{
	struct hb_relay_limits limits = { .half_closed_ms = 500 };
	uint64_t start_ms;
	size_t sent = 0;

	up_within(&limits);
	probe_finish(&app[0]);
	ck_assert(turn_until(loop, &app[1].finishes, 1, 100));
	start_ms = hb_loop_now_ms(loop);
	while (!done && hb_loop_now_ms(loop) < start_ms + 1200) {
		probe_write(&app[1], loop, bytes + sent++, 1, 1);
		ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
	}
	ck_assert_uint_eq(done, 0);
	probe_finish(&app[1]);
	down();
	ck_assert_int_eq(why.code, 0);
	ck_assert_uint_eq(hb_relay_bytes(&relay.b), sent);
}
END_TEST

START_TEST(abort_ends_both)
{
	up();
	probe_write(&app[0], loop, bytes, 100000, 1000);
	turn_some(loop, 3);
	hb_relay_abort(&relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY));
	hb_relay_abort(&relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN)); /* too late */
	down();
	ck_assert_int_eq(why.code, HB_E_POLICY);
}
END_TEST

/* Where SIGPIPE would end the process nothing is spliced; all else must be the same. */
static void set(int family_, bool spliced_)
{
	family = family_;
	spliced = spliced_;
	ck_assert(signal(SIGPIPE, spliced ? SIG_IGN : SIG_DFL) != SIG_ERR);
}

static void unix_copied(void)
{
	set(AF_UNIX, false);
}

static void unix_spliced(void)
{
	set(AF_UNIX, true);
}

static void tcp_copied(void)
{
	set(AF_INET, false);
}

static void tcp_spliced(void)
{
	set(AF_INET, true);
}

static void add_rows(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, both_ways);
	tcase_add_loop_test(tc, half_close_goes_on, 0, 2);
	tcase_add_test(tc, full_side_pauses_the_other);
	tcase_add_loop_test(tc, reset_stays_reset, 0, 2);
	tcase_add_loop_test(tc, silence_ends, 0, 2 * HB_ARRAY_LEN(silences));
	tcase_add_test(tc, half_closed_goes_on_while_bytes_come);
	tcase_add_test(tc, abort_ends_both);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("relay");
	SRunner *runner = srunner_create(suite);
	int failed;

	add_rows(suite, "Unix, copied", unix_copied);
	add_rows(suite, "Unix, spliced", unix_spliced);
	add_rows(suite, "TCP, copied", tcp_copied);
	add_rows(suite, "TCP, spliced", tcp_spliced);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
