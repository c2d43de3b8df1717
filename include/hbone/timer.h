/*
 * timer: a hierarchical timer wheel. Pure: the time is given, in milliseconds, and never read.
 *
 * Start and stop are O(1). A timer fires once, not before its time and, in a loop that turns,
 * within a millisecond after it. Thread: the wheel's owner.
 */
#pragma once

#include <hbone/list.h>

struct hb_timer;
typedef void (*hb_timer_fn)(struct hb_timer *timer);

struct hb_timer {
	struct hb_list node; /* empty when not running */
	uint64_t at_ms;
	hb_timer_fn on_time;
};

#define HB_WHEEL_LEVELS 5
#define HB_WHEEL_SLOTS  64

struct hb_wheel {
	uint64_t now_ms;
	size_t timers; /* running */
	struct hb_list slots[HB_WHEEL_LEVELS][HB_WHEEL_SLOTS];
	uint64_t occupied[HB_WHEEL_LEVELS]; /* a bit per slot that is not empty */
	struct hb_list next;                /* started with 0: due at the next advance */
	struct hb_list due;                 /* collected by the advance that is running */
};

void hb_timer_init(struct hb_timer *timer, hb_timer_fn on_time);
bool hb_timer_is_running(const struct hb_timer *timer);

void hb_wheel_init(struct hb_wheel *wheel, uint64_t now_ms);
/* (Re)starts @timer to fire @after_ms from wheel->now_ms; 0 fires at the next advance. */
void hb_wheel_start(struct hb_wheel *wheel, struct hb_timer *timer, uint64_t after_ms);
void hb_wheel_stop(struct hb_wheel *wheel, struct hb_timer *timer);
/*
 * Moves the time on and fires what is due, in order of time. Timers may be started and stopped
 * inside; one that is started there counts from @now_ms and never fires in the same advance.
 */
void hb_wheel_advance(struct hb_wheel *wheel, uint64_t now_ms);
/* Milliseconds until something may be due (may be early, never late); UINT64_MAX: nothing runs. */
uint64_t hb_wheel_next_ms(const struct hb_wheel *wheel);
