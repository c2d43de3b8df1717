/*
 * h2_guard: one table of budgets, and a walk over frame headers.
 */
#include "h2_guard.h"

#include <string.h>

#define FRAME_HEADER 9u
#define PREFACE      24u  /* RFC 9113 3.4: in front of a client's frames */
#define REFILL_MS    100u /* ten times a second; per_s below is a multiple of ten */
#define PADDING_MAX  256u /* a padded frame's length says nothing of so many bytes */

/*
 * Work that is served in one turn of the loop. A frame is about a third of a microsecond, a request
 * with what it leads to at once (its dial is paced) forty, and a header block has a field for every
 * other byte at worst: a fifth of a millisecond in all. Who has another connection is served four
 * or five times for each request of an app, and waits for such a turn each time.
 */
#define TURN_WORK         512
#define HEADERS_WORK      128
#define HEADER_BYTES_WORK 16u /* so many bytes of it are one more */

/* RFC 9113 6. */
enum {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION
};
enum { FLAG_END_STREAM = 0x01, FLAG_END_HEADERS = 0x04, FLAG_PADDED = 0x08 };

/*
 * Sized by what honest peers do. Full speed ping-pong with two WINDOW_UPDATE per message; a window
 * of 16 MiB that is given back in pieces of 256 bytes; 1150 requests sent before our limit was
 * known; a PING per round of data (bandwidth estimation); 10,000 streams a second that each end by
 * RST_STREAM, and 1,000 that were served and end so at once, as an app with so many connections is
 * killed; the rest of an upload, in small frames, to a stream that we have reset; 200 retries a
 * second of what a policy forbids, or of an app that is down, and four for each that is served.
 */
/* clang-format off */
static const struct {
	const char *name;
	int32_t first, most;         /* frames; at the start, and saved up at most */
	int32_t per_s, per_request;  /* put back */
	int32_t per_frame, per_kib;  /* of payload, either way */
} budgets[HB_H2_KINDS] = {
	[HB_H2_RESETS]         = { "RST_STREAM",             300,  2300,   50,   2, 0, 0 },
	[HB_H2_SETTINGS]       = { "SETTINGS",               100,   100,   10,   0, 0, 0 },
	[HB_H2_PINGS]          = { "PING",                   200,   200,   50,   0, 1, 0 },
	[HB_H2_PRIORITIES]     = { "PRIORITY",               200,   200,   50,   2, 0, 0 },
	[HB_H2_WINDOW_UPDATES] = { "WINDOW_UPDATE",         2000, 65536,  100,  16, 4, 4 },
	[HB_H2_EMPTY_DATA]     = { "empty DATA",             400,   400,   10,   2, 1, 0 },
	[HB_H2_STRAY_DATA]     = { "DATA without a stream", 16384, 65536, 1000, 256, 0, 0 },
	[HB_H2_HEADERS]        = { "HEADERS",               1200,  2000,  100,   8, 0, 0 },
	[HB_H2_OVERSIZED]      = { "oversized header list",   16,    16,   10,   0, 0, 0 },
	[HB_H2_REFUSED]        = { "stream above the limit",  180,   180,  100,   1, 0, 0 },
	[HB_H2_DENIED]         = { "refused request",       2000,  4000,  200,   4, 0, 0 },
	[HB_H2_UNKNOWN]        = { "unknown frame",          100,   200,   10,   2, 0, 0 },
};
/* clang-format on */

const char *hb_h2_kind_name(enum hb_h2_kind kind)
{
	return (size_t)kind < HB_H2_KINDS ? budgets[kind].name : "none";
}

void h2_guard_init(struct h2_guard *guard, enum hb_h2_role role, uint64_t now_ms)
{
	memset(guard, 0, sizeof(*guard));
	guard->counters.flood = -1;
	guard->refilled_ms = now_ms;
	guard->turn_left = TURN_WORK;
	guard->skip = role == HB_H2_SERVER ? PREFACE : 0;
	for (int i = 0; i < HB_H2_KINDS; i++)
		guard->left[i] = budgets[i].first;
}

static void put(struct h2_guard *guard, int kind, int64_t n)
{
	int64_t left = guard->left[kind] + n;

	guard->left[kind] = (int32_t)(left < budgets[kind].most ? left : budgets[kind].most);
}

static void refill(struct h2_guard *guard, uint64_t now_ms)
{
	uint64_t rounds = (now_ms - guard->refilled_ms) / REFILL_MS;

	if (rounds == 0)
		return;
	guard->refilled_ms += rounds * REFILL_MS;
	rounds = rounds < 1u << 20 ? rounds : 1u << 20;
	for (int i = 0; i < HB_H2_KINDS; i++)
		put(guard, i, (int64_t)rounds * budgets[i].per_s / (1000 / REFILL_MS));
}

void h2_guard_blame(struct h2_guard *guard, enum hb_h2_kind kind)
{
	if (guard->counters.flood < 0)
		guard->counters.flood = (int)kind;
}

void h2_guard_take(struct h2_guard *guard, enum hb_h2_kind kind)
{
	guard->counters.seen[kind]++;
	if (guard->left[kind] > 0)
		guard->left[kind]--;
	else
		h2_guard_blame(guard, kind);
}

void h2_guard_request(struct h2_guard *guard)
{
	for (int i = 0; i < HB_H2_KINDS; i++)
		put(guard, i, budgets[i].per_request);
}

void h2_guard_denied(struct h2_guard *guard)
{
	for (int i = 0; i < HB_H2_KINDS; i++)
		if (i != HB_H2_DENIED)
			put(guard, i, budgets[i].per_request);
	h2_guard_take(guard, HB_H2_DENIED);
}

void h2_guard_turn(struct h2_guard *guard)
{
	guard->turn_left = TURN_WORK;
}

void h2_guard_payload(struct h2_guard *guard, size_t len)
{
	if (len == 0)
		return;
	put(guard, HB_H2_PINGS, budgets[HB_H2_PINGS].per_frame);
	put(guard, HB_H2_EMPTY_DATA, budgets[HB_H2_EMPTY_DATA].per_frame);
	put(guard, HB_H2_WINDOW_UPDATES,
	    budgets[HB_H2_WINDOW_UPDATES].per_frame +
	        (int64_t)(len * (size_t)budgets[HB_H2_WINDOW_UPDATES].per_kib / 1024));
}

static enum hb_h2_kind kind_of(size_t len, uint8_t type, uint8_t flags)
{
	switch (type) {
	case DATA:
		/* Nothing but padding is empty as well. What ends a stream comes once for each,
		 * and for all of them at once where an app exits. */
		if (len > (flags & FLAG_PADDED ? PADDING_MAX : 0) || (flags & FLAG_END_STREAM))
			return HB_H2_STRAY_DATA;
		return HB_H2_EMPTY_DATA;
	case HEADERS:
	case CONTINUATION:
		return HB_H2_HEADERS;
	case PRIORITY:
		return HB_H2_PRIORITIES;
	case RST_STREAM:
		return HB_H2_RESETS;
	case SETTINGS:
		return HB_H2_SETTINGS;
	case PING:
		return HB_H2_PINGS;
	case WINDOW_UPDATE:
		return HB_H2_WINDOW_UPDATES;
	default: /* PUSH_PROMISE and GOAWAY come once, if ever */
		return HB_H2_UNKNOWN;
	}
}

void h2_guard_data(struct h2_guard *guard, size_t len, uint8_t flags)
{
	if (kind_of(len, DATA, flags) != HB_H2_STRAY_DATA)
		return;
	guard->counters.seen[HB_H2_STRAY_DATA]--;
	put(guard, HB_H2_STRAY_DATA, 1);
}

/* A frame header is whole. */
static void begin(struct h2_guard *guard, uint64_t now_ms)
{
	const uint8_t *head = guard->head;
	uint8_t type = head[3], flags = head[4];

	guard->head_len = 0;
	guard->skip = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
	guard->counters.frames++;
	guard->turn_left--;
	h2_guard_take(guard, kind_of(guard->skip, type, flags));
	if (type == HEADERS || type == CONTINUATION) {
		guard->turn_left -= HEADERS_WORK + (int32_t)(guard->skip / HEADER_BYTES_WORK);
		guard->block_ms = guard->block_ms ? guard->block_ms : now_ms;
		guard->block_ends = flags & FLAG_END_HEADERS;
	}
}

/* @n bytes of payload have come. */
static void pass(struct h2_guard *guard, size_t n)
{
	guard->skip -= (uint32_t)n;
	if (guard->skip > 0 || !guard->block_ends)
		return;
	guard->block_ms = 0;
	guard->block_ends = false;
}

/* Takes the rest of a frame header from @data; true when it is whole. */
static bool collect(struct h2_guard *guard, const uint8_t **data, size_t *len)
{
	size_t n = hb_min_size(FRAME_HEADER - guard->head_len, *len);

	memcpy(guard->head + guard->head_len, *data, n);
	guard->head_len += (uint8_t)n;
	*data += n;
	*len -= n;
	return guard->head_len == FRAME_HEADER;
}

/* The work of this turn is done, and a frame has just ended. */
static bool is_enough(const struct h2_guard *guard)
{
	return guard->turn_left <= 0 && guard->skip == 0 && guard->head_len == 0;
}

size_t h2_guard_frames(struct h2_guard *guard, const uint8_t *data, size_t len, uint64_t now_ms)
{
	size_t all = len;

	refill(guard, now_ms);
	while (len > 0 && !h2_guard_is_flood(guard)) {
		size_t n = hb_min_size(guard->skip, len);

		data += n;
		len -= n;
		pass(guard, n);
		if (len == 0 || is_enough(guard) || !collect(guard, &data, &len))
			break;
		begin(guard, now_ms);
		pass(guard, 0);
	}
	return all - len;
}
