/*
 * loop_sockets: what sockets can do to a loop that listens for edges: ends that come with data,
 * urgent data, descriptors, events while nobody listens, numbers that are used again; accepting
 * and sending, and their cancels.
 */
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <hbone/loop.h>

#include "support/any_loop.h"

static struct hb_loop *loop;

static void turn(uint64_t wait_ms)
{
	ck_assert_int_eq(hb_loop_turn(loop, wait_ms), 0);
}

/* Enough for what is on its way to arrive, on whatever backend. */
static void settle(void)
{
	for (int i = 0; i < 4; i++)
		turn(0);
}

static void setup(void)
{
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

static int listener(struct sockaddr_in *ret_at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret_at);

	*ret_at = (struct sockaddr_in){ .sin_family = AF_INET,
		                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret_at, len), 0);
	ck_assert_int_eq(listen(fd, 512), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_at, &len), 0);
	return fd;
}

static int connected(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
	return fd;
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in at;
	int listen_fd = listener(&at);

	fds[0] = connected(&at);
	fds[1] = accept(listen_fd, NULL, NULL);
	ck_assert_int_ge(fds[1], 0);
	close(listen_fd);
}

/* --- receiving --- */

struct reader {
	struct hb_recv recv;
	char got[64];
	size_t len;
	unsigned ends, stopped;
	int end;
};

static void on_recv(struct hb_recv *recv, struct hb_buf *chain, int res)
{
	struct reader *r = hb_container_of(recv, struct reader, recv);

	if (res <= 0) {
		r->ends++;
		r->end = res;
	}
	for (struct hb_buf *buf = chain; buf; buf = buf->next) {
		ck_assert_uint_le(r->len + buf->len, sizeof(r->got));
		memcpy(r->got + r->len, buf->data, buf->len);
		r->len += buf->len;
	}
	hb_buf_free_all(chain);
}

static void on_stopped(struct hb_recv *recv)
{
	hb_container_of(recv, struct reader, recv)->stopped++;
}

static const struct hb_recv_events recv_events = { .on_recv = on_recv, .on_stopped = on_stopped };

static void start_reader(struct reader *r, int fd)
{
	*r = (struct reader){ .ends = 0 };
	hb_recv_init(&r->recv, loop, fd, HB_BUF_READ_MAX, &recv_events);
	hb_loop_recv_resume(loop, &r->recv);
}

static void stop_reader(struct reader *r)
{
	hb_loop_recv_stop(loop, &r->recv);
	for (int i = 0; i < 8 && !r->stopped; i++)
		turn(0);
	ck_assert_uint_eq(r->stopped, 1);
	close(r->recv.op.value);
}

static void say(int fd, const char *text, int flags)
{
	ck_assert_int_eq(send(fd, text, strlen(text), flags), (ssize_t)strlen(text));
}

static void say_with_descriptor(int fd, const char *text)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(fd, &msg, 0), (ssize_t)strlen(text));
}

enum talk { PLAIN, URGENT, DESCRIPTOR };

static void talk(enum talk how, int fd)
{
	switch (how) {
	case PLAIN:
		say(fd, "abc", 0);
		say(fd, "def", 0);
		break;
	case URGENT: /* the last byte of it is not in line, and reads stop before and after it */
		say(fd, "abc", 0);
		say(fd, "!", MSG_OOB);
		say(fd, "def", 0);
		break;
	case DESCRIPTOR:
		say_with_descriptor(fd, "abc");
		say(fd, "def", 0);
		break;
	}
}

/* clang-format off */
static const struct {
	const char *name;
	enum talk how;
	bool tcp;
	bool ends;        /* with it, the writer's end */
	bool armed;       /* the reader waits already */
	bool paused;      /* it is paused while the bytes come, and hears of them meanwhile */
	bool watched;     /* a poll for errors is on the socket before the reader is */
} talks[] = {
	{ "bytes",                       PLAIN, true,  false, true,  false, false },
	{ "bytes were there before",     PLAIN, true,  false, false, false, false },
	{ "bytes and end together",      PLAIN, true,  true,  true,  false, false },
	{ "both were there before",      PLAIN, true,  true,  false, false, false },
	{ "both, watched before",        PLAIN, true,  true,  false, false, true },
	{ "both, on a Unix socket",      PLAIN, false, true,  true,  false, false },
	{ "bytes while paused",          PLAIN, true,  false, true,  true,  false },
	{ "bytes and end while paused",  PLAIN, true,  true,  true,  true,  false },
	{ "urgent data",                 URGENT, true, false, true,  false, false },
	{ "urgent data was there",       URGENT, true, false, false, false, false },
	{ "urgent data, watched before", URGENT, true, false, false, false, true },
	{ "urgent data while paused",    URGENT, true, true,  true,  true,  false },
	{ "a descriptor comes along",    DESCRIPTOR, false, false, true, false, false },
	{ "a descriptor, and the end",   DESCRIPTOR, false, true, false, false, false },
};
/* clang-format on */

static void on_watch(struct hb_op *op, int res)
{
	(void)op;
	(void)res;
}

START_TEST(every_byte_and_the_end)
{
	const char *name = talks[_i].name;
	struct hb_op watch = { .done = on_watch };
	struct reader r;
	int fds[2];

	if (talks[_i].tcp)
		tcp_pair(fds);
	else
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	if (talks[_i].watched) {
		hb_loop_poll(loop, &watch, fds[0], POLLERR);
		settle();
	}
	if (talks[_i].armed)
		start_reader(&r, fds[0]);
	settle();
	if (talks[_i].paused)
		hb_loop_recv_pause(loop, &r.recv);
	settle();
	talk(talks[_i].how, fds[1]);
	if (talks[_i].ends)
		shutdown(fds[1], SHUT_WR);
	if (talks[_i].paused) {
		settle();
		ck_assert_msg(r.len == 0, "%s: told while paused", name);
		hb_loop_recv_resume(loop, &r.recv);
	} else if (!talks[_i].armed) {
		settle();
		start_reader(&r, fds[0]);
	}
	for (int i = 0; i < 20 && (r.len < 6 || r.ends < talks[_i].ends); i++)
		turn(50);
	ck_assert_msg(r.len == 6 && memcmp(r.got, "abcdef", 6) == 0, "%s: got %.*s", name,
	              (int)r.len, r.got);
	settle();
	ck_assert_msg(r.ends == talks[_i].ends && r.end == 0, "%s: %u ends, last %d", name, r.ends,
	              r.end);
	if (talks[_i].ends) {
		hb_loop_recv_resume(loop, &r.recv);
		settle();
		ck_assert_msg(r.ends == 2, "%s: the end is not told to whoever asks again", name);
	}
	hb_loop_cancel(loop, &watch);
	stop_reader(&r);
	close(fds[1]);
	ck_assert(!watch.base.in_flight);
}
END_TEST

/* The kernel forgets a closed socket; its number comes back with another one behind it. */
START_TEST(numbers_are_used_again)
{
	struct reader r;
	int fds[2], first = -1;

	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		if (first < 0)
			first = fds[0];
		ck_assert_int_eq(fds[0], first);
		start_reader(&r, fds[0]);
		settle();
		say(fds[1], "abc", 0);
		settle();
		ck_assert_uint_eq(r.len, 3);
		stop_reader(&r);
		close(fds[1]);
	}
}
END_TEST

/* --- sending --- */

struct sender {
	struct hb_op op;
	struct msghdr msg;
	struct iovec iov;
	unsigned done;
	int res;
};

static void on_sent(struct hb_op *op, int res)
{
	struct sender *s = hb_container_of(op, struct sender, op);

	s->done++;
	s->res = res;
}

static char bytes[1 << 20];

static void start_send(struct sender *s, int fd)
{
	s->op.done = on_sent;
	s->iov = (struct iovec){ bytes, sizeof(bytes) };
	s->msg = (struct msghdr){ .msg_iov = &s->iov, .msg_iovlen = 1 };
	s->done = 0;
	hb_loop_sendmsg(loop, &s->op, fd, &s->msg);
	ck_assert_uint_eq(s->done, 0);
}

/* Fills the socket; the last send waits for room. */
static void send_until_full(struct sender *s, int fd)
{
	do {
		start_send(s, fd);
		settle();
		if (s->done)
			ck_assert_int_gt(s->res, 0);
	} while (s->done);
}

static unsigned polls_done;

static void on_poll_done(struct hb_op *op, int res)
{
	ck_assert_int_eq(res, POLLIN);
	polls_done++;
}

/* A trim gives room for descriptors back, but not of those that something waits for. */
START_TEST(high_numbers_after_a_trim)
{
	struct hb_op low = { .done = on_poll_done }, high = { .done = on_poll_done };
	int fds[2], far[2];

	polls_done = 0;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, far), 0);
		ck_assert_int_eq(dup2(far[0], 900), 900);
		close(far[0]);
		hb_loop_poll(loop, &high, 900, POLLIN);
		if (!low.base.in_flight)
			hb_loop_poll(loop, &low, fds[0], POLLIN);
		settle();
		hb_loop_trim(loop);
		ck_assert_int_eq(write(far[1], "x", 1), 1);
		for (unsigned n = 0; n < 20 && high.base.in_flight; n++)
			turn(50);
		ck_assert_uint_eq(polls_done, (unsigned)i + 1);
		close(900);
		close(far[1]);
		hb_loop_trim(loop);
	}
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	for (unsigned n = 0; n < 20 && low.base.in_flight; n++)
		turn(50);
	ck_assert_uint_eq(polls_done, 4);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(send_waits_for_room)
{
	struct sender s = { .done = 0 };
	int fds[2];

	tcp_pair(fds);
	send_until_full(&s, fds[0]);
	while (!s.done) {
		ck_assert_int_gt(recv(fds[1], bytes, sizeof(bytes), MSG_DONTWAIT), 0);
		turn(20);
	}
	ck_assert_int_gt(s.res, 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(send_ends_while_it_waits)
{
	static const struct linger reset = { .l_onoff = 1 };
	struct sender s = { .done = 0 };
	bool by_cancel = _i == 0;
	int fds[2];

	tcp_pair(fds);
	send_until_full(&s, fds[0]);
	if (by_cancel) {
		hb_loop_cancel(loop, &s.op);
		hb_loop_cancel(loop, &s.op);
		ck_assert_uint_eq(s.done, 0);
	} else {
		setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fds[1]);
	}
	for (int i = 0; i < 20 && !s.done; i++)
		turn(50);
	settle();
	ck_assert_uint_eq(s.done, 1);
	ck_assert_int_eq(s.res, by_cancel ? -ECANCELED : -ECONNRESET);
	close(fds[0]);
	if (by_cancel)
		close(fds[1]);
}
END_TEST

/* --- accepting --- */

#define MANY 150

static struct host {
	struct hb_accept accept;
	unsigned fds, errors, cancels;
	unsigned stop_at; /* so many; 0: never */
} host;

static void on_accept(struct hb_accept *accept, int fd)
{
	ck_assert_uint_eq(host.cancels, 0);
	if (fd == -ECANCELED) {
		host.cancels++;
	} else if (fd < 0) {
		host.errors++;
	} else {
		host.fds++;
		close(fd);
	}
	if (host.stop_at && host.fds >= host.stop_at)
		hb_loop_accept_stop(accept);
}

static void stop_accepting(int listen_fd)
{
	hb_loop_accept_stop(&host.accept);
	ck_assert_uint_eq(host.cancels, 0);
	for (int i = 0; i < 20 && !host.cancels; i++)
		turn(50);
	ck_assert_uint_eq(host.cancels, 1);
	close(listen_fd);
}

START_TEST(accepts_all)
{
	struct sockaddr_in at;
	int listen_fd = listener(&at), fds[MANY];

	host = (struct host){ .fds = 0 };
	hb_loop_accept(loop, &host.accept, listen_fd, on_accept);
	if (_i)
		settle(); /* else they are there before the first turn */
	for (int i = 0; i < MANY; i++)
		fds[i] = connected(&at);
	for (int i = 0; i < 50 && host.fds < MANY; i++) {
		unsigned before = host.fds;

		turn(50);
		/* Others have their turns in between. */
		ck_assert_uint_le(host.fds - before, 16);
	}
	ck_assert_uint_eq(host.fds, MANY);
	ck_assert_uint_eq(host.errors, 0);
	stop_accepting(listen_fd);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
}
END_TEST

START_TEST(stopped_while_more_wait)
{
	struct sockaddr_in at;
	int listen_fd = listener(&at), fds[MANY];

	host = (struct host){ .stop_at = 3 };
	hb_loop_accept(loop, &host.accept, listen_fd, on_accept);
	for (int i = 0; i < MANY; i++)
		fds[i] = connected(&at);
	for (int i = 0; i < 50 && !host.cancels; i++)
		turn(50);
	ck_assert_uint_ge(host.fds, 3);
	settle();
	ck_assert_uint_eq(host.cancels, 1);
	close(listen_fd);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
}
END_TEST

START_TEST(out_of_descriptors)
{
	struct sockaddr_in at;
	int listen_fd = listener(&at), fd = connected(&at), next = dup(fd);
	struct rlimit limit, none;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	close(next);
	none = limit;
	none.rlim_cur = (rlim_t)next;
	host = (struct host){ .fds = 0 };
	hb_loop_accept(loop, &host.accept, listen_fd, on_accept);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 20 && !host.errors; i++)
		turn(50);
	ck_assert_uint_eq(host.errors, 1);
	ck_assert_uint_eq(host.fds, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 20 && !host.fds; i++)
		turn(50);
	ck_assert_uint_eq(host.fds, 1);
	stop_accepting(listen_fd);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop_sockets");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_byte_and_the_end, 0, HB_ARRAY_LEN(talks));
	tcase_add_test(tc, numbers_are_used_again);
	tcase_add_test(tc, high_numbers_after_a_trim);
	tcase_add_test(tc, send_waits_for_room);
	tcase_add_loop_test(tc, send_ends_while_it_waits, 0, 2);
	tcase_add_loop_test(tc, accepts_all, 0, 2);
	tcase_add_test(tc, stopped_while_more_wait);
	tcase_add_test(tc, out_of_descriptors);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
