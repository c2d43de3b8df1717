/*
 * pack: many small copies behind one another in one piece of memory. The same code runs twice: the
 * first time (base NULL) it only measures, and what it returns is NULL.
 */
#pragma once

#include <hbone/base.h>
#include <string.h>

struct pack {
	char *base; /* aligned to 8 */
	size_t at;
};

/* A copy of @count items of @size bytes, aligned to @align; NULL for none, or while measuring. */
static inline void *pack_copy(struct pack *pack, const void *items, size_t count, size_t size,
                              size_t align)
{
	size_t at = (pack->at + align - 1) / align * align;

	if (!count)
		return NULL;
	pack->at = at + count * size;
	return pack->base ? memcpy(pack->base + at, items, count * size) : NULL;
}

#define PACK(pack, items, count)                                                                   \
	pack_copy(pack, items, count, sizeof(*(items)), __alignof__(__typeof__(*(items))))

/* "" for NULL and "". */
static inline const char *pack_text(struct pack *pack, const char *text)
{
	const char *copy = text && *text ? pack_copy(pack, text, strlen(text) + 1, 1, 1) : NULL;

	return copy ? copy : "";
}
