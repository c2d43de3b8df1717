/*
 * objects_parts: what objects*.c share.
 */
#pragma once

#include "mesh/objects.h"

/*
 * Memory compared as words. Two objects that say the same have the same words, but for pointers
 * into themselves, which differ as their addresses do; texts in common are equal pointers.
 */
struct words {
	const uintptr_t *at;
	uintptr_t base; /* of what is pointed into */
	size_t base_size;
};

static inline struct words words_of(const void *from, size_t offset, const void *base, size_t size)
{
	return (struct words){
		.at = (const uintptr_t *)(const void *)((const char *)from + offset),
		.base = (uintptr_t)base,
		.base_size = size,
	};
}

bool words_equal(const struct words *a, const struct words *b, size_t size);

/* @out is all 0, and stays so on -ENOMEM. */
int ref_keep(struct heap *heap, const struct mesh_ref *in, struct mesh_ref *out);
void ref_drop(struct heap *heap, const struct mesh_ref *ref);

void service_objects_init_heap(struct heap *heap);
