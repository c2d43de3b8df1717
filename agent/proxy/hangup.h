/*
 * hangup: watches an accepted app socket, unread, while its other leg is still being made: an app
 * that has gone must not keep a dial alive. A half-close is no reason: the answer is still wanted.
 *
 * The kernel refers to the struct until on_quiet has run. Thread: the loop's own.
 */
#pragma once

#include <hbone/loop.h>

struct hangup;
struct hangup {
	struct hb_op poll;
	struct hb_loop *loop;
	/* The app has reset or closed both ways. At most once, never after hangup_stop(). */
	void (*on_hangup)(struct hangup *hangup);
	/* The kernel has let go: always once, last; the struct may be freed in here. */
	void (*on_quiet)(struct hangup *hangup);
	bool stopped;
};

void hangup_start(struct hangup *hangup, struct hb_loop *loop, int fd,
                  void (*on_hangup)(struct hangup *hangup),
                  void (*on_quiet)(struct hangup *hangup));
void hangup_stop(struct hangup *hangup); /* on_quiet follows, from the loop */

/* Closes @fd so that the app sees a reset at once, whatever it has sent. */
void hangup_reset(int fd);
