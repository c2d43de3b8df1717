/*
 * log_limit: how often the same warning is written: a few at once, then one a second; how many were
 * left out is said in the next that is.
 *
 * A kind is the message, which is a constant of the program, so there are few; those beyond
 * LOG_LIMIT_KINDS are not limited. Pure: the time is given. Thread: whoever holds the log's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_KINDS 256u /* a power of two */
#define LOG_LIMIT_BURST 10u
#define LOG_LIMIT_MS    1000u /* until there is one more */

struct log_limit {
	struct {
		const char *message; /* NULL: free */
		uint64_t refilled_ms;
		uint64_t left_out;
		uint32_t left;
	} kinds[LOG_LIMIT_KINDS];
	uint64_t left_out; /* of all kinds, ever */
};

/*
 * False: leave it out. True: write it, and say that *ret_left_out were left out since the last.
 * @message: compared by its text.
 */
bool log_limit_take(struct log_limit *limit, const char *message, uint64_t now_ms,
                    uint64_t *ret_left_out);
