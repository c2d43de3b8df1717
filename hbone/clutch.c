/*
 * clutch: sixteen objects behind what they share, each such piece an object of a slab.
 *
 *   | struct hb_clutch | object 0 | object 1 | ... | object 15 |
 *
 * The oldest clutch that has room is filled first, so that the younger ones may become empty.
 */
#include <hbone/clutch.h>

#include <assert.h>
#include <string.h>

#include "base_poison.h"

#define ALL_USED ((1u << HB_CLUTCH_PLACES) - 1)

static char *object_at(struct hb_clutch *clutch, unsigned place, size_t bytes)
{
	return (char *)(clutch + 1) + place * bytes;
}

void hb_clutches_init(struct hb_clutches *set, struct hb_slabs *slabs, size_t bytes)
{
	assert(bytes % 8 == 0 && bytes <= HB_CLUTCH_OBJECT_MAX);
	*set = (struct hb_clutches){ .slabs = slabs, .bytes = (uint32_t)bytes };
	hb_list_init(&set->all);
	hb_list_init(&set->with_room);
}

void hb_clutches_leave(struct hb_clutches *set)
{
	struct hb_list *node;

	while ((node = hb_list_shift(&set->all))) {
		struct hb_clutch *clutch = hb_container_of(node, struct hb_clutch, node);

		hb_list_remove(&clutch->room);
		clutch->set = 0;
	}
}

static struct hb_clutch *clutch_new(struct hb_clutches *set)
{
	size_t objects = HB_CLUTCH_PLACES * set->bytes;
	struct hb_clutch *clutch = hb_slab_get(set->slabs, sizeof(*clutch) + objects);

	if (!clutch)
		return NULL;
	clutch->set = (uintptr_t)set & (((uint64_t)1 << 48) - 1);
	hb_list_add(&set->all, &clutch->node);
	hb_list_init(&clutch->room);
	hb_list_add(&set->with_room, &clutch->room);
	hb_poison(clutch + 1, objects);
	return clutch;
}

/* Onto the first object of a place in @left, or of a later clutch. */
static void walk_to(const struct hb_clutches *set, struct hb_clutch_walk *walk, unsigned left)
{
	struct hb_list *node = &walk->clutch->node;

	while (!(left &= walk->clutch->used)) {
		node = node->next;
		walk->clutch = NULL;
		if (node == &set->all)
			return;
		walk->clutch = hb_container_of(node, struct hb_clutch, node);
		left = ALL_USED;
	}
	walk->place = (unsigned)__builtin_ctz(left);
}

static void clutch_free(struct hb_clutch *clutch, size_t bytes)
{
	hb_list_remove(&clutch->node);
	hb_list_remove(&clutch->room);
	hb_unpoison(clutch + 1, HB_CLUTCH_PLACES * bytes);
	hb_slab_put(clutch);
}

void *hb_clutch_get(struct hb_clutches *set, unsigned *ret_place)
{
	struct hb_clutch *clutch;
	unsigned place;
	char *object;

	if (!hb_list_is_empty(&set->with_room))
		clutch = hb_container_of(set->with_room.next, struct hb_clutch, room);
	else if (!(clutch = clutch_new(set)))
		return NULL;
	place = (unsigned)__builtin_ctz(~(unsigned)clutch->used);
	clutch->used |= (uint16_t)(1u << place);
	if (clutch->used == ALL_USED)
		hb_list_remove(&clutch->room);
	set->objects++;
	object = object_at(clutch, place, set->bytes);
	hb_unpoison(object, set->bytes);
	memset(object, 0, set->bytes);
	*ret_place = place;
	return object;
}

void hb_clutch_put(struct hb_clutch *clutch, unsigned place, size_t bytes)
{
	struct hb_clutches *set = hb_clutch_set(clutch);
	bool was_full = clutch->used == ALL_USED;

	assert(clutch->used & 1u << place && !(clutch->marked & 1u << place));
	hb_poison(object_at(clutch, place, bytes), bytes);
	clutch->used &= (uint16_t) ~(1u << place);
	if (set) {
		set->objects--;
		if (was_full)
			hb_list_add(&set->with_room, &clutch->room);
		if (set->walk && set->walk->clutch == clutch && set->walk->place == place)
			walk_to(set, set->walk, ALL_USED << place);
	}
	if (!clutch->used)
		clutch_free(clutch, bytes);
}

void hb_clutch_mark(struct hb_clutch *clutch, unsigned place)
{
	struct hb_clutches *set = hb_clutch_set(clutch);

	assert(clutch->used & 1u << place && !(clutch->marked & 1u << place));
	if (!clutch->marked && set->first_marked)
		set->last_marked->next_marked = clutch;
	else if (!clutch->marked)
		set->first_marked = clutch;
	if (!clutch->marked)
		set->last_marked = clutch;
	clutch->marked |= (uint16_t)(1u << place);
}

void *hb_clutch_take_marked(struct hb_clutches *set)
{
	struct hb_clutch *clutch = set->first_marked;
	unsigned place;

	if (!clutch)
		return NULL;
	place = (unsigned)__builtin_ctz(clutch->marked);
	clutch->marked &= (uint16_t) ~(1u << place);
	if (!clutch->marked)
		set->first_marked = hb_take(&clutch->next_marked);
	return object_at(clutch, place, set->bytes);
}

void hb_clutch_walk_begin(const struct hb_clutches *set, struct hb_clutch_walk *ret_walk)
{
	*ret_walk = (struct hb_clutch_walk){ .clutch = NULL };
	if (hb_list_is_empty(&set->all))
		return;
	ret_walk->clutch = hb_container_of(set->all.next, struct hb_clutch, node);
	walk_to(set, ret_walk, ALL_USED);
}

void *hb_clutch_walk_next(const struct hb_clutches *set, struct hb_clutch_walk *walk)
{
	struct hb_clutch *clutch = walk->clutch;
	unsigned place = walk->place;

	if (!clutch)
		return NULL;
	walk_to(set, walk, (ALL_USED << place) << 1);
	return object_at(clutch, place, set->bytes);
}
