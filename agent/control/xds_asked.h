/*
 * xds_asked: names that this stream has been asked for, and when they were answered.
 *
 * istiod takes a name that is subscribed to already for no question, and says nothing (seen in its
 * source: pilot/pkg/xds/delta.go, shouldRespondDelta). So what was answered a while ago, and is to
 * be asked for anew, is unsubscribed from first; and so is the oldest, where there are too many.
 * Pure. Thread: the owner's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hbone/list.h>

#define XDS_ASKED_MAX     8192u /* names; more than may be waited for at once */
#define XDS_ASKED_BUCKETS 1024u

struct xds_asked {
	struct hb_list buckets[XDS_ASKED_BUCKETS];
	struct hb_list answered; /* the oldest first */
	size_t count;
	uint32_t fresh_ms;
};

enum xds_asked_state {
	ASKED_NOT,
	ASKED_OPEN,  /* not answered yet */
	ASKED_FRESH, /* there was nothing of that name just now */
	ASKED_STALE, /* answered otherwise, or before that */
};

void xds_asked_init(struct xds_asked *asked, uint32_t fresh_ms);
void xds_asked_clear(struct xds_asked *asked); /* another stream, or the end */
enum xds_asked_state xds_asked_state(const struct xds_asked *asked, const char *name,
                                     uint64_t now_ms);
/* It is asked for now: OPEN, whatever it was. 0; -ENOMEM; -ENOBUFS: XDS_ASKED_MAX are there. */
int xds_asked_open(struct xds_asked *asked, const char *name);
/* Something was said of it, or that there is @nothing. False: it was not asked for. */
bool xds_asked_answer(struct xds_asked *asked, const char *name, bool nothing, uint64_t now_ms);
/* The one that was answered first of all; NULL: none was. Valid until it is removed. */
const char *xds_asked_oldest(const struct xds_asked *asked);
void xds_asked_remove(struct xds_asked *asked, const char *name);
