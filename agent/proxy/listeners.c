/*
 * listeners: bind, listen, and patience.
 */
#include "proxy/listeners.h"

#include <fcntl.h>
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
	[POD_SOCKS] = POD_PORT_SOCKS,
};

struct place {
	uint16_t port;
	bool v6, everywhere; /* else on loopback */
};

static int bind_to(int fd, const struct place *place)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons(place->port),
		.sin_addr = { htonl(place->everywhere ? INADDR_ANY : INADDR_LOOPBACK) },
	};
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(place->port),
		.sin6_addr = place->everywhere ? in6addr_any : in6addr_loopback,
	};
	bool v6 = place->v6;
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
static int probe(int netns_fd, const struct place *place)
{
	hb_cleanup(hb_close_fd) int fd =
	    netns_socket(netns_fd, place->v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
	int err = fd < 0 ? fd : set(fd, SOL_SOCKET, SO_REUSEADDR);

	return err < 0 ? err : bind_to(fd, place);
}

/* The options that the way of capture asks for. */
static int prepare(struct listeners *listeners, int fd)
{
	const struct podnet *net = listeners->net;
	int err = set(fd, SOL_SOCKET, SO_REUSEADDR);

	if (err == 0 && !net->no_port_reuse)
		err = set(fd, SOL_SOCKET, SO_REUSEPORT);
	if (err == 0 && net->capture == PODNET_RULES)
		err = podnet_prepare_listener(net, fd, &listeners->keeps_source);
	return err;
}

/* A bound, listening socket, or -errno. */
static int open_one(struct listeners *listeners, const struct place *place)
{
	int fd = netns_socket(listeners->netns_fd, place->v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
	int err;

	if (fd < 0)
		return fd;
	err = prepare(listeners, fd);
	if (err == 0)
		err = bind_to(fd, place);
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

/* One port for all workers. 0 or -errno; what was opened stays in fds. */
static int open_place(struct listeners *listeners, enum pod_port port, const struct place *place)
{
	int *fds = listeners->fds + POD_SOCKET(port, place->v6);
	int err = 0;

	for (unsigned i = 0; err == 0 && i < listeners->workers; i++) {
		/* Without SO_REUSEPORT there can be one only, which they share. */
		bool first = i == 0 || !listeners->net->no_port_reuse;
		int fd = first ? open_one(listeners, place) : fcntl(fds[0], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			err = first ? fd : -errno;
		else
			fds[(size_t)i * POD_SOCKETS] = fd;
	}
	return err;
}

/* The same for a pod that BPF captures, on one family. */
static int open_captured(struct listeners *listeners, enum pod_port port, bool v6)
{
	struct place place = { .port = ports[port], .v6 = v6 };
	int err = probe(listeners->netns_fd, &place);

	if (v6 && is_absent_family(err))
		return 0; /* no ::1, no IPv6 in this pod */
	return err < 0 ? err : open_place(listeners, port, &place);
}

/* For a pod with rules: one socket for both families where there are two. */
static int open_ruled(struct listeners *listeners, enum pod_port port)
{
	struct place place = { .port = ports[port], .everywhere = port != POD_SOCKS };
	int err = -EAFNOSUPPORT;

	place.v6 = listeners->ipv6 && place.everywhere;
	if (place.v6)
		err = open_place(listeners, port, &place);
	if (!is_absent_family(err))
		return err;
	place.v6 = false;
	return open_place(listeners, port, &place);
}

static int open_port(struct listeners *listeners, enum pod_port port)
{
	int err = 0;

	if (port == POD_SOCKS && !listeners->net->socks5)
		return 0;
	if (port != POD_HBONE && listeners->net->tunnels_only)
		return 0;
	if (listeners->net->capture == PODNET_RULES)
		return open_ruled(listeners, port);
	for (int v6 = 0; err == 0 && v6 <= (listeners->ipv6 && port != POD_SOCKS); v6++)
		err = open_captured(listeners, port, v6);
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
	char holder[128] = "nobody to be found";

	if (err == -EADDRINUSE) {
		(void)porthold_describe(listeners->netns_fd, port, holder, sizeof(holder));
		snprintf(listeners->reason, sizeof(listeners->reason), "port %u is taken by %s",
		         port, holder);
	} else {
		snprintf(listeners->reason, sizeof(listeners->reason), "port %u: %s", port,
		         hb_strerror(err));
	}
}

int listeners_open(struct listeners *listeners)
{
	size_t count = (size_t)listeners->workers * POD_SOCKETS;
	int err = 0, port = 0;

	listeners->fds = malloc(count * sizeof(*listeners->fds));
	if (!listeners->fds)
		err = -ENOMEM;
	for (size_t i = 0; err == 0 && i < count; i++)
		listeners->fds[i] = -1;
	for (int i = 0; err == 0 && i < POD_PORTS; i++) {
		port = i;
		err = open_port(listeners, (enum pod_port)port);
	}
	if (err < 0) {
		close_all(listeners);
		explain(listeners, ports[port], err);
		return err;
	}
	listeners->reason[0] = 0;
	return 0;
}

static void on_retry(struct hb_timer *timer)
{
	struct listeners *listeners = hb_container_of(timer, struct listeners, retry);
	char before[sizeof(listeners->reason)];

	memcpy(before, listeners->reason, sizeof(before));
	if (listeners_open(listeners) < 0) {
		if (strcmp(before, listeners->reason) != 0)
			log_warn("pod waits for a port of ours, trying again every second",
			         "pod=%s: %s", listeners->pod, listeners->reason);
		hb_loop_timer_start(listeners->loop, &listeners->retry, LISTENERS_RETRY_MS);
		return;
	}
	if (*before)
		log_info("pod's ports are free now", "pod=%s", listeners->pod);
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
	if (listeners->loop)
		hb_loop_timer_stop(listeners->loop, &listeners->retry);
	close_all(listeners);
}
