/*
 * index: chains of item numbers by hash.
 */
#include "mesh/index.h"

#include <string.h>

uint32_t index_mix(uint32_t a, uint32_t b)
{
	uint64_t x = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return (uint32_t)(x >> 32);
}

uint32_t index_hash(const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325u ^ len;

	for (; len >= 8; at += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		hash = (hash ^ word) * 0x9fb21c651e98df25u;
		hash ^= hash >> 29;
	}
	for (; len; at++, len--)
		hash = (hash ^ *at) * 0x100000001b3u;
	return index_mix((uint32_t)(hash >> 32), (uint32_t)hash);
}

uint32_t index_hash_text(const char *text)
{
	return index_hash(text, strlen(text));
}

int index_init(struct index *index, struct hb_arena *arena, size_t items)
{
	size_t buckets = 16;

	if (items >= INDEX_END / 2)
		return -ENOMEM;
	while (buckets < items)
		buckets *= 2;
	index->first = hb_arena_array(arena, buckets, sizeof(*index->first));
	index->next = hb_arena_array(arena, items, sizeof(*index->next));
	if (!index->first || !index->next)
		return -ENOMEM;
	memset(index->first, 0xff, buckets * sizeof(*index->first));
	index->mask = (uint32_t)(buckets - 1);
	return 0;
}

void index_add(struct index *index, uint32_t hash, uint32_t item)
{
	index->next[item] = index->first[hash & index->mask];
	index->first[hash & index->mask] = item;
}
