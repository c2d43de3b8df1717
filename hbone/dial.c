/*
 * dial: one connect with a deadline.
 */
#include <hbone/dial.h>

#include <errno.h>
#include <sys/socket.h>

enum dial_state {
	IDLE,
	CONNECTING,
	GIVING_UP,
};

/*
 *   IDLE --start--> CONNECTING --connected or refused--> IDLE, report
 *                        | deadline, cancel
 *                        v
 *                   GIVING_UP --kernel lets go--> IDLE, report
 *
 * Only on_connect leaves CONNECTING and GIVING_UP: until the kernel posts that completion it may
 * still use the op, so nothing else may finish the dial.
 */
/*
 * What the kernel says of a connect that it calls done. io_uring calls one done on which an ICMP
 * error has come while the connect was being sent (a router on the same machine answers as fast):
 * the error lies in the queue that wakes it, but not where it looks for one, and the socket goes on
 * to try.
 */
static int really_connected(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static void on_connect(struct hb_op *op, int res)
{
	struct hb_dial *dial = hb_container_of(op, struct hb_dial, connect);
	int fd = dial->fd;

	/* A connection that won the race against our cancel is dropped: the caller was told no. */
	if (dial->state == GIVING_UP)
		res = dial->reason;
	else if (res == 0)
		res = really_connected(fd);

	hb_loop_timer_stop(dial->loop, &dial->deadline);
	dial->state = IDLE;
	dial->fd = -1;
	if (res < 0)
		close(fd);
	dial->on_done(dial, res < 0 ? res : fd); /* last: the owner may free the dial in here */
}

static void give_up(struct hb_dial *dial, int reason)
{
	if (dial->state != CONNECTING)
		return;
	dial->state = GIVING_UP;
	dial->reason = reason;
	hb_loop_cancel(dial->loop, &dial->connect);
}

static void on_deadline(struct hb_timer *timer)
{
	give_up(hb_container_of(timer, struct hb_dial, deadline), -ETIMEDOUT);
}

void hb_dial_start(struct hb_dial *dial, struct hb_loop *loop, int fd, const struct hb_addr *to,
                   uint32_t deadline_ms, hb_dial_done on_done)
{
	socklen_t len;

	*dial = (struct hb_dial){
		.loop = loop,
		.connect.done = on_connect,
		.on_done = on_done,
		.fd = fd,
		.state = CONNECTING,
	};
	len = hb_addr_to_sockaddr(to, &dial->to);
	hb_timer_init(&dial->deadline, on_deadline);
	hb_loop_timer_start(loop, &dial->deadline, deadline_ms);
	hb_loop_connect(loop, &dial->connect, fd, (const struct sockaddr *)&dial->to, len);
}

void hb_dial_cancel(struct hb_dial *dial)
{
	give_up(dial, -ECANCELED);
}
