/*
 * h2_memory: where the memory of an nghttp2 session comes from.
 *
 * A session makes one buffer for the largest frame it may send, 16 KiB, once and for its life, and
 * another in its place before the first that is larger. Our payload never passes through it, so all
 * but its first page stays untouched; but memory that malloc gives has been used before and counts
 * in full. So that buffer is mapped. Small objects, of which each stream has one, come from slabs,
 * at exactly their size: where one lies tells whose it is, so nothing stands in front of it. The
 * rest is malloc's.
 */
#include "h2_nghttp2.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPED_FROM 16384u

/* Which of the mapped it is; NULL: none of them. With NULL, one that is free. */
static struct h2_mapped *mapped_at(struct h2_memory *memory, const void *at)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(memory->mapped); i++)
		if (memory->mapped[i].at == at)
			return &memory->mapped[i];
	return NULL;
}

static void *map(struct h2_mapped *mapped, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	*mapped = (struct h2_mapped){ at, size };
	return at;
}

/* Zeroed. */
static void *allocate(struct h2_memory *memory, size_t size)
{
	/* nghttp2 has nothing that must lie at more than 8. */
	size_t rounded = size ? (size + 15) / 16 * 16 : 16;

	if (size <= HB_SLAB_OBJECT_MAX)
		return hb_slab_get(memory->slabs, rounded);
	return calloc(1, size);
}

static void *on_malloc(size_t size, void *user)
{
	return allocate(user, size);
}

static void *on_calloc(size_t count, size_t size, void *user)
{
	size_t product;

	return __builtin_mul_overflow(count, size, &product) ? NULL : allocate(user, product);
}

static void on_free(void *at, void *user)
{
	struct h2_memory *memory = user;
	struct h2_mapped *mapped = mapped_at(memory, at);

	if (!at)
		return;
	if (mapped)
		munmap(hb_take(&mapped->at), mapped->bytes);
	else if (hb_slab_has(at))
		hb_slab_put(at);
	else
		free(at);
}

static void *on_realloc(void *at, size_t size, void *user)
{
	struct h2_memory *memory = user;
	struct h2_mapped *unused = mapped_at(memory, NULL), *mapped;
	size_t was;
	void *moved;

	if (!at && size >= MAPPED_FROM && unused)
		return map(unused, size);
	if (!at)
		return allocate(memory, size);
	mapped = mapped_at(memory, at);
	if (!mapped && !hb_slab_has(at))
		return realloc(at, size ? size : 1);
	was = mapped ? mapped->bytes : hb_slab_bytes(at);
	moved = allocate(memory, size);
	if (!moved)
		return NULL;
	memcpy(moved, at, hb_min_size(size, was));
	on_free(at, memory);
	return moved;
}

nghttp2_mem h2_memory_hooks(struct h2_memory *memory, struct hb_slabs *slabs)
{
	memory->slabs = slabs;
	return (nghttp2_mem){ memory, on_malloc, on_free, on_calloc, on_realloc };
}
