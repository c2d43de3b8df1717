/*
 * reclaim: counts what is gone; a timer looks whether it is calm.
 */
#include "proxy/reclaim.h"

#include <malloc.h>

static void start(struct reclaim *reclaim)
{
	reclaim->gone_then = reclaim->gone;
	hb_loop_timer_start(reclaim->loop, &reclaim->timer, reclaim->after_ms);
}

static void on_time(struct hb_timer *timer)
{
	struct reclaim *reclaim = hb_container_of(timer, struct reclaim, timer);
	bool calm = reclaim->gone - reclaim->gone_then < RECLAIM_FLOWS / 10;

	if (!calm && reclaim->put_off < RECLAIM_PUT_OFF) {
		reclaim->put_off++;
		start(reclaim);
		return;
	}
	reclaim->put_off = 0;
	reclaim->gone = 0;
	hb_loop_trim(reclaim->loop);
	reclaim->release(reclaim);
}

void reclaim_init(struct reclaim *reclaim, struct hb_loop *loop, uint32_t after_ms,
                  void (*release)(struct reclaim *reclaim))
{
	*reclaim = (struct reclaim){ .loop = loop, .after_ms = after_ms, .release = release };
	hb_timer_init(&reclaim->timer, on_time);
}

void reclaim_done(struct reclaim *reclaim)
{
	hb_loop_timer_stop(reclaim->loop, &reclaim->timer);
}

void reclaim_note(struct reclaim *reclaim, unsigned flows)
{
	struct hb_buf_pool *pool = hb_loop_pool(reclaim->loop);

	reclaim->gone += flows;
	if (hb_timer_is_running(&reclaim->timer))
		return;
	if (reclaim->gone >= RECLAIM_FLOWS || hb_buf_pool_slots_peak(pool) >= RECLAIM_SLOTS)
		start(reclaim);
}

void reclaim_release(void)
{
	(void)malloc_trim(0); /* says whether there was any */
}
