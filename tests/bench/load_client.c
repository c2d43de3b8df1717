/*
 * load_client: the near end: bulk both ways, ping-pong, short connections, idle connections.
 *
 * A window counts from the end of the warm-up for the asked seconds; what is in flight at its
 * edges belongs to the side on which it ends.
 */
#include "load.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_TURN 256
/* In the loop of short connections failures are counted; so many mean that nothing works. */
#define ERRORS_MAX 1000
/* To open everything, on top of the warm-up; a pair that is slower than this is not usable. */
#define OPEN_S 60
/* Dials in flight at once when idle connections are opened. */
#define OPENERS 32

enum phase { PHASE_OPENING, PHASE_WARM, PHASE_COUNTED, PHASE_OVER };

struct conn {
	int fd;          /* -1: none */
	bool connecting; /* its connect is on its way */
	bool done;       /* LOAD_HOLD: echoed once, idle since */
	uint64_t asked_ns;
	uint32_t sequence; /* leads each message, so that a stale or foreign echo is seen */
	size_t got;        /* of the echo */
};

struct client {
	const struct load_client_options *options;
	int epoll_fd;
	struct conn *conns;
	unsigned int dialled; /* of conns, so far */
	unsigned int open;    /* connected, and in LOAD_HOLD echoed */
	enum phase phase;
	uint64_t phase_ends_ns;
	uint64_t done, errors; /* round trips or short connections in the window; failures */
	struct hist hist;
	struct measure_sample begin, end;
	char message[LOAD_MESSAGE_MAX], echo[LOAD_MESSAGE_MAX];
	char bulk[LOAD_BULK_BYTES], pulled[LOAD_READ_BYTES];
	struct measure_far near; /* LOAD_PULL: what arrived here */
	struct measure measure;  /* the options', with ours in the place of the far end's */
};

static const char *const mode_names[] = { [LOAD_BULK] = "bulk",
	                                  [LOAD_PULL] = "pull",
	                                  [LOAD_PINGPONG] = "pingpong",
	                                  [LOAD_CONNECT] = "connect",
	                                  [LOAD_HOLD] = "hold" };

static int watch(struct client *client, int op, struct conn *conn, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = conn };

	return epoll_ctl(client->epoll_fd, op, conn->fd, &event) < 0 ? -errno : 0;
}

static void conn_close(struct conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

static int conn_dial(struct client *client, struct conn *conn)
{
	int fd = net_dial(&client->options->to);

	if (fd < 0)
		return fd;
	conn->fd = fd;
	conn->connecting = true;
	conn->got = 0;
	return watch(client, EPOLL_CTL_ADD, conn, EPOLLOUT);
}

static int dial_next(struct client *client)
{
	struct conn *conn = &client->conns[client->dialled++];

	conn->asked_ns = now_ns();
	return conn_dial(client, conn);
}

/* Only one message is on its way, so a socket that does not take it whole is broken. */
static int ask(struct client *client, struct conn *conn)
{
	size_t size = client->options->size;
	ssize_t sent;

	conn->sequence++;
	conn->got = 0;
	memcpy(client->message, &conn->sequence, sizeof(conn->sequence));
	sent = send(conn->fd, client->message, size, MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	return (size_t)sent == size ? 0 : -EMSGSIZE;
}

static bool echo_is_right(struct client *client, const struct conn *conn, size_t at, size_t len)
{
	memcpy(client->message, &conn->sequence, sizeof(conn->sequence));
	return memcmp(client->message + at, client->echo, len) == 0;
}

/* 1 when the echo is whole, 0 when more must come, or -errno. */
static int take_echo(struct client *client, struct conn *conn)
{
	ssize_t got = recv(conn->fd, client->echo, client->options->size - conn->got, 0);

	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (got == 0)
		return -ECONNRESET;
	if (!echo_is_right(client, conn, conn->got, (size_t)got))
		return -EBADMSG;
	conn->got += (size_t)got;
	return conn->got == client->options->size;
}

static void count_one(struct client *client, const struct conn *conn, uint64_t now)
{
	if (client->phase != PHASE_COUNTED)
		return;
	hist_add(&client->hist, now - conn->asked_ns);
	client->done++;
}

static int write_bulk(struct client *client, struct conn *conn)
{
	for (int i = 0; i < LOAD_WRITES_TURN; i++) {
		ssize_t sent = send(conn->fd, client->bulk, sizeof(client->bulk), MSG_NOSIGNAL);

		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		if ((size_t)sent < sizeof(client->bulk))
			return 0;
	}
	return 0;
}

static int read_bulk(struct client *client, struct conn *conn)
{
	ssize_t got = recv(conn->fd, client->pulled, sizeof(client->pulled), 0);

	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	client->near.bytes += (uint64_t)got;
	return got ? 0 : -ECONNRESET;
}

static int on_connected(struct client *client, struct conn *conn)
{
	int err = net_dialled(conn->fd);

	if (err)
		return err;
	conn->connecting = false;
	if (client->options->mode != LOAD_HOLD)
		client->open++;
	if (client->options->mode == LOAD_BULK)
		return write_bulk(client, conn);
	err = watch(client, EPOLL_CTL_MOD, conn, EPOLLIN);
	if (err || client->options->mode == LOAD_PULL)
		return err;
	/* The latency of a short connection includes its connect; that of a ping-pong does not. */
	if (client->options->mode == LOAD_PINGPONG)
		conn->asked_ns = now_ns();
	return ask(client, conn);
}

static int on_echo(struct client *client, struct conn *conn)
{
	uint64_t now, asked_ns = conn->asked_ns;
	int got = take_echo(client, conn);

	if (got <= 0)
		return got;
	now = now_ns();
	count_one(client, conn, now);
	conn->asked_ns = now;
	switch (client->options->mode) {
	case LOAD_PINGPONG:
		return ask(client, conn);
	case LOAD_CONNECT:
		conn_close(conn);
		return conn_dial(client, conn);
	default: /* LOAD_HOLD */
		conn->done = true;
		hist_add(&client->hist, now - asked_ns);
		client->open++;
		return client->dialled < client->options->conns ? dial_next(client) : 0;
	}
}

/* Nothing may arrive on an idle connection but its end, which is a loss. */
static int on_event(struct client *client, struct conn *conn)
{
	if (conn->connecting)
		return on_connected(client, conn);
	if (conn->done)
		return -ECONNRESET;
	if (client->options->mode == LOAD_BULK)
		return write_bulk(client, conn);
	if (client->options->mode == LOAD_PULL)
		return read_bulk(client, conn);
	return on_echo(client, conn);
}

/* 0 to carry on after a failed short connection, else the error. */
static int on_failure(struct client *client, struct conn *conn, int err)
{
	if (client->options->mode != LOAD_CONNECT || ++client->errors > ERRORS_MAX)
		return err;
	conn_close(conn);
	conn->asked_ns = now_ns();
	return conn_dial(client, conn);
}

/* Opening ends when all are open; the window is two samples; a deadline bounds each phase. */
static int on_time(struct client *client)
{
	const struct load_client_options *options = client->options;
	bool is_open = client->open >= options->conns;
	uint64_t now = now_ns();
	int err;

	if (client->phase == PHASE_OPENING && is_open) {
		client->phase = options->mode == LOAD_HOLD ? PHASE_OVER : PHASE_WARM;
		client->phase_ends_ns = now + (uint64_t)(options->warm * 1e9);
	} else if (now < client->phase_ends_ns) {
		return 0;
	} else if (client->phase == PHASE_OPENING) {
		return -ETIMEDOUT;
	} else if (client->phase == PHASE_WARM) {
		err = measure_take(&client->measure, &client->begin);
		if (err)
			return err;
		client->phase = PHASE_COUNTED;
		client->phase_ends_ns = client->begin.at_ns + (uint64_t)(options->seconds * 1e9);
	} else if (client->phase == PHASE_COUNTED) {
		client->phase = PHASE_OVER;
		return measure_take(&client->measure, &client->end);
	}
	return 0;
}

static int wait_ms(const struct client *client)
{
	uint64_t now = now_ns();

	if (now >= client->phase_ends_ns)
		return 0;
	return (int)((client->phase_ends_ns - now) / 1000000) + 1;
}

static int turn(struct client *client)
{
	struct epoll_event events[EVENTS_TURN];
	int count = epoll_wait(client->epoll_fd, events, EVENTS_TURN, wait_ms(client));

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		int err = on_event(client, events[i].data.ptr);

		if (err)
			err = on_failure(client, events[i].data.ptr, err);
		if (err)
			return err;
	}
	return on_time(client);
}

static int run(struct client *client)
{
	unsigned int at_once = client->options->conns;
	int err = 0;

	if (client->options->mode == LOAD_HOLD && at_once > OPENERS)
		at_once = OPENERS;
	client->phase_ends_ns = now_ns() + OPEN_S * 1000000000ull;
	while (!err && client->dialled < at_once)
		err = dial_next(client);
	while (!err && client->phase != PHASE_OVER)
		err = turn(client);
	return err;
}

/* All stay open until the runner has read what they cost, and closes our standard input. */
static void hold(struct client *client)
{
	struct epoll_event events[EVENTS_TURN];
	char byte;
	int lost;

	printf("mode=hold conns=%u p50_us=%.2f p99_us=%.2f\n", client->open,
	       hist_percentile(&client->hist, 50) / 1e3, hist_percentile(&client->hist, 99) / 1e3);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	/* Nothing is polled while they are held: what the kernel has to say now are the losses. */
	lost = epoll_wait(client->epoll_fd, events, EVENTS_TURN, 0);
	printf("lost=%d\n", lost);
}

static void print_result(const struct client *client)
{
	const struct measure_sample *begin = &client->begin, *end = &client->end;
	double seconds = measure_seconds(begin, end);
	uint64_t bytes = end->far_bytes - begin->far_bytes;

	printf("mode=%s conns=%u seconds=%.4f", mode_names[client->options->mode],
	       client->options->conns, seconds);
	if (client->options->mode == LOAD_BULK || client->options->mode == LOAD_PULL)
		printf(" bytes=%llu gbps=%.4f", (unsigned long long)bytes,
		       (double)bytes * 8 / 1e9 / seconds);
	else
		printf(" done=%llu rate=%.2f errors=%llu p50_us=%.2f p99_us=%.2f",
		       (unsigned long long)client->done, (double)client->done / seconds,
		       (unsigned long long)client->errors, hist_percentile(&client->hist, 50) / 1e3,
		       hist_percentile(&client->hist, 99) / 1e3);
	measure_print_cost(begin, end);
}

static const char *words(int err)
{
	switch (err) {
	case -EBADMSG:
		return "an echo differs from what was sent";
	case -ETIMEDOUT:
		return "not all connections could be opened in time";
	default:
		return strerror(-err);
	}
}

int load_client(const struct load_client_options *options)
{
	static struct client client;
	int err;

	client.options = options;
	client.measure = options->measure;
	if (options->mode == LOAD_PULL)
		client.measure.far = &client.near;
	for (size_t i = 0; i < sizeof(client.message); i++)
		client.message[i] = (char)(i * 31);
	client.conns = calloc(options->conns, sizeof(*client.conns));
	client.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!client.conns || client.epoll_fd < 0) {
		fprintf(stderr, "load: %s\n", strerror(errno));
		free(client.conns);
		return 1;
	}
	for (unsigned int i = 0; i < options->conns; i++)
		client.conns[i].fd = -1;
	err = run(&client);
	if (err)
		fprintf(stderr, "load %s: %s (%u of %u connections open, %llu failures)\n",
		        mode_names[options->mode], words(err), client.open, options->conns,
		        (unsigned long long)client.errors);
	else if (options->mode == LOAD_HOLD)
		hold(&client);
	else
		print_result(&client);
	for (unsigned int i = 0; i < options->conns; i++)
		conn_close(&client.conns[i]);
	close(client.epoll_fd);
	free(client.conns);
	return err ? 1 : 0;
}
