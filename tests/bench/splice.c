/*
 * splice: a TCP relay that never touches a byte: socket to pipe to socket, inside the kernel.
 *
 * What is left when an agent may neither read nor encrypt: the floor for two hops. One thread,
 * level-triggered epoll. A direction borrows a pipe while it has bytes; what the other side does
 * not take stays in it, and until it is gone that direction reads nothing more. Half-close is
 * passed on; an error ends both sides.
 */
#include "rules.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PIPE_BYTES  262144
#define PIPES_SPARE 64

struct flow;

struct pipe {
	int fd[2]; /* -1: none */
};

/* One socket of a flow, and the pipe with what waits to be sent on it, if anything does. */
struct side {
	struct flow *flow;
	int fd;
	struct pipe pipe;
	size_t piped_bytes;
	uint32_t watched; /* events, as the epoll set has them; 0: not in it */
	bool read_ended, finish_sent;
};

/* Freed at the end of the turn: the same turn may hold an event of the other side. */
struct flow {
	struct side near, far;
	bool connecting, over;
	struct flow *next_over;
};

static struct {
	int epoll_fd;
	struct flow *over;
	struct pipe spare[PIPES_SPARE]; /* empty ones, the last used last */
	size_t spare_count;
} relay;

static struct side *other(const struct side *side)
{
	return side == &side->flow->near ? &side->flow->far : &side->flow->near;
}

static void end(struct flow *flow)
{
	if (flow->over)
		return;
	flow->over = true;
	flow->next_over = relay.over;
	relay.over = flow;
}

static bool has_pipe(const struct side *side)
{
	return side->pipe.fd[0] >= 0;
}

static bool get_pipe(struct side *side)
{
	struct pipe pipe;

	if (has_pipe(side))
		return true;
	if (relay.spare_count) {
		side->pipe = relay.spare[--relay.spare_count];
		return true;
	}
	if (pipe2(pipe.fd, O_NONBLOCK | O_CLOEXEC) < 0)
		return false;
	/* Beyond the user's allowance it stays at 64 KiB, which works too. */
	(void)fcntl(pipe.fd[1], F_SETPIPE_SZ, PIPE_BYTES);
	side->pipe = pipe;
	return true;
}

/* Only an empty pipe may serve another flow. */
static void put_pipe(struct side *side)
{
	if (!has_pipe(side))
		return;
	if (!side->piped_bytes && relay.spare_count < PIPES_SPARE) {
		relay.spare[relay.spare_count++] = side->pipe;
	} else {
		close(side->pipe.fd[0]);
		close(side->pipe.fd[1]);
	}
	side->pipe = (struct pipe){ { -1, -1 } };
}

static void close_side(struct side *side)
{
	if (side->fd >= 0)
		close(side->fd);
	put_pipe(side);
}

static void free_ended(void)
{
	while (relay.over) {
		struct flow *flow = relay.over;

		relay.over = flow->next_over;
		close_side(&flow->near);
		close_side(&flow->far);
		free(flow);
	}
}

/* With nothing to wait for a side leaves the set, where EPOLLHUP would be told for ever. */
static void update_interest(struct side *side)
{
	struct epoll_event event = { .data.ptr = side };
	int op = EPOLL_CTL_MOD;

	if (side->flow->connecting)
		event.events = side == &side->flow->far ? EPOLLOUT : 0;
	else
		event.events = (side->piped_bytes ? EPOLLOUT : 0u) |
		               (!side->read_ended && !other(side)->piped_bytes ? EPOLLIN : 0u);
	if (event.events == side->watched)
		return;
	if (!side->watched)
		op = EPOLL_CTL_ADD;
	else if (!event.events)
		op = EPOLL_CTL_DEL;
	side->watched = event.events;
	if (epoll_ctl(relay.epoll_fd, op, side->fd, &event) < 0)
		end(side->flow);
}

/* Sends what the pipe of @side holds, and passes the end on once it is empty. */
static void flush(struct side *side)
{
	struct side *from = other(side);

	while (side->piped_bytes) {
		ssize_t sent = splice(side->pipe.fd[0], NULL, side->fd, NULL, side->piped_bytes,
		                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent <= 0) {
			end(side->flow);
			return;
		}
		side->piped_bytes -= (size_t)sent;
	}
	if (!side->piped_bytes)
		put_pipe(side);
	if (!side->piped_bytes && from->read_ended && !side->finish_sent) {
		(void)shutdown(side->fd, SHUT_WR); /* fails only when it is gone already */
		side->finish_sent = true;
		if (from->finish_sent)
			end(side->flow);
	}
}

static void on_readable(struct side *side)
{
	struct side *to = other(side);
	ssize_t got;

	if (!get_pipe(to)) {
		end(side->flow);
		return;
	}
	got = splice(side->fd, NULL, to->pipe.fd[1], NULL, PIPE_BYTES,
	             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (got < 0) {
		if (errno != EAGAIN)
			end(side->flow);
		else
			put_pipe(to);
		return;
	}
	if (got == 0)
		side->read_ended = true;
	to->piped_bytes += (size_t)got;
	flush(to);
}

static void on_side(void *data, uint32_t events)
{
	struct side *side = data;
	struct flow *flow = side->flow;

	if (flow->over)
		return;
	if (flow->connecting) {
		flow->connecting = false;
		if (net_dialled(flow->far.fd) < 0)
			end(flow);
	} else {
		if (events & EPOLLOUT)
			flush(side);
		if (!flow->over && !other(side)->piped_bytes && (events & ~(uint32_t)EPOLLOUT))
			on_readable(side);
	}
	if (flow->over)
		return;
	update_interest(&flow->near);
	update_interest(&flow->far);
}

static void flow_start(const struct rule *rule, int near_fd)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow) {
		close(near_fd);
		return;
	}
	flow->near = (struct side){ .flow = flow, .fd = near_fd, .pipe = { { -1, -1 } } };
	flow->far =
	    (struct side){ .flow = flow, .fd = net_dial(&rule->to), .pipe = { { -1, -1 } } };
	flow->connecting = true;
	if (flow->far.fd < 0)
		end(flow);
	else
		update_interest(&flow->far);
}

int main(int argc, char **argv)
{
	static const struct rules_relay self = { flow_start, on_side, free_ended };

	/* splice() has no MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	relay.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return relay.epoll_fd < 0 ? 1 : rules_serve(argc, argv, relay.epoll_fd, &self);
}
