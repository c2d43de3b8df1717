/*
 * hamt: changing. Every step leaves a map that is whole, so whatever fails has changed nothing.
 */
#include <assert.h>
#include <string.h>

#include "mesh/hamt_node.h"

/* How parts end. */
static void node_done(struct heap *heap, struct counted *counted)
{
	struct hamt_node *node = hb_container_of(counted, struct hamt_node, counted);

	for (size_t i = 0; i < entries_count(node); i++) {
		if (is_list(node->entry[i].item))
			counted_unref(heap, list_of(node->entry[i].item));
		else if (!borrows(node))
			counted_unref(heap, node->entry[i].item);
	}
	for (size_t i = 0; i < nodes_count(node); i++)
		counted_unref(heap, nodes_of(node)[i]);
}

static void list_done(struct heap *heap, struct counted *counted)
{
	struct hamt_list *list = hb_container_of(counted, struct hamt_list, counted);

	for (size_t i = 0; i < list->count && counted->kind == COUNTED_LIST; i++)
		counted_unref(heap, list->items[i]);
}

void hamt_init_heap(struct heap *heap)
{
	heap->done[COUNTED_NODE] = node_done;
	heap->done[COUNTED_NODE_BORROWING] = node_done;
	heap->done[COUNTED_LIST] = list_done;
	heap->done[COUNTED_LIST_BORROWING] = list_done;
}

/*
 * Before a part is changed it must be ours: made in this batch and not shared. That is asked from
 * the root down, so that what hangs on a shared part is counted as shared by the time we get there.
 */
static struct hamt_node *node_own(struct heap *heap, struct hamt_node **place)
{
	struct hamt_node *old = *place, *node;
	size_t size;

	if (old->batch == heap->batch && old->counted.refs == 1)
		return old;
	size = node_size(entries_count(old), nodes_count(old));
	node = heap_new(heap, (enum counted_kind)old->counted.kind, size);
	if (!node)
		return NULL;
	memcpy((char *)node + sizeof(node->counted), (char *)old + sizeof(old->counted),
	       size - sizeof(node->counted));
	node->batch = heap->batch;
	for (size_t i = 0; i < entries_count(node); i++) {
		if (is_list(node->entry[i].item))
			counted_ref(list_of(node->entry[i].item));
		else if (!borrows(node))
			counted_ref(node->entry[i].item);
	}
	for (size_t i = 0; i < nodes_count(node); i++)
		counted_ref(nodes_of(node)[i]);
	counted_unref(heap, old);
	*place = node;
	return node;
}

static struct hamt_list *list_new(struct heap *heap, bool borrowing, size_t count)
{
	struct hamt_list *list = heap_new(heap, borrowing ? COUNTED_LIST_BORROWING : COUNTED_LIST,
	                                  sizeof(*list) + count * sizeof(list->items[0]));

	if (list) {
		list->batch = heap->batch;
		list->count = (uint32_t)count;
	}
	return list;
}

/* The list of @entry as one of our own with @more items; its last ones are not set yet. */
static struct hamt_list *list_own(struct heap *heap, struct hamt_entry *entry, size_t more)
{
	struct hamt_list *old = list_of(entry->item), *list;
	bool is_borrowing = old->counted.kind == COUNTED_LIST_BORROWING;
	size_t count = old->count;

	if (old->batch == heap->batch && old->counted.refs == 1) {
		list = more ? heap_resize(heap, old,
		                          sizeof(*list) + (count + more) * sizeof(list->items[0]))
		            : old;
	} else {
		list = list_new(heap, is_borrowing, count + more);
		if (list) {
			memcpy(list->items, old->items, count * sizeof(list->items[0]));
			for (size_t i = 0; i < count && !is_borrowing; i++)
				counted_ref(list->items[i]);
			counted_unref(heap, old);
		}
	}
	if (!list)
		return NULL;
	list->count = (uint32_t)(count + more);
	entry->item = list_tag(list);
	return list;
}

static int list_add(struct heap *heap, struct hamt_entry *entry, bool borrowing, void *item)
{
	struct hamt_list *list;

	if (is_list(entry->item)) {
		list = list_own(heap, entry, 1);
		if (list)
			list->items[list->count - 1] = item;
		return list ? 0 : -ENOMEM;
	}
	list = list_new(heap, borrowing, 2);
	if (!list)
		return -ENOMEM;
	list->items[0] = entry->item;
	list->items[1] = item;
	entry->item = list_tag(list);
	return 0;
}

static size_t list_index(const struct hamt_list *list, const void *item)
{
	size_t i = 0;

	while (list->items[i] != item) {
		i++;
		assert(i < list->count);
	}
	return i;
}

/* A list of one becomes that one again. */
static int list_remove(struct heap *heap, struct hamt_entry *entry, const void *item)
{
	struct hamt_list *list = list_own(heap, entry, 0);
	size_t i;

	if (!list)
		return -ENOMEM;
	i = list_index(list, item);
	if (list->counted.kind == COUNTED_LIST)
		counted_unref(heap, list->items[i]);
	list->count--;
	memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof(list->items[0]));
	if (list->count == 1) {
		entry->item = list->items[0];
		list->count = 0; /* what it held has moved */
		counted_unref(heap, list);
	}
	return 0;
}

static struct hamt_node *node_new(struct heap *heap, bool borrowing, size_t entries, size_t nodes)
{
	struct hamt_node *node = heap_new(heap, borrowing ? COUNTED_NODE_BORROWING : COUNTED_NODE,
	                                  node_size(entries, nodes));

	if (node)
		node->batch = heap->batch;
	return node;
}

static void forget_entries(struct hamt_node *node)
{
	for (; node; node = node->nodes ? nodes_of(node)[0] : NULL)
		node->entries = 0;
}

/* A node for two entries of different hashes, and nodes above it while their bits agree. */
static struct hamt_node *node_of_two(struct heap *heap, bool borrowing, unsigned int level,
                                     const struct hamt_entry *a, const struct hamt_entry *b)
{
	unsigned int at_a = hamt_branch(a->hash, level), at_b = hamt_branch(b->hash, level);
	struct hamt_node *below = NULL, *node;

	if (at_a == at_b) {
		below = node_of_two(heap, borrowing, level + 1, a, b);
		if (!below)
			return NULL;
	}
	node = node_new(heap, borrowing, below ? 0 : 2, below ? 1 : 0);
	if (!node) {
		forget_entries(below); /* they are the caller's still */
		counted_unref(heap, below);
		return NULL;
	}
	if (below) {
		node->nodes = 1u << at_a;
		nodes_of(node)[0] = below;
		return node;
	}
	node->entries = 1u << at_a | 1u << at_b;
	node->entry[at_a > at_b] = *a;
	node->entry[at_a < at_b] = *b;
	return node;
}

/* Room for one entry more than there is. */
static struct hamt_node *node_grow(struct heap *heap, struct hamt_node **place)
{
	size_t size = node_size(entries_count(*place) + 1, nodes_count(*place));
	struct hamt_node *node = heap_resize(heap, *place, size);

	if (node)
		*place = node;
	return node;
}

/* Gives back what is not needed any more. */
static void node_fit(struct heap *heap, struct hamt_node **place)
{
	size_t size = node_size(entries_count(*place), nodes_count(*place));
	struct hamt_node *node = heap_resize(heap, *place, size);

	if (node) /* else it stays larger than it need be */
		*place = node;
}

/* These four move what is there; the room is seen to by whoever calls. */
static void entry_insert(struct hamt_node *node, unsigned int branch,
                         const struct hamt_entry *entry)
{
	size_t entries = entries_count(node), at = rank(node->entries, branch);

	memmove(&node->entry[at + 1], &node->entry[at],
	        (entries - at) * sizeof(*entry) + nodes_count(node) * sizeof(node));
	node->entry[at] = *entry;
	node->entries |= 1u << branch;
}

static void entry_cut(struct hamt_node *node, unsigned int branch)
{
	size_t entries = entries_count(node), at = rank(node->entries, branch);

	memmove(&node->entry[at], &node->entry[at + 1],
	        (entries - at - 1) * sizeof(node->entry[0]) + nodes_count(node) * sizeof(node));
	node->entries &= ~(1u << branch);
}

static void node_cut(struct hamt_node *node, unsigned int branch)
{
	size_t nodes = nodes_count(node), at = rank(node->nodes, branch);

	memmove(&nodes_of(node)[at], &nodes_of(node)[at + 1], (nodes - at - 1) * sizeof(node));
	node->nodes &= ~(1u << branch);
}

static void node_insert(struct hamt_node *node, unsigned int branch, struct hamt_node *below)
{
	size_t nodes = nodes_count(node), at = rank(node->nodes, branch);

	memmove(&nodes_of(node)[at + 1], &nodes_of(node)[at], (nodes - at) * sizeof(node));
	nodes_of(node)[at] = below;
	node->nodes |= 1u << branch;
}

/* Two entries want one branch: both move a level down. The room for that is there: an entry is
 * larger than the pointer that takes its place. */
static int branch_split(struct heap *heap, struct hamt_node **place, unsigned int level,
                        const struct hamt_entry *more)
{
	struct hamt_node *node = *place, *below;
	unsigned int branch = hamt_branch(more->hash, level);
	struct hamt_entry old = node->entry[rank(node->entries, branch)];

	below = node_of_two(heap, borrows(node), level + 1, &old, more);
	if (!below)
		return -ENOMEM;
	for (struct hamt_node *at = below; at; at = at->nodes ? nodes_of(at)[0] : NULL)
		at->count = (uint32_t)items_of(&old).count + 1;
	entry_cut(node, branch);
	node_insert(node, branch, below);
	node_fit(heap, place);
	return 0;
}

static int entry_add(struct heap *heap, struct hamt_node **place, unsigned int branch,
                     const struct hamt_entry *more)
{
	struct hamt_node *node = node_grow(heap, place);

	if (!node)
		return -ENOMEM;
	entry_insert(node, branch, more);
	return 0;
}

static int add_at(struct heap *heap, struct hamt_node **place, unsigned int level,
                  const struct hamt_entry *more)
{
	struct hamt_node *node = node_own(heap, place);
	unsigned int branch = hamt_branch(more->hash, level);
	uint32_t bit = 1u << branch;
	struct hamt_entry *entry;
	int err;

	if (!node)
		return -ENOMEM;
	entry = &node->entry[rank(node->entries, branch)];
	if (node->nodes & bit)
		err = add_at(heap, &nodes_of(node)[rank(node->nodes, branch)], level + 1, more);
	else if (!(node->entries & bit))
		err = entry_add(heap, place, branch, more);
	else if (entry->hash == more->hash)
		err = list_add(heap, entry, borrows(node), more->item);
	else
		err = branch_split(heap, place, level, more);
	if (!err)
		(*place)->count++;
	return err;
}

int hamt_add(struct heap *heap, struct hamt *map, uint64_t hash, void *item)
{
	struct hamt_entry entry = { hash, item };

	assert(item && !is_list(item));
	if (!map->root)
		map->root = node_new(heap, map->borrows, 0, 0);
	return map->root ? add_at(heap, &map->root, 0, &entry) : -ENOMEM;
}

/* What is left of a branch: nothing goes, and a lone entry comes up. */
static void branch_tidy(struct heap *heap, struct hamt_node **place, unsigned int branch)
{
	struct hamt_node *node = *place;
	struct hamt_node *below = nodes_of(node)[rank(node->nodes, branch)];
	struct hamt_entry lone = { 0 };

	if (below->nodes || entries_count(below) > 1)
		return;
	if (below->entries) {
		node = node_grow(heap, place);
		if (!node)
			return; /* it is as good where it is, but for a step more */
		lone = below->entry[0];
		below->entries = 0;
	}
	node_cut(node, branch);
	counted_unref(heap, below);
	if (lone.item)
		entry_insert(node, branch, &lone);
	node_fit(heap, place);
}

static int remove_at(struct heap *heap, struct hamt_node **place, unsigned int level, uint64_t hash,
                     const void *item)
{
	struct hamt_node *node = node_own(heap, place);
	unsigned int branch = hamt_branch(hash, level);
	struct hamt_entry *entry;
	int err = 0;

	if (!node)
		return -ENOMEM;
	if (node->nodes & 1u << branch) {
		err = remove_at(heap, &nodes_of(node)[rank(node->nodes, branch)], level + 1, hash,
		                item);
		if (err)
			return err;
		branch_tidy(heap, place, branch);
	} else {
		assert(node->entries & 1u << branch);
		entry = &node->entry[rank(node->entries, branch)];
		assert(entry->hash == hash);
		if (is_list(entry->item)) {
			err = list_remove(heap, entry, item);
		} else {
			assert(entry->item == item);
			if (!borrows(node))
				counted_unref(heap, entry->item);
			entry_cut(node, branch);
			node_fit(heap, place);
		}
	}
	if (!err)
		(*place)->count--;
	return err;
}

int hamt_remove(struct heap *heap, struct hamt *map, uint64_t hash, const void *item)
{
	int err;

	assert(map->root);
	err = remove_at(heap, &map->root, 0, hash, item);
	if (!err && map->root->count == 0)
		hamt_drop(heap, map);
	return err;
}

int hamt_replace(struct heap *heap, struct hamt *map, uint64_t hash, const void *old, void *item)
{
	struct hamt_node **place = &map->root;
	struct hamt_node *node;
	struct hamt_entry *entry;
	void **slot;

	for (unsigned int level = 0;; level++) {
		unsigned int branch = hamt_branch(hash, level);

		assert(*place);
		node = node_own(heap, place);
		if (!node)
			return -ENOMEM;
		if (!(node->nodes & 1u << branch)) {
			assert(node->entries & 1u << branch);
			entry = &node->entry[rank(node->entries, branch)];
			break;
		}
		place = &nodes_of(node)[rank(node->nodes, branch)];
	}
	slot = &entry->item;
	if (is_list(entry->item)) {
		struct hamt_list *list = list_own(heap, entry, 0);

		if (!list)
			return -ENOMEM;
		slot = &list->items[list_index(list, old)];
	}
	assert(*slot == old);
	if (!borrows(node))
		counted_unref(heap, *slot);
	*slot = item;
	return 0;
}

struct hamt hamt_share(const struct hamt *map)
{
	if (map->root)
		counted_ref(map->root);
	return *map;
}

void hamt_drop(struct heap *heap, struct hamt *map)
{
	counted_unref(heap, map->root);
	map->root = NULL;
}
