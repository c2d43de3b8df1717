/*
 * loop_uring: what the files of the io_uring backend share. Only they include liburing.
 */
#pragma once

#include <liburing.h>

#include "loop_internal.h"

/* Lent slots: what one turn of many small messages uses; 1 MiB at most. A power of two. */
#define HB_LENT_MAX   64
#define HB_LENT_GROUP 0

/* The slots that the kernel may fill, by buffer id. */
struct hb_lent {
	struct io_uring_buf_ring *ring;
	struct hb_buf *bufs[HB_LENT_MAX]; /* NULL: not lent now */
	unsigned lent;                    /* not NULL */
	unsigned target;                  /* how many there should be */
};

struct hb_uring {
	struct io_uring ring;
	struct hb_lent lent;
	struct hb_op wake; /* a poll on the loop's wake_fd */
};

int hb_lent_init(struct hb_lent *lent, struct io_uring *ring, size_t slots_max);
void hb_lent_done(struct hb_lent *lent); /* the ring is closed already */
/* Gives the pages of empty slots back; the kernel takes new ones as it fills them. */
void hb_lent_discard(struct hb_lent *lent);
/* Lends until the target is reached or the pool says no. */
void hb_lent_fill(struct hb_lent *lent, struct hb_buf_pool *pool);
/* The slot that a completion with these flags has used, or NULL; another is lent in its place. */
struct hb_buf *hb_lent_take(struct hb_lent *lent, struct hb_buf_pool *pool, unsigned cqe_flags);
