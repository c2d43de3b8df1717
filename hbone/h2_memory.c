/*
 * h2_memory: where the memory of an nghttp2 session comes from.
 *
 * A session makes one buffer for the largest frame it may send, 16 KiB, once and for its life. Our
 * payload never passes through it, so all but its first page stays untouched; but memory that
 * malloc gives has been used before and counts in full. So that buffer is mapped. All else is
 * malloc's.
 */
#include "h2_nghttp2.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPED_FROM 16384u

static void *map(struct h2_memory *memory, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	memory->mapped = at;
	memory->mapped_bytes = size;
	return at;
}

static void unmap(struct h2_memory *memory)
{
	munmap(hb_take(&memory->mapped), memory->mapped_bytes);
}

static void *on_malloc(size_t size, void *user)
{
	return malloc(size);
}

static void *on_calloc(size_t count, size_t size, void *user)
{
	return calloc(count, size);
}

static void on_free(void *at, void *user)
{
	struct h2_memory *memory = user;

	if (at && at == memory->mapped)
		unmap(memory);
	else
		free(at);
}

static void *on_realloc(void *at, size_t size, void *user)
{
	struct h2_memory *memory = user;
	void *moved;

	if (!at && size >= MAPPED_FROM && !memory->mapped)
		return map(memory, size);
	if (!at || at != memory->mapped)
		return realloc(at, size);
	moved = malloc(size);
	if (!moved)
		return NULL;
	memcpy(moved, at, hb_min_size(size, memory->mapped_bytes));
	unmap(memory);
	return moved;
}

nghttp2_mem h2_memory_hooks(struct h2_memory *memory)
{
	return (nghttp2_mem){ memory, on_malloc, on_free, on_calloc, on_realloc };
}
