/*
 * loop_uring: what the files of the io_uring backend share. Only they include liburing.
 */
#pragma once

#include <liburing.h>

#include "loop_internal.h"

/* Lent slots: what one turn of many small messages uses; 1 MiB at most. A power of two. The kernel
 * fills them in turn, each however little comes, so no more are lent than were ever wanted at once:
 * an idle loop owns few pages, and a few busy receivers write where the cache is warm. */
#define HB_LENT_MAX     64
#define HB_LENT_FIRST   8
#define HB_LENT_ENTRIES 128 /* a ring of few entries lends but one for each so many, and one */
#define HB_LENT_GROUP   0

/* The slots that the kernel may fill, by buffer id. */
struct hb_lent {
	struct io_uring_buf_ring *ring;
	struct hb_buf *bufs[HB_LENT_MAX]; /* NULL: not lent now */
	unsigned lent;                    /* not NULL */
	unsigned target;                  /* how many there should be, at most `max` */
	unsigned first, max;
};

struct hb_uring {
	struct io_uring ring;
	struct hb_lent lent;
	struct hb_op_base wake; /* a poll on the loop's wake_fd */
};

int hb_lent_init(struct hb_lent *lent, struct io_uring *io, unsigned entries, size_t slots_max);
void hb_lent_done(struct hb_lent *lent); /* @io is closed already */
/* The kernel ran out of them: twice as many are lent from now on. */
void hb_lent_grow(struct hb_lent *lent);
/* Gives the pages of empty slots back; the kernel takes new ones as it fills them. Few are lent
 * again, once those that are have been used. No completion may be waiting to be told. */
void hb_lent_discard(struct hb_lent *lent);
/* Lends until the target is reached or the pool says no. */
void hb_lent_fill(struct hb_lent *lent, struct hb_buf_pool *pool);
/* The slot that a completion with these flags has used, or NULL; another is lent in its place. */
struct hb_buf *hb_lent_take(struct hb_lent *lent, struct hb_buf_pool *pool, unsigned cqe_flags);
