/*
 * podnet: the socket options on either side of a redirection.
 */
#include "node/podnet.h"

#include <string.h>

#include "node/netns.h"
#include "node/redirect.h"

#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST                                                                            \
	80 /* SOL_IP and SOL_IPV6 alike; their kernel headers do not mix with libc's */
#endif

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_mark(const struct podnet *net, int fd)
{
	return net->mark ? set(fd, SOL_SOCKET, SO_MARK, (int)net->mark) : 0;
}

int podnet_socket(const struct podnet *net, int netns_fd, int family)
{
	int fd = netns_socket(netns_fd, family, SOCK_STREAM);
	int err;

	if (fd < 0)
		return fd;
	err = net->capture == PODNET_BPF ? redirect_exempt(net->redirect, fd, NULL)
	                                 : set_mark(net, fd);
	if (err < 0)
		close(fd);
	return err < 0 ? err : fd;
}

int podnet_prepare_listener(const struct podnet *net, int fd, bool *ret_keeps_source)
{
	int err = set_mark(net, fd), transparent;

	if (err < 0)
		return err;
	if (net->source == PODNET_SOURCE_NEVER) {
		*ret_keeps_source = false;
		return 0;
	}
	/* On a socket of both families too this is IPv4's option (reference/datapath 1.1). */
	transparent = set(fd, SOL_IP, IP_TRANSPARENT, 1);
	if (transparent < 0 && net->source == PODNET_SOURCE_MUST)
		return transparent;
	*ret_keeps_source = transparent == 0;
	return 0;
}

int podnet_bind_foreign(int fd, const struct hb_ip *ip)
{
	bool v4 = hb_ip_is_v4(ip);
	struct hb_addr addr = { .ip = *ip };
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&addr, &sa);
	int err = v4 ? set(fd, SOL_IP, IP_TRANSPARENT, 1) : set(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);

	if (err == 0)
		err = v4 ? set(fd, SOL_IP, IP_FREEBIND, 1) : set(fd, SOL_IPV6, IPV6_FREEBIND, 1);
	/* The port is chosen at connect, per 4-tuple: one client may have any number of dials. */
	if (err == 0)
		err = set(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (err == 0 && bind(fd, (struct sockaddr *)&sa, len) < 0)
		err = -errno;
	return err;
}

static int ask_filter(int fd, int level, struct hb_addr *ret_addr)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockopt(fd, level, SO_ORIGINAL_DST, &sa, &len) < 0)
		return -errno;
	return hb_addr_from_sockaddr((struct sockaddr *)&sa, ret_addr);
}

/* Neither family knows it: the connection was not redirected, it came straight to the listener. */
int podnet_orig_dst(const struct podnet *net, int fd, struct hb_addr *ret_addr)
{
	if (net->capture == PODNET_RULES &&
	    (ask_filter(fd, SOL_IP, ret_addr) == 0 || ask_filter(fd, SOL_IPV6, ret_addr) == 0))
		return 0;
	return hb_addr_of_local(fd, ret_addr);
}
