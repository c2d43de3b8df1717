/*
 * input: a fuzzer's bytes, taken from the front; 0 when there are none left. And the one loop of
 * the process: making a ring for each input would be most of the time.
 */
#pragma once

#include <assert.h>

#include <hbone/loop.h>

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t input_byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline struct hb_loop *input_loop(void)
{
	static struct hb_loop *loop;

	if (!loop)
		loop = hb_loop_new(&(struct hb_loop_options){ .entries = 64 });
	assert(loop);
	return loop;
}

/* Without waiting: all that is to happen in memory happens in a few turns. */
static inline void input_turn(unsigned turns)
{
	while (turns--)
		assert(hb_loop_turn(input_loop(), 0) == 0);
}
