/*
 * heap: the counted memory that a store and its snapshots are made of.
 *
 * Everything in it begins with struct counted. The count is a plain number, because only the
 * store's thread changes it: readers hold a whole snapshot, whose own count is atomic, and leave
 * what they drop to the store. So sharing a part between snapshots costs an increment, and a
 * reader never frees anything.
 */
#pragma once

#include <hbone/base.h>

enum counted_kind {
	COUNTED_NODE, /* of a hamt: it counts its items */
	COUNTED_NODE_BORROWING,
	COUNTED_LIST,
	COUNTED_LIST_BORROWING,
	COUNTED_TEXT,
	COUNTED_WORKLOAD,
	COUNTED_SERVICE,
	COUNTED_BODY, /* what versions of a service share */
	COUNTED_GIVEN,
	COUNTED_POLICY,
	COUNTED_KINDS,
};

struct counted {
	uint32_t refs;
	uint32_t kind : 4, units : 28; /* units of 8 bytes, for the books */
};

struct heap;
struct texts;
typedef void (*counted_done)(struct heap *heap, struct counted *counted);

struct heap {
	size_t bytes;                     /* allocated now */
	size_t bytes_max;                 /* 0: no bound */
	uint32_t batch;                   /* parts made in this batch are changed in place */
	counted_done done[COUNTED_KINDS]; /* lets go of what a part refers to; NULL: nothing */
	struct texts *texts;
};

/* Zeroed but for the header, with one reference. NULL: no memory, or over bytes_max. */
void *heap_new(struct heap *heap, enum counted_kind kind, size_t size);
/* Of one reference: a larger or smaller @counted, which may have moved; the rest is not zeroed. */
void *heap_resize(struct heap *heap, void *counted, size_t size);

static inline void *counted_ref(void *counted)
{
	((struct counted *)counted)->refs++;
	return counted;
}

/* Takes NULL. The last one frees. */
void counted_unref(struct heap *heap, void *counted);
