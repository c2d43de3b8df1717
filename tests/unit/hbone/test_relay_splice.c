/*
 * relay: bulk that is disturbed halfway, copied and spliced: whatever happens, both end alike. And
 * the pipes: how many there are, and what happens without.
 */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <hbone/relay.h>
#include <hbone/tcp.h>

#include "support/any_loop.h"
#include "support/held.h"
#include "support/probe.h"
#include "support/sockets.h"

#define LIMIT_MS  1000 /* so long that an emulated machine is not silent by itself */
#define FLOWS     80
#define PIPES_MAX 64 /* as in hbone/loop_pipes.c */
#define FREES_MAX 4

enum disturbance {
	NOTHING,
	FROM_RESETS,
	TO_RESETS,
	TO_FINISHES_THEN_FROM,
	ABORTED,
	SILENT,
};

struct flow {
	struct hb_relay relay;
	struct probe app[2]; /* 0 sends, 1 gets */
	unsigned done;
	struct hb_end why;
};

static struct hb_loop *loop;
static struct flow flows[FLOWS];
static uint8_t bytes[4 << 20];

/* clang-format off */
static const struct {
	const char *name;
	enum disturbance what;
	bool stalled; /* the getting app reads no more, so bytes wait in between */
	int code;     /* of the relay's end; 1: any that is not clean */
} rows[] = {
	{ "undisturbed",                          NOTHING,               false, 0 },
	{ "undisturbed, after a stall",           NOTHING,               true,  0 },
	{ "the sender resets",                    FROM_RESETS,           false, 1 },
	{ "the sender resets, stalled",           FROM_RESETS,           true,  1 },
	{ "the reader resets",                    TO_RESETS,             false, 1 },
	{ "the reader resets, stalled",           TO_RESETS,             true,  1 },
	{ "the reader finishes first",            TO_FINISHES_THEN_FROM, false, 0 },
	{ "the reader finishes first, stalled",   TO_FINISHES_THEN_FROM, true,  0 },
	{ "aborted",                              ABORTED,               false, HB_E_DRAIN },
	{ "aborted, stalled",                     ABORTED,               true,  HB_E_DRAIN },
	{ "silence, stalled",                     SILENT,                true,  HB_E_IDLE },
};
/* clang-format on */

static void on_done(struct hb_relay *relay, struct hb_end why)
{
	struct flow *flow = hb_container_of(relay, struct flow, relay);

	flow->done++;
	flow->why = why;
}

static struct hb_relay_group group = { .on_done = on_done };

static struct hb_stream *tcp(int fd)
{
	struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX, .linger_ms = 2000 };
	struct hb_stream *s = hb_tcp_new(loop, fd, &options);

	ck_assert_ptr_nonnull(s);
	return s;
}

static void flow_up(struct flow *flow, int family, const struct hb_relay_limits *limits)
{
	int fds[2][2];

	memset(flow, 0, sizeof(*flow));
	for (int i = 0; i < 2; i++) {
		sockets_connected(family, fds[i]);
		probe_init(&flow->app[i], tcp(fds[i][0]));
		probe_resume(&flow->app[i]);
	}
	hb_relay_start(&flow->relay, loop, tcp(fds[0][1]), tcp(fds[1][1]), limits, &group);
}

static void flow_down(struct flow *flow, const char *name)
{
	ck_assert_msg(turn_until(loop, &flow->done, 1, 3000), "%s: the relay never ends", name);
	for (int i = 0; i < 2; i++) {
		probe_resume(&flow->app[i]);
		probe_close(&flow->app[i], HB_END_CLEAN);
		ck_assert_msg(turn_until(loop, &flow->app[i].closes, 1, 3000), "%s: app %d", name,
		              i);
		ck_assert_msg(!flow->app[i].broken, "%s: app %d: %s", name, i, flow->app[i].broken);
		probe_done(&flow->app[i]);
	}
	ck_assert_uint_eq(flow->done, 1);
}

static void setup(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((i * 2654435761u) >> 11);
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

static void disturb(struct flow *flow, enum disturbance what)
{
	switch (what) {
	case NOTHING:
		probe_finish(&flow->app[0]);
		probe_finish(&flow->app[1]);
		break;
	case FROM_RESETS:
	case TO_RESETS:
		probe_close(&flow->app[what == TO_RESETS],
		            hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
		break;
	case TO_FINISHES_THEN_FROM:
		probe_finish(&flow->app[1]);
		ck_assert(turn_until(loop, &flow->app[0].finishes, 1, 1000));
		probe_finish(&flow->app[0]);
		break;
	case ABORTED:
		hb_relay_abort(&flow->relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
		break;
	case SILENT:
		break;
	}
}

static void judge(const struct flow *flow, int row, const char *name)
{
	const struct probe *got = &flow->app[1];

	ck_assert_msg(rows[row].code == 1 ? flow->why.code < 0 : flow->why.code == rows[row].code,
	              "%s: %s", name, hb_strerror(flow->why.code));
	ck_assert_msg(got->len <= sizeof(bytes) && memcmp(got->data, bytes, got->len) == 0,
	              "%s: other bytes", name);
	ck_assert_msg(hb_relay_bytes(&flow->relay.a) >= got->len,
	              "%s: %zu bytes told, %llu counted", name, got->len,
	              (unsigned long long)hb_relay_bytes(&flow->relay.a));
	if (rows[row].code == 0) {
		ck_assert_msg(got->len == sizeof(bytes), "%s: %zu bytes", name, got->len);
		ck_assert_uint_eq(hb_relay_bytes(&flow->relay.a), sizeof(bytes));
		ck_assert_uint_eq(got->finishes, 1);
	} else {
		ck_assert_msg(got->finishes == 0, "%s: a truncated transfer looks finished", name);
	}
}

/* Bit 0: spliced; bit 1: TCP. */
START_TEST(disturbed_halfway)
{
	struct hb_relay_limits limits = { .idle_ms = LIMIT_MS };
	struct flow *flow = &flows[0];
	int row = _i / 4;
	char name[96];

	snprintf(name, sizeof(name), "%s, %s, %s", rows[row].name, _i & 2 ? "TCP" : "Unix",
	         _i & 1 ? "spliced" : "copied");
	if (!(_i & 2) && rows[row].code != 0)
		return; /* a Unix socket has no reset: an end is an end */
	ck_assert(signal(SIGPIPE, _i & 1 ? SIG_IGN : SIG_DFL) != SIG_ERR);
	flow_up(flow, _i & 2 ? AF_INET : AF_UNIX, rows[row].what == SILENT ? &limits : NULL);
	probe_write(&flow->app[0], loop, bytes, sizeof(bytes), HB_BUF_READ_MAX);
	ck_assert(turn_until_size(loop, &flow->app[1].len, sizeof(bytes) / 4, 5000));
	if (rows[row].stalled) {
		probe_pause(&flow->app[1]);
		turn_some(loop, 200);
		ck_assert_msg(hb_relay_is_full(&flow->relay.b), "%s: nobody is full", name);
		ck_assert_uint_lt(hb_relay_bytes(&flow->relay.a), sizeof(bytes));
	}
	if (_i & 1)
		ck_assert_uint_gt(hb_loop_spliced_bytes(loop), sizeof(bytes) / 16);
	else
		ck_assert_uint_eq(hb_loop_spliced_bytes(loop), 0);
	disturb(flow, rows[row].what);
	if (rows[row].code == 0) {
		probe_resume(&flow->app[1]);
		ck_assert_msg(turn_until(loop, &flow->app[1].finishes, 1, 20000), "%s: unfinished",
		              name);
	}
	ck_assert_msg(turn_until(loop, &flow->done, 1, 3000), "%s: the relay never ends", name);
	judge(flow, row, name);
	flow_down(flow, name);
}
END_TEST

static unsigned open_pipes(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char to[64] = "";

		if (readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1) > 0 &&
		    strncmp(to, "pipe:", 5) == 0)
			n++;
	}
	closedir(dir);
	return n;
}

/* More readers that have stopped than there may be pipes; all get all in the end. */
START_TEST(pipes_are_bounded)
{
	unsigned before = open_pipes();
	size_t each = sizeof(bytes) / 4;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < FLOWS; i++)
		flow_up(&flows[i], AF_UNIX, NULL);
	for (int i = 0; i < FLOWS; i++) {
		probe_write(&flows[i].app[0], loop, bytes, each, HB_BUF_READ_MAX);
		ck_assert(turn_until_size(loop, &flows[i].app[1].len, each / 4, 5000));
		probe_pause(&flows[i].app[1]);
		turn_some(loop, 50);
	}
	printf("%d stalled flows: %u pipes\n", FLOWS, (open_pipes() - before) / 2);
	ck_assert_uint_gt(open_pipes(), before + 2 * FREES_MAX);
	ck_assert_uint_le(open_pipes(), before + 2 * PIPES_MAX);
	for (int i = 0; i < FLOWS; i++) {
		probe_resume(&flows[i].app[1]);
		ck_assert(turn_until_size(loop, &flows[i].app[1].len, each, 20000));
		ck_assert(memcmp(flows[i].app[1].data, bytes, each) == 0);
	}
	/* Nobody holds one who has nothing in it. */
	turn_some(loop, 5);
	ck_assert_uint_le(open_pipes(), before + 2 * FREES_MAX);
	hb_loop_trim(loop);
	ck_assert_uint_eq(open_pipes(), before);
	for (int i = 0; i < FLOWS; i++) {
		hb_relay_abort(&flows[i].relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
		flow_down(&flows[i], "bounded");
	}
	ck_assert_uint_le(open_pipes(), before + 2 * FREES_MAX);
}
END_TEST

/* Nor does the loop, for longer than two seconds. */
START_TEST(idle_pipes_go)
{
	unsigned before = open_pipes();
	uint64_t until;

	signal(SIGPIPE, SIG_IGN);
	flow_up(&flows[0], AF_UNIX, NULL);
	probe_write(&flows[0].app[0], loop, bytes, sizeof(bytes), HB_BUF_READ_MAX);
	ck_assert(turn_until_size(loop, &flows[0].app[1].len, sizeof(bytes), 5000));
	ck_assert_uint_gt(open_pipes(), before);
	until = hb_loop_now_ms(loop) + 10000;
	while (open_pipes() > before && hb_loop_now_ms(loop) < until)
		hb_loop_turn(loop, 100);
	ck_assert_uint_eq(open_pipes(), before);
	hb_relay_abort(&flows[0].relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	flow_down(&flows[0], "idle");
}
END_TEST

START_TEST(copied_where_no_pipe_is_to_be_had)
{
	struct rlimit old, none;
	struct flow *flow = &flows[0];

	signal(SIGPIPE, SIG_IGN);
	flow_up(flow, AF_INET, NULL);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 3, old.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	probe_write(&flow->app[0], loop, bytes, sizeof(bytes), HB_BUF_READ_MAX);
	ck_assert(turn_until_size(loop, &flow->app[1].len, sizeof(bytes), 20000));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(memcmp(flow->app[1].data, bytes, sizeof(bytes)) == 0);
	ck_assert_uint_eq(hb_loop_spliced_bytes(loop), 0);
	hb_relay_abort(&flow->relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	flow_down(flow, "no pipe");
}
END_TEST

/* Small messages are copied, also after bulk. */
START_TEST(little_is_copied)
{
	struct flow *flow = &flows[0];
	uint64_t spliced;

	signal(SIGPIPE, SIG_IGN);
	flow_up(flow, AF_INET, NULL);
	for (int i = 0; i < 20; i++) {
		probe_write(&flow->app[0], loop, bytes + flow->app[1].len, 1000, 1000);
		ck_assert(turn_until_size(loop, &flow->app[1].len, 1000u * (i + 1), 100));
	}
	ck_assert_uint_eq(hb_loop_spliced_bytes(loop), 0);
	probe_write(&flow->app[0], loop, bytes + 20000, 2000000, HB_BUF_READ_MAX);
	ck_assert(turn_until_size(loop, &flow->app[1].len, 2020000, 5000));
	ck_assert_uint_gt(hb_loop_spliced_bytes(loop), 0);
	for (int i = 0; i < 20; i++) {
		spliced = hb_loop_spliced_bytes(loop);
		probe_write(&flow->app[0], loop, bytes + flow->app[1].len, 1000, 1000);
		ck_assert(turn_until_size(loop, &flow->app[1].len, 2021000u + 1000u * i, 100));
	}
	ck_assert_uint_eq(hb_loop_spliced_bytes(loop), spliced);
	ck_assert(memcmp(flow->app[1].data, bytes, 2040000) == 0);
	hb_relay_abort(&flow->relay, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	flow_down(flow, "little");
}
END_TEST

/* Urgent data cannot be spliced: the byte is left out, as it is where all is copied. */
START_TEST(urgent_data_does_not_stop_it)
{
	struct flow *flow = &flows[0];
	size_t sent = 0, urgent_at[2] = { 700000, 1500000 }, want = 2000000;
	int fds[2][2];

	signal(SIGPIPE, _i ? SIG_IGN : SIG_DFL);
	memset(flow, 0, sizeof(*flow));
	for (int i = 0; i < 2; i++)
		sockets_connected(AF_INET, fds[i]);
	probe_init(&flow->app[1], tcp(fds[1][0]));
	probe_resume(&flow->app[1]);
	hb_relay_start(&flow->relay, loop, tcp(fds[0][1]), tcp(fds[1][1]), NULL, &group);
	for (unsigned n = 0; flow->app[1].len < want; n++) {
		size_t until = sent < urgent_at[0] ? urgent_at[0] : urgent_at[1];
		ssize_t r = 0;

		ck_assert_msg(n < 100000, "%zu bytes of %zu came", flow->app[1].len, sent);
		if (sent >= urgent_at[1])
			until = want;
		if (sent < until)
			r = send(fds[0][0], bytes + sent, until - sent, MSG_DONTWAIT);
		if (r > 0)
			sent += (size_t)r;
		if (r > 0 && sent == until && until < want)
			ck_assert_int_eq(send(fds[0][0], "!", 1, MSG_OOB), 1);
		turn_some(loop, 1);
	}
	ck_assert_uint_eq(flow->app[1].len, want);
	ck_assert(memcmp(flow->app[1].data, bytes, want) == 0);
	close(fds[0][0]);
	probe_close(&flow->app[1], HB_END_CLEAN);
	ck_assert(turn_until(loop, &flow->done, 1, 3000));
	ck_assert(turn_until(loop, &flow->app[1].closes, 1, 3000));
	probe_done(&flow->app[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("relay_splice");
	TCase *tc = tcase_create("bulk");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, disturbed_halfway, 0, 4 * HB_ARRAY_LEN(rows));
	tcase_add_test(tc, pipes_are_bounded);
	tcase_add_test(tc, idle_pipes_go);
	tcase_add_test(tc, copied_where_no_pipe_is_to_be_had);
	tcase_add_test(tc, little_is_copied);
	tcase_add_loop_test(tc, urgent_data_does_not_stop_it, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
