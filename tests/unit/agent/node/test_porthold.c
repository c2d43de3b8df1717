/*
 * porthold: the holder is found whatever kind of socket has the port.
 */
#include "node/porthold.h"

#include <check.h>
#include <hbone/addr.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "node/netns.h"

static int netns_fd;

static void setup(void)
{
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	netns_fd = netns_open("/proc/thread-self/ns/net");
	ck_assert_int_eq(system("ip link set lo up"), 0);
	netns_leave();
}

static void teardown(void)
{
	close(netns_fd);
}

static int bound(const char *at)
{
	struct sockaddr_storage sa;
	struct hb_addr addr;
	int fd, on = 1;
	socklen_t len;

	ck_assert_int_eq(hb_addr_parse(at, strlen(at), &addr), 0);
	len = hb_addr_to_sockaddr(&addr, &sa);
	fd = netns_socket(netns_fd, sa.ss_family, SOCK_STREAM);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static int dial(int fd, const char *to)
{
	struct sockaddr_storage sa;
	struct hb_addr addr;
	socklen_t len;

	ck_assert_int_eq(hb_addr_parse(to, strlen(to), &addr), 0);
	len = hb_addr_to_sockaddr(&addr, &sa);
	return connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS ? 0 : -errno;
}

/* '@' in @form stands for ourselves. */
static void expect(const char *name, uint16_t port, const char *form)
{
	char want[128], got[128] = "";
	const char *at = strchr(form, '@');

	/* The kernel keeps 15 bytes of a process's name. */
	if (at)
		snprintf(want, sizeof(want), "%.*sagent_node_test (pid %d)%s", (int)(at - form),
		         form, (int)getpid(), at + 1);
	else
		snprintf(want, sizeof(want), "%s", form);
	ck_assert_msg(porthold_describe(netns_fd, port, got, sizeof(got)) == 0, "%s: not found",
	              name);
	ck_assert_msg(strcmp(got, want) == 0, "%s: \"%s\", want \"%s\"", name, got, want);
}

/* clang-format off */
static const struct {
	const char *name, *at, *want;
} listeners[] = {
	{ "IPv4", "0.0.0.0:15008", "@, listening on 0.0.0.0:15008" },
	{ "IPv4 loopback", "127.0.0.1:15008", "@, listening on 127.0.0.1:15008" },
	{ "IPv6", "[::]:15008", "@, listening on [::]:15008" },
	{ "IPv6 loopback", "[::1]:15008", "@, listening on [::1]:15008" },
};
/* clang-format on */

START_TEST(listening)
{
	int fd = bound(listeners[_i].at);

	ck_assert_int_eq(listen(fd, 1), 0);
	expect(listeners[_i].name, 15008, listeners[_i].want);
	close(fd);
}
END_TEST

/* A connection has our port as its own; then it ends first and leaves TIME_WAIT there. */
START_TEST(connected_then_time_wait)
{
	int server = bound("127.0.0.1:80"), client = bound("127.0.0.1:15006"), served;
	char byte;

	ck_assert_int_eq(listen(server, 1), 0);
	ck_assert_int_eq(dial(client, "127.0.0.1:80"), 0);
	served = accept(server, NULL, NULL);
	ck_assert_int_ge(served, 0);
	expect("connection", 15006, "an ephemeral connection of @ to 127.0.0.1:80");
	close(client);
	ck_assert_int_eq(recv(served, &byte, 1, 0), 0);
	close(served);
	expect("TIME_WAIT", 15006, "a TIME_WAIT socket to 127.0.0.1:80");
	close(server);
}
END_TEST

START_TEST(listener_says_more)
{
	int server = bound("127.0.0.1:15001"), client = bound("127.0.0.1:0");

	ck_assert_int_eq(listen(server, 1), 0);
	ck_assert_int_eq(dial(client, "127.0.0.1:15001"), 0);
	expect("both", 15001, "@, listening on 127.0.0.1:15001");
	close(client);
	close(server);
}
END_TEST

START_TEST(nobody)
{
	char out[64];

	ck_assert_int_eq(porthold_describe(netns_fd, 15008, out, sizeof(out)), -ENOENT);
}
END_TEST

/* Another namespace's holder of the same port is not ours to name. */
START_TEST(elsewhere)
{
	int fd = bound("127.0.0.1:15008"), there = netns_fd;
	char out[64];

	ck_assert_int_eq(listen(fd, 1), 0);
	setup();
	ck_assert_int_eq(porthold_describe(netns_fd, 15008, out, sizeof(out)), -ENOENT);
	close(there);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("porthold");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (geteuid() != 0 || netns_init() < 0) {
		printf("SKIP: not root\n");
		return 77;
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, listening, 0, HB_ARRAY_LEN(listeners));
	tcase_add_test(tc, connected_then_time_wait);
	tcase_add_test(tc, listener_says_more);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, elsewhere);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
