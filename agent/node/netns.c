/*
 * netns: setns() there and back.
 */
#include "node/netns.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>

#include <hbone/base.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/* Set once before any thread, read by all. */
static int home_fd = -1;

int netns_init(void)
{
	int fd;

	if (home_fd >= 0)
		return 0;
	fd = netns_open("/proc/thread-self/ns/net");
	if (fd < 0)
		return fd;
	home_fd = fd;
	return 0;
}

int netns_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int netns_enter(int netns_fd)
{
	assert(home_fd >= 0); /* else there is no way back */
	return setns(netns_fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

void netns_leave(void)
{
	if (setns(home_fd, CLONE_NEWNET) == 0)
		return;
	perror("culvert: cannot return to the own network namespace");
	abort();
}

int netns_socket(int netns_fd, int family, int type)
{
	int fd, err = netns_enter(netns_fd);

	if (err < 0)
		return err;
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	netns_leave();
	return fd;
}

int netns_cookie(int netns_fd, uint64_t *ret_cookie)
{
	hb_cleanup(hb_close_fd) int fd = netns_socket(netns_fd, AF_UNIX, SOCK_DGRAM);
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	*ret_cookie = cookie;
	return 0;
}
