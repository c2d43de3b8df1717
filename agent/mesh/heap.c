/*
 * heap: malloc with books.
 */
#include "mesh/heap.h"

#include <assert.h>
#include <string.h>

#define UNIT      8u
#define UNITS_MAX ((1u << 28) - 1)

static size_t bytes_of(const struct counted *counted)
{
	return (size_t)counted->units * UNIT;
}

static bool fits(const struct heap *heap, size_t had, size_t size)
{
	return size / UNIT < UNITS_MAX &&
	       (!heap->bytes_max || heap->bytes - had + size <= heap->bytes_max);
}

static size_t round_up(size_t size)
{
	return (size + UNIT - 1) / UNIT * UNIT;
}

void *heap_new(struct heap *heap, enum counted_kind kind, size_t size)
{
	struct counted *counted = fits(heap, 0, size) ? calloc(1, round_up(size)) : NULL;

	if (!counted)
		return NULL;
	counted->refs = 1;
	counted->kind = (unsigned int)kind & 0xf;
	counted->units = (unsigned int)(round_up(size) / UNIT) & UNITS_MAX;
	heap->bytes += round_up(size);
	return counted;
}

void *heap_resize(struct heap *heap, void *old, size_t size)
{
	struct counted *counted = old;
	size_t had = bytes_of(counted);

	assert(counted->refs == 1);
	if (!fits(heap, had, size))
		return NULL;
	counted = realloc(counted, round_up(size));
	if (!counted)
		return NULL;
	counted->units = (unsigned int)(round_up(size) / UNIT) & UNITS_MAX;
	heap->bytes = heap->bytes - had + round_up(size);
	return counted;
}

void counted_unref(struct heap *heap, void *part)
{
	struct counted *counted = part;

	if (!counted)
		return;
	assert(counted->refs > 0);
	if (--counted->refs)
		return;
	if (heap->done[counted->kind])
		heap->done[counted->kind](heap, counted);
	heap->bytes -= bytes_of(counted);
	free(counted);
}
