/*
 * log_limit: a table of buckets, by message.
 */
#include "log_limit.h"

#include <stddef.h>
#include <string.h>

static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

bool log_limit_take(struct log_limit *limit, const char *message, uint64_t now_ms,
                    uint64_t *ret_left_out)
{
	uint32_t at = hash_of(message);
	uint64_t rounds;

	*ret_left_out = 0;
	for (unsigned i = 0;; i++, at++) {
		at %= LOG_LIMIT_KINDS;
		if (i == LOG_LIMIT_KINDS)
			return true;
		if (!limit->kinds[at].message) {
			limit->kinds[at].message = message;
			limit->kinds[at].refilled_ms = now_ms;
			limit->kinds[at].left = LOG_LIMIT_BURST;
			break;
		}
		if (strcmp(limit->kinds[at].message, message) == 0)
			break;
	}
	rounds = (now_ms - limit->kinds[at].refilled_ms) / LOG_LIMIT_MS;
	limit->kinds[at].refilled_ms += rounds * LOG_LIMIT_MS;
	if (rounds > LOG_LIMIT_BURST - limit->kinds[at].left)
		rounds = LOG_LIMIT_BURST - limit->kinds[at].left;
	limit->kinds[at].left += (uint32_t)rounds;
	if (limit->kinds[at].left == 0) {
		limit->kinds[at].left_out++;
		limit->left_out++;
		return false;
	}
	limit->kinds[at].left--;
	*ret_left_out = limit->kinds[at].left_out;
	limit->kinds[at].left_out = 0;
	return true;
}
