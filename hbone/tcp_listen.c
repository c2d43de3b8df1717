/*
 * tcp_listen: a socket that others may connect to.
 */
#include <hbone/tcp.h>

#include "tcp_options.h"

#define BACKLOG 128

void hb_tcp_prepare(int fd, const struct hb_tcp_options *options)
{
	hb_tcp_set_options(fd, options); /* Linux copies them all, congestion control too */
}

int hb_tcp_listen(const struct hb_addr *addr)
{
	hb_cleanup(hb_close_fd) int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(addr, &sa);
	int one = 1, err;

	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	err = fd;
	fd = -1;
	return err;
}
