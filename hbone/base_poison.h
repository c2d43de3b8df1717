/*
 * base_poison: memory that is ours but that nobody may look at, so that the address sanitizer sees
 * who does.
 */
#pragma once

#if defined(__has_feature) /* clang's way to ask */
#define hb_has_feature(name) __has_feature(name)
#else
#define hb_has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || hb_has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define hb_poison(p, n)   __asan_poison_memory_region((p), (n))
#define hb_unpoison(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define hb_poison(p, n)   ((void)(p), (void)(n))
#define hb_unpoison(p, n) ((void)(p), (void)(n))
#endif
