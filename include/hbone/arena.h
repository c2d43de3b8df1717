/*
 * arena: memory that is built piece by piece and freed at once.
 */
#pragma once

#include <hbone/base.h>

struct hb_arena_chunk;

struct hb_arena {
	struct hb_arena_chunk *chunks; /* newest first */
	char *next, *end;              /* what is left of the newest */
	size_t bytes;                  /* asked of malloc so far */
};

void hb_arena_init(struct hb_arena *arena);
void hb_arena_done(struct hb_arena *arena); /* may run twice */
/* Empty again, as after done and init, but keeps up to 1 MiB to be used anew. */
void hb_arena_clear(struct hb_arena *arena);

/* Zeroed and aligned for any type; valid until hb_arena_done(). NULL: no memory. */
void *hb_arena_alloc(struct hb_arena *arena, size_t size);
/* @count items of @size bytes; also NULL when the product overflows. */
void *hb_arena_array(struct hb_arena *arena, size_t count, size_t size);
/* A copy of @len bytes, ended by NUL. */
char *hb_arena_text(struct hb_arena *arena, const char *text, size_t len);
