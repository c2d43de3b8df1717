/*
 * slab: slabs lie at multiples of their size, so that an object's address tells its slab.
 *
 *   slab: | header | object | object | ... | never touched |
 *
 * A set keeps, by size, the slabs that have room. The oldest is used first, so that the younger
 * ones may become empty. Of each size one empty slab stays, so that a single flow that comes and
 * goes costs no system call.
 */
#include <hbone/slab.h>

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include <hbone/list.h>

#include "base_poison.h"

#define SLAB_BYTES 32768u
#define UNIT       8u
/* Where the first object lies: 8 behind a multiple of 16, see hb_slab_has(). */
#define FIRST ((uint32_t)((sizeof(struct slab) + 15) / 16 * 16 + 8))

struct free_object {
	struct free_object *next;
};

struct slab {
	struct hb_list node; /* in its set's list by size; empty when it has no room */
	struct hb_slabs *slabs;
	void *owner;              /* the set's */
	struct free_object *free; /* that were used before */
	uint32_t size;            /* of an object */
	uint32_t used;            /* objects that are out */
	uint32_t next;            /* offset of the first that was never used */
};

struct hb_slabs {
	struct hb_list with_room[HB_SLAB_OBJECT_MAX / UNIT]; /* by size */
	uint32_t empty[HB_SLAB_OBJECT_MAX / UNIT];           /* of them */
	size_t count, objects;
	void *owner;
};

static size_t class_of(size_t size)
{
	return (size + UNIT - 1) / UNIT - 1;
}

static bool has_room(const struct slab *slab)
{
	return slab->free || slab->next + slab->size <= SLAB_BYTES;
}

struct hb_slabs *hb_slabs_new(void *owner)
{
	struct hb_slabs *slabs = calloc(1, sizeof(*slabs));

	for (size_t i = 0; slabs && i < HB_ARRAY_LEN(slabs->with_room); i++)
		hb_list_init(&slabs->with_room[i]);
	if (slabs)
		slabs->owner = owner;
	return slabs;
}

/* At a multiple of its size: the rest of a piece twice as large is given back. NULL: no memory. */
static struct slab *map(void)
{
	size_t twice = 2 * (size_t)SLAB_BYTES, before;
	char *at = mmap(NULL, twice, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	before = (SLAB_BYTES - (uintptr_t)at % SLAB_BYTES) % SLAB_BYTES;
	if (before)
		munmap(at, before);
	munmap(at + before + SLAB_BYTES, SLAB_BYTES - before);
	return (struct slab *)(void *)(at + before);
}

static struct slab *slab_new(struct hb_slabs *slabs, size_t class)
{
	struct slab *slab = map();

	if (!slab)
		return NULL;
	*slab = (struct slab){
		.slabs = slabs,
		.owner = slabs->owner,
		.size = (uint32_t)(class + 1) * UNIT,
		.next = FIRST,
	};
	hb_list_init(&slab->node);
	hb_list_add(&slabs->with_room[class], &slab->node);
	slabs->empty[class]++;
	slabs->count++;
	hb_poison((char *)slab + slab->next, SLAB_BYTES - slab->next);
	return slab;
}

static void slab_free(struct slab *slab)
{
	hb_list_remove(&slab->node);
	slab->slabs->empty[class_of(slab->size)]--;
	slab->slabs->count--;
	hb_unpoison(slab, SLAB_BYTES);
	munmap(slab, SLAB_BYTES);
}

void hb_slabs_free(struct hb_slabs *slabs)
{
	if (!slabs)
		return;
	assert(slabs->objects == 0);
	hb_slabs_trim(slabs);
	free(slabs);
}

void hb_slabs_trim(struct hb_slabs *slabs)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(slabs->with_room); i++) {
		hb_list_for_each_safe (node, &slabs->with_room[i]) {
			struct slab *slab = hb_container_of(node, struct slab, node);

			if (slab->used == 0)
				slab_free(slab);
		}
	}
}

void *hb_slab_get(struct hb_slabs *slabs, size_t size)
{
	size_t class = class_of(size);
	struct hb_list *with_room = &slabs->with_room[class];
	struct slab *slab;
	void *object;

	assert(size > 0 && size <= HB_SLAB_OBJECT_MAX);
	slab = hb_list_is_empty(with_room) ? slab_new(slabs, class)
	                                   : hb_container_of(with_room->next, struct slab, node);
	if (!slab)
		return NULL;
	if (slab->free) {
		object = slab->free;
		hb_unpoison(object, slab->size);
		slab->free = slab->free->next;
		memset(object, 0, slab->size);
	} else {
		object = (char *)slab + slab->next; /* as the kernel gave it: zeroed */
		hb_unpoison(object, slab->size);
		slab->next += slab->size;
	}
	if (slab->used++ == 0)
		slabs->empty[class]--;
	slabs->objects++;
	if (!has_room(slab))
		hb_list_remove(&slab->node);
	return object;
}

static struct slab *slab_of(const void *object)
{
	return (struct slab *)((uintptr_t)object - (uintptr_t)object % SLAB_BYTES);
}

void *hb_slab_owner(const void *object)
{
	return slab_of(object)->owner;
}

size_t hb_slab_bytes(const void *object)
{
	return slab_of(object)->size;
}

void hb_slab_put(void *object)
{
	struct free_object *freed = object;
	struct slab *slab;
	size_t class;

	if (!object)
		return;
	slab = slab_of(object);
	class = class_of(slab->size);
	assert(slab->used > 0);
	if (!has_room(slab))
		hb_list_add(&slab->slabs->with_room[class], &slab->node);
	freed->next = slab->free;
	slab->free = freed;
	hb_poison(object, slab->size);
	slab->slabs->objects--;
	if (--slab->used > 0)
		return;
	if (++slab->slabs->empty[class] > 1)
		slab_free(slab);
}

size_t hb_slabs_objects(const struct hb_slabs *slabs)
{
	return slabs->objects;
}

size_t hb_slabs_bytes(const struct hb_slabs *slabs)
{
	return slabs->count * SLAB_BYTES;
}
