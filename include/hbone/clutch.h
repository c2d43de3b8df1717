/*
 * clutch: small objects that live as long as flows do, sixteen together, so that what they share
 * stands once: whose they are, and the list that all of them can be gone through by.
 *
 * Each object knows its place in its clutch, four bits that its user keeps for it; from there it
 * is a subtraction to what is shared. A set has all the clutches of one owner. Objects may outlive
 * their set, as streams do their connection: then they are nobody's.
 *
 * Thread: that of the slabs that clutches come from.
 */
#pragma once

#include <hbone/list.h>
#include <hbone/slab.h>

#define HB_CLUTCH_PLACES     16u
#define HB_CLUTCH_OBJECT_MAX ((HB_SLAB_OBJECT_MAX - sizeof(struct hb_clutch)) / HB_CLUTCH_PLACES)

struct hb_clutches;

struct hb_clutch {           /* all of it is clutch.c's; its objects follow */
	struct hb_list node; /* of its set */
	struct hb_list room; /* of those that have some */
	struct hb_clutch *next_marked;
	uint64_t set : 48;  /* its address; 0: it has left */
	uint64_t used : 16; /* a bit for each place, as in */
	uint16_t marked;
};

struct hb_clutch_walk { /* where one is who goes through a set: at an object, or at the end */
	struct hb_clutch *clutch; /* NULL: the end */
	unsigned place;
};

struct hb_clutches {
	struct hb_slabs *slabs;
	struct hb_list all, with_room;
	struct hb_clutch *first_marked, *last_marked;
	struct hb_clutch_walk *walk; /* that is to stay good whatever goes; NULL: none */
	size_t objects;              /* that live */
	uint32_t bytes;              /* of an object */
};

/* @bytes: a multiple of 8, at most HB_CLUTCH_OBJECT_MAX. */
void hb_clutches_init(struct hb_clutches *set, struct hb_slabs *slabs, size_t bytes);
/* What lives on is nobody's: hb_clutch_set() of it is NULL. The slabs must outlive it. */
void hb_clutches_leave(struct hb_clutches *set);

/* Zeroed; its place in *ret_place. NULL: no memory. */
void *hb_clutch_get(struct hb_clutches *set, unsigned *ret_place);
/* The clutch that an object of @bytes lies in. */
static inline struct hb_clutch *hb_clutch_of(const void *object, unsigned place, size_t bytes)
{
	return (struct hb_clutch *)((uintptr_t)object - place * bytes - sizeof(struct hb_clutch));
}
/* NULL: it has left. */
static inline struct hb_clutches *hb_clutch_set(const struct hb_clutch *clutch)
{
	return (struct hb_clutches *)(uintptr_t)clutch->set;
}
void hb_clutch_put(struct hb_clutch *clutch, unsigned place, size_t bytes);

/* Marks an object, once. */
void hb_clutch_mark(struct hb_clutch *clutch, unsigned place);
/* One that is marked, which it is no more: by clutches, in the order of their first marks. NULL:
 * none is. */
void *hb_clutch_take_marked(struct hb_clutches *set);

/* The object that @walk is at, NULL at the end; and on to the next one. Clutches are gone through
 * in the order of their birth, so a new object may come before or after. The object may be put back
 * then, no other one; but where @walk is set->walk, any. */
void hb_clutch_walk_begin(const struct hb_clutches *set, struct hb_clutch_walk *ret_walk);
void *hb_clutch_walk_next(const struct hb_clutches *set, struct hb_clutch_walk *walk);

#define hb_clutch_for_each(type, pos, set)                                                         \
	for (struct hb_clutch_walk pos##_walk,                                                     \
	     *pos##_once = (hb_clutch_walk_begin((set), &pos##_walk), &pos##_walk);                \
	     pos##_once; pos##_once = NULL)                                                        \
		for (type * pos; (pos = hb_clutch_walk_next((set), &pos##_walk));)
