/*
 * keeper: a timer that does what laststate asks for.
 */
#include "keeper.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <hbone/loop.h>

#define NOT_WHOLE_MS 100u

uint64_t keeper_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail: the clock exists */
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void confirm_current(struct keeper *keeper)
{
	if (keeper->is_current(keeper->owner))
		laststate_confirm(keeper->state, keeper_now_ms());
}

static void on_time(struct hb_timer *timer)
{
	struct keeper *keeper = hb_container_of(timer, struct keeper, timer);
	uint32_t after_ms = NOT_WHOLE_MS;

	if (keeper->is_whole(keeper->owner)) {
		confirm_current(keeper);
		after_ms = laststate_step(keeper->state, keeper_now_ms());
	}
	hb_loop_timer_start(keeper->loop, timer,
	                    after_ms < LASTSTATE_CONFIRM_MS ? after_ms : LASTSTATE_CONFIRM_MS);
}

int keeper_open(struct keeper *keeper, struct hb_loop *loop, const char *dir, const char *name,
                const char *server, const char *cluster)
{
	char source[LASTSTATE_SOURCE_MAX + 1];

	snprintf(source, sizeof(source), "%.300s of cluster %s", server, cluster);
	keeper->loop = loop;
	hb_timer_init(&keeper->timer, on_time);
	keeper->state = laststate_open(dir, name, source);
	return keeper->state ? 0 : -ENOMEM;
}

void keeper_kick(struct keeper *keeper)
{
	if (!keeper->state)
		return;
	hb_loop_timer_stop(keeper->loop, &keeper->timer);
	hb_loop_timer_start(keeper->loop, &keeper->timer, 0);
}

void keeper_close(struct keeper *keeper)
{
	if (!keeper->state)
		return;
	hb_loop_timer_stop(keeper->loop, &keeper->timer);
	if (keeper->is_whole(keeper->owner)) {
		confirm_current(keeper);
		(void)laststate_flush(keeper->state, keeper_now_ms()); /* it says so itself */
	}
	laststate_close(keeper->state);
	keeper->state = NULL;
}

uint64_t keeper_restored_age_s(const struct keeper *keeper)
{
	uint64_t then = laststate_report(keeper->state).restored_as_of_ms, now = keeper_now_ms();

	return now > then ? (now - then) / 1000 : 0;
}
