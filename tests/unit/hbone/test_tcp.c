/*
 * tcp: streams over real sockets: every byte, every way to end, and nothing left behind.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hbone/tcp.h>

#include "support/any_loop.h"

#define TURNS_MAX 200000

/* One end under test. Bytes are a function of their position, so any loss or swap shows. */
struct end {
	struct hb_stream *s;
	uint64_t to_write, written, got;
	uint32_t seed;
	unsigned fulls, draineds, finishes, closeds;
	bool full, finish_after, pauses;
	struct hb_end why;
};

static struct hb_loop *loop;
static int fds_before;

static uint32_t random_u32(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static uint8_t byte_at(uint64_t pos)
{
	return (uint8_t)(pos * 31 + (pos >> 8) * 7 + (pos >> 16));
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void setup_slots(size_t slots_max)
{
	fds_before = open_fds();
	loop = test_loop_new(&(struct hb_loop_options){ .slots_max = slots_max });
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	ck_assert_int_eq(open_fds(), fds_before);
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct end *e = s->owner;

	ck_assert_ptr_nonnull(chain);
	for (struct hb_buf *buf = chain; buf; buf = buf->next) {
		if (buf->len == 0)
			ck_abort_msg("an empty buf was told");
		for (uint32_t i = 0; i < buf->len; i++)
			if (buf->data[i] != byte_at(e->got + i))
				ck_abort_msg("byte %zu is wrong", (size_t)(e->got + i));
		e->got += buf->len;
	}
	hb_buf_free_all(chain);
	if (e->pauses && random_u32(&e->seed) % 2)
		hb_stream_pause(s);
}

static void on_finish(struct hb_stream *s)
{
	struct end *e = s->owner;

	e->finishes++;
}

static void on_full(struct hb_stream *s)
{
	struct end *e = s->owner;

	ck_assert(!e->full);
	e->full = true;
	e->fulls++;
}

static void on_drained(struct hb_stream *s)
{
	struct end *e = s->owner;

	ck_assert(e->full);
	e->full = false;
	e->draineds++;
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct end *e = s->owner;

	e->closeds++;
	e->why = why;
	hb_stream_free(s);
	e->s = NULL;
}

static const struct hb_stream_events events = {
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

static void end_init(struct end *e, int fd)
{
	static const struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX,
		                                       .unpaced = true,
		                                       .keepalive_idle_s = 60,
		                                       .user_timeout_ms = 10000,
		                                       .linger_ms = 200 };

	*e = (struct end){ .s = hb_tcp_new(loop, fd, &options), .seed = (uint32_t)fd + 1 };
	ck_assert_ptr_nonnull(e->s);
	e->s->events = &events;
	e->s->owner = e;
}

static struct hb_buf *make_buf(uint64_t pos, uint32_t len)
{
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));

	if (!buf)
		return NULL;
	for (uint32_t i = 0; i < len; i++)
		buf->data[i] = byte_at(pos + i);
	buf->len = len;
	return buf;
}

/* Writes pieces of random sizes until it is told to stop. */
static void write_some(struct end *e)
{
	for (unsigned n = 0; n < 32 && e->s && !e->full && e->written < e->to_write; n++) {
		uint32_t max = random_u32(&e->seed) % 2 ? HB_BUF_PAYLOAD : 64;
		uint32_t len = 1 + random_u32(&e->seed) % max;
		struct hb_buf *buf;

		if (len > e->to_write - e->written)
			len = (uint32_t)(e->to_write - e->written);
		buf = make_buf(e->written, len);
		if (!buf)
			return;
		hb_stream_write(e->s, buf);
		e->written += len;
		if (e->written == e->to_write && e->finish_after)
			hb_stream_finish(e->s);
	}
}

/* A connected pair of the kernel's. */
static void make_sockets(bool unix_domain, int fds[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int listener;

	if (unix_domain) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		return;
	}
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&sa, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fds[1], 0);
	close(listener);
}

#define turn_until(condition)                                                                      \
	do {                                                                                       \
		unsigned turns_ = 0;                                                               \
		while (!(condition)) {                                                             \
			ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);                             \
			if (++turns_ > TURNS_MAX)                                                  \
				ck_abort_msg("never came: " #condition);                           \
		}                                                                                  \
	} while (0)

/* clang-format off */
static const struct {
	const char *name;
	bool unix_domain, pauses;
	uint64_t a_bytes, b_bytes;
	size_t slots_max;
} transfers[] = {
	{ "one byte", false, false, 1, 1, 0 },
	{ "nothing at all", false, false, 0, 0, 0 },
	{ "one way", false, false, 64u << 20, 0, 0 },
	{ "both ways", false, false, 64u << 20, 64u << 20, 0 },
	{ "both ways, Unix", true, false, 64u << 20, 64u << 20, 0 },
	{ "pausing at random", false, true, 16u << 20, 16u << 20, 0 },
	{ "pausing at random, Unix", true, true, 16u << 20, 16u << 20, 0 },
	{ "hardly any slots", false, false, 4u << 20, 4u << 20, 12 },
	{ "hardly any slots, pausing", false, true, 1u << 20, 1u << 20, 12 },
};
/* clang-format on */

static void resume_some(struct end *e)
{
	if (e->s && e->pauses && random_u32(&e->seed) % 2)
		hb_stream_resume(e->s);
}

START_TEST(transfer)
{
	struct end a, b;
	int fds[2];

	setup_slots(transfers[_i].slots_max);
	make_sockets(transfers[_i].unix_domain, fds);
	end_init(&a, fds[0]);
	end_init(&b, fds[1]);
	a.pauses = b.pauses = transfers[_i].pauses;
	a.finish_after = b.finish_after = true;
	a.to_write = transfers[_i].a_bytes;
	b.to_write = transfers[_i].b_bytes;
	hb_stream_resume(a.s);
	hb_stream_resume(b.s);
	if (!a.to_write)
		hb_stream_finish(a.s);
	if (!b.to_write)
		hb_stream_finish(b.s);
	for (unsigned turns = 0; !a.finishes || !b.finishes; turns++) {
		write_some(&a);
		write_some(&b);
		resume_some(&a);
		resume_some(&b);
		ck_assert_int_eq(hb_loop_turn(loop, a.pauses ? 0 : 1), 0);
		if (turns > TURNS_MAX)
			ck_abort_msg("%s: stuck at %zu and %zu", transfers[_i].name, (size_t)a.got,
			             (size_t)b.got);
	}
	ck_assert_msg(a.got == b.to_write && b.got == a.to_write, "%s", transfers[_i].name);
	ck_assert_uint_eq(a.s->bytes_in, b.to_write);
	ck_assert_uint_eq(a.closeds + b.closeds, 0);
	hb_stream_close(a.s, HB_END_CLEAN);
	hb_stream_close(b.s, HB_END_CLEAN);
	turn_until(!a.s && !b.s);
	ck_assert_int_eq(a.why.code, 0);
	ck_assert_int_eq(b.why.code, 0);
	ck_assert_uint_eq(a.finishes + b.finishes, 2);
	teardown();
}
END_TEST

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

START_TEST(test_keep_alive_options)
{
	struct end a, b;
	int fds[2];

	setup_slots(0);
	make_sockets(false, fds);
	end_init(&a, fds[0]);
	end_init(&b, fds[1]);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(option(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
		ck_assert_int_eq(option(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 60);
		ck_assert_int_eq(option(fds[i], IPPROTO_TCP, TCP_USER_TIMEOUT), 10000);
	}
	hb_stream_close(a.s, HB_END_CLEAN);
	hb_stream_close(b.s, HB_END_CLEAN);
	turn_until(!a.s && !b.s);
}
END_TEST

START_TEST(test_inherited_options)
{
	static const struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX,
		                                       .unpaced = true,
		                                       .keepalive_idle_s = 60,
		                                       .keepalive_interval_s = 7,
		                                       .keepalive_probes = 3,
		                                       .user_timeout_ms = 10000 };
	struct hb_tcp_options inherited = options;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct hb_addr addr;
	int listener, fds[2];
	struct hb_stream *s;

	setup_slots(0);
	ck_assert_int_eq(hb_addr_parse("127.0.0.1:0", 11, &addr), 0);
	listener = hb_tcp_listen(&addr);
	ck_assert_int_ge(listener, 0);
	hb_tcp_prepare(listener, &options);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&sa, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	inherited.inherited = true;
	s = hb_tcp_new(loop, fds[1], &inherited);
	ck_assert_int_eq(option(fds[1], IPPROTO_TCP, TCP_NODELAY), 1);
	ck_assert_int_eq(option(fds[1], SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(option(fds[1], IPPROTO_TCP, TCP_KEEPIDLE), 60);
	ck_assert_int_eq(option(fds[1], IPPROTO_TCP, TCP_KEEPINTVL), 7);
	ck_assert_int_eq(option(fds[1], IPPROTO_TCP, TCP_KEEPCNT), 3);
	ck_assert_int_eq(option(fds[1], IPPROTO_TCP, TCP_USER_TIMEOUT), 10000);
	close(fds[0]);
	close(listener);

	struct end e = { .s = s };

	s->events = &events;
	s->owner = &e;
	hb_stream_close(s, HB_END_CLEAN);
	turn_until(!e.s);
}
END_TEST

#define ECHOES 8

static void on_echo(struct hb_stream *s, struct hb_buf *chain)
{
	hb_stream_write(s, chain);
}

static void on_echo_finish(struct hb_stream *s)
{
	(void)s; /* the test closes it */
}

static const struct hb_stream_events echo_events = {
	.on_data = on_echo,
	.on_finish = on_echo_finish,
	.on_closed = on_closed,
};

/* clang-format off */
static const struct {
	const char *name;
	unsigned count, rounds_of_all; /* before: all of them at once */
	unsigned held_on_io_uring; /* after the turn: they go out with the next wait */
} echoes[] = {
	{ "one answer goes out by a call of its own", 1, 0, 0 },
	{ "the first two of many, and then the rest together", ECHOES, 0, ECHOES - 2 },
	{ "none where there were many just now", 1, 4, 1 },
};
/* clang-format on */

/* All that are asked in one turn have answered when it ends. */
static void ask(int fds[][2], unsigned count, const char *name)
{
	char byte = 'x';

	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(send(fds[i][0], &byte, 1, 0), 1);
	ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);
	for (unsigned i = 0; i < count; i++)
		ck_assert_msg(recv(fds[i][0], &byte, 1, MSG_DONTWAIT) == 1, "%s: %u has no answer",
		              name, i);
}

/* What comes is answered within the turn that told of it, and a lone answer needs no other. */
START_TEST(test_answers)
{
	struct end ends[ECHOES];
	int fds[ECHOES][2];
	unsigned count = echoes[_i].count, left = 0, held;

	setup_slots(0);
	for (unsigned i = 0; i < ECHOES; i++) {
		make_sockets(true, fds[i]);
		end_init(&ends[i], fds[i][1]);
		ends[i].s->events = &echo_events;
		hb_stream_resume(ends[i].s);
	}
	ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	for (unsigned i = 0; i < echoes[_i].rounds_of_all; i++) {
		ask(fds, ECHOES, echoes[_i].name);
		ck_assert_int_eq(hb_loop_turn(loop, 0), 0); /* all is told */
	}
	ask(fds, count, echoes[_i].name);
	held = strcmp(hb_loop_backend(loop), "epoll") == 0 ? 0 : echoes[_i].held_on_io_uring;
	ck_assert_msg(hb_buf_pool_slots_out(hb_loop_pool(loop)) == held, "%s", echoes[_i].name);

	for (unsigned i = 0; i < ECHOES; i++) {
		close(fds[i][0]);
		hb_stream_close(ends[i].s, HB_END_CLEAN);
	}
	do {
		ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);
		for (left = 0; left < ECHOES && !ends[left].s; left++)
			;
	} while (left < ECHOES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tcp");
	TCase *tc = tcase_create("transfer");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, transfer, 0, HB_ARRAY_LEN(transfers));
	tcase_add_loop_test(tc, test_answers, 0, HB_ARRAY_LEN(echoes));
	tcase_add_test(tc, test_keep_alive_options);
	tcase_add_test(tc, test_inherited_options);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
