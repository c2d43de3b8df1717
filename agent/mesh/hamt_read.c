/*
 * hamt_read: looking up, and walking.
 */
#include <string.h>

#include "mesh/hamt_node.h"

struct hamt_items hamt_get(const struct hamt *map, uint64_t hash)
{
	const struct hamt_node *node = map->root;

	for (unsigned int level = 0; node; level++) {
		unsigned int branch = hamt_branch(hash, level);
		const struct hamt_entry *entry = &node->entry[rank(node->entries, branch)];

		if (node->nodes & 1u << branch)
			node = nodes_of(node)[rank(node->nodes, branch)];
		else if (node->entries & 1u << branch && entry->hash == hash)
			return items_of(entry);
		else
			break;
	}
	return (struct hamt_items){ 0 };
}

size_t hamt_count(const struct hamt *map)
{
	return map->root ? map->root->count : 0;
}

static void push(struct hamt_iter *iter, const struct hamt_node *node)
{
	iter->nodes[iter->depth] = node;
	iter->at[iter->depth++] = 0;
}

void hamt_iter_init(struct hamt_iter *iter, const struct hamt *map)
{
	iter->depth = 0;
	iter->items.count = 0;
	if (map->root)
		push(iter, map->root);
}

void hamt_iter_prefix(struct hamt_iter *iter, const struct hamt *map, uint64_t hash)
{
	const struct hamt_node *node = map->root;

	iter->depth = 0;
	iter->items.count = 0;
	for (unsigned int level = 0; node && level < HAMT_PREFIX_BITS / HAMT_BITS; level++) {
		unsigned int branch = hamt_branch(hash, level);
		const struct hamt_entry *entry = &node->entry[rank(node->entries, branch)];

		if (node->entries & 1u << branch &&
		    (entry->hash ^ hash) >> (64 - HAMT_PREFIX_BITS) == 0)
			iter->items = items_of(entry);
		node =
		    node->nodes & 1u << branch ? nodes_of(node)[rank(node->nodes, branch)] : NULL;
	}
	if (node)
		push(iter, node);
}

void *hamt_next(struct hamt_iter *iter)
{
	while (!iter->items.count) {
		const struct hamt_node *node;
		size_t at, entries;

		if (!iter->depth)
			return NULL;
		node = iter->nodes[iter->depth - 1];
		at = iter->at[iter->depth - 1]++;
		entries = entries_count(node);
		if (at < entries)
			iter->items = items_of(&node->entry[at]);
		else if (at < entries + nodes_count(node))
			push(iter, nodes_of(node)[at - entries]);
		else
			iter->depth--;
	}
	iter->items.count--;
	return *iter->items.at++;
}
