/*
 * buf: slots, the windows onto them, and the pool that keeps both warm.
 */
#include <hbone/buf.h>

#include <assert.h>
#include <string.h>

#include "base_poison.h"
#include "buf_internal.h"

/* Free slots that stay: what one turn of a few busy streams uses; about 1 MiB, near the L2. */
#define FREE_SLOTS_KEPT 64
/* Free windows that stay: 40 KiB. */
#define FREE_BUFS_KEPT 1024

/* Out, and it is tight: 16 MiB. */
#define TIGHT_SLOTS 1024

/* A free slot is poisoned. */
struct hb_slot {
	struct hb_buf_pool *pool;
	struct hb_slot *next; /* in the free list */
	uint32_t windows;     /* bufs that look at it */
	uint8_t bytes[HB_BUF_SLOT];
};

struct hb_buf_pool {
	size_t slots_max;         /* 0: no bound */
	size_t out;               /* slots that somebody owns */
	size_t peak;              /* the most of them since it was asked */
	size_t lent;              /* slots in the kernel's ring */
	struct hb_slot *free;     /* most recently used first */
	size_t free_slots;        /* at most FREE_SLOTS_KEPT */
	struct hb_buf *free_bufs; /* linked by next */
	size_t free_bufs_count;   /* at most FREE_BUFS_KEPT */
};

struct hb_buf_pool *hb_buf_pool_new(size_t slots_max)
{
	struct hb_buf_pool *pool = calloc(1, sizeof(*pool));

	if (pool)
		pool->slots_max = slots_max;
	return pool;
}

void hb_buf_pool_free(struct hb_buf_pool *pool)
{
	if (!pool)
		return;
	assert(pool->out == 0 && pool->lent == 0);
	hb_buf_pool_trim(pool, 0);
	free(pool);
}

size_t hb_buf_pool_slots_out(const struct hb_buf_pool *pool)
{
	return pool->out;
}

bool hb_buf_pool_is_tight(const struct hb_buf_pool *pool)
{
	return pool->out >= TIGHT_SLOTS;
}

size_t hb_buf_pool_slots_peak(struct hb_buf_pool *pool)
{
	size_t peak = pool->peak;

	pool->peak = pool->out;
	return peak;
}

void hb_buf_pool_trim(struct hb_buf_pool *pool, size_t keep)
{
	struct hb_buf *buf;

	while (pool->free_slots > keep) {
		struct hb_slot *slot = pool->free;

		pool->free = slot->next;
		pool->free_slots--;
		hb_unpoison(slot->bytes, sizeof(slot->bytes));
		free(slot);
	}
	/* They are small, and lie about: each may be all that keeps a page of malloc's. */
	while ((buf = pool->free_bufs)) {
		pool->free_bufs = buf->next;
		pool->free_bufs_count--;
		free(buf);
	}
}

static struct hb_slot *slot_get(struct hb_buf_pool *pool)
{
	struct hb_slot *slot = pool->free;

	if (pool->slots_max && pool->out + pool->lent >= pool->slots_max)
		return NULL;
	if (slot) {
		pool->free = slot->next;
		pool->free_slots--;
		hb_unpoison(slot->bytes, sizeof(slot->bytes));
	} else {
		slot = malloc(sizeof(*slot));
		if (!slot)
			return NULL;
		slot->pool = pool;
	}
	slot->windows = 1;
	if (++pool->out > pool->peak)
		pool->peak = pool->out;
	return slot;
}

static void slot_put(struct hb_slot *slot)
{
	struct hb_buf_pool *pool = slot->pool;

	assert(slot->windows > 0);
	if (--slot->windows > 0)
		return;
	pool->out--;
	if (pool->free_slots >= FREE_SLOTS_KEPT) {
		free(slot);
		return;
	}
	slot->next = pool->free;
	pool->free = slot;
	pool->free_slots++;
	hb_poison(slot->bytes, sizeof(slot->bytes));
}

static struct hb_buf *window_get(struct hb_buf_pool *pool)
{
	struct hb_buf *buf = pool->free_bufs;

	if (!buf)
		return malloc(sizeof(*buf));
	pool->free_bufs = buf->next;
	pool->free_bufs_count--;
	return buf;
}

static void window_put(struct hb_buf_pool *pool, struct hb_buf *buf)
{
	if (pool->free_bufs_count >= FREE_BUFS_KEPT) {
		free(buf);
		return;
	}
	/* So that a stale window crashes instead of reading someone else's bytes. */
	*buf = (struct hb_buf){ .next = pool->free_bufs };
	pool->free_bufs = buf;
	pool->free_bufs_count++;
}

struct hb_buf *hb_buf_new(struct hb_buf_pool *pool)
{
	struct hb_buf *buf = window_get(pool);

	if (!buf)
		return NULL;
	*buf = (struct hb_buf){ .slot = slot_get(pool) };
	if (!buf->slot) {
		window_put(pool, buf);
		return NULL;
	}
	buf->data = buf->slot->bytes + HB_BUF_HEADROOM;
	return buf;
}

struct hb_buf *hb_buf_view(struct hb_buf *buf, uint32_t offset, uint32_t len)
{
	struct hb_buf *view = window_get(buf->slot->pool);

	assert(offset <= buf->len && len <= buf->len - offset);
	if (!view)
		return NULL;
	*view = (struct hb_buf){ .data = buf->data + offset, .len = len, .slot = buf->slot };
	buf->slot->windows++;
	return view;
}

void hb_buf_free(struct hb_buf *buf)
{
	struct hb_buf_pool *pool;

	if (!buf)
		return;
	pool = buf->slot->pool;
	slot_put(buf->slot);
	window_put(pool, buf);
}

void hb_buf_free_all(struct hb_buf *chain)
{
	while (chain) {
		struct hb_buf *next = chain->next;

		hb_buf_free(chain);
		chain = next;
	}
}

uint32_t hb_buf_headroom(const struct hb_buf *buf)
{
	return (uint32_t)(buf->data - buf->slot->bytes);
}

uint32_t hb_buf_tailroom(const struct hb_buf *buf)
{
	return (uint32_t)(buf->slot->bytes + HB_BUF_SLOT - (buf->data + buf->len));
}

bool hb_buf_is_sole_owner(const struct hb_buf *buf)
{
	return buf->slot->windows == 1;
}

struct hb_buf_pool *hb_buf_pool_of(const struct hb_buf *buf)
{
	return buf->slot->pool;
}

void hb_buf_lend(struct hb_buf *buf)
{
	assert(buf->slot->windows == 1);
	buf->slot->pool->out--;
	buf->slot->pool->lent++;
}

void hb_buf_unlend(struct hb_buf *buf)
{
	buf->slot->pool->lent--;
	buf->slot->pool->out++;
}

size_t hb_buf_pool_room(const struct hb_buf_pool *pool)
{
	return pool->slots_max ? pool->slots_max - pool->out - pool->lent : SIZE_MAX;
}

size_t hb_buf_chain_bytes(const struct hb_buf *chain)
{
	size_t bytes = 0;

	for (; chain; chain = chain->next)
		bytes += chain->len;
	return bytes;
}

void hb_bufq_push(struct hb_bufq *q, struct hb_buf *chain)
{
	if (!chain)
		return;
	if (q->head)
		q->head->last->next = chain;
	else
		q->head = chain;
	for (; chain; chain = chain->next) {
		assert(chain->len <= UINT32_MAX - q->bytes);
		q->bytes += chain->len;
		q->bufs++;
		q->head->last = chain;
	}
}

struct hb_buf *hb_bufq_shift(struct hb_bufq *q)
{
	struct hb_buf *buf = q->head;

	if (!buf)
		return NULL;
	q->head = buf->next;
	if (q->head)
		q->head->last = buf->last;
	q->bytes -= buf->len;
	q->bufs--;
	buf->next = NULL;
	return buf;
}

struct hb_buf *hb_bufq_take(struct hb_bufq *q)
{
	struct hb_buf *chain = q->head;

	*q = (struct hb_bufq){ 0 };
	return chain;
}

void hb_bufq_consume(struct hb_bufq *q, size_t bytes)
{
	assert(bytes <= q->bytes);
	while (bytes > 0) {
		struct hb_buf *buf = q->head;

		if (buf->len > bytes) {
			buf->data += bytes;
			buf->len -= (uint32_t)bytes;
			q->bytes -= (uint32_t)bytes;
			return;
		}
		bytes -= buf->len;
		hb_buf_free(hb_bufq_shift(q));
	}
}

void hb_bufq_clear(struct hb_bufq *q)
{
	hb_buf_free_all(hb_bufq_take(q));
}

static bool is_small(const struct hb_buf *buf)
{
	return buf->len < HB_BUF_PAYLOAD / 2;
}

/* Moves small bufs from the front of @from into fresh slots at the end of @to: one run of them. */
static void merge_run(struct hb_bufq *from, struct hb_bufq *to)
{
	struct hb_buf *into = hb_buf_new(hb_buf_pool_of(from->head));

	if (!into) {
		hb_bufq_push(to, hb_bufq_shift(from));
		return;
	}
	while (from->head && is_small(from->head) &&
	       from->head->len <= HB_BUF_PAYLOAD - into->len) {
		struct hb_buf *buf = hb_bufq_shift(from);

		memcpy(into->data + into->len, buf->data, buf->len);
		into->len += buf->len;
		hb_buf_free(buf);
	}
	hb_bufq_push(to, into);
}

void hb_bufq_compact(struct hb_bufq *q)
{
	struct hb_bufq dense = { 0 };

	while (q->head) {
		struct hb_buf *next = q->head->next;

		/* Larger ones stay as they are: nothing is copied over and over. */
		if (is_small(q->head) && next && is_small(next))
			merge_run(q, &dense);
		else
			hb_bufq_push(&dense, hb_bufq_shift(q));
	}
	*q = dense;
}
