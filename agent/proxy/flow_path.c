/*
 * flow_path: a hash table of counted blocks that find themselves again.
 */
#include "proxy/flow_path.h"

#include <string.h>

static uint32_t mix(uint32_t hash, const void *bytes, size_t size)
{
	for (const uint8_t *p = bytes; size > 0; p++, size--)
		hash = (hash ^ *p) * 16777619u; /* FNV-1a */
	return hash;
}

static uint32_t hash_of(const struct flow_path *path)
{
	uintptr_t pod = (uintptr_t)path->pod;
	uintptr_t facts = (uintptr_t)path->facts; /* the same texts are the same block */
	uint32_t hash = mix(2166136261u, &pod, sizeof(pod));

	hash = mix(hash, &facts, sizeof(facts));
	hash = mix(hash, &path->src, sizeof(path->src));
	hash = mix(hash, &path->dst, sizeof(path->dst));
	return mix(hash, &path->orig_dst, sizeof(path->orig_dst));
}

static bool is_same(const struct flow_path *a, const struct flow_path *b)
{
	return a->pod == b->pod && a->facts == b->facts && hb_ip_equal(&a->src, &b->src) &&
	       hb_addr_equal(&a->dst, &b->dst) && hb_addr_equal(&a->orig_dst, &b->orig_dst);
}

void flow_paths_init(struct flow_paths *table, struct hb_slabs *slabs)
{
	table->slabs = slabs;
}

const struct flow_path *flow_path_get(struct flow_paths *table, const struct flow_path *want)
{
	uint32_t hash = hash_of(want);
	struct flow_path **bucket = &table->buckets[hash % FLOW_PATH_BUCKETS];
	struct flow_path *path;

	for (path = *bucket; path; path = path->next)
		if (path->hash == hash && is_same(path, want)) {
			facts_put(&table->facts, want->facts);
			path->refs++;
			return path;
		}
	path = hb_slab_get(table->slabs, sizeof(*path));
	if (!path) {
		facts_put(&table->facts, want->facts);
		return NULL;
	}
	*path = *want;
	path->refs = 1;
	path->hash = hash;
	path->next = *bucket;
	*bucket = path;
	table->count++;
	return path;
}

void flow_path_put(struct flow_paths *table, const struct flow_path *path)
{
	struct flow_path **at;

	if (!path)
		return;
	at = &table->buckets[path->hash % FLOW_PATH_BUCKETS];
	while (*at != path)
		at = &(*at)->next;
	if (--(*at)->refs > 0)
		return;
	table->count--;
	*at = path->next;
	facts_put(&table->facts, path->facts);
	hb_slab_put((void *)(uintptr_t)path);
}
