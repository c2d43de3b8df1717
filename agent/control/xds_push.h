/*
 * xds_push: one DeltaDiscoveryResponse on its way into the store, a slice at a time
 * (reference/controlplane 2.7): first its outer fields are looked through, then its resources go
 * into the store one by one, then what it removes leaves. One bad resource does not hold up the
 * others. Or no response at all, but what no response has named for long enough leaves.
 *
 *   SCAN --> RESOURCES --> REMOVED --> DONE
 *                            SWEEP --> DONE
 *
 * Nothing is published here; the store's batch holds what was done so far, and the versions have
 * marks. The owner publishes and xds_versions_commit()s, or, on -ENOMEM and when it leaves in
 * between, store_discard()s and xds_versions_distrust()s.
 * Pure but for the store. Thread: the store's.
 */
#pragma once

#include "control/xds_codec.h"
#include "control/xds_versions.h"
#include "control/xds_walk.h"

#define XDS_REASONS_MAX 2048u /* bytes of all rejections of one response */

enum xds_type { XDS_ADDRESS, XDS_AUTHORIZATION, XDS_TYPES };
const char *xds_type_url(enum xds_type type);

struct xds_push {
	enum { PUSH_SCAN, PUSH_RESOURCES, PUSH_REMOVED, PUSH_SWEEP, PUSH_DONE } phase;
	struct store *store;
	struct xds_versions *versions; /* of all types, by enum xds_type */
	struct laststate *known;       /* what is taken and removed is kept here, too; or NULL */
	struct hb_arena arena;
	struct xds_walk walk;
	size_t sweep_at;
	/* Who waits for a name hears of it; NULL: nobody. After the last slice all is known, but
	 * nothing published. */
	void (*on_name)(void *owner, const char *name);
	void *owner;

	/* Known after SCAN. */
	enum xds_type type; /* XDS_TYPES: another, nothing of it is taken */
	char type_url[128]; /* clipped */
	char nonce[256];
	/* Counted. */
	size_t resources, removed, rejected, skipped;
	char skipped_of[128];          /* the first resource that lost a part, clipped */
	size_t value_bytes;            /* of all Any.value */
	char reasons[XDS_REASONS_MAX]; /* "name: reason; name: reason", clipped */
};

/* @bytes is borrowed until xds_push_done(); all of @push is set here. */
void xds_push_init(struct xds_push *push, struct store *store, struct xds_versions *versions,
                   const uint8_t *bytes, size_t size);
/* The same for what of @type was not seen since xds_versions_unsee(): all of it is removed. */
void xds_push_init_sweep(struct xds_push *push, struct store *store, struct xds_versions *versions,
                         enum xds_type type);
/*
 * One slice. 1: call again; 0: DONE; -EBADMSG: it is no response, or its nonce is none that can be
 * given back (nothing was done, as that is seen before); -ENOMEM.
 */
int xds_push_step(struct xds_push *push);
void xds_push_done(struct xds_push *push); /* may run twice */
