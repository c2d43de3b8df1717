/*
 * loop_uring: the io_uring backend: the ring, and operations as its entries.
 *
 * One system call per turn submits and waits. Completions are copied out of the ring before they
 * are told, so whatever a callback submits cannot overrun what is being read.
 */
#include "loop_uring.h"

#include <assert.h>
#include <poll.h>
#include <sys/eventfd.h>

/* --- birth and end --- */

/* Linux 6.1 has all that is used here; before, epoll is the better choice. */
static const char *why_no_ring(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return "not permitted (a seccomp profile, or kernel.io_uring_disabled)";
	case -ENOSYS:
		return "this kernel is built without it";
	case -ENOMEM:
		return "no memory for the ring (RLIMIT_MEMLOCK on old kernels)";
	case -EINVAL:
		return "this kernel knows no deferred task work (Linux 6.1)";
	default:
		return "the ring could not be set up";
	}
}

/* IORING_FEAT_CQE_SKIP is of Linux 5.17, the others older; probes see what a sandbox left out. */
#define FEATURES                                                                                   \
	(IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)

static const uint8_t opcodes[] = {
	IORING_OP_POLL_ADD, IORING_OP_SENDMSG,      IORING_OP_ACCEPT,
	IORING_OP_CONNECT,  IORING_OP_ASYNC_CANCEL, IORING_OP_RECV,
};

static int probe(struct io_uring *ring, const char **ret_why)
{
	struct io_uring_probe *known;
	int r = 0;

	if ((ring->features & FEATURES) != FEATURES) {
		*ret_why = "this kernel's lacks features that we use";
		return -EOPNOTSUPP;
	}
	known = io_uring_get_probe_ring(ring);
	for (size_t i = 0; i < HB_ARRAY_LEN(opcodes); i++)
		if (!known || !io_uring_opcode_supported(known, opcodes[i]))
			r = -EOPNOTSUPP;
	if (r < 0)
		*ret_why = "this kernel's lacks operations that we use";
	io_uring_free_probe(known);
	return r;
}

static int open_ring(struct hb_uring *uring, unsigned entries, const char **ret_why)
{
	/* The ring is made here and belongs to whoever makes the first turn: R_DISABLED. */
	struct io_uring_params params = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
		         IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
		         IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = entries * 4,
	};
	int r = io_uring_queue_init_params(entries, &uring->ring, &params);

	if (r < 0) {
		uring->ring.ring_fd = -1;
		*ret_why = why_no_ring(r);
	}
	return r;
}

static void arm_wake(struct hb_loop *loop);

static int uring_open(struct hb_loop *loop, unsigned entries, size_t slots_max,
                      const char **ret_why)
{
	struct hb_uring *uring = loop->uring = calloc(1, sizeof(*uring));
	int r;

	*ret_why = "no memory";
	if (!uring)
		return -ENOMEM;
	uring->ring.ring_fd = -1;
	r = open_ring(uring, entries, ret_why);
	if (r == 0)
		r = probe(&uring->ring, ret_why);
	if (r < 0)
		return r;
	r = hb_lent_init(&uring->lent, &uring->ring, entries, slots_max);
	if (r < 0) {
		*ret_why = "no buffer ring (Linux 5.19)";
		return r;
	}
	arm_wake(loop);
	return 0;
}

static void uring_close(struct hb_loop *loop)
{
	struct hb_uring *uring = loop->uring;

	if (!uring)
		return;
	if (uring->ring.ring_fd >= 0)
		io_uring_queue_exit(&uring->ring);
	hb_lent_done(&uring->lent);
	free(hb_take(&loop->uring));
}

static int uring_start(struct hb_loop *loop)
{
	/* liburing 2.3 declares io_uring_enable_rings() but does not export it. */
	int r = io_uring_register((unsigned)loop->uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
	                          NULL, 0);

	if (r < 0)
		return r;
	hb_lent_fill(&loop->uring->lent, loop->pool);
	/* Where the process has used that memory before, its pages are there; and are not needed.
	 */
	hb_lent_discard(&loop->uring->lent);
	return 0;
}

/* --- operations --- */

static struct io_uring_sqe *get_sqe(struct hb_loop *loop)
{
	struct io_uring *ring = &loop->uring->ring;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	/* Full: what is there goes now. The kernel takes less than all only when it is out of
	 * memory for the moment; if that does not pass, no promise of ours can be kept. */
	for (unsigned tries = 0; !sqe && tries < 1000; tries++) {
		assert(loop->started); /* more operations than entries before the first turn */
		io_uring_submit_and_get_events(ring);
		sqe = io_uring_get_sqe(ring);
	}
	assert(sqe);
	return sqe;
}

static void arm_wake(struct hb_loop *loop)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	loop->uring->wake.kind = HB_OP_WAKE;
	io_uring_prep_poll_add(sqe, loop->wake_fd, POLLIN);
	io_uring_sqe_set_data(sqe, &loop->uring->wake);
}

static void uring_connect(struct hb_loop *loop, struct hb_op *op, int fd, const struct sockaddr *sa,
                          socklen_t len)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_connect(sqe, fd, sa, len);
	io_uring_sqe_set_data(sqe, &op->base);
}

static void uring_sendmsg(struct hb_loop *loop, struct hb_op *op, int fd, const struct msghdr *msg)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_sendmsg(sqe, fd, msg, MSG_NOSIGNAL);
	io_uring_sqe_set_data(sqe, &op->base);
}

static void uring_poll(struct hb_loop *loop, struct hb_op *op, int fd, short events)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_poll_add(sqe, fd, (unsigned short)events);
	io_uring_sqe_set_data(sqe, &op->base);
}

static void uring_accept(struct hb_accept *accept)
{
	struct io_uring_sqe *sqe = get_sqe(accept->loop);

	io_uring_prep_multishot_accept(sqe, accept->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	io_uring_sqe_set_data(sqe, &accept->op.base);
}

static void cancel(struct hb_loop *loop, struct hb_op_base *op)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	io_uring_prep_cancel(sqe, op, 0);
	/* Its own result says nothing that the op's does not. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data(sqe, NULL);
}

static void uring_cancel(struct hb_loop *loop, struct hb_op *op)
{
	cancel(loop, &op->base);
}

static void uring_arm(struct hb_loop *loop, struct hb_recv *recv)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (recv->by_readiness) {
		io_uring_prep_poll_add(sqe, hb_recv_fd(recv), POLLIN);
		io_uring_sqe_set_data(sqe, &recv->op);
		return;
	}
	io_uring_prep_recv(sqe, hb_recv_fd(recv), NULL, recv->read_max, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = HB_LENT_GROUP;
	if (recv->is_dry)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	io_uring_sqe_set_data(sqe, &recv->op);
}

static bool uring_disarm(struct hb_loop *loop, struct hb_recv *recv)
{
	cancel(loop, &recv->op);
	return false;
}

static void uring_forget(struct hb_loop *loop, struct hb_recv *recv)
{
	(void)loop, (void)recv; /* the ring knows operations, not descriptors */
}

/* With DEFER_TASKRUN the kernel fills slots only while we ask it to: what has no completion yet is
 * empty. */
static void uring_trim(struct hb_loop *loop)
{
	struct io_uring *ring = &loop->uring->ring;

	if (io_uring_cq_ready(ring) > 0 || io_uring_cq_has_overflow(ring))
		return;
	hb_lent_discard(&loop->uring->lent);
}

static unsigned uring_slots(struct hb_loop *loop)
{
	hb_lent_fill(&loop->uring->lent, loop->pool);
	return loop->uring->lent.lent;
}

/* --- completions --- */

static void on_wake(struct hb_loop *loop)
{
	eventfd_t count;

	(void)eventfd_read(loop->wake_fd, &count); /* only to silence it until the next write */
	arm_wake(loop);
}

static void on_recv(struct hb_loop *loop, struct hb_recv *recv, const struct io_uring_cqe *cqe)
{
	struct hb_buf *buf;

	if (recv->by_readiness && cqe->res >= 0) {
		hb_recv_on_readable(loop, recv);
		return;
	}
	buf = hb_lent_take(&loop->uring->lent, loop->pool, cqe->flags);
	if (cqe->res == -ENOBUFS)
		hb_lent_grow(&loop->uring->lent);

	if (cqe->res > 0) {
		assert(buf);
		buf->len = (uint32_t)cqe->res;
	} else {
		hb_buf_free(buf);
		buf = NULL;
	}
	hb_recv_on_done(loop, recv, buf, cqe->res);
}

static void dispatch(struct hb_loop *loop, const struct io_uring_cqe *cqe)
{
	struct hb_op_base *base = io_uring_cqe_get_data(cqe);
	struct hb_op *op = hb_container_of(base, struct hb_op, base);
	bool more = cqe->flags & IORING_CQE_F_MORE;

	if (!base)
		return;
	if (base->kind == HB_OP_WAKE) {
		on_wake(loop);
		return;
	}
	if (!more)
		hb_op_end(loop, base);
	if (base->kind == HB_OP_RECV)
		on_recv(loop, hb_container_of(base, struct hb_recv, op), cqe);
	else if (base->kind == HB_OP_ACCEPT)
		hb_accept_on_done(hb_container_of(op, struct hb_accept, op), cqe->res, more);
	else
		op->done(op, cqe->res);
}

static void uring_tell(struct hb_loop *loop)
{
	struct io_uring *ring = &loop->uring->ring;
	unsigned left = io_uring_cq_ready(ring);

	while (left > 0) {
		struct io_uring_cqe *cqes[64], copies[64];
		unsigned n = io_uring_peek_batch_cqe(ring, cqes, left < 64 ? left : 64);

		for (unsigned i = 0; i < n; i++) {
			copies[i].user_data = cqes[i]->user_data;
			copies[i].res = cqes[i]->res;
			copies[i].flags = cqes[i]->flags;
		}
		io_uring_cq_advance(ring, n);
		for (unsigned i = 0; i < n; i++) {
			dispatch(loop, &copies[i]);
			hb_loop_pass_on(loop);
		}
		if (n == 0)
			return;
		left -= n;
	}
}

static void uring_tell_ended(struct hb_loop *loop)
{
	(void)loop; /* nothing has been submitted yet */
}

/* EAGAIN and EBUSY: the kernel took a part; the rest goes with the next turn. */
static int unless_it_passes(int r)
{
	if (r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
		r = 0;
	return r < 0 ? r : 0;
}

static int uring_wait(struct hb_loop *loop, uint64_t wait_ms)
{
	struct io_uring *ring = &loop->uring->ring;
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(wait_ms / 1000),
		.tv_nsec = (long long)(wait_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;
	int r;

	if (wait_ms == 0)
		r = io_uring_submit_and_get_events(ring);
	else if (wait_ms == UINT64_MAX)
		r = io_uring_submit_and_wait(ring, 1);
	else
		r = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &ts, NULL);
	return unless_it_passes(r);
}

static int uring_submit(struct hb_loop *loop)
{
	return unless_it_passes(io_uring_submit(&loop->uring->ring));
}

const struct hb_backend hb_backend_uring = {
	.name = "io_uring",
	.sends_together = true,
	.open = uring_open,
	.close = uring_close,
	.start = uring_start,
	.connect = uring_connect,
	.sendmsg = uring_sendmsg,
	.poll = uring_poll,
	.cancel = uring_cancel,
	.accept = uring_accept,
	.arm = uring_arm,
	.disarm = uring_disarm,
	.forget = uring_forget,
	.slots = uring_slots,
	.trim = uring_trim,
	.submit = uring_submit,
	.wait = uring_wait,
	.tell = uring_tell,
	.tell_ended = uring_tell_ended,
};
