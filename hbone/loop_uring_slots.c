/*
 * loop_uring_slots: the ring of slots that the kernel fills, one group per loop.
 *
 * A slot that comes back filled goes to its receiver, and the pool's most recently used one takes
 * its place under the same id, so the kernel writes where the cache is warm.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "buf_internal.h"
#include "loop_uring.h"

/* liburing 2.3 has no io_uring_setup_buf_ring(); the memory is ours. 0 or -errno. */
static int make_ring(struct hb_lent *lent, struct io_uring *io)
{
	struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)lent->ring,
		                        .ring_entries = HB_LENT_MAX,
		                        .bgid = HB_LENT_GROUP };

	memset(lent->ring, 0, HB_LENT_MAX * sizeof(struct io_uring_buf));
	io_uring_buf_ring_init(lent->ring);
	return io_uring_register_buf_ring(io, &reg, 0);
}

int hb_lent_init(struct hb_lent *lent, struct io_uring *io, unsigned entries, size_t slots_max)
{
	size_t size = HB_LENT_MAX * sizeof(struct io_uring_buf);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	/* At most a quarter of the bound: the rest is for those who write. */
	lent->max = (unsigned)hb_min_size(HB_LENT_MAX, slots_max / 4 ? slots_max / 4 : 1);
	lent->first =
	    hb_min_u32(hb_min_u32(HB_LENT_FIRST, entries / HB_LENT_ENTRIES + 1), lent->max);
	lent->target = lent->first;
	lent->ring = aligned_alloc(page, (size + page - 1) / page * page);
	return lent->ring ? make_ring(lent, io) : -ENOMEM;
}

void hb_lent_done(struct hb_lent *lent)
{
	for (size_t id = 0; id < HB_LENT_MAX; id++) {
		if (!lent->bufs[id])
			continue;
		hb_buf_unlend(lent->bufs[id]);
		hb_buf_free(hb_take(&lent->bufs[id]));
	}
	free(lent->ring);
}

void hb_lent_grow(struct hb_lent *lent)
{
	/* Fewer: the pool says no, or it has grown in this turn already. */
	if (lent->lent >= lent->target)
		lent->target = (unsigned)hb_min_size((size_t)lent->target * 2, lent->max);
}

static void discard_pages(const struct hb_buf *buf)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = ((uintptr_t)buf->data + page - 1) & ~(page - 1);
	uintptr_t end = ((uintptr_t)buf->data + HB_BUF_PAYLOAD) & ~(page - 1);

	/* Fails where memory is locked: then it stays. */
	if (start < end)
		(void)madvise((void *)start, end - start, MADV_DONTNEED);
}

/*
 * A slot that is lent is not asked back: those above the target are lent no more once they were
 * used. (With the ring registered anew Linux 6.1 filled slots that were not lent any more.)
 */
void hb_lent_discard(struct hb_lent *lent)
{
	lent->target = lent->first;
	for (size_t id = 0; id < HB_LENT_MAX; id++)
		if (lent->bufs[id])
			discard_pages(lent->bufs[id]);
}

static void lend(struct hb_lent *lent, struct hb_buf *buf, size_t id)
{
	hb_buf_lend(buf);
	lent->bufs[id] = buf;
	lent->lent++;
	io_uring_buf_ring_add(lent->ring, buf->data, HB_BUF_PAYLOAD, (unsigned short)id,
	                      HB_LENT_MAX - 1, 0);
	io_uring_buf_ring_advance(lent->ring, 1);
}

void hb_lent_fill(struct hb_lent *lent, struct hb_buf_pool *pool)
{
	for (size_t id = 0; id < HB_LENT_MAX && lent->lent < lent->target; id++) {
		struct hb_buf *buf;

		if (lent->bufs[id])
			continue;
		buf = hb_buf_new(pool);
		if (!buf)
			return;
		lend(lent, buf, id);
	}
}

struct hb_buf *hb_lent_take(struct hb_lent *lent, struct hb_buf_pool *pool, unsigned cqe_flags)
{
	size_t id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
	struct hb_buf *buf, *other;

	if (!(cqe_flags & IORING_CQE_F_BUFFER))
		return NULL;
	assert(id < HB_LENT_MAX && lent->bufs[id]);
	buf = hb_take(&lent->bufs[id]);
	lent->lent--;
	hb_buf_unlend(buf);
	if (lent->lent >= lent->target)
		return buf;
	other = hb_buf_new(pool);
	if (other)
		lend(lent, other, id);
	return buf;
}
