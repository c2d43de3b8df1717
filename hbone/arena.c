/*
 * arena: memory that is built piece by piece and freed at once.
 *
 * Chunks double from 4 KiB to 1 MiB, so a small arena stays small and a large one needs few calls;
 * what is larger than a quarter of a chunk gets one of its own.
 */
#include <hbone/arena.h>

#include <stdalign.h>
#include <string.h>

#define CHUNK_MIN ((size_t)4 << 10)
#define CHUNK_MAX ((size_t)1 << 20)

struct hb_arena_chunk {
	struct hb_arena_chunk *older;
	alignas(max_align_t) char bytes[];
};

void hb_arena_init(struct hb_arena *arena)
{
	*arena = (struct hb_arena){ 0 };
}

void hb_arena_done(struct hb_arena *arena)
{
	struct hb_arena_chunk *chunk = arena->chunks;

	while (chunk) {
		struct hb_arena_chunk *older = chunk->older;

		free(chunk);
		chunk = older;
	}
	hb_arena_init(arena);
}

static struct hb_arena_chunk *chunk_add(struct hb_arena *arena, size_t size)
{
	struct hb_arena_chunk *chunk;

	if (size > SIZE_MAX - sizeof(*chunk))
		return NULL;
	chunk = calloc(1, sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	chunk->older = arena->chunks;
	arena->chunks = chunk;
	arena->bytes += size;
	return chunk;
}

void hb_arena_clear(struct hb_arena *arena)
{
	struct hb_arena_chunk *chunk = arena->chunks;
	size_t bytes = hb_min_size(arena->bytes, CHUNK_MAX);

	if (chunk && !chunk->older && arena->next) {
		memset(chunk->bytes, 0, (size_t)(arena->next - chunk->bytes));
		arena->next = chunk->bytes;
		return;
	}
	/* One chunk for what took several. Without memory for it the next one that asks hears so.
	 */
	hb_arena_done(arena);
	chunk = bytes ? chunk_add(arena, bytes) : NULL;
	if (chunk) {
		arena->next = chunk->bytes;
		arena->end = chunk->bytes + bytes;
	}
}

/* @size is not 0. */
static void *take(struct hb_arena *arena, size_t size, size_t align)
{
	size_t left = (size_t)(arena->end - arena->next);
	size_t pad = -(uintptr_t)arena->next & (align - 1);
	size_t grow = arena->bytes < CHUNK_MIN ? CHUNK_MIN : hb_min_size(arena->bytes, CHUNK_MAX);
	struct hb_arena_chunk *chunk;
	char *at;

	if (left >= pad && left - pad >= size) {
		at = arena->next + pad;
		arena->next = at + size;
		return at;
	}
	chunk = chunk_add(arena, size > grow / 4 ? size : grow);
	if (!chunk)
		return NULL;
	if (size <= grow / 4) {
		arena->next = chunk->bytes + size;
		arena->end = chunk->bytes + grow;
	}
	return chunk->bytes;
}

void *hb_arena_alloc(struct hb_arena *arena, size_t size)
{
	return take(arena, size ? size : 1, alignof(max_align_t));
}

void *hb_arena_array(struct hb_arena *arena, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return hb_arena_alloc(arena, bytes);
}

char *hb_arena_text(struct hb_arena *arena, const char *text, size_t len)
{
	char *copy = len < SIZE_MAX ? take(arena, len + 1, 1) : NULL;

	if (copy && len)
		memcpy(copy, text, len); /* the NUL is there: chunks are zeroed */
	return copy;
}
