/*
 * hamt_node: what a hamt is made of; only hamt*.c look in here.
 *
 * Nodes hold their entries first and their branches after them, both dense, found by counting bits.
 * Items of one hash are a list in the place of the item; the lowest bit of the pointer tells.
 */
#pragma once

#include "mesh/hamt.h"

#define HAMT_BITS 5

struct hamt_entry {
	uint64_t hash;
	void *item; /* or a list, tagged */
};

struct hamt_list {
	struct counted counted;
	uint32_t batch, count;
	void *items[];
};

struct hamt_node {
	struct counted counted;
	uint32_t batch;
	uint32_t entries, nodes;   /* which of the 32 branches are there, as what */
	uint32_t count;            /* items below */
	struct hamt_entry entry[]; /* then the nodes */
};

static inline unsigned int hamt_branch(uint64_t hash, unsigned int level)
{
	return level == HAMT_LEVELS - 1 ? hash & 15 : hash >> (64 - HAMT_BITS * (level + 1)) & 31;
}

/* Without the instruction, which not every x86-64 has, gcc calls a function for it. */
static inline unsigned int bits_count(uint32_t bits)
{
	bits -= bits >> 1 & 0x55555555u;
	bits = (bits & 0x33333333u) + (bits >> 2 & 0x33333333u);
	return ((bits + (bits >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

static inline size_t entries_count(const struct hamt_node *node)
{
	return bits_count(node->entries);
}

static inline size_t nodes_count(const struct hamt_node *node)
{
	return bits_count(node->nodes);
}

/* How many branches of @map come before @branch. */
static inline size_t rank(uint32_t map, unsigned int branch)
{
	return bits_count(map & ((1u << branch) - 1));
}

static inline struct hamt_node **nodes_of(const struct hamt_node *node)
{
	return (struct hamt_node **)(uintptr_t)(node->entry + entries_count(node));
}

static inline size_t node_size(size_t entries, size_t nodes)
{
	return sizeof(struct hamt_node) + entries * sizeof(struct hamt_entry) +
	       nodes * sizeof(struct hamt_node *);
}

static inline bool is_list(const void *item)
{
	return (uintptr_t)item & 1;
}

static inline struct hamt_list *list_of(const void *item)
{
	return (struct hamt_list *)((uintptr_t)item & ~(uintptr_t)1);
}

static inline void *list_tag(struct hamt_list *list)
{
	return (void *)((uintptr_t)list | 1);
}

static inline bool borrows(const struct hamt_node *node)
{
	return node->counted.kind == COUNTED_NODE_BORROWING;
}

static inline struct hamt_items items_of(const struct hamt_entry *entry)
{
	const struct hamt_list *list = list_of(entry->item);

	if (is_list(entry->item))
		return (struct hamt_items){ list->items, list->count };
	return (struct hamt_items){ &entry->item, 1 };
}
