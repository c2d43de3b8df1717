/*
 * xds_wants: who waits for which name. Private to xds*.c; see struct xds_want.
 */
#pragma once

#include "control/xds.h"

struct xds_wants {
	struct hb_list waiting; /* struct xds_want */
	size_t count;
};

void xds_wants_init(struct xds_wants *wants);
/* Does anybody wait for @name already? */
bool xds_wants_has(const struct xds_wants *wants, const char *name);
void xds_wants_add(struct xds_wants *wants, struct xds_want *want);
/* The server has said something of @name. */
void xds_wants_answer(struct xds_wants *wants, const char *name);
/* The answers came to nothing: all wait on. */
void xds_wants_forget_answers(struct xds_wants *wants);
/* One that has been answered, taken out; NULL: no more. */
struct xds_want *xds_wants_take_answered(struct xds_wants *wants);
/* Is it the first of those that wait for its name? */
bool xds_wants_is_first(const struct xds_wants *wants, const struct xds_want *want);
