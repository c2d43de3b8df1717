/*
 * netns: there and back, and what is left when it cannot be entered.
 */
#include "node/netns.h"

#include <check.h>
#include <fcntl.h>
#include <hbone/base.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static ino_t where(void)
{
	struct stat st;

	ck_assert_int_eq(stat("/proc/thread-self/ns/net", &st), 0);
	return st.st_ino;
}

static int new_netns(void)
{
	int fd;

	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	fd = netns_open("/proc/thread-self/ns/net");
	netns_leave();
	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(there_and_back)
{
	ino_t home = where();
	int fd = new_netns();
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert(where() == home);
	ck_assert_int_eq(netns_enter(fd), 0);
	ck_assert(where() == st.st_ino);
	netns_leave();
	ck_assert(where() == home);
	close(fd);
}
END_TEST

START_TEST(not_a_namespace)
{
	ino_t home = where();
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(netns_enter(fd), -EINVAL);
	ck_assert_int_eq(netns_socket(fd, AF_INET, SOCK_STREAM), -EINVAL);
	ck_assert(where() == home);
	ck_assert_int_eq(netns_open("/run/netns/there is none"), -ENOENT);
	close(fd);
}
END_TEST

START_TEST(socket_is_of_there)
{
	int fd = new_netns(), sock = netns_socket(fd, AF_INET, SOCK_STREAM);
	uint64_t cookie = 0, of_socket = 1;
	socklen_t len = sizeof(of_socket);

	ck_assert_int_ge(sock, 0);
	ck_assert(fcntl(sock, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(sock, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(netns_cookie(fd, &cookie), 0);
	ck_assert_int_eq(getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &of_socket, &len), 0);
	ck_assert_uint_eq(cookie, of_socket);
	close(sock);
	close(fd);
}
END_TEST

START_TEST(cookies_differ)
{
	int one = new_netns(), two = new_netns();
	int home = netns_open("/proc/thread-self/ns/net");
	uint64_t cookies[3];

	ck_assert_int_eq(netns_cookie(one, &cookies[0]), 0);
	ck_assert_int_eq(netns_cookie(two, &cookies[1]), 0);
	ck_assert_int_eq(netns_cookie(home, &cookies[2]), 0);
	ck_assert_uint_ne(cookies[0], cookies[1]);
	ck_assert_uint_ne(cookies[1], cookies[2]);
	ck_assert_uint_ne(cookies[0], cookies[2]);
	close(one);
	close(two);
	close(home);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("netns");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (geteuid() != 0 || netns_init() < 0) {
		printf("SKIP: not root\n");
		return 77;
	}
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, not_a_namespace);
	tcase_add_test(tc, socket_is_of_there);
	tcase_add_test(tc, cookies_differ);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
