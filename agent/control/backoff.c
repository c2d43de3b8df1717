/*
 * backoff: full jitter over a bound that doubles.
 */
#include "control/backoff.h"

#include <assert.h>

/* splitmix64 (public domain): waits only have to differ, nobody gains by guessing them. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void backoff_init(struct backoff *backoff, uint32_t floor_ms, uint32_t first_ms, uint32_t max_ms,
                  uint64_t seed)
{
	assert(floor_ms > 0 && floor_ms <= first_ms && first_ms <= max_ms);
	*backoff = (struct backoff){
		.floor_ms = floor_ms,
		.first_ms = first_ms,
		.max_ms = max_ms,
		.bound_ms = first_ms,
		.random = seed,
	};
}

uint32_t backoff_next_ms(struct backoff *backoff)
{
	uint32_t bound = backoff->bound_ms ? backoff->bound_ms : backoff->first_ms;
	uint64_t span = (uint64_t)bound - backoff->floor_ms + 1;

	backoff->bound_ms = bound > backoff->max_ms / 2 ? backoff->max_ms : bound * 2;
	return backoff->floor_ms + (uint32_t)(next_random(&backoff->random) % span);
}

void backoff_reset(struct backoff *backoff)
{
	backoff->bound_ms = backoff->first_ms;
}
