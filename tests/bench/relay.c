/*
 * relay: the simplest TCP relay that is correct: what a hop costs when nothing is done to a byte.
 *
 * One thread, level-triggered epoll, one scratch buffer of 64 KiB for all: recv, then send. What
 * the other side does not take is kept, and until it is gone that direction reads nothing more.
 * An idle connection owns no buffer. Half-close is passed on; an error ends both sides.
 */
#include "rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SCRATCH_BYTES 65536

struct flow;

/* One of the two sockets of a flow, and the bytes that wait to be sent on it. */
struct side {
	struct flow *flow;
	int fd;
	bool connecting;
	bool watched;     /* in the epoll set */
	bool read_ended;  /* its peer has finished, or we wait to pass that on */
	bool finish_sent; /* shutdown(SHUT_WR) done */
	char *kept;
	size_t kept_len, kept_sent;
};

/*
 * Freed at the end of the turn: the same turn may hold an event of the other side.
 * Over when both sides have read their end and passed it on, or at the first error.
 */
struct flow {
	struct side near, far;
	bool over;
	struct flow *next_over;
};

static struct {
	int epoll_fd;
	struct flow *over;
	char scratch[SCRATCH_BYTES];
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

static void free_ended(void)
{
	while (relay.over) {
		struct flow *flow = relay.over;

		relay.over = flow->next_over;
		close(flow->near.fd);
		close(flow->far.fd);
		free(flow->near.kept);
		free(flow->far.kept);
		free(flow);
	}
}

/*
 * Reads unless its bytes have nowhere to go; wants to write when something is kept for it. With
 * neither it leaves the epoll set: there EPOLLHUP would be told again and again, while bytes that
 * came before it are still to be read.
 */
static void update_interest(struct side *side)
{
	struct epoll_event event = { .data.ptr = side };
	const struct side *peer = other(side);
	int op = side->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (!side->connecting && !side->read_ended && !peer->connecting && !peer->kept)
		event.events |= EPOLLIN;
	if (side->connecting || side->kept)
		event.events |= EPOLLOUT;
	if (!event.events) {
		if (!side->watched)
			return;
		op = EPOLL_CTL_DEL;
	}
	if (epoll_ctl(relay.epoll_fd, op, side->fd, &event) < 0)
		end(side->flow);
	side->watched = op != EPOLL_CTL_DEL;
}

/* Passes the peer's end on, once all before it is sent. */
static void pass_finish(struct side *side)
{
	struct side *peer = other(side);

	if (!peer->read_ended || side->kept || side->finish_sent)
		return;
	(void)shutdown(side->fd, SHUT_WR); /* fails only when the connection is gone already */
	side->finish_sent = true;
	if (peer->finish_sent)
		end(side->flow);
}

static bool keep(struct side *side, const char *data, size_t len)
{
	side->kept = malloc(len);
	if (!side->kept)
		return false;
	memcpy(side->kept, data, len);
	side->kept_len = len;
	side->kept_sent = 0;
	update_interest(side);
	update_interest(other(side));
	return true;
}

static void on_readable(struct side *side)
{
	struct side *to = other(side);
	ssize_t got = recv(side->fd, relay.scratch, sizeof(relay.scratch), 0), sent;

	if (got < 0) {
		if (errno != EAGAIN)
			end(side->flow);
		return;
	}
	if (got == 0) {
		side->read_ended = true;
		update_interest(side);
		pass_finish(to);
		return;
	}
	sent = send(to->fd, relay.scratch, (size_t)got, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN) {
		end(side->flow);
		return;
	}
	if (sent < 0)
		sent = 0;
	if (sent < got && !keep(to, relay.scratch + sent, (size_t)(got - sent)))
		end(side->flow);
}

static void on_writable(struct side *side)
{
	ssize_t sent;

	if (side->connecting) {
		if (net_dialled(side->fd) < 0) {
			end(side->flow);
			return;
		}
		side->connecting = false;
		update_interest(side);
		update_interest(other(side));
		return;
	}
	if (!side->kept)
		return;
	sent = send(side->fd, side->kept + side->kept_sent, side->kept_len - side->kept_sent,
	            MSG_NOSIGNAL);
	if (sent < 0) {
		if (errno != EAGAIN)
			end(side->flow);
		return;
	}
	side->kept_sent += (size_t)sent;
	if (side->kept_sent < side->kept_len)
		return;
	free(side->kept);
	side->kept = NULL;
	update_interest(side);
	update_interest(other(side));
	pass_finish(side);
}

static void on_side(void *data, uint32_t events)
{
	struct side *side = data;

	if (!side->flow->over && (events & EPOLLOUT))
		on_writable(side);
	if (!side->flow->over && !side->connecting && (events & EPOLLIN))
		on_readable(side);
	/* An error comes with one of the two; should it not, it must not be told for ever. */
	if (!side->flow->over && !(events & (EPOLLIN | EPOLLOUT)))
		end(side->flow);
}

static void flow_start(const struct rule *rule, int near_fd)
{
	struct flow *flow = calloc(1, sizeof(*flow));
	int far_fd = flow ? net_dial(&rule->to) : -ENOMEM;

	if (far_fd < 0) {
		close(near_fd);
		free(flow);
		return;
	}
	flow->near = (struct side){ .flow = flow, .fd = near_fd };
	flow->far = (struct side){ .flow = flow, .fd = far_fd, .connecting = true };
	update_interest(&flow->far); /* near follows once far is connected */
}

int main(int argc, char **argv)
{
	static const struct rules_relay self = { flow_start, on_side, free_ended };

	relay.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return relay.epoll_fd < 0 ? 1 : rules_serve(argc, argv, relay.epoll_fd, &self);
}
