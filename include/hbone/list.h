/*
 * list: an intrusive, circular, doubly linked list. A node is in at most one list; a node that was
 * initialised, or removed, is empty and may be removed again.
 */
#pragma once

#include <hbone/base.h>

struct hb_list {
	struct hb_list *next, *prev;
};

#define HB_LIST_INIT(name)                                                                         \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void hb_list_init(struct hb_list *list)
{
	list->next = list->prev = list;
}

static inline bool hb_list_is_empty(const struct hb_list *list)
{
	return list->next == list;
}

/* Adds @node as the last of @list. */
static inline void hb_list_add(struct hb_list *list, struct hb_list *node)
{
	node->prev = list->prev;
	node->next = list;
	list->prev->next = node;
	list->prev = node;
}

static inline void hb_list_add_first(struct hb_list *list, struct hb_list *node)
{
	hb_list_add(list->next, node);
}

static inline void hb_list_remove(struct hb_list *node)
{
	node->next->prev = node->prev;
	node->prev->next = node->next;
	hb_list_init(node);
}

/* The first node taken out, or NULL. */
static inline struct hb_list *hb_list_shift(struct hb_list *list)
{
	struct hb_list *node = list->next;

	if (node == list)
		return NULL;
	hb_list_remove(node);
	return node;
}

/* Moves all of @from to the end of @to. */
static inline void hb_list_move(struct hb_list *to, struct hb_list *from)
{
	if (hb_list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	hb_list_init(from);
}

#define hb_list_for_each(pos, list)                                                                \
	for (struct hb_list *pos = (list)->next; pos != (list); pos = pos->next)

/* @pos may be removed inside the loop; no other node may. */
#define hb_list_for_each_safe(pos, list)                                                           \
	for (struct hb_list *pos = (list)->next, *pos##_next = pos->next; pos != (list);           \
	     pos = pos##_next, pos##_next = pos->next)
