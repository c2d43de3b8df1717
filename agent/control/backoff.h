/*
 * backoff: how long to wait before trying again: a bound that doubles up to a limit, of which a
 * random part is waited (full jitter), but never less than a floor: those who lost the same server
 * must not all return at once, nor spin (reference/controlplane 2.9, 11). Pure.
 */
#pragma once

#include <stdint.h>

struct backoff {
	uint32_t floor_ms; /* the least that is waited, and the first bound's least; above 0 */
	uint32_t first_ms; /* the bound of the first wait, at least floor_ms */
	uint32_t max_ms;   /* of the last, at least first_ms */
	uint32_t bound_ms; /* of the next wait; 0: first_ms */
	uint64_t random;   /* state; any value */
};

/* All at the beginning. @seed: anything that differs between nodes and between starts. */
void backoff_init(struct backoff *backoff, uint32_t floor_ms, uint32_t first_ms, uint32_t max_ms,
                  uint64_t seed);
/* What to wait now: evenly in [floor_ms, bound]; the bound doubles for the next. */
uint32_t backoff_next_ms(struct backoff *backoff);
/* It went well: the next wait is the first again. */
void backoff_reset(struct backoff *backoff);
