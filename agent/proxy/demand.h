/*
 * demand: what the mesh does not know yet, asked of the control plane while connections wait for it
 * (XDS_ON_DEMAND; reference/controlplane 2.12, datapath 2.4).
 *
 * A name is "network/ip" or "namespace/hostname", and is asked for once, however many wait. Who is
 * told that there was an answer looks again in the snapshot, which has what the answer brought. If
 * it is not there, nobody has that name: demand_set_nothing(), which holds for DEMAND_NOTHING_MS.
 *
 * Apps choose the names, so all is bounded: beyond, connections are told -ENOBUFS, and counted.
 * Thread: the worker's own.
 */
#pragma once

#include <hbone/list.h>
#include <hbone/timer.h>

struct hb_loop;
struct metrics;

#define DEMAND_NAME_MAX   384u   /* bytes, its NUL included */
#define DEMAND_NAMES_MAX  4096u  /* that are asked for, or that nobody has */
#define DEMAND_WAITS_MAX  4096u  /* connections */
#define DEMAND_NOTHING_MS 5000u  /* what nobody has is not asked for again before */
#define DEMAND_WAIT_MS    5000u  /* that a connection waits, in all */
#define DEMAND_LOST_MS    10000u /* no answer comes after so long */
#define DEMAND_BUCKETS    512u

struct demand {
	struct hb_loop *loop;
	struct metrics *metrics;
	/* Asks, and demand_answer() follows. False: no memory. NULL: all is known that there is. */
	bool (*ask)(void *owner, const char *name);
	void *owner;
	struct hb_list buckets[DEMAND_BUCKETS];
	struct hb_list nothing; /* names that nobody has, the oldest first */
	size_t names, waits;
};

void demand_init(struct demand *demand, struct hb_loop *loop, struct metrics *metrics,
                 bool (*ask)(void *owner, const char *name), void *owner);
void demand_done(struct demand *demand); /* nobody may wait any more */

static inline bool demand_is_on(const struct demand *demand)
{
	return demand->ask;
}

/* It was asked for, and is not there. */
void demand_set_nothing(struct demand *demand, const char *name);
bool demand_is_nothing(const struct demand *demand, const char *name);

struct demand_wait { /* embedded by who waits, and kept until on_done or demand_cancel() */
	struct hb_list node;
	struct hb_timer deadline;
	struct demand *demand;
	int err; /* what is told at the deadline */
	/* Once, and never inside demand_wait(). 0: it was answered; -ETIMEDOUT, -ENOBUFS, -ENOMEM,
	 * or why the control plane could not be asked. */
	void (*on_done)(struct demand_wait *wait, int err);
};

/* @name is copied. @deadline_ms: at most DEMAND_WAIT_MS. */
void demand_wait(struct demand *demand, struct demand_wait *wait, const char *name,
                 uint32_t deadline_ms, void (*on_done)(struct demand_wait *wait, int err));
void demand_cancel(struct demand_wait *wait); /* no on_done comes; once */
/* From a message: those who wait for @name are told. */
void demand_answer(struct demand *demand, const char *name, int err);

#define DEMAND_WORDS 512u
/* Why a connection that waited for @name ended, in @out. */
const char *demand_words(const char *name, int err, char out[DEMAND_WORDS]);
