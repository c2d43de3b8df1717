/*
 * net: the few socket calls that the load generator and the relay share.
 *
 * All sockets are non-blocking and close on exec; streams have TCP_NODELAY. The kernel's defaults
 * are left alone otherwise, so that every pair is measured on the same ones.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

/* "10.0.0.1:80" or "[fd00::1]:80", numbers only. 0 or -EINVAL. */
int net_parse(const char *text, struct net_addr *ret_addr);
/* The listening socket, or -errno. */
int net_listen(const struct net_addr *addr);
/* One accepted stream; -EAGAIN when there is none; or -errno. */
int net_accept(int listen_fd);
/* A socket whose connect is on its way (EPOLLOUT tells of its end), or -errno. */
int net_dial(const struct net_addr *addr);
/* What became of it: 0 or -errno. */
int net_dialled(int fd);
