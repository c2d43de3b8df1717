/*
 * slab: small objects of a few fixed sizes that live as long as flows do.
 *
 * malloc puts them between all else that is made meanwhile, so that when thousands have gone the
 * few things between them keep all their pages. Here objects of one size share slabs of 32 KiB,
 * and a slab that nobody uses goes back to the system. There is nothing between objects, and
 * nothing in front of them.
 *
 * Thread: one set belongs to one loop.
 */
#pragma once

#include <hbone/base.h>

#define HB_SLAB_OBJECT_MAX 1024u /* bytes */

struct hb_slabs;

struct hb_slabs *hb_slabs_new(void *owner); /* NULL: no memory */
/* Every object must have been put back. Takes NULL. */
void hb_slabs_free(struct hb_slabs *slabs);

/* Zeroed, aligned to 8; 0 < @size <= HB_SLAB_OBJECT_MAX. NULL: no memory. */
void *hb_slab_get(struct hb_slabs *slabs, size_t size);
/* Of any set. Takes NULL. */
void hb_slab_put(void *object);
/* Of the set that it is from: what its objects need not keep themselves. */
void *hb_slab_owner(const void *object);
/* What an object may be used for: the size that was asked for, rounded up to 8. */
size_t hb_slab_bytes(const void *object);
/* Whether @at is of a slab and not of malloc(), for those who have both and ask slabs for multiples
 * of 16 only: theirs lie 8 behind a multiple of 16, and malloc's on one. */
static inline bool hb_slab_has(const void *at)
{
	return (uintptr_t)at % 16 == 8;
}

/* Gives the empty slabs back that are kept for the next object. */
void hb_slabs_trim(struct hb_slabs *slabs);

size_t hb_slabs_objects(const struct hb_slabs *slabs); /* that are out */
size_t hb_slabs_bytes(const struct hb_slabs *slabs);   /* of slabs, used or not */
