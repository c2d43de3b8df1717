/*
 * hamt: a map from 64-bit hashes to items that shares its parts with earlier versions of itself.
 *
 * A copy of a struct hamt, with a reference to its root, is a version that stays as it is: a change
 * copies the few nodes on its way (a trie of 32 branches, so two to five) and leaves the others
 * shared. Nodes made in the heap's current batch, and not shared, are changed in place instead: a
 * load of many items copies nothing. Items of one hash are kept together, in the order they came
 * in; whoever looks compares keys. Memory is the heap's; what fails with -ENOMEM changes nothing.
 *
 * Thread: changes are the heap's thread's; any thread may read a version that somebody keeps.
 */
#pragma once

#include "mesh/heap.h"

#define HAMT_LEVELS      13 /* 5 bits of the hash each, the highest first */
#define HAMT_PREFIX_BITS 30

struct hamt_node;

struct hamt {
	struct hamt_node *root; /* NULL: empty */
	bool borrows; /* items are kept by someone else; else the map has a reference to each */
};

struct hamt_items { /* of one hash; valid while the version is kept */
	void *const *at;
	size_t count;
};

void hamt_init_heap(struct heap *heap); /* tells it how nodes end */

/* An owning map takes the caller's reference to @item. 0 or -ENOMEM. */
int hamt_add(struct heap *heap, struct hamt *map, uint64_t hash, void *item);
/* @item, by its address, is there. 0 or -ENOMEM. */
int hamt_remove(struct heap *heap, struct hamt *map, uint64_t hash, const void *item);
/* @old is there; @item takes its place in the order. 0 or -ENOMEM. */
int hamt_replace(struct heap *heap, struct hamt *map, uint64_t hash, const void *old, void *item);
/* Both keep the root, as a version of its own. */
struct hamt hamt_share(const struct hamt *map);
void hamt_drop(struct heap *heap, struct hamt *map);

struct hamt_items hamt_get(const struct hamt *map, uint64_t hash);
size_t hamt_count(const struct hamt *map);

struct hamt_iter {
	const struct hamt_node *nodes[HAMT_LEVELS];
	uint8_t at[HAMT_LEVELS], depth;
	struct hamt_items items;
};
/* In an order that depends on the hashes alone. */
void hamt_iter_init(struct hamt_iter *iter, const struct hamt *map);
/* Only those whose hash begins with the first HAMT_PREFIX_BITS of @hash. */
void hamt_iter_prefix(struct hamt_iter *iter, const struct hamt *map, uint64_t hash);
void *hamt_next(struct hamt_iter *iter); /* NULL: no more */

/* for_each over the items of one hash: hamt_for_each (item, items) */
#define hamt_for_each(item, items)                                                                 \
	for (size_t i_ = 0; i_ < (items).count && ((item) = (items).at[i_], true); i_++)
