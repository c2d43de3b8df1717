/*
 * sockets: a pair of either family.
 */
#include "support/sockets.h"

#include <arpa/inet.h>
#include <check.h>
#include <sys/socket.h>
#include <unistd.h>

void sockets_connected(int family, int ret_fds[2])
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(to);
	int fd, size = 200000;

	if (family == AF_UNIX) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), 0);
		return;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(ret_fds[0], 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	ck_assert_int_eq(setsockopt(ret_fds[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	ck_assert_int_eq(connect(ret_fds[0], (struct sockaddr *)&to, len), 0);
	ret_fds[1] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(ret_fds[1], 0);
	close(fd);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
		                 0);
}
