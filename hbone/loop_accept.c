/*
 * loop_accept: one listening socket, accepting until it is stopped.
 *
 *   ARMED --connection--> ARMED
 *     | error                        | accept_stop
 *     v                              v
 *   PAUSED --100 ms--> ARMED       the kernel lets go --> report -ECANCELED
 *
 * ARMED is op.in_flight, PAUSED a running timer. An error of one connection does not pause.
 */
#include "loop_internal.h"

#define RETRY_MS 100

static void arm(struct hb_accept *accept)
{
	hb_op_begin(accept->loop, &accept->op, HB_OP_ACCEPT, accept->fd);
	accept->loop->backend->accept(accept);
}

static void on_retry(struct hb_timer *timer)
{
	struct hb_accept *accept = hb_container_of(timer, struct hb_accept, retry);

	if (accept->stopping)
		accept->on_accept(accept, -ECANCELED);
	else
		arm(accept);
}

/* The connection failed, not the socket: the next may be fine, at once. */
static bool is_of_one_connection(int error)
{
	return error == -ECONNABORTED || error == -EINTR || error == -EAGAIN || error == -EPROTO;
}

void hb_accept_on_done(struct hb_accept *accept, int res, bool more)
{
	if (more) {
		accept->on_accept(accept, res);
		return;
	}
	/* The kernel has let go. What the retry timer does now depends on stopping alone. */
	if (accept->stopping || res >= 0 || is_of_one_connection(res))
		hb_loop_timer_start(accept->loop, &accept->retry, 0);
	else
		hb_loop_timer_start(accept->loop, &accept->retry, RETRY_MS);
	if (res != -ECANCELED)
		accept->on_accept(accept, res);
}

void hb_loop_accept(struct hb_loop *loop, struct hb_accept *accept, int listen_fd,
                    void (*on_accept)(struct hb_accept *accept, int fd))
{
	*accept = (struct hb_accept){ .on_accept = on_accept, .loop = loop, .fd = listen_fd };
	hb_timer_init(&accept->retry, on_retry);
	arm(accept);
}

void hb_loop_accept_stop(struct hb_accept *accept)
{
	if (accept->stopping)
		return;
	accept->stopping = true;
	if (accept->op.in_flight)
		hb_loop_cancel(accept->loop, &accept->op);
	else
		hb_loop_timer_start(accept->loop, &accept->retry, 0);
}
