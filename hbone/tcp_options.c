/*
 * tcp_options: from what a leg asks for to what its socket is told.
 */
#include "tcp_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

static void set_option(int fd, int level, int name, uint32_t value)
{
	int v = (int)value;

	/* Unix sockets know none of them; a kernel without one runs with its default. */
	(void)setsockopt(fd, level, name, &v, sizeof(v));
}

/* Pacing halves what a path that never leaves this node can carry. */
static void choose_unpaced(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 &&
	    strcmp(name, "bbr") == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", strlen("reno"));
}

void hb_tcp_set_options(int fd, const struct hb_tcp_options *options)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (options->keepalive_idle_s) {
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, options->keepalive_idle_s);
	}
	if (options->keepalive_interval_s)
		set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->keepalive_interval_s);
	if (options->keepalive_probes)
		set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_probes);
	if (options->user_timeout_ms)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms);
	if (options->unpaced)
		choose_unpaced(fd);
}
