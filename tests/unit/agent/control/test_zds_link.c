/*
 * zds_link: a listening end of the test's own, the loop turned by hand: what is said on the wire,
 * and when it connects again.
 */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "control/zds_link.h"
#include "log.h"
#include "tests/support/any_loop.h"

static struct hb_loop *loop;
static struct zds_link *link_;
static char dir[32], path[64];
static int listener = -1;
static unsigned started, stopped, closed;
static bool fails;

static int on_start(void *owner, struct zds_pod *pod, char *why, size_t why_size)
{
	started++;
	snprintf(why, why_size, "port taken");
	return fails ? -EADDRINUSE : 0;
}

static void on_stop(void *owner, struct zds_pod *pod)
{
	stopped++;
}

static void on_closed(void *owner)
{
	closed++;
}

static const struct zds_ops ops = { .start = on_start, .stop = on_stop };

static void listen_here(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
}

static void stop_listening(void)
{
	close(listener);
	listener = -1;
	unlink(path);
}

static void up(void)
{
	struct zds_link_options options = { .path = path, .ops = &ops };
	char why[64];

	ck_assert_int_eq(log_set_levels("off", why, sizeof(why)), 0);
	snprintf(dir, sizeof(dir), "/tmp/culvert-zds-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	started = stopped = closed = 0;
	fails = false;
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	listen_here();
	link_ = zds_link_new(loop, &options);
	ck_assert_ptr_nonnull(link_);
}

static void down(void)
{
	if (!closed)
		zds_link_close(link_, on_closed);
	for (int i = 0; i < 100 && !closed; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 10), 0);
	ck_assert_uint_eq(closed, 1);
	zds_link_free(link_);
	hb_loop_free(loop);
	if (listener >= 0)
		stop_listening();
	rmdir(dir);
}

/* Turns until @fd is readable; false: not within @ms. */
static bool turn_until_readable(int fd, uint64_t ms)
{
	uint64_t end = hb_loop_now_ms(loop) + ms;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, 0) == 0) {
		if (hb_loop_now_ms(loop) >= end)
			return false;
		ck_assert_int_eq(hb_loop_turn(loop, 5), 0);
	}
	return true;
}

/* A connection, its hello read. */
static int take(void)
{
	uint8_t bytes[16];
	int fd;

	ck_assert(turn_until_readable(listener, 5000));
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert(turn_until_readable(fd, 5000));
	ck_assert_int_eq(recv(fd, bytes, sizeof(bytes), 0), 2);
	ck_assert_mem_eq(bytes, "\x08\x01", 2);
	return fd;
}

static void say(int fd, const void *bytes, size_t len, unsigned fds)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int null = open("/dev/null", O_RDONLY);

	if (fds) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(fds * sizeof(int)),
			               .cmsg_level = SOL_SOCKET,
			               .cmsg_type = SCM_RIGHTS };
		for (unsigned i = 0; i < fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null, sizeof(int));
	}
	ck_assert_int_eq(sendmsg(fd, &msg, 0), (ssize_t)len);
	close(null);
}

#define ADD                                                                                        \
	"\x0a\x0e\x0a\x01x\x12\x09\x0a\x01"                                                        \
	"a\x12\x01"                                                                                \
	"b\x1a\x01"                                                                                \
	"c"
#define SNAPSHOT "\x1a\x00"

/* The error of the ack that comes next. */
static const char *answer(int fd)
{
	static char bytes[ZDS_PACKET_MAX + 1];
	ssize_t n;

	ck_assert(turn_until_readable(fd, 5000));
	n = recv(fd, bytes, sizeof(bytes) - 1, 0);
	ck_assert_int_ge(n, 2);
	bytes[n] = 0;
	for (ssize_t i = 1; i < n; i++) /* a length of two bytes, or a small one */
		ck_assert(bytes[i] || n == 2);
	return n == 2 ? "" : strpbrk(bytes, "abcdefghijklmnopqrstuvwxyz");
}

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

START_TEST(a_pod_and_a_snapshot)
{
	int fd = take();

	ck_assert(!zds_is_ready(zds_link_pods(link_)));
	say(fd, ADD, sizeof(ADD) - 1, 1);
	ck_assert_str_eq(answer(fd), "");
	say(fd, SNAPSHOT, 2, 0);
	ck_assert_str_eq(answer(fd), "");
	ck_assert(zds_is_ready(zds_link_pods(link_)));
	ck_assert_uint_eq(started, 1);
	ck_assert(!turn_until_readable(fd, 50)); /* nothing is said unasked */
	close(fd);
	fd = take(); /* the pod stays */
	ck_assert(!zds_is_ready(zds_link_pods(link_)));
	ck_assert_uint_eq(zds_link_pods(link_)->count, 1);
	ck_assert_uint_eq(stopped, 0);
	close(fd);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *bytes;
	size_t len;
	unsigned fds;
	const char *error;
} nonsense[] = {
	{ "no message", "\xff\xff", 2, 0, "a packet is not a message" },
	{ "no message, with a descriptor", "\xff\xff", 2, 1, "a packet is not a message" },
	{ "two descriptors", ADD, sizeof(ADD) - 1, 2, "more than one descriptor" },
	{ "sixteen descriptors", ADD, sizeof(ADD) - 1, 16, "a packet is longer, or brings more" },
	{ "a descriptor with another message", SNAPSHOT, 2, 1, "a descriptor came with a message" },
	{ "a packet that is too long", NULL, ZDS_PACKET_MAX + 1, 0, "a packet is longer" },
};
/* clang-format on */

START_TEST(nonsense_is_answered_and_ends_the_connection)
{
	uint8_t zeros[ZDS_PACKET_MAX + 1] = { 0 };
	int fd = take(), next;
	unsigned before = open_fds();
	const char *error;

	say(fd, nonsense[_i].bytes ? (const void *)nonsense[_i].bytes : zeros, nonsense[_i].len,
	    nonsense[_i].fds);
	error = answer(fd);
	ck_assert_msg(strncmp(error, nonsense[_i].error, strlen(nonsense[_i].error)) == 0, "%s: %s",
	              nonsense[_i].name, error);
	next = take();
	ck_assert_int_eq(recv(fd, zeros, 1, MSG_DONTWAIT), 0); /* its end */
	close(fd);
	ck_assert_msg(open_fds() == before, "%s: descriptors are left", nonsense[_i].name);
	close(next);
}
END_TEST

START_TEST(waits_for_a_socket_that_is_away)
{
	int fd = take();

	say(fd, SNAPSHOT, 2, 0);
	ck_assert_str_eq(answer(fd), "");
	stop_listening();
	close(fd);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 10), 0);
	ck_assert(!zds_is_ready(zds_link_pods(link_)));
	listen_here();
	close(take());
}
END_TEST

START_TEST(a_pending_pod_is_tried_again)
{
	int fd = take();

	fails = true;
	say(fd, SNAPSHOT, 2, 0);
	ck_assert_str_eq(answer(fd), "");
	say(fd, ADD, sizeof(ADD) - 1, 1);
	ck_assert_str_eq(answer(fd), "add x (b/a): port taken");
	ck_assert(!zds_is_ready(zds_link_pods(link_)));
	fails = false;
	ck_assert(!turn_until_readable(fd, ZDS_RETRY_MS + 200)); /* nobody hears of it */
	ck_assert(zds_is_ready(zds_link_pods(link_)));
	ck_assert_uint_eq(started, 2);
	close(fd);
}
END_TEST

START_TEST(close_while_away)
{
	stop_listening();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 5), 0);
	zds_link_close(link_, on_closed);
	ck_assert_uint_eq(closed, 0); /* never from inside */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zds_link");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_pod_and_a_snapshot);
	tcase_add_loop_test(tc, nonsense_is_answered_and_ends_the_connection, 0,
	                    HB_ARRAY_LEN(nonsense));
	tcase_add_test(tc, waits_for_a_socket_that_is_away);
	tcase_add_test(tc, a_pending_pod_is_tried_again);
	tcase_add_test(tc, close_while_away);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
