/*
 * index: a hash table over the items of an array that somebody else keeps. It stores numbers only:
 * the reader walks the chain of a hash and compares the items itself. Built at once, then constant.
 */
#pragma once

#include <hbone/arena.h>

#define INDEX_END UINT32_MAX

struct index {
	uint32_t *first; /* per bucket: an item, or INDEX_END */
	uint32_t *next;  /* per item */
	uint32_t mask;
};

uint32_t index_hash(const void *bytes, size_t len);
uint32_t index_hash_text(const char *text);
uint32_t index_mix(uint32_t a, uint32_t b); /* the hash of a pair */

/* Room for @items, which are then added one by one. 0 or -ENOMEM. */
int index_init(struct index *index, struct hb_arena *arena, size_t items);
/* Items added later stand first in their chain: add in reverse to walk in order. */
void index_add(struct index *index, uint32_t hash, uint32_t item);

static inline uint32_t index_first(const struct index *index, uint32_t hash)
{
	return index->first ? index->first[hash & index->mask] : INDEX_END;
}

/* The items in the bucket of @hash; they may have other hashes too. */
#define index_for_each(item, index, hash)                                                          \
	for (uint32_t item = index_first(index, hash); item != INDEX_END;                          \
	     item = (index)->next[item])
