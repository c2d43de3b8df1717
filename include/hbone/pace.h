/*
 * pace: work that costs much, such as a TLS handshake's arithmetic: so many pieces of it in a turn
 * of the loop, and fairly among those who want it.
 *
 * Who asks belongs to a group, such as all connections of one address. Groups have their turns in a
 * circle, one piece each; in a group who asked first is first. So a crowd of one group waits behind
 * itself. There are HB_PACE_GROUPS; what is hashed into the same one shares its turns.
 *
 * A group may also be limited over time: so that a storm of one address leaves most of the thread,
 * and of the CPU that it shares, to others, also where nobody else asks for the same work.
 *
 * Nothing is allocated: the item is its owner's, and a place in the queue is taken once.
 * Thread: the loop's own.
 */
#pragma once

#include <hbone/loop.h>

#define HB_PACE_GROUPS 256u

struct hb_pace_item { /* embedded by who asks */
	struct hb_list node;
	/* Its turn has come; it may ask again in here. Never inside hb_pace_ask(). */
	void (*run)(struct hb_pace_item *item);
};

struct hb_pace {
	struct hb_loop *loop;
	struct hb_timer timer; /* runs while somebody waits */
	unsigned per_turn;     /* pieces; at least 1 */
	uint32_t burst;        /* pieces that a group may have at once; see hb_pace_limit() */
	uint32_t every_ms;     /* and then one in so long; 0: no limit */
	uint64_t queued;       /* so far: items that found others waiting before them */
	bool resting;          /* the timer waits until a group may go on */
	struct hb_list circle; /* of groups that have items */
	struct hb_pace_group {
		struct hb_list node, items;
		uint32_t left;     /* pieces of its burst */
		uint64_t since_ms; /* counted up to here; in the future: nothing before */
	} groups[HB_PACE_GROUPS];
};

void hb_pace_init(struct hb_pace *pace, struct hb_loop *loop, unsigned per_turn);
/*
 * Of each group @burst pieces (at least 1) as turns allow, and one more in every @every_ms (at
 * least 1); what is not used is saved, up to @burst. Without this only turns limit.
 */
void hb_pace_limit(struct hb_pace *pace, uint32_t burst, uint32_t every_ms);
/* A limited group gets nothing for @for_ms from now on. Fines do not add up. */
void hb_pace_fine(struct hb_pace *pace, uint32_t group, uint32_t for_ms);
/* Nobody may wait any more. */
void hb_pace_done(struct hb_pace *pace);

void hb_pace_item_init(struct hb_pace_item *item, void (*run)(struct hb_pace_item *item));
/* Runs @item once, in this turn or a later one; no effect while it waits. @group: any number. */
void hb_pace_ask(struct hb_pace *pace, struct hb_pace_item *item, uint32_t group);
/* It will not run; also when it does not wait. */
void hb_pace_leave(struct hb_pace_item *item);
