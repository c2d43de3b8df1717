/*
 * xds_own: what xds.c (a stream, and the responses on it), xds_retry.c (its end, and the next one)
 * and xds_settle.c (what is gone without a word) share.
 */
#pragma once

#include "control/backoff.h"
#include "control/xds_known.h"
#include "control/xds_wants.h"

struct grpc_call;
struct grpc_status;

/* Where names were left out of a stream's first request: what it has not told again yet. */
struct xds_settle {
	struct hb_timer timer;
	bool active;
	size_t unseen; /* names, when one was last told */
};

struct xds {
	struct hb_loop *loop;
	struct xds_options options;
	struct grpc_call *call; /* NULL: none */
	struct backoff backoff;
	struct hb_timer retry, slice, patience;
	struct xds_settle settle[XDS_TYPES];
	struct xds_restore restore;
	bool restoring; /* what was known is on its way into the store */
	bool retry_due; /* a call waits for the response that is being taken */
	bool came;      /* something came on this call */
	bool useful;    /* and was taken: the wait after its end is a short one */
	bool sweeping;  /* what was not told again leaves the store */

	struct xds_versions versions[XDS_TYPES];
	size_t sent_bytes; /* of the largest first request of this call */

	uint8_t *bytes; /* of the response that is taken; NULL: none is */
	struct xds_push push;
	struct xds_wants wants;
	bool ready;
	struct xds_view view;
};

const char *xds_server(const struct xds *xds); /* for the log */
void xds_enter(struct xds *xds, enum xds_state state);
/* There is no call, and no response is being taken. */
void xds_stream_open(struct xds *xds);

/* The store takes in what xds->push has, in slices, from the next turn on; the call is paused. */
void xds_push_begin(struct xds *xds);

void xds_settle_init(struct xds *xds);
/* The names of @type do not go into the first request of a stream: it will tell them all. */
void xds_settle_begin(struct xds *xds, enum xds_type type);
/* A response of @type was taken. */
void xds_settle_heard(struct xds *xds, enum xds_type type);
void xds_settle_stop(struct xds *xds); /* the stream has ended */

void xds_retry_init(struct xds *xds);
void xds_become_ready(struct xds *xds); /* once */
/* The end of a call, from below: of struct grpc_events. */
void xds_on_end(void *ctx, const struct grpc_status *status);
/* And from here: the stream can not be used any more. */
void xds_give_up(struct xds *xds, const char *why);
