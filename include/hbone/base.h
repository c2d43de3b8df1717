/*
 * base: the few words every file speaks: owners, sizes, and locals that clean themselves.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define HB_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off: version 14 takes the member pointer's parentheses for a cast. */
#define hb_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
/* clang-format on */

/* Moves a pointer out of a variable that would otherwise free it at the end of the scope. */
#define hb_take(pp)                                                                                \
	__extension__({                                                                            \
		__typeof__(*(pp)) hb_taken_ = *(pp);                                               \
		*(pp) = NULL;                                                                      \
		hb_taken_;                                                                         \
	})

/* hb_cleanup(hb_close_fd) int fd = -1;  hb_cleanup(hb_free_ptr) char *text = NULL; */
#define hb_cleanup(fn) __attribute__((cleanup(fn)))

static inline void hb_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void hb_free_ptr(void *pp)
{
	free(*(void **)pp);
}

static inline uint32_t hb_min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline size_t hb_min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}
