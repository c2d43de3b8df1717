/*
 * exchange: a whole life of one connection, played step by step from the turns of the loop: three
 * tunnels, one that both finish, one that is refused, one that the server finishes first; then
 * everything is closed. Whatever happens to the wire meanwhile, it must end, and truthfully.
 * Double: that connection itself runs in a tunnel of another one.
 */
#pragma once

#include "support/link.h"

#define EXCHANGE_TUNNELS 3

struct exchange {
	struct link link;
	struct link outer; /* double: what link runs in */
	bool is_double;
	struct probe *asked; /* double: the outer tunnel, until it is open */
	size_t len[2];       /* what each end has to say on a tunnel, by enum hb_h2_role */
	struct exchange_side {
		bool wrote, finished, closed;
	} did[2][EXCHANGE_TUNNELS];
};

/* @ctxs as link_up() takes them. */
void exchange_up(struct exchange *x, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
                 bool is_double);
/* The link that has the wire. */
struct link *exchange_bottom(struct exchange *x);
bool exchange_is_over(const struct exchange *x);
/* Turns until all is over, at most @turns; false: it is not. */
bool exchange_play(struct exchange *x, unsigned turns);
/* NULL, or what is wrong with how it ended: a truncated transfer told as a success, or a stream
 * without an end. @whole: nothing was done to the wire, so all must be right. */
const char *exchange_wrong(const struct exchange *x, bool whole);
void exchange_down(struct exchange *x);
