/*
 * held: what the process holds, to show that it holds no more than before.
 */
#pragma once

#include <hbone/loop.h>

unsigned held_fds(void);
/* Bytes of the heap in use, the loop's free buffers given back first. */
size_t held_bytes(struct hb_loop *loop);
