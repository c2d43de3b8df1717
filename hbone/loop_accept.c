/*
 * loop_accept: one listening socket, accepting until it is stopped.
 *
 *   ARMED --connection--> ARMED
 *     | error                        | accept_stop
 *     v                              v
 *   PAUSED --100 ms--> ARMED       the kernel lets go --> report -ECANCELED
 *
 * ARMED is op.in_flight, PAUSED a running timer. An error of one connection does not pause.
 *
 * The kernel may accept a whole backlog in one turn. What is above that turn's share is held, and
 * told in the next ones, in order.
 */
#include <string.h>

#include "loop_internal.h"

#define RETRY_MS 100
#define HELD_MAX 4096u /* beyond, they are told at once */

static void arm(struct hb_accept *accept)
{
	hb_op_begin(accept->loop, &accept->op.base, HB_OP_ACCEPT, accept->fd);
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

static bool may_tell(struct hb_accept *accept)
{
	if (accept->turn != accept->loop->turns)
		accept->told = 0;
	accept->turn = accept->loop->turns;
	return accept->told < HB_ACCEPTS_PER_TURN;
}

/* False: there is no room. */
static bool hold(struct hb_accept *accept, int fd)
{
	if (accept->held_count == accept->held_size) {
		unsigned size = accept->held_size ? accept->held_size * 2 : 64;
		int *held = size <= HELD_MAX ? realloc(accept->held, size * sizeof(*held)) : NULL;

		if (!held)
			return false;
		accept->held = held;
		accept->held_size = size;
	}
	accept->held[accept->held_count++] = fd;
	if (!hb_timer_is_running(&accept->go_on))
		hb_loop_timer_start(accept->loop, &accept->go_on, 0);
	return true;
}

static void forget_held(struct hb_accept *accept)
{
	free(hb_take(&accept->held));
	accept->held_at = accept->held_count = accept->held_size = 0;
}

static void tell(struct hb_accept *accept, int fd)
{
	if (fd >= 0 && !accept->stopping && (accept->held || !may_tell(accept)) && hold(accept, fd))
		return;
	accept->told++;
	accept->on_accept(accept, fd);
}

static void on_go_on(struct hb_timer *timer)
{
	struct hb_accept *accept = hb_container_of(timer, struct hb_accept, go_on);

	while (accept->held_at < accept->held_count && may_tell(accept)) {
		accept->told++;
		accept->on_accept(accept, accept->held[accept->held_at++]);
	}
	if (accept->held_at < accept->held_count)
		hb_loop_timer_start(accept->loop, timer, 0);
	else
		forget_held(accept);
}

void hb_accept_on_done(struct hb_accept *accept, int res, bool more)
{
	if (more) {
		tell(accept, res);
		return;
	}
	/* The kernel has let go. What the retry timer does now depends on stopping alone. */
	if (accept->stopping || res >= 0 || is_of_one_connection(res))
		hb_loop_timer_start(accept->loop, &accept->retry, 0);
	else
		hb_loop_timer_start(accept->loop, &accept->retry, RETRY_MS);
	if (res != -ECANCELED)
		tell(accept, res);
}

void hb_loop_accept(struct hb_loop *loop, struct hb_accept *accept, int listen_fd,
                    void (*on_accept)(struct hb_accept *accept, int fd))
{
	*accept = (struct hb_accept){ .on_accept = on_accept, .loop = loop, .fd = listen_fd };
	hb_timer_init(&accept->retry, on_retry);
	hb_timer_init(&accept->go_on, on_go_on);
	arm(accept);
}

void hb_loop_accept_stop(struct hb_accept *accept)
{
	if (accept->stopping)
		return;
	accept->stopping = true;
	hb_loop_timer_stop(accept->loop, &accept->go_on);
	while (accept->held_at < accept->held_count)
		close(accept->held[accept->held_at++]);
	forget_held(accept);
	if (accept->op.base.in_flight)
		hb_loop_cancel(accept->loop, &accept->op);
	else
		hb_loop_timer_start(accept->loop, &accept->retry, 0);
}
