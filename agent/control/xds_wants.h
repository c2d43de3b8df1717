/*
 * xds_wants: who waits for which name, and what the server is told of it. Private to xds*.c; see
 * struct xds_want.
 */
#pragma once

#include "control/xds.h"
#include "control/xds_asked.h"

struct xds_wants {
	struct hb_list waiting; /* struct xds_want */
	size_t count;
	struct xds_asked asked;
	struct hb_loop *loop;
	/* A request with one of both, the other NULL. False: it was not sent, as there is no
	 * stream: the next one hears of all that wait. */
	bool (*tell)(void *owner, const char *subscribe, const char *unsubscribe);
	void *owner;
};

void xds_wants_init(struct xds_wants *wants, struct hb_loop *loop, uint32_t fresh_ms,
                    bool (*tell)(void *owner, const char *subscribe, const char *unsubscribe),
                    void *owner);
/* Nobody is told any more. */
void xds_wants_done(struct xds_wants *wants);
/* A new stream, which has heard of nothing. False: it is of no use. */
bool xds_wants_stream(struct xds_wants *wants);
/* As xds_want_start(). @known: there is nothing to ask for. */
void xds_wants_start(struct xds_wants *wants, struct xds_want *want, const char *name,
                     uint32_t deadline_ms, bool known,
                     void (*on_done)(struct xds_want *want, int err));
/* The server has said something of @name, or that there is @nothing. @was_known: it takes away what
 * it had told before, and what it tells of by itself is subscribed to. */
void xds_wants_answer(struct xds_wants *wants, const char *name, bool nothing, bool was_known);
/* The answers came to nothing: all wait on. */
void xds_wants_forget_answers(struct xds_wants *wants);
/* All that has been answered is told so. */
void xds_wants_tell_answered(struct xds_wants *wants);
