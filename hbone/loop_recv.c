/*
 * loop_recv: receivers.
 *
 *   PAUSED --resume--> WAITING --end of turn--> ARMED --data--> told, then WAITING again; or READY,
 *     ^                   |                       |             if the data filled its slot
 *     +------pause--------+                       +--no slot--> STARVED --a slot is back--> WAITING
 *     |                                           |
 *     +---- the kernel lets go <--- UNWANTED <--pause          READY: read directly next turn
 *
 *   any --stop--> STOPPING --the kernel lets go--> STOPPED --on_stopped--> forgotten
 *
 * An op is in flight in ARMED, UNWANTED and STOPPING only. With io_uring it takes a slot of the
 * kernel's ring when data is there, so a silent receiver owns none; with epoll it tells no more
 * than that reading directly will find something. One that filled its slot is likely to have more:
 * then it is read directly, fifteen slots a turn, until it runs dry and is armed again. Single-shot
 * ops make that safe: nothing of the kernel's reads the socket at the same time.
 *
 * Everything is armed and cancelled at the end of the turn, so that what is paused and resumed
 * within one costs nothing.
 */
#include <assert.h>
#include <sys/uio.h>

#include "loop_internal.h"

/*
 * 240 KiB: what one receiver may take in one turn. What it took goes on as one send, which leaves
 * in packets of 64 KiB with all headers (on a path that segments late: each full but the last).
 * Fifteen slots, with what TLS adds, just fill four; eight made two and one of a few hundred bytes,
 * which costs what a full one does on each hop.
 */
#define SLOTS_PER_TURN 15
/* recv->held_res when no end is held. */
#define NO_END 1

enum recv_state {
	PAUSED,   /* nothing is wanted; an end was told, or is held */
	WAITING,  /* on recv_waiting: armed at the end of the turn */
	ARMED,    /* op in flight */
	READY,    /* on recv_ready: told what is held, or read directly, in the next turn */
	STARVED,  /* on recv_starved: armed when the kernel has slots again */
	UNWANTED, /* op in flight, paused; on recv_unwanted until the turn ends, then cancelled */
	STOPPING, /* op in flight, cancelled */
	STOPPED,  /* on recv_stopped until on_stopped is told */
};

/* Leaves whatever list it is on. */
static void set_state(struct hb_recv *recv, enum recv_state state, struct hb_list *list)
{
	hb_list_remove(&recv->op.node);
	recv->state = (uint8_t)state;
	if (list)
		hb_list_add(list, &recv->op.node);
}

/* The same table has the same number. */
static uint8_t listener_of(struct hb_loop *loop, const struct hb_recv_events *events)
{
	uint8_t i = 0;

	while (i < HB_RECV_EVENTS_MAX && loop->recv_events[i] && loop->recv_events[i] != events)
		i++;
	assert(i < HB_RECV_EVENTS_MAX);
	loop->recv_events[i] = events;
	return i;
}

static const struct hb_recv_events *events_of(const struct hb_loop *loop,
                                              const struct hb_recv *recv)
{
	return loop->recv_events[recv->listener];
}

void hb_recv_init(struct hb_recv *recv, struct hb_loop *loop, int fd, uint32_t read_max,
                  const struct hb_recv_events *events)
{
	assert(read_max > 0 && read_max <= HB_BUF_PAYLOAD);
	*recv = (struct hb_recv){
		.op.value = fd,
		.read_max = (uint16_t)read_max,
		.state = PAUSED,
		.listener = listener_of(loop, events),
		.held_res = NO_END,
	};
	hb_list_init(&recv->op.node);
}

void hb_loop_recv_resume(struct hb_loop *loop, struct hb_recv *recv)
{
	if (recv->state == UNWANTED)
		/* If the cancel is under way already, on_done arms it again. */
		set_state(recv, ARMED, NULL);
	else if (recv->state == PAUSED && (recv->held || recv->held_res != NO_END))
		set_state(recv, READY, &loop->recv_ready);
	else if (recv->state == PAUSED)
		set_state(recv, WAITING, &loop->recv_waiting);
}

/* True when nothing is in flight; else on_done is still to come. */
static bool disarm(struct hb_loop *loop, struct hb_recv *recv)
{
	if (!recv->op.in_flight)
		return true;
	if (!loop->backend->disarm(loop, recv))
		return false;
	hb_op_end(loop, &recv->op);
	return true;
}

void hb_loop_recv_pause(struct hb_loop *loop, struct hb_recv *recv)
{
	if (recv->state == ARMED && loop->backend->disarms_at_once && disarm(loop, recv))
		set_state(recv, PAUSED, NULL);
	else if (recv->state == ARMED)
		set_state(recv, UNWANTED, &loop->recv_unwanted);
	else if (recv->state == WAITING || recv->state == READY || recv->state == STARVED)
		set_state(recv, PAUSED, NULL);
}

static void set_stopped(struct hb_loop *loop, struct hb_recv *recv)
{
	loop->backend->forget(loop, recv);
	set_state(recv, STOPPED, &loop->recv_stopped);
}

void hb_loop_recv_stop(struct hb_loop *loop, struct hb_recv *recv)
{
	if (recv->state == STOPPING || recv->state == STOPPED)
		return;
	hb_buf_free(hb_take(&recv->held));
	if (disarm(loop, recv))
		set_stopped(loop, recv);
	else
		set_state(recv, STOPPING, NULL);
}

static void arm(struct hb_loop *loop, struct hb_recv *recv)
{
	set_state(recv, ARMED, NULL);
	hb_op_begin(loop, &recv->op, HB_OP_RECV, hb_recv_fd(recv));
	loop->backend->arm(loop, recv);
}

bool hb_recv_before_wait(struct hb_loop *loop)
{
	struct hb_list *node;
	unsigned slots;

	/* As many as there are slots: more would only come back at once. */
	if (!hb_list_is_empty(&loop->recv_starved)) {
		for (slots = loop->backend->slots(loop); slots > 0; slots--) {
			node = hb_list_shift(&loop->recv_starved);
			if (!node)
				break;
			set_state(hb_container_of(node, struct hb_recv, op.node), WAITING,
			          &loop->recv_waiting);
		}
	}
	while ((node = hb_list_shift(&loop->recv_unwanted))) {
		struct hb_recv *recv = hb_container_of(node, struct hb_recv, op.node);

		if (disarm(loop, recv))
			set_state(recv, PAUSED, NULL);
	}
	while ((node = hb_list_shift(&loop->recv_waiting)))
		arm(loop, hb_container_of(node, struct hb_recv, op.node));
	return !hb_list_is_empty(&loop->recv_ready);
}

/*
 * Tells what came, and in which state to go on is decided before: the owner may pause, stop or
 * resume inside, and nothing is done to the receiver after.
 */
static void tell(struct hb_loop *loop, struct hb_recv *recv, struct hb_buf *chain, int res)
{
	if (res <= 0)
		set_state(recv, PAUSED, NULL);
	else if (recv->held_res != NO_END || !recv->is_dry)
		set_state(recv, READY, &loop->recv_ready);
	else
		set_state(recv, WAITING, &loop->recv_waiting);
	if (res > 0)
		loop->fresh_bytes += (size_t)res;
	events_of(loop, recv)->on_recv(recv, chain, res);
}

static void tell_held(struct hb_loop *loop, struct hb_recv *recv)
{
	int res = recv->held_res;

	if (recv->held) {
		res = (int)recv->held->len;
	} else {
		recv->held_res = NO_END;
	}
	tell(loop, recv, hb_take(&recv->held), res);
}

/* Cuts @bufs, filled in order with @bytes, into what has data; gives the rest back. */
static struct hb_buf *fill_chain(struct hb_buf *bufs, size_t bytes, uint32_t read_max)
{
	struct hb_buf **at = &bufs;
	struct hb_buf *rest;

	for (; bytes > 0; at = &(*at)->next) {
		(*at)->len = (uint32_t)hb_min_size(bytes, read_max);
		bytes -= (*at)->len;
	}
	rest = *at;
	*at = NULL;
	hb_buf_free_all(rest);
	return bufs;
}

/* Whether a read of @res bytes into @msg has left nothing behind. */
static bool is_all(const struct hb_recv *recv, const struct msghdr *msg, ssize_t res)
{
	if (res <= 0)
		return res == -EAGAIN; /* an end stays, and is told again to whoever resumes */
	/* A read also ends short where urgent data is, and where descriptors came with the bytes,
	 * which are closed at once and reported as cut off. */
	return !recv->ends && !(msg->msg_flags & MSG_CTRUNC) &&
	       res < (ssize_t)(msg->msg_iovlen * recv->read_max);
}

/*
 * Reads what is there now, at most @slots full slots, and sets is_dry when that was all. Returns
 * the bytes in *ret_chain, 0 or -errno; -ENOBUFS when the pool is empty.
 */
static ssize_t read_directly(struct hb_loop *loop, struct hb_recv *recv, unsigned slots,
                             struct hb_buf **ret_chain)
{
	struct iovec iov[SLOTS_PER_TURN];
	struct msghdr msg = { .msg_iov = iov };
	struct hb_buf *bufs = NULL, **tail = &bufs;
	ssize_t res;

	for (; msg.msg_iovlen < slots; tail = &(*tail)->next) {
		*tail = hb_buf_new(loop->pool);
		if (!*tail)
			break;
		iov[msg.msg_iovlen++] = (struct iovec){ (*tail)->data, recv->read_max };
	}
	if (!bufs)
		return -ENOBUFS;
	do
		res = recvmsg(hb_recv_fd(recv), &msg, MSG_DONTWAIT);
	while (res < 0 && errno == EINTR);
	if (res < 0)
		res = -errno;
	recv->is_dry = is_all(recv, &msg, res);
	*ret_chain = fill_chain(bufs, res > 0 ? (size_t)res : 0, recv->read_max);
	return res;
}

/* Goes on after @chain (may be NULL), reading @slots more, and tells both in one. */
static void read_on(struct hb_loop *loop, struct hb_recv *recv, struct hb_buf *chain,
                    unsigned slots)
{
	struct hb_buf *more = NULL, **tail = &chain;
	size_t bytes = hb_buf_chain_bytes(chain);
	ssize_t res = read_directly(loop, recv, slots, &more);

	while (*tail)
		tail = &(*tail)->next;
	*tail = more;
	if (res > 0)
		bytes += (size_t)res;
	else if (res != -EAGAIN && res != -ENOBUFS)
		recv->held_res = (int16_t)res;

	if (bytes > 0) {
		tell(loop, recv, chain, (int)bytes);
	} else if (res == -EAGAIN) {
		set_state(recv, WAITING, &loop->recv_waiting);
	} else if (res == -ENOBUFS) {
		set_state(recv, STARVED, &loop->recv_starved);
	} else {
		recv->held_res = NO_END;
		tell(loop, recv, NULL, (int)res);
	}
}

/* It stays ready unless the owner says otherwise inside. */
static void tell_readable(struct hb_loop *loop, struct hb_recv *recv)
{
	set_state(recv, READY, &loop->recv_ready);
	recv->is_dry = false;
	events_of(loop, recv)->on_readable(recv);
}

void hb_loop_recv_dry(struct hb_loop *loop, struct hb_recv *recv)
{
	/* As in is_all(): then only a read that finds nothing at all is the last. */
	if (recv->ends)
		return;
	recv->is_dry = true;
	if (recv->state == READY)
		set_state(recv, WAITING, &loop->recv_waiting);
}

void hb_loop_recv_read(struct hb_loop *loop, struct hb_recv *recv)
{
	read_on(loop, recv, NULL, SLOTS_PER_TURN);
}

static void run_ready(struct hb_loop *loop, struct hb_recv *recv)
{
	if (recv->held || recv->held_res != NO_END)
		tell_held(loop, recv);
	else if (recv->by_readiness)
		tell_readable(loop, recv);
	else
		read_on(loop, recv, NULL, SLOTS_PER_TURN);
}

void hb_recv_run_ready(struct hb_loop *loop)
{
	struct hb_list now = HB_LIST_INIT(now);
	struct hb_list *node;

	/* Those that become ready meanwhile have had their share. */
	hb_list_move(&now, &loop->recv_ready);
	while ((node = hb_list_shift(&now))) {
		run_ready(loop, hb_container_of(node, struct hb_recv, op.node));
		hb_loop_pass_on(loop);
	}
}

/* What came while nobody wanted it. */
static void hold(struct hb_recv *recv, struct hb_buf *buf, int res)
{
	assert(!recv->held); /* nothing is armed before it was told */
	if (res > 0)
		recv->held = buf;
	else if (res != -ECANCELED && res != -ENOBUFS)
		recv->held_res = (int16_t)res;
	set_state(recv, PAUSED, NULL);
}

void hb_recv_on_done(struct hb_loop *loop, struct hb_recv *recv, struct hb_buf *buf, int res)
{
	recv->is_dry = res > 0 ? (uint32_t)res < recv->read_max : recv->is_dry;

	if (recv->state == STOPPING) {
		hb_buf_free(buf);
		set_stopped(loop, recv);
	} else if (recv->state == UNWANTED) {
		hold(recv, buf, res);
	} else if (res > 0 && !recv->is_dry) {
		read_on(loop, recv, buf, SLOTS_PER_TURN - 1);
	} else if (res == -ENOBUFS) {
		set_state(recv, STARVED, &loop->recv_starved);
	} else if (res == -ECANCELED || res == -EINTR || res == -EAGAIN) {
		/* Paused and resumed while the cancel was under way. */
		set_state(recv, WAITING, &loop->recv_waiting);
	} else {
		tell(loop, recv, buf, res);
	}
}

void hb_recv_on_readable(struct hb_loop *loop, struct hb_recv *recv)
{
	if (recv->state == STOPPING)
		set_stopped(loop, recv);
	else if (recv->state == UNWANTED)
		set_state(recv, PAUSED, NULL); /* it is not dry: arming it will find that out */
	else if (recv->by_readiness)
		tell_readable(loop, recv);
	else
		read_on(loop, recv, NULL, SLOTS_PER_TURN);
}

bool hb_recv_run_stopped(struct hb_loop *loop)
{
	struct hb_list *node = hb_list_shift(&loop->recv_stopped);
	struct hb_recv *recv;

	if (!node)
		return false;
	recv = hb_container_of(node, struct hb_recv, op.node);
	events_of(loop, recv)->on_stopped(recv); /* may free it */
	return true;
}
