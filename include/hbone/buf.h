/*
 * buf: counted bytes that cross layers by changing owner, and the pool they return to.
 *
 * The storage is a slot: one TLS record's worth of payload with room in front for a frame header
 * and a record header, and behind for the record's type and tag. So an app's bytes are read where
 * they will be framed and sealed (reference/dataplane 8.2). A struct hb_buf is a window onto a
 * slot; several windows may share one.
 *
 *   slot: | 32 headroom | 16384 payload | 32 tailroom |
 *
 * Thread: one pool belongs to one loop; nothing here is shared between threads.
 * Ownership: passing a hb_buf (or a chain, linked by next) to a function that takes it gives it
 * away, even when that function fails.
 */
#pragma once

#include <hbone/base.h>

#define HB_BUF_HEADROOM 32
#define HB_BUF_PAYLOAD  16384
#define HB_BUF_TAILROOM 32
#define HB_BUF_SLOT     (HB_BUF_HEADROOM + HB_BUF_PAYLOAD + HB_BUF_TAILROOM)

/* An app read fills at most this much, so that frame header + payload is one full record. */
#define HB_BUF_READ_MAX 16375

#define HB_FRAME_HEADER 9  /* RFC 9113 4.1 */
#define HB_TLS_HEADER   5  /* RFC 8446 5.1 */
#define HB_TLS_TRAILER  17 /* content type and AEAD tag, RFC 8446 5.2 */

/* Backlog marks where memory is tight, bytes. */
#define HB_BUF_TIGHT_HIGH (64u * 1024)
#define HB_BUF_TIGHT_LOW  (32u * 1024)

struct hb_buf_pool;
struct hb_slot;

struct hb_buf {
	struct hb_buf *next;
	struct hb_buf *last; /* the queue's, in the first of one */
	uint8_t *data;
	uint32_t len; /* bytes; 0 is allowed only while it is being filled */
	struct hb_slot *slot;
};

/* @slots_max bounds the slots out at once (0: no bound). NULL: no memory. */
struct hb_buf_pool *hb_buf_pool_new(size_t slots_max);
/* Every buf must have been freed before. */
void hb_buf_pool_free(struct hb_buf_pool *pool);
/* Slots that somebody owns; those the loop has lent to the kernel are not among them. */
size_t hb_buf_pool_slots_out(const struct hb_buf_pool *pool);
/* The most that were out at once since this was last asked; then it begins anew. */
size_t hb_buf_pool_slots_peak(struct hb_buf_pool *pool);
/* So much is out that streams are to keep short backlogs: HB_BUF_TIGHT_HIGH and _LOW, for all that
 * have longer ones by themselves. */
bool hb_buf_pool_is_tight(const struct hb_buf_pool *pool);
/* Gives unused slots back to the system, keeping at most @keep, and windows that nobody has. */
void hb_buf_pool_trim(struct hb_buf_pool *pool, size_t keep);

/* An empty buf on a fresh slot, data at the start of the payload. NULL: no memory or the bound. */
struct hb_buf *hb_buf_new(struct hb_buf_pool *pool);
/* A second window onto the bytes [offset, offset + len) of @buf. NULL: no memory. */
struct hb_buf *hb_buf_view(struct hb_buf *buf, uint32_t offset, uint32_t len);
/* One buf, or NULL; its next is ignored. */
void hb_buf_free(struct hb_buf *buf);
/* A whole chain, or NULL. */
void hb_buf_free_all(struct hb_buf *chain);

/* Bytes that may be written in front of data / behind data + len, for the only owner of a slot. */
uint32_t hb_buf_headroom(const struct hb_buf *buf);
uint32_t hb_buf_tailroom(const struct hb_buf *buf);
/* Nobody else looks at the slot, so its other bytes may be overwritten. */
bool hb_buf_is_sole_owner(const struct hb_buf *buf);
/* Which pool it came from (for making another like it). */
struct hb_buf_pool *hb_buf_pool_of(const struct hb_buf *buf);

size_t hb_buf_chain_bytes(const struct hb_buf *chain);

/*
 * A queue of bufs with its sums, small because every stream has some that are empty. It holds less
 * than 4 GiB. Zero-initialised is empty.
 */
struct hb_bufq {
	struct hb_buf *head; /* knows the last */
	uint32_t bytes;
	uint32_t bufs;
};

void hb_bufq_push(struct hb_bufq *q, struct hb_buf *chain); /* takes the chain */
struct hb_buf *hb_bufq_shift(struct hb_bufq *q);            /* first buf, next NULL; or NULL */
struct hb_buf *hb_bufq_take(struct hb_bufq *q);             /* everything as a chain; or NULL */
/* Drops @bytes from the front; @bytes <= q->bytes. */
void hb_bufq_consume(struct hb_bufq *q, size_t bytes);
void hb_bufq_clear(struct hb_bufq *q);
/*
 * Copies runs of small bufs into few slots, so that a reader that does not come pins little more
 * memory than the bytes it was sent. Keeps the order; without memory it leaves bufs as they are.
 */
void hb_bufq_compact(struct hb_bufq *q);
