/*
 * loop_epoll: the epoll backend: operations as system calls of our own, tried when they are asked
 * for and again when the kernel says that something has changed.
 *
 *   connect, sendmsg   tried --no room--> on the watch --writable--> tried ...
 *   poll               on the watch, unless it is so already
 *   receiver, accept   on the watch --readable--> run: reads or accepts in tell()
 *
 * What has ended, and who is to run, stands in `ended` and `ready` until tell() comes round; so no
 * callback runs inside the call, and none while events are sorted.
 *
 * Events are edges, so each must leave a trace: for a receiver it is is_dry, which only a read
 * that took all sets; an accept runs until the kernel has no more; a send that found no room makes
 * the kernel tell when there is some.
 */
#include "loop_epoll.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "buf_internal.h"

#define EVENTS_PER_TURN  256
#define ACCEPTS_PER_TURN HB_ACCEPTS_PER_TURN
#define WAKE             UINT64_MAX /* data of wake_fd's events */

/* --- birth and end --- */

static int epoll_open(struct hb_loop *loop, unsigned entries, size_t slots_max,
                      const char **ret_why)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = WAKE };
	struct hb_epoll *epoll = loop->epoll = calloc(1, sizeof(*epoll));

	(void)entries;
	(void)slots_max;
	*ret_why = "epoll could not be set up";
	if (!epoll)
		return -ENOMEM;
	epoll->slabs = loop->slabs;
	hb_list_init(&epoll->ended);
	hb_list_init(&epoll->ready);
	epoll->fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll->fd < 0 || epoll_ctl(epoll->fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0)
		return -errno;
	return 0;
}

static void epoll_close(struct hb_loop *loop)
{
	struct hb_epoll *epoll = loop->epoll;

	if (!epoll)
		return;
	hb_watch_free_all(epoll);
	hb_close_fd(&epoll->fd);
	free(hb_take(&loop->epoll));
}

static int epoll_start(struct hb_loop *loop)
{
	(void)loop; /* no thread owns it */
	return 0;
}

/* --- operations --- */

/* @res goes to the op's callback when the loop comes to it. */
static void end_op(struct hb_epoll *epoll, struct hb_op_base *op, int res)
{
	hb_list_remove(&op->node);
	if (op->kind == HB_OP_RECV)
		op->events = (short)res; /* it keeps its descriptor */
	else
		op->value = res;
	if (op->kind == HB_OP_RECV || op->kind == HB_OP_ACCEPT) {
		hb_list_add(&epoll->ready, &op->node);
	} else {
		hb_list_add(&epoll->ended, &op->node);
		op->kind = HB_OP_ENDED;
	}
}

/* A receiver or an accept: there is something to run for. */
static void set_ready(struct hb_epoll *epoll, struct hb_op_base *op)
{
	if (op->in_flight && hb_list_is_empty(&op->node))
		end_op(epoll, op, 0);
}

static void wait_for_room(struct hb_loop *loop, struct hb_op *op, const struct msghdr *msg)
{
	struct hb_watch *watch;
	bool is_new;
	int r = hb_watch_get(loop->epoll, op->base.value, &watch, &is_new);

	if (r < 0) {
		end_op(loop->epoll, &op->base, r);
		return;
	}
	assert(!watch->out); /* one at a time */
	watch->out = op;
	watch->msg = msg;
}

static void epoll_connect(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
                          socklen_t len)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) ||
	    (connect(fd, sa, len) < 0 && errno != EINPROGRESS))
		end_op(loop->epoll, &op->base, -errno);
	else
		wait_for_room(loop, op, NULL);
}

/* -EAGAIN when there is no room. */
static int try_send(int fd, const struct msghdr *msg)
{
	ssize_t r;

	do
		r = sendmsg(fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

static void epoll_sendmsg(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg)
{
	int r = try_send(fd, msg);

	if (r == -EAGAIN)
		wait_for_room(loop, op, msg);
	else
		end_op(loop->epoll, &op->base, r);
}

static void epoll_poll(struct hb_loop *loop, struct hb_op *op, int fd, short events)
{
	struct pollfd now = { .fd = fd, .events = events };
	struct hb_watch *watch;
	bool is_new;
	int r;

	/* What is so already is no edge. */
	if (poll(&now, 1, 0) > 0) {
		end_op(loop->epoll, &op->base, now.revents & POLLNVAL ? -EBADF : now.revents);
		return;
	}
	r = hb_watch_get(loop->epoll, fd, &watch, &is_new);
	if (r < 0) {
		end_op(loop->epoll, &op->base, r);
		return;
	}
	op->base.events = events;
	hb_list_add(&watch->polls, &op->base.node);
}

static void epoll_accept(struct hb_accept *accept)
{
	struct hb_epoll *epoll = accept->loop->epoll;
	int flags = fcntl(accept->fd, F_GETFL);
	struct hb_watch *watch;
	bool is_new;
	int r;

	if (flags < 0 ||
	    (!(flags & O_NONBLOCK) && fcntl(accept->fd, F_SETFL, flags | O_NONBLOCK) < 0))
		r = -errno;
	else
		r = hb_watch_get(epoll, accept->fd, &watch, &is_new);
	if (r < 0) {
		end_op(epoll, &accept->op.base, r);
		return;
	}
	assert(!watch->accept);
	watch->accept = accept;
	if (!is_new)
		set_ready(epoll, &accept->op.base);
}

static void end_accept(struct hb_accept *accept)
{
	struct hb_epoll *epoll = accept->loop->epoll;
	struct hb_watch *watch = hb_watch_lookup(epoll, accept->fd);

	watch->accept = NULL;
	hb_watch_put(epoll, watch);
}

static void epoll_cancel(struct hb_loop *loop, struct hb_op *op)
{
	struct hb_epoll *epoll = loop->epoll;
	struct hb_watch *watch;

	if (op->base.kind == HB_OP_ENDED || op->base.value < 0)
		return;
	if (op->base.kind == HB_OP_ACCEPT) {
		end_accept(hb_container_of(op, struct hb_accept, op));
		end_op(epoll, &op->base, -ECANCELED);
		return;
	}
	watch = hb_watch_lookup(epoll, op->base.value);
	if (op->base.kind != HB_OP_POLL)
		watch->out = NULL;
	end_op(epoll, &op->base, -ECANCELED); /* off the watch's polls */
	hb_watch_put(epoll, watch);
}

/* --- receivers --- */

static void epoll_arm(struct hb_loop *loop, struct hb_recv *recv)
{
	struct hb_epoll *epoll = loop->epoll;
	bool is_new;
	int r = hb_watch_recv(epoll, recv, &is_new);

	if (r < 0) {
		end_op(epoll, &recv->op, r);
		return;
	}
	/* What is there already, the kernel reports of a new watch only. */
	if (is_new)
		recv->is_dry = true;
	if (!recv->is_dry)
		set_ready(epoll, &recv->op);
}

static bool epoll_disarm(struct hb_loop *loop, struct hb_recv *recv)
{
	(void)loop;
	hb_list_remove(&recv->op.node);
	return true;
}

static void epoll_forget(struct hb_loop *loop, struct hb_recv *recv)
{
	hb_watch_forget(loop->epoll, recv);
}

static unsigned epoll_slots(struct hb_loop *loop)
{
	struct hb_buf *buf = hb_buf_new(loop->pool);

	/* Asked by trying: it may be memory that is short, and not the bound. */
	if (!buf)
		return 0;
	hb_buf_free(buf);
	return (unsigned)hb_min_size(hb_buf_pool_room(loop->pool), UINT_MAX);
}

/* --- events --- */

/* What a connect that has been waiting has come to; -EAGAIN: it goes on. */
static int connect_result(int fd, uint32_t events)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	if (error)
		return -error;
	/* Neither connected nor refused: somebody has shut it down. */
	return events & EPOLLOUT ? 0 : -ECONNABORTED;
}

static void try_out(struct hb_epoll *epoll, struct hb_watch *watch, uint32_t events)
{
	struct hb_op *op = watch->out;
	int r = watch->msg ? try_send(watch->fd, watch->msg) : connect_result(watch->fd, events);

	if (r == -EAGAIN)
		return;
	watch->out = NULL;
	end_op(epoll, &op->base, r);
}

static void tell_polls(struct hb_epoll *epoll, struct hb_watch *watch, uint32_t events)
{
	hb_list_for_each_safe (node, &watch->polls) {
		struct hb_op_base *op = hb_container_of(node, struct hb_op_base, node);
		int res = (int)(events & ((unsigned short)op->events | EPOLLERR | EPOLLHUP));

		if (res)
			end_op(epoll, op, res);
	}
}

#define BAD (EPOLLERR | EPOLLHUP)
/* An end that came with data has no edge of its own, and urgent data cuts reads short: from then on
 * only a read that finds nothing is the last. */
#define ENDS (BAD | EPOLLRDHUP | EPOLLPRI)

static void wake_receiver(struct hb_epoll *epoll, struct hb_recv *recv, uint32_t events)
{
	if (events & ENDS)
		recv->ends = true;
	if (!(events & (ENDS | EPOLLIN)))
		return;
	recv->is_dry = false;
	set_ready(epoll, &recv->op);
}

static void on_event(struct hb_epoll *epoll, struct hb_watch *watch, uint32_t events)
{
	if (events & ENDS)
		watch->ends = true;
	if (watch->recv)
		wake_receiver(epoll, watch->recv, events);
	if (watch->accept && (events & (BAD | EPOLLIN)))
		set_ready(epoll, &watch->accept->op.base);
	if (watch->out && (events & (BAD | EPOLLOUT)))
		try_out(epoll, watch, events);
	tell_polls(epoll, watch, events);
	hb_watch_put(epoll, watch);
}

static int wait_for_events(struct hb_loop *loop, int wait_ms)
{
	struct hb_epoll *epoll = loop->epoll;
	struct epoll_event events[EVENTS_PER_TURN];
	int n = epoll_wait(epoll->fd, events, EVENTS_PER_TURN, wait_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct hb_watch *watch;
		struct hb_recv *alone;
		eventfd_t count;

		if (events[i].data.u64 == WAKE) {
			(void)eventfd_read(loop->wake_fd, &count); /* only to silence it */
			continue;
		}
		hb_watch_of_event(epoll, events[i].data.u64, &watch, &alone);
		if (watch)
			on_event(epoll, watch, events[i].events);
		else if (alone)
			wake_receiver(epoll, alone, events[i].events);
	}
	return 0;
}

static int epoll_wait_turn(struct hb_loop *loop, uint64_t wait_ms)
{
	struct hb_epoll *epoll = loop->epoll;
	bool some = !hb_list_is_empty(&epoll->ended) || !hb_list_is_empty(&epoll->ready);

	/* Sends that the turn before made have mostly ended. Telling so costs no system call of its
	 * own; every other turn, so that the rest of the world is heard. */
	epoll->told_without_wait = some && !epoll->told_without_wait;
	if (epoll->told_without_wait)
		return 0;
	if (some)
		wait_ms = 0;
	if (wait_ms == UINT64_MAX)
		return wait_for_events(loop, -1);
	return wait_for_events(loop, (int)hb_min_size(wait_ms, INT_MAX));
}

static void epoll_trim(struct hb_loop *loop)
{
	hb_watch_trim(loop->epoll);
}

static int epoll_submit(struct hb_loop *loop)
{
	(void)loop; /* all has been tried at once */
	return 0;
}

/* --- telling --- */

static void run_accept(struct hb_accept *accept)
{
	struct hb_op_base *op = &accept->op.base;

	/* Negative: cancelled by the callback. */
	for (int i = 0; i < ACCEPTS_PER_TURN && op->value >= 0; i++) {
		int fd = accept4(accept->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) {
			fd = -errno;
			end_accept(accept);
			hb_op_end(accept->loop, op);
			hb_accept_on_done(accept, fd, false);
			return;
		}
		hb_accept_on_done(accept, fd, true);
	}
	if (op->value >= 0)
		set_ready(accept->loop->epoll, op); /* there may be more */
}

static void tell_ready(struct hb_loop *loop, struct hb_op_base *op)
{
	struct hb_accept *accept = hb_container_of(op, struct hb_accept, op.base);
	struct hb_recv *recv = hb_container_of(op, struct hb_recv, op);
	int error = op->kind == HB_OP_RECV ? op->events : op->value;

	if (op->kind == HB_OP_ACCEPT && error == 0) {
		run_accept(accept); /* goes on */
		return;
	}
	hb_op_end(loop, op);
	if (op->kind == HB_OP_ACCEPT)
		hb_accept_on_done(accept, error, false);
	else if (error < 0)
		hb_recv_on_done(loop, recv, NULL, error);
	else
		hb_recv_on_readable(loop, recv);
}

static void epoll_tell_ended(struct hb_loop *loop)
{
	struct hb_list now = HB_LIST_INIT(now);
	struct hb_list *node;

	hb_list_move(&now, &loop->epoll->ended);
	while ((node = hb_list_shift(&now))) {
		struct hb_op *op = hb_container_of(node, struct hb_op, base.node);

		hb_op_end(loop, &op->base);
		op->done(op, op->base.value);
	}
}

static void epoll_tell(struct hb_loop *loop)
{
	struct hb_list now = HB_LIST_INIT(now);
	struct hb_list *node;

	epoll_tell_ended(loop);
	hb_list_move(&now, &loop->epoll->ready);
	while ((node = hb_list_shift(&now))) {
		tell_ready(loop, hb_container_of(node, struct hb_op_base, node));
		hb_loop_pass_on(loop);
	}
}

const struct hb_backend hb_backend_epoll = {
	.name = "epoll",
	.open = epoll_open,
	.close = epoll_close,
	.start = epoll_start,
	.connect = epoll_connect,
	.sendmsg = epoll_sendmsg,
	.poll = epoll_poll,
	.cancel = epoll_cancel,
	.accept = epoll_accept,
	.arm = epoll_arm,
	.disarm = epoll_disarm,
	.disarms_at_once = true,
	.forget = epoll_forget,
	.slots = epoll_slots,
	.trim = epoll_trim,
	.submit = epoll_submit,
	.wait = epoll_wait_turn,
	.tell = epoll_tell,
	.tell_ended = epoll_tell_ended,
};
