/*
 * dial: one outgoing TCP connection attempt, bounded by a deadline.
 *
 * Knows addresses and time; knows nothing of TLS, tunnels, namespaces or why the caller connects.
 * Ownership: the caller embeds struct hb_dial and keeps it alive until on_done has run, because
 * the kernel refers to it meanwhile. The socket is the dial's until success, then the callback's.
 * Thread: the loop's own.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/loop.h>

struct hb_dial;

/*
 * Runs exactly once per started dial, and never from inside hb_dial_start().
 * @fd: the connected socket, now yours; or -ETIMEDOUT when the deadline passed, -ECANCELED after
 *      hb_dial_cancel(), or the kernel's own -errno.
 */
typedef void (*hb_dial_done)(struct hb_dial *dial, int fd);

struct hb_dial {
	struct hb_loop *loop;
	struct hb_op connect;
	struct hb_timer deadline;
	struct sockaddr_storage to;
	hb_dial_done on_done;
	int fd;
	int reason;
	uint8_t state;
};

/* Takes @fd, an unconnected non-blocking socket of the right family, also on failure. */
void hb_dial_start(struct hb_dial *dial, struct hb_loop *loop, int fd, const struct hb_addr *to,
                   uint32_t deadline_ms, hb_dial_done on_done);
void hb_dial_cancel(struct hb_dial *dial); /* no-op when it is not running */
