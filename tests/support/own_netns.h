/*
 * own_netns: a network namespace of the test's own, for tests that are one program.
 *
 * Thread: the first and only one, before anything else.
 */
#pragma once

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <hbone/base.h>

#include "node/netns.h"

/* The process moves into a new one, whose loopback is up. 0; -errno, mostly as it is not root. */
static inline int own_netns(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	hb_cleanup(hb_close_fd) int fd = -1;

	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		return -errno;
	return netns_init();
}
