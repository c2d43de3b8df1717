/*
 * keeper: puts a last known state (control/laststate.h) on the disk as time goes by, a slice in a
 * turn of the loop, and at the end what is left.
 *
 * The owner says when what is in memory is good to be found by the next start, and when whoever
 * told it stands by it still.
 * Thread: the control loop's.
 */
#pragma once

#include <stdbool.h>

#include <hbone/timer.h>

#include "control/laststate.h"

struct hb_loop;

struct keeper {
	struct hb_loop *loop;
	struct laststate *state; /* NULL: nothing is kept */
	struct hb_timer timer;
	bool (*is_whole)(void *owner);   /* not half of something: it may be written */
	bool (*is_current)(void *owner); /* it is true now */
	void *owner;
};

/* Reads @dir/@name.state, if @server, of cluster @cluster, has said it; the callbacks are set by
 * the owner. 0 or -ENOMEM. */
int keeper_open(struct keeper *keeper, struct hb_loop *loop, const char *dir, const char *name,
                const char *server, const char *cluster);
/* Something was put, removed or confirmed. Without a state: nothing. */
void keeper_kick(struct keeper *keeper);
/* Writes what is not written yet, if it is whole. May run twice, also unopened. */
void keeper_close(struct keeper *keeper);
/* How long ago what was found at start was known to be true. */
uint64_t keeper_restored_age_s(const struct keeper *keeper);
uint64_t keeper_now_ms(void); /* Unix time */
