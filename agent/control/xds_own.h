/*
 * xds_own: what xds.c (a stream, and the responses on it) and xds_retry.c (its end, and the next
 * one) share.
 */
#pragma once

#include "control/backoff.h"
#include "control/xds_known.h"
#include "control/xds_wants.h"

struct grpc_call;
struct grpc_status;

struct xds {
	struct hb_loop *loop;
	struct xds_options options;
	struct grpc_call *call; /* NULL: none */
	struct backoff backoff;
	struct hb_timer retry, slice, patience;
	struct xds_restore restore;
	bool restoring; /* what was known is on its way into the store */
	bool retry_due; /* a call waits for the response that is being taken */
	bool came;      /* something came on this call */

	struct xds_versions versions[XDS_TYPES];
	bool full[XDS_TYPES]; /* the next response of this type is a full state */
	size_t sent_bytes;    /* of the largest first request of this call */

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

void xds_retry_init(struct xds *xds);
void xds_become_ready(struct xds *xds); /* once */
/* The end of a call, from below: of struct grpc_events. */
void xds_on_end(void *ctx, const struct grpc_status *status);
/* And from here: the stream can not be used any more. */
void xds_give_up(struct xds *xds, const char *why);
