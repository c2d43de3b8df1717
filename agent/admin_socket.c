/*
 * admin_socket: the listening sockets of the admin server.
 */
#include "admin_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <hbone/addr.h>
#include <hbone/base.h>

#define BACKLOG 64

/* 0 when @path may be bound, perhaps after a stale socket file was removed. */
static int make_way(const char *path, const struct sockaddr_un *sun)
{
	hb_cleanup(hb_close_fd) int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Anything but a refusal, also a full backlog, means that somebody is there. */
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int admin_socket_unix(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	hb_cleanup(hb_close_fd) int fd = -1;
	int err;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path));
	err = make_way(path, &sun);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* Linux gives the file the mode of the socket, so there is no moment with a wider one. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	err = fd;
	fd = -1;
	return err;
}

void admin_socket_remove(int fd, const char *path)
{
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof(sun);
	hb_cleanup(hb_close_fd) int probe = -1;

	if (getsockname(fd, (struct sockaddr *)&sun, &len) < 0)
		return;
	/*
	 * A successor may have bound a socket of its own there. It is not ours if it takes a
	 * connection while we have stopped listening.
	 */
	(void)shutdown(fd, SHUT_RDWR);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (const struct sockaddr *)&sun, len) < 0 &&
	    errno == ECONNREFUSED)
		(void)unlink(path);
}

int admin_socket_tcp(const char *address)
{
	hb_cleanup(hb_close_fd) int fd = -1;
	struct sockaddr_storage sa;
	struct hb_addr addr;
	int err = hb_addr_parse(address, strlen(address), &addr), on = 1, off = 0;
	socklen_t len;

	if (err)
		return err;
	len = hb_addr_to_sockaddr(&addr, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (sa.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	err = fd;
	fd = -1;
	return err;
}
