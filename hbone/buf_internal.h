/*
 * buf_internal: what the loop alone asks of the pool. The slots it lends to the kernel's ring are
 * nobody's data yet: they count against the bound, but not as out.
 */
#pragma once

#include <hbone/buf.h>

/* The slot of @buf, its only owner, goes into the kernel's ring: no longer out, but lent. */
void hb_buf_lend(struct hb_buf *buf);
/* It came back, with data or without. */
void hb_buf_unlend(struct hb_buf *buf);
/* Slots that may still be taken before the bound is reached. */
size_t hb_buf_pool_room(const struct hb_buf_pool *pool);
