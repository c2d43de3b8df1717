/*
 * prompt: a thread that has little to do at a time, and is waited for, has a processor soon.
 *
 * A worker wakes for some bytes and sleeps again. Where a processor is shared, the scheduler lets
 * whoever runs there finish a slice of some 3 ms before it looks at who became ready: the control
 * loop, an app, another worker. Who asks for shorter slices than they have goes first, and gives
 * way sooner.
 */
#pragma once

#include <stdint.h>

#define PROMPT_SLICE_NS 500000u

/*
 * The calling thread asks for slices of PROMPT_SLICE_NS (sched(7), sched_runtime of the normal
 * policy: Linux 6.12; kernels before that take it and do nothing). Its share of the processor stays
 * the same. Threads that it starts later inherit it. 0; or -errno, where that is forbidden.
 */
int prompt(void);
/* What the calling thread has asked for, in ns; 0: nothing, or the kernel does not say. */
uint64_t prompt_slice_ns(void);
