/*
 * load_open: an open loop: messages go out at times that are set beforehand, whether or not the
 * echoes of those before have come, and each is counted from the time at which it was due.
 *
 * So an agent that stalls does not stall the clock too, and what queues up behind the stall is
 * counted with it. Message number n of all belongs to connection n modulo their count.
 */
#include "load.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EVENTS_TURN 256
#define CONNS_MAX   1024
/* To open everything, and at the end for the last echoes. */
#define OPEN_NS  60000000000ull
#define DRAIN_NS 10000000000ull

struct conn {
	int fd;
	uint64_t sent_bytes, got_bytes;
	bool connecting, blocked; /* blocked: waits for room to send */
};

struct open_loop {
	const struct load_client_options *options;
	int epoll_fd;
	struct conn conns[CONNS_MAX];
	unsigned int connecting;
	uint64_t base_ns;     /* when the first message is due */
	double interval_ns;   /* between two of all connections */
	uint64_t messages;    /* due in all, in the warm-up too */
	uint64_t warm;        /* of them, before the window */
	uint64_t due, echoed; /* so far */
	struct hist hist;
	char message[LOAD_MESSAGE_MAX], echo[LOAD_MESSAGE_MAX];
};

static uint64_t due_ns(const struct open_loop *loop, uint64_t number)
{
	return loop->base_ns + (uint64_t)((double)number * loop->interval_ns);
}

static int watch(struct open_loop *loop, int op, struct conn *conn, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = conn };

	return epoll_ctl(loop->epoll_fd, op, conn->fd, &event) < 0 ? -errno : 0;
}

/* Each message is led by its number on the connection, so that a stale or lost echo is seen. */
static void number_message(struct open_loop *loop, uint64_t number)
{
	uint32_t sequence = (uint32_t)number;

	memcpy(loop->message, &sequence, sizeof(sequence));
}

static int send_due(struct open_loop *loop, struct conn *conn)
{
	size_t size = loop->options->size, index = (size_t)(conn - loop->conns);
	unsigned int conns = loop->options->conns;
	uint64_t count = loop->due > index ? (loop->due - index - 1) / conns + 1 : 0;

	while (conn->sent_bytes < count * size) {
		size_t offset = conn->sent_bytes % size;
		ssize_t sent;

		number_message(loop, conn->sent_bytes / size);
		sent = send(conn->fd, loop->message + offset, size - offset, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN)
			return -errno;
		if (sent < 0) {
			if (conn->blocked)
				return 0;
			conn->blocked = true;
			return watch(loop, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLOUT);
		}
		conn->sent_bytes += (uint64_t)sent;
	}
	if (!conn->blocked)
		return 0;
	conn->blocked = false;
	return watch(loop, EPOLL_CTL_MOD, conn, EPOLLIN);
}

static void count_one(struct open_loop *loop, const struct conn *conn)
{
	size_t index = (size_t)(conn - loop->conns);
	uint64_t on_conn = conn->got_bytes / loop->options->size - 1;
	uint64_t number = on_conn * loop->options->conns + index;

	loop->echoed++;
	if (number >= loop->warm)
		hist_add(&loop->hist, now_ns() - due_ns(loop, number));
}

static int take_echoes(struct open_loop *loop, struct conn *conn)
{
	size_t size = loop->options->size;

	for (;;) {
		size_t offset = conn->got_bytes % size;
		ssize_t got = recv(conn->fd, loop->echo, size - offset, 0);

		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (got == 0)
			return -ECONNRESET;
		number_message(loop, conn->got_bytes / size);
		if (memcmp(loop->message + offset, loop->echo, (size_t)got) != 0)
			return -EBADMSG;
		conn->got_bytes += (uint64_t)got;
		if (conn->got_bytes % size == 0)
			count_one(loop, conn);
	}
}

static int on_event(struct open_loop *loop, struct conn *conn, uint32_t events)
{
	int err = 0;

	if (conn->connecting) {
		err = net_dialled(conn->fd);
		if (err)
			return err;
		conn->connecting = false;
		loop->connecting--;
		return watch(loop, EPOLL_CTL_MOD, conn, EPOLLIN);
	}
	if (events & ~(uint32_t)EPOLLOUT)
		err = take_echoes(loop, conn);
	return err ? err : send_due(loop, conn);
}

/* Until an event or @until_ns, to the microsecond and not the millisecond. */
static int turn(struct open_loop *loop, uint64_t until_ns)
{
	struct epoll_event events[EVENTS_TURN];
	uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
	struct timespec timeout = { .tv_sec = (time_t)(left / 1000000000),
		                    .tv_nsec = (long)(left % 1000000000) };
	int count = epoll_pwait2(loop->epoll_fd, events, EVENTS_TURN, &timeout, NULL);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		int err = on_event(loop, events[i].data.ptr, events[i].events);

		if (err)
			return err;
	}
	return 0;
}

static int open_all(struct open_loop *loop)
{
	uint64_t deadline_ns = now_ns() + OPEN_NS;
	int err = 0;

	for (unsigned int i = 0; !err && i < loop->options->conns; i++) {
		struct conn *conn = &loop->conns[i];
		int fd = net_dial(&loop->options->to);

		if (fd < 0)
			return fd;
		*conn = (struct conn){ .fd = fd, .connecting = true };
		loop->connecting++;
		err = watch(loop, EPOLL_CTL_ADD, conn, EPOLLOUT);
	}
	while (!err && loop->connecting)
		err = now_ns() < deadline_ns ? turn(loop, deadline_ns) : -ETIMEDOUT;
	return err;
}

/* All messages up to number @end, each when it is due; then until @end is due itself. */
static int send_until(struct open_loop *loop, uint64_t end)
{
	int err = 0;

	while (!err && now_ns() < due_ns(loop, end)) {
		while (!err && loop->due < end && due_ns(loop, loop->due) <= now_ns()) {
			struct conn *conn = &loop->conns[loop->due % loop->options->conns];

			loop->due++;
			err = send_due(loop, conn);
		}
		if (!err)
			err = turn(loop, due_ns(loop, loop->due < end ? loop->due : end));
	}
	return err;
}

static int drain(struct open_loop *loop)
{
	uint64_t deadline_ns = now_ns() + DRAIN_NS;
	int err = 0;

	while (!err && loop->due < loop->messages)
		err = send_due(loop, &loop->conns[loop->due++ % loop->options->conns]);
	while (!err && loop->echoed < loop->messages)
		err = now_ns() < deadline_ns ? turn(loop, deadline_ns) : -ETIMEDOUT;
	return err;
}

static int run(struct open_loop *loop, struct measure_sample *begin, struct measure_sample *end)
{
	const struct load_client_options *options = loop->options;
	int err = open_all(loop);

	loop->interval_ns = 1e9 / options->rate;
	loop->warm = (uint64_t)(options->warm * options->rate);
	loop->messages = loop->warm + (uint64_t)(options->seconds * options->rate);
	loop->base_ns = now_ns();
	if (!err)
		err = send_until(loop, loop->warm);
	if (!err)
		err = measure_take(&options->measure, begin);
	if (!err)
		err = send_until(loop, loop->messages);
	if (!err)
		err = measure_take(&options->measure, end);
	return err ? err : drain(loop);
}

static void print_result(const struct open_loop *loop, const struct measure_sample *begin,
                         const struct measure_sample *end)
{
	double seconds = measure_seconds(begin, end);

	printf("mode=open conns=%u seconds=%.4f done=%llu rate=%.2f p50_us=%.2f p99_us=%.2f "
	       "p999_us=%.2f",
	       loop->options->conns, seconds, (unsigned long long)loop->hist.count,
	       (double)loop->hist.count / seconds, hist_percentile(&loop->hist, 50) / 1e3,
	       hist_percentile(&loop->hist, 99) / 1e3, hist_percentile(&loop->hist, 99.9) / 1e3);
	measure_print_cost(begin, end);
}

int load_open(const struct load_client_options *options)
{
	static struct open_loop loop;
	struct measure_sample begin, end;
	int err;

	if (options->conns > CONNS_MAX) {
		fprintf(stderr, "load open: at most %u connections\n", CONNS_MAX);
		return 1;
	}
	/* The kernel's leeway of 50 us for timers would be counted as latency. */
	(void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	loop.options = options;
	for (size_t i = 0; i < sizeof(loop.message); i++)
		loop.message[i] = (char)(i * 31);
	loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = loop.epoll_fd < 0 ? -errno : run(&loop, &begin, &end);
	if (err)
		fprintf(stderr, "load open: %s (%llu of %llu messages echoed)\n",
		        err == -EBADMSG ? "an echo differs from what was sent" : strerror(-err),
		        (unsigned long long)loop.echoed, (unsigned long long)loop.messages);
	else
		print_result(&loop, &begin, &end);
	return err ? 1 : 0;
}
