/*
 * hangup: a poll for nothing but the end.
 */
#include "proxy/hangup.h"

#include <poll.h>
#include <sys/socket.h>

static void on_poll(struct hb_op *op, int res)
{
	struct hangup *hangup = hb_container_of(op, struct hangup, poll);
	void (*on_quiet)(struct hangup * hangup) = hangup->on_quiet;

	if (!hangup->stopped) {
		hangup->stopped = true;
		hangup->on_hangup(hangup);
	}
	on_quiet(hangup);
}

void hangup_start(struct hangup *hangup, struct hb_loop *loop, int fd,
                  void (*on_hangup)(struct hangup *hangup), void (*on_quiet)(struct hangup *hangup))
{
	hangup->loop = loop;
	hangup->on_hangup = on_hangup;
	hangup->on_quiet = on_quiet;
	hangup->stopped = false;
	hangup->poll.done = on_poll;
	/* POLLHUP and POLLERR are always told; POLLRDHUP, the half-close, is left out. */
	hb_loop_poll(loop, &hangup->poll, fd, 0);
}

void hangup_stop(struct hangup *hangup)
{
	if (hangup->stopped)
		return;
	hangup->stopped = true;
	hb_loop_cancel(hangup->loop, &hangup->poll);
}

void hangup_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* then it is a FIN */
	close(fd);
}
