/*
 * zds_link: packets in and out.
 */
#include "control/zds_link.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <hbone/error.h>

#define LOG_SCOPE "zds"
#include "log.h"

#define PACKETS_PER_TURN 64
#define DESCRIPTORS_MAX  4 /* that are looked at; the kernel drops more, and says so */

struct zds_link {
	struct hb_loop *loop;
	struct zds_link_options options;
	struct zds pods;
	int fd; /* -1: WAITING */
	struct hb_op readable;
	struct hb_timer connect, retry;
	uint32_t wait_ms; /* before the next connect, should it fail */
	bool said;        /* that it cannot be reached */
	void (*on_closed)(void *owner);
	struct hb_task closed;
	struct zds_request request; /* the message that is handled */
};

static void wait_for(struct zds_link *link);

static void tell_change(struct zds_link *link)
{
	if (link->options.on_change)
		link->options.on_change(link->options.owner);
}

static void reconnect(struct zds_link *link, const char *why)
{
	bool listed = link->pods.phase == ZDS_LISTED;

	log_warn("connection to istio-cni lost, connecting anew; pods stay as they are",
	         "path=%s pods=%zu: %s", link->options.path, link->pods.count, why);
	close(link->fd);
	link->fd = -1;
	zds_disconnected(&link->pods);
	if (listed)
		link->wait_ms = 0; /* it was of use: what failed before counts no more */
	wait_for(link);
	tell_change(link);
}

/* 0 or -errno. A peer that does not read our few bytes is as good as gone. */
static int send_packet(struct zds_link *link, const uint8_t *bytes, size_t len)
{
	ssize_t n = send(link->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EMSGSIZE;
}

static void close_fds(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* The descriptors that came with a message. */
static size_t take_fds(struct msghdr *msg, int fds[DESCRIPTORS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && count < DESCRIPTORS_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return count;
}

struct packet {
	uint8_t bytes[ZDS_PACKET_MAX];
	size_t len;
	int fds[DESCRIPTORS_MAX];
	size_t fds_count;
	bool cut;
};

/* Bytes received; 0: the end; or -errno. */
static ssize_t receive(struct zds_link *link, struct packet *packet)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { packet->bytes, sizeof(packet->bytes) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(link->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	packet->len = (size_t)n;
	packet->fds_count = take_fds(&msg, packet->fds);
	packet->cut = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	return n;
}

/* 0; or why the packet is no message, its descriptors then closed. */
static const char *read_packet(struct packet *packet, struct zds_request *request)
{
	const char *why = NULL;
	int err;

	if (packet->cut)
		why = "a packet is longer, or brings more descriptors, than there may be";
	else if (packet->fds_count > 1)
		why = "more than one descriptor came with a message";
	else if ((err = zds_decode(packet->bytes, packet->len, request)) < 0)
		why = err == -EBADMSG ? "a packet is not a message" : hb_strerror(err);
	if (why)
		close_fds(packet->fds, packet->fds_count);
	return why;
}

static struct zds_netns netns_of(const struct packet *packet)
{
	struct zds_netns netns = { .fd = -1 };
	struct stat st;

	if (packet->fds_count == 0)
		return netns;
	netns.fd = packet->fds[0];
	if (fstat(netns.fd, &st) == 0) {
		netns.dev = (uint64_t)st.st_dev;
		netns.ino = (uint64_t)st.st_ino;
	}
	return netns;
}

/* False: the connection is no more. */
static bool handle(struct zds_link *link, struct packet *packet)
{
	const char *why = read_packet(packet, &link->request);
	struct zds_answer answer = { .reconnect = true };
	uint8_t bytes[ZDS_PACKET_MAX];
	int err;

	if (why)
		snprintf(answer.error, sizeof(answer.error), "%s", why);
	else
		zds_handle(&link->pods, &link->request, netns_of(packet), &answer);
	err = send_packet(link, bytes, zds_encode_ack(answer.error, bytes));
	if (*answer.error)
		log_warn("message of istio-cni refused", "path=%s: %s", link->options.path,
		         answer.error);
	if (link->pods.phase == ZDS_LISTED)
		link->wait_ms = 0;
	if (link->pods.pending && !hb_timer_is_running(&link->retry))
		hb_loop_timer_start(link->loop, &link->retry, ZDS_RETRY_MS);
	if (err == 0 && !answer.reconnect) {
		tell_change(link);
		return true;
	}
	reconnect(link, err < 0 ? hb_strerror(err) : "out of step");
	return false;
}

static void on_closed(struct hb_task *task)
{
	struct zds_link *link = hb_container_of(task, struct zds_link, closed);

	link->on_closed(link->options.owner);
}

static void finish_close(struct zds_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
	zds_disconnected(&link->pods);
	hb_loop_defer(link->loop, &link->closed);
}

static void on_readable(struct hb_op *op, int res)
{
	struct zds_link *link = hb_container_of(op, struct zds_link, readable);
	struct packet packet;
	ssize_t n = res;

	if (link->on_closed) {
		finish_close(link);
		return;
	}
	for (int i = 0; res >= 0 && i < PACKETS_PER_TURN; i++) {
		n = receive(link, &packet);
		if (n <= 0)
			break;
		if (!handle(link, &packet))
			return;
	}
	if (n > 0 || n == -EAGAIN || n == -EINTR)
		hb_loop_poll(link->loop, op, link->fd, POLLIN);
	else
		reconnect(link, n == 0 ? "it was closed" : hb_strerror((int)n));
}

/* A connected socket, or -errno. */
static int dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int open_connection(struct zds_link *link)
{
	uint8_t bytes[ZDS_PACKET_MAX];
	int err;

	link->fd = dial(link->options.path);
	err = link->fd < 0 ? link->fd : send_packet(link, bytes, zds_encode_hello(bytes));
	if (err < 0 && link->fd >= 0)
		close(link->fd);
	if (err < 0)
		link->fd = -1;
	return err;
}

static void on_connect(struct hb_timer *timer)
{
	struct zds_link *link = hb_container_of(timer, struct zds_link, connect);
	int err = open_connection(link);

	if (err < 0) {
		if (!link->said)
			log_warn("istio-cni is not to be reached, trying again", "path=%s: %s",
			         link->options.path, hb_strerror(err));
		link->said = true;
		wait_for(link);
		return;
	}
	link->said = false;
	log_info("connected to istio-cni", "path=%s", link->options.path);
	zds_connected(&link->pods);
	hb_loop_poll(link->loop, &link->readable, link->fd, POLLIN);
}

static void wait_for(struct zds_link *link)
{
	hb_loop_timer_start(link->loop, &link->connect, link->wait_ms);
	link->wait_ms =
	    link->wait_ms ? hb_min_u32(link->wait_ms * 2, ZDS_CONNECT_MAX_MS) : ZDS_CONNECT_MS;
}

static void on_retry(struct hb_timer *timer)
{
	struct zds_link *link = hb_container_of(timer, struct zds_link, retry);

	zds_retry(&link->pods);
	if (link->pods.pending)
		hb_loop_timer_start(link->loop, &link->retry, ZDS_RETRY_MS);
	tell_change(link);
}

struct zds_link *zds_link_new(struct hb_loop *loop, const struct zds_link_options *options)
{
	struct zds_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->loop = loop;
	link->options = *options;
	link->fd = -1;
	link->readable.done = on_readable;
	zds_init(&link->pods, options->ops, options->owner);
	hb_timer_init(&link->connect, on_connect);
	hb_timer_init(&link->retry, on_retry);
	hb_task_init(&link->closed, on_closed);
	wait_for(link);
	return link;
}

const struct zds *zds_link_pods(const struct zds_link *link)
{
	return &link->pods;
}

void zds_link_close(struct zds_link *link, void (*done)(void *owner))
{
	link->on_closed = done;
	hb_loop_timer_stop(link->loop, &link->connect);
	hb_loop_timer_stop(link->loop, &link->retry);
	if (link->readable.base.in_flight)
		hb_loop_cancel(link->loop, &link->readable);
	else
		finish_close(link);
}

void zds_link_free(struct zds_link *link)
{
	if (!link)
		return;
	hb_loop_undefer(&link->closed);
	hb_loop_timer_stop(link->loop, &link->connect);
	hb_loop_timer_stop(link->loop, &link->retry);
	if (link->fd >= 0)
		close(link->fd);
	zds_done(&link->pods);
	free(link);
}
