/*
 * reclaim: after a burst its memory goes back to the system.
 *
 * What flows and connections have freed stays with malloc, in pages that malloc does not give back
 * by itself, and the loop keeps some buffers warm. Once enough has come and gone, and things have
 * calmed down or it was put off for long enough, both are asked to let go. That takes milliseconds,
 * so it is done seldom, and malloc's part of it, which goes through the memory of all threads, the
 * mesh's too, not by a worker. Thread: the worker's own.
 */
#pragma once

#include <hbone/loop.h>

/* Fewer flows than that leave nothing worth the effort; nor do fewer buffers out at once. */
#define RECLAIM_FLOWS 500u
#define RECLAIM_SLOTS 192u
/* A connection, made or gone, leaves as much as so many flows. */
#define RECLAIM_PER_CONNECTION 50u
/* The time that is waited for calm, and how often it is put off where there is none. */
#define RECLAIM_AFTER_MS 3000u
#define RECLAIM_PUT_OFF  10u

struct reclaim {
	struct hb_loop *loop;
	struct hb_timer timer;
	uint32_t after_ms;
	size_t gone;      /* flows, since memory went back */
	size_t gone_then; /* of these, when the timer was started */
	unsigned put_off; /* times */
	void (*release)(struct reclaim *reclaim);
};

/* @release: has reclaim_release() called, elsewhere. */
void reclaim_init(struct reclaim *reclaim, struct hb_loop *loop, uint32_t after_ms,
                  void (*release)(struct reclaim *reclaim));
void reclaim_done(struct reclaim *reclaim);
/* So many @flows have begun or ended, or what leaves as much. */
void reclaim_note(struct reclaim *reclaim, unsigned flows);
/* malloc's free pages go back, those of all threads. Any thread but a worker's. */
void reclaim_release(void);
