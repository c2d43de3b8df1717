/*
 * xds_wants: a list; there are few, and responses are small where there are any.
 */
#include "control/xds_wants.h"

#include <string.h>

#include <hbone/base.h>

#define WANT_OF(n) hb_container_of(n, struct xds_want, node)

void xds_wants_init(struct xds_wants *wants)
{
	hb_list_init(&wants->waiting);
	wants->count = 0;
}

static struct xds_want *first_of(const struct xds_wants *wants, const char *name)
{
	hb_list_for_each (node, &wants->waiting)
		if (strcmp(WANT_OF(node)->name, name) == 0)
			return WANT_OF(node);
	return NULL;
}

bool xds_wants_has(const struct xds_wants *wants, const char *name)
{
	return first_of(wants, name);
}

bool xds_wants_is_first(const struct xds_wants *wants, const struct xds_want *want)
{
	return first_of(wants, want->name) == want;
}

void xds_wants_add(struct xds_wants *wants, struct xds_want *want)
{
	hb_list_add(&wants->waiting, &want->node);
	wants->count++;
}

void xds_wants_answer(struct xds_wants *wants, const char *name)
{
	hb_list_for_each (node, &wants->waiting)
		if (strcmp(WANT_OF(node)->name, name) == 0)
			WANT_OF(node)->answered = true;
}

void xds_wants_forget_answers(struct xds_wants *wants)
{
	hb_list_for_each (node, &wants->waiting)
		WANT_OF(node)->answered = false;
}

struct xds_want *xds_wants_take_answered(struct xds_wants *wants)
{
	hb_list_for_each (node, &wants->waiting) {
		if (!WANT_OF(node)->answered)
			continue;
		hb_list_remove(node);
		wants->count--;
		return WANT_OF(node);
	}
	return NULL;
}
