/*
 * xds_wants: a list of who waits; there are few, and responses are small where there are any.
 */
#include "control/xds_wants.h"

#include <string.h>

#include <hbone/base.h>
#include <hbone/loop.h>

#define WANT_OF(n) hb_container_of(n, struct xds_want, node)

void xds_wants_init(struct xds_wants *wants, struct hb_loop *loop, uint32_t fresh_ms,
                    bool (*tell)(void *owner, const char *subscribe, const char *unsubscribe),
                    void *owner)
{
	hb_list_init(&wants->waiting);
	wants->count = 0;
	xds_asked_init(&wants->asked, fresh_ms);
	wants->loop = loop;
	wants->tell = tell;
	wants->owner = owner;
}

void xds_wants_done(struct xds_wants *wants)
{
	hb_list_for_each_safe (node, &wants->waiting)
		xds_want_cancel(WANT_OF(node));
	xds_asked_clear(&wants->asked);
}

/* There is always one to give up: more names are kept than may be waited for. */
static int make_room(struct xds_wants *wants)
{
	const char *oldest = xds_asked_oldest(&wants->asked);

	if (wants->asked.count < XDS_ASKED_MAX)
		return 0;
	if (!oldest || !wants->tell(wants->owner, NULL, oldest))
		return -ENOBUFS;
	xds_asked_remove(&wants->asked, oldest);
	return 0;
}

/* The server is asked for @name, unless it has been. 0: an answer will come; 1: it has come just
 * now; -ENOMEM: none will. */
static int ask(struct xds_wants *wants, const char *name)
{
	enum xds_asked_state state =
	    xds_asked_state(&wants->asked, name, hb_loop_now_ms(wants->loop));

	if (state == ASKED_OPEN || state == ASKED_FRESH)
		return state == ASKED_FRESH;
	if (state == ASKED_STALE && wants->tell(wants->owner, NULL, name))
		xds_asked_remove(&wants->asked, name);
	if (make_room(wants) < 0 || !wants->tell(wants->owner, name, NULL))
		return 0; /* by the next stream, or the deadline says so */
	return xds_asked_open(&wants->asked, name);
}

bool xds_wants_stream(struct xds_wants *wants)
{
	xds_asked_clear(&wants->asked);
	hb_list_for_each (node, &wants->waiting) {
		const char *name = WANT_OF(node)->name;

		if (ask(wants, name) < 0 || xds_asked_state(&wants->asked, name, 0) == ASKED_NOT)
			return false;
	}
	return true;
}

static void on_time(struct hb_timer *timer)
{
	struct xds_want *want = hb_container_of(timer, struct xds_want, deadline);
	int err = want->err;

	xds_want_cancel(want);
	want->on_done(want, err);
}

void xds_wants_start(struct xds_wants *wants, struct xds_want *want, const char *name,
                     uint32_t deadline_ms, bool known,
                     void (*on_done)(struct xds_want *want, int err))
{
	int said;

	*want = (struct xds_want){ .wants = wants, .name = name, .on_done = on_done };
	hb_list_init(&want->node);
	hb_timer_init(&want->deadline, on_time);
	if (!known && wants->count >= XDS_WANTS_MAX) {
		want->err = -ENOBUFS;
	} else if (!known) {
		said = ask(wants, name);
		want->err = said < 0 ? said : 0;
		if (said == 0) {
			want->err = -ETIMEDOUT;
			hb_list_add(&wants->waiting, &want->node);
			wants->count++;
		}
	}
	hb_loop_timer_start(wants->loop, &want->deadline,
	                    hb_list_is_empty(&want->node) ? 0 : deadline_ms);
}

void xds_want_cancel(struct xds_want *want)
{
	hb_loop_timer_stop(want->wants->loop, &want->deadline);
	if (hb_list_is_empty(&want->node))
		return;
	hb_list_remove(&want->node);
	want->wants->count--;
}

void xds_wants_answer(struct xds_wants *wants, const char *name, bool nothing, bool was_known)
{
	uint64_t now = hb_loop_now_ms(wants->loop);

	if (!xds_asked_answer(&wants->asked, name, nothing, now) && was_known &&
	    make_room(wants) == 0 && xds_asked_open(&wants->asked, name) == 0)
		(void)xds_asked_answer(&wants->asked, name, nothing, now);
	hb_list_for_each (node, &wants->waiting)
		if (strcmp(WANT_OF(node)->name, name) == 0)
			WANT_OF(node)->answered = true;
}

void xds_wants_forget_answers(struct xds_wants *wants)
{
	hb_list_for_each (node, &wants->waiting)
		WANT_OF(node)->answered = false;
}

static struct xds_want *take_answered(struct xds_wants *wants)
{
	hb_list_for_each (node, &wants->waiting)
		if (WANT_OF(node)->answered)
			return WANT_OF(node);
	return NULL;
}

void xds_wants_tell_answered(struct xds_wants *wants)
{
	struct xds_want *want;

	while ((want = take_answered(wants))) {
		xds_want_cancel(want);
		want->on_done(want, 0);
	}
}
