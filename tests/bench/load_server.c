/*
 * load_server: the far end: one port that swallows and counts, one that echoes, one that writes.
 */
#include "load.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_TURN  256
#define ACCEPTS_TURN 64

struct server {
	int epoll_fd;
	int sink_fd, echo_fd, source_fd;
	struct measure_far *far;
	char scratch[LOAD_READ_BYTES];
	char bulk[LOAD_BULK_BYTES];
};

/* One accepted connection. What its echo could not send yet is kept, and then nothing is read. */
struct peer {
	int fd;
	bool echo, source;
	char *kept;
	size_t kept_len, kept_sent;
};

static void peer_free(struct peer *peer)
{
	close(peer->fd);
	free(peer->kept);
	free(peer);
}

static int watch(struct server *server, int op, int fd, uint32_t events, void *data)
{
	struct epoll_event event = { .events = events, .data.ptr = data };

	return epoll_ctl(server->epoll_fd, op, fd, &event) < 0 ? -errno : 0;
}

/* False: the connection is over. */
static bool echo_back(struct server *server, struct peer *peer, const char *data, size_t len)
{
	ssize_t sent = send(peer->fd, data, len, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN)
		return false;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent == len)
		return true;
	peer->kept_len = len - (size_t)sent;
	peer->kept_sent = 0;
	peer->kept = malloc(peer->kept_len);
	if (!peer->kept)
		return false;
	memcpy(peer->kept, data + sent, peer->kept_len);
	return watch(server, EPOLL_CTL_MOD, peer->fd, EPOLLOUT, peer) == 0;
}

static bool send_kept(struct server *server, struct peer *peer)
{
	ssize_t sent = send(peer->fd, peer->kept + peer->kept_sent,
	                    peer->kept_len - peer->kept_sent, MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EAGAIN;
	peer->kept_sent += (size_t)sent;
	if (peer->kept_sent < peer->kept_len)
		return true;
	free(peer->kept);
	peer->kept = NULL;
	return watch(server, EPOLL_CTL_MOD, peer->fd, EPOLLIN, peer) == 0;
}

static bool write_bulk(struct server *server, struct peer *peer)
{
	for (int i = 0; i < LOAD_WRITES_TURN; i++) {
		ssize_t sent = send(peer->fd, server->bulk, sizeof(server->bulk), MSG_NOSIGNAL);

		if (sent < 0)
			return errno == EAGAIN;
		if ((size_t)sent < sizeof(server->bulk))
			break;
	}
	return true;
}

static bool on_peer(struct server *server, struct peer *peer)
{
	ssize_t got;

	if (peer->source)
		return write_bulk(server, peer);
	if (peer->kept)
		return send_kept(server, peer);
	got = recv(peer->fd, server->scratch, sizeof(server->scratch), 0);
	if (got < 0)
		return errno == EAGAIN;
	if (got == 0)
		return false;
	if (peer->echo)
		return echo_back(server, peer, server->scratch, (size_t)got);
	__atomic_fetch_add(&server->far->bytes, (uint64_t)got, __ATOMIC_RELAXED);
	return true;
}

static int on_listener(struct server *server, int listen_fd)
{
	for (int i = 0; i < ACCEPTS_TURN; i++) {
		struct peer *peer;
		int fd = net_accept(listen_fd);

		/* A client that gave up meanwhile is its own affair. */
		if (fd == -EAGAIN || fd == -ECONNABORTED)
			return 0;
		if (fd < 0)
			return fd;
		peer = calloc(1, sizeof(*peer));
		if (!peer) {
			close(fd);
			return -ENOMEM;
		}
		peer->fd = fd;
		peer->echo = listen_fd == server->echo_fd;
		peer->source = listen_fd == server->source_fd;
		if (watch(server, EPOLL_CTL_ADD, fd, peer->source ? EPOLLOUT : EPOLLIN, peer) < 0)
			peer_free(peer);
	}
	return 0;
}

/* Listeners are known by the address of their own field, peers by their struct. */
static bool is_listener(const struct server *server, const void *data)
{
	return data == &server->sink_fd || data == &server->echo_fd || data == &server->source_fd;
}

static int turn(struct server *server)
{
	struct epoll_event events[EVENTS_TURN];
	int count = epoll_wait(server->epoll_fd, events, EVENTS_TURN, -1);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		void *data = events[i].data.ptr;

		if (is_listener(server, data)) {
			int err = on_listener(server, *(int *)data);

			if (err)
				return err;
		} else if (!on_peer(server, data)) {
			peer_free(data);
		}
	}
	return 0;
}

static int open_listener(struct server *server, const struct net_addr *addr, int *ret_fd)
{
	int fd = net_listen(addr);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return watch(server, EPOLL_CTL_ADD, fd, EPOLLIN, ret_fd);
}

int load_server(const struct load_ports *ports, struct measure_far *far)
{
	static struct server server;
	int err;

	server.far = far;
	server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = server.epoll_fd < 0 ? -errno : open_listener(&server, &ports->sink, &server.sink_fd);
	if (!err)
		err = open_listener(&server, &ports->echo, &server.echo_fd);
	if (!err)
		err = open_listener(&server, &ports->source, &server.source_fd);
	if (!err) {
		printf("ready\n");
		fflush(stdout);
	}
	while (!err)
		err = turn(&server);
	fprintf(stderr, "load server: %s\n", strerror(-err));
	return 1;
}
