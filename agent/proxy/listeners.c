/*
 * listeners: bind, listen, and patience.
 */
#include "proxy/listeners.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#define LOG_SCOPE "proxy"
#include "log.h"
#include "node/netns.h"
#include "node/porthold.h"

#define BACKLOG 4096

static const uint16_t ports[POD_PORTS] = {
	[POD_OUTBOUND] = POD_PORT_OUTBOUND,
	[POD_PLAIN] = POD_PORT_PLAIN,
	[POD_HBONE] = POD_PORT_HBONE,
};

static int bind_loopback(int fd, uint16_t port, bool v6)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	int err = v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
	             : bind(fd, (struct sockaddr *)&in, sizeof(in));

	return err < 0 ? -errno : 0;
}

static int set(int fd, int level, int option)
{
	int one = 1;

	return setsockopt(fd, level, option, &one, sizeof(one)) < 0 ? -errno : 0;
}

/*
 * A socket without SO_REUSEPORT must be able to have the port, or somebody else is listening: an
 * app of our uid that sets SO_REUSEPORT itself would get a share of our connections unseen.
 */
static int probe(int netns_fd, uint16_t port, bool v6)
{
	hb_cleanup(hb_close_fd) int fd =
	    netns_socket(netns_fd, v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
	int err = fd < 0 ? fd : set(fd, SOL_SOCKET, SO_REUSEADDR);

	return err < 0 ? err : bind_loopback(fd, port, v6);
}

/* A bound, listening socket, or -errno. */
static int open_one(int netns_fd, uint16_t port, bool v6)
{
	int fd = netns_socket(netns_fd, v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
	int err;

	if (fd < 0)
		return fd;
	err = set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (err == 0)
		err = set(fd, SOL_SOCKET, SO_REUSEPORT);
	if (err == 0)
		err = bind_loopback(fd, port, v6);
	if (err == 0)
		err = set(fd, IPPROTO_TCP, TCP_NODELAY); /* what is accepted inherits it */
	if (err == 0 && listen(fd, BACKLOG) < 0)
		err = -errno;
	if (err < 0)
		close(fd);
	return err < 0 ? err : fd;
}

static bool is_absent_family(int err)
{
	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL;
}

/* One port on one family for all workers. 0 or -errno; what was opened stays in fds. */
static int open_port(struct listeners *listeners, enum pod_port port, bool v6)
{
	int err = probe(listeners->netns_fd, ports[port], v6);

	if (v6 && is_absent_family(err))
		return 0; /* no ::1, no IPv6 in this pod */
	for (unsigned i = 0; err == 0 && i < listeners->workers; i++) {
		int fd = open_one(listeners->netns_fd, ports[port], v6);

		if (fd < 0)
			err = fd;
		else
			listeners->fds[i * POD_SOCKETS + (unsigned)POD_SOCKET(port, v6)] = fd;
	}
	return err;
}

static void close_all(struct listeners *listeners)
{
	size_t count = (size_t)listeners->workers * POD_SOCKETS;

	for (size_t i = 0; listeners->fds && i < count; i++)
		if (listeners->fds[i] >= 0)
			close(listeners->fds[i]);
	free(hb_take(&listeners->fds));
}

static void explain(struct listeners *listeners, uint16_t port, int err)
{
	char holder[128] = "nobody to be found", reason[sizeof(listeners->reason)];

	if (err == -EADDRINUSE) {
		(void)porthold_describe(listeners->netns_fd, port, holder, sizeof(holder));
		snprintf(reason, sizeof(reason), "port %u is taken by %s", port, holder);
	} else {
		snprintf(reason, sizeof(reason), "port %u: %s", port, hb_strerror(err));
	}
	if (strcmp(reason, listeners->reason) == 0)
		return;
	memcpy(listeners->reason, reason, sizeof(reason));
	log_warn("pod waits for a port of ours, trying again every second", "pod=%s: %s",
	         listeners->pod, reason);
}

static void on_retry(struct hb_timer *timer)
{
	struct listeners *listeners = hb_container_of(timer, struct listeners, retry);
	size_t count = (size_t)listeners->workers * POD_SOCKETS;
	int err = 0, port = 0;

	listeners->fds = malloc(count * sizeof(*listeners->fds));
	if (!listeners->fds)
		err = -ENOMEM;
	for (size_t i = 0; err == 0 && i < count; i++)
		listeners->fds[i] = -1;
	for (int i = 0; err == 0 && i < POD_SOCKETS; i++) {
		port = i / 2;
		if (i % 2 == 0 || listeners->ipv6)
			err = open_port(listeners, (enum pod_port)port, i % 2);
	}
	if (err < 0) {
		close_all(listeners);
		explain(listeners, ports[port], err);
		hb_loop_timer_start(listeners->loop, &listeners->retry, LISTENERS_RETRY_MS);
		return;
	}
	if (listeners->reason[0])
		log_info("pod's ports are free now", "pod=%s", listeners->pod);
	listeners->reason[0] = 0;
	listeners->on_ready(listeners);
}

void listeners_start(struct listeners *listeners, struct hb_loop *loop)
{
	listeners->loop = loop;
	hb_timer_init(&listeners->retry, on_retry);
	hb_loop_timer_start(loop, &listeners->retry, 0);
}

void listeners_take(struct listeners *listeners, unsigned worker, int ret_fds[POD_SOCKETS])
{
	for (unsigned i = 0; i < POD_SOCKETS; i++) {
		int *fd = &listeners->fds[worker * POD_SOCKETS + i];

		ret_fds[i] = *fd;
		*fd = -1;
	}
}

void listeners_stop(struct listeners *listeners)
{
	if (!listeners->loop)
		return;
	hb_loop_timer_stop(listeners->loop, &listeners->retry);
	close_all(listeners);
}
