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
};

void hb_timer_init(struct hb_timer *timer, hb_timer_fn on_time);
bool hb_timer_is_running(const struct hb_timer *timer);

void hb_wheel_init(struct hb_wheel *wheel, uint64_t now_ms);
/* (Re)starts @timer to fire @after_ms (at most 2^30) from wheel->now_ms; 0 fires in the next turn.
 */
void hb_wheel_start(struct hb_wheel *wheel, struct hb_timer *timer, uint64_t after_ms);
void hb_wheel_stop(struct hb_wheel *wheel, struct hb_timer *timer);
/* Moves the time on and fires what is due, in order of time. Timers may be (re)started inside. */
void hb_wheel_advance(struct hb_wheel *wheel, uint64_t now_ms);
/* Milliseconds until something may be due (may be early, never late); UINT64_MAX: nothing runs. */
uint64_t hb_wheel_next_ms(const struct hb_wheel *wheel);
