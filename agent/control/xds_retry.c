/*
 * xds_retry: the end of a stream, and when there is another; and what is served meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>
#include <hbone/loop.h>

#include "control/grpc.h"
#include "control/xds_ends.h"
#include "control/xds_own.h"
#define LOG_SCOPE "xds"
#include "log.h"
#include "metrics.h"

#define RETRY_FLOOR_MS 10u
#define RETRY_FIRST_MS 200u
#define RETRY_MAX_MS   15000u
#define REQUEST_MIN    (64u << 10) /* below that request_max does not go: the server means another */

void xds_enter(struct xds *xds, enum xds_state state)
{
	xds->view.state = state;
	xds->view.since_ms = hb_loop_now_ms(xds->loop);
	*metrics_at(xds->options.metrics, METRIC_XDS_CONNECTED, NULL) = state == XDS_CONNECTED;
}

const char *xds_server(const struct xds *xds)
{
	return grpc_channel_target(xds->options.channel);
}

void xds_become_ready(struct xds *xds)
{
	xds->ready = true;
	if (xds->options.on_ready)
		xds->options.on_ready(xds->options.owner);
}

/* The server had its time, or cannot be reached at all. */
static void serve_known(struct xds *xds)
{
	hb_loop_timer_stop(xds->loop, &xds->patience);
	if (xds->ready || !xds->view.has_known)
		return;
	xds->view.from_known = true;
	xds_become_ready(xds);
}

static void on_patience(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, patience);

	/* Half a response is in the store; what is published already is good to serve. */
	serve_known(xds);
}

/*
 * The end of a call, and the next (2.9). @reason: as ztunnel counts it.
 */
static void wait_for_retry(struct xds *xds, const char *reason, const char *why, const char *hint)
{
	uint32_t after_ms;

	/* What came and could not be taken would come again as soon as we asked. */
	if (xds->useful)
		backoff_reset(&xds->backoff);
	after_ms = backoff_next_ms(&xds->backoff);
	xds->came = xds->useful = false;
	xds_settle_stop(xds);
	metrics_count(xds->options.metrics, METRIC_XDS_ENDS, reason);
	snprintf(xds->view.last_end, sizeof(xds->view.last_end), "%s", why);
	log_warn("xds stream ended, opening another; the mesh stays as it is",
	         "server=%s reason=%s after_ms=%u: %s%s", xds_server(xds), reason, after_ms, why,
	         hint);
	xds_enter(xds, XDS_WAITING);
	hb_loop_timer_start(xds->loop, &xds->retry, after_ms);
	serve_known(xds);
}

void xds_give_up(struct xds *xds, const char *why)
{
	if (xds->call)
		grpc_call_cancel(hb_take(&xds->call));
	xds->useful = false;
	wait_for_retry(xds, "Error", why, "");
}

static void on_retry(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, retry);

	xds->retry_due = xds_is_busy(xds);
	if (!xds->retry_due)
		xds_stream_open(xds);
}

static bool is_too_large(const struct grpc_status *status)
{
	return status->code == GRPC_RESOURCE_EXHAUSTED &&
	       strstr(status->message, "larger than max");
}

/* The server takes less in one request than we sent: the next one goes without versions. false: it
 * would be the same request again. */
static bool learn_limit(struct xds *xds)
{
	if (xds->sent_bytes <= REQUEST_MIN || xds->sent_bytes > xds->options.request_max)
		return false;
	xds->options.request_max = xds->sent_bytes - 1;
	log_warn("the xds server takes no request as large as ours, and will send all anew",
	         "server=%s request_bytes=%zu", xds_server(xds), xds->sent_bytes);
	return true;
}

void xds_on_end(void *ctx, const struct grpc_status *status)
{
	struct xds *xds = ctx;
	const char *name = grpc_code_name(status->code);
	const char *reason = xds_end_reason(status, xds->came);
	const char *hint = xds_end_hint(status);
	char why[300];

	xds->call = NULL;
	if (status->kind == GRPC_END_SERVER)
		snprintf(why, sizeof(why), "%s%s%.200s", name ? name : "an unknown status",
		         *status->message ? ", " : "", status->message);
	else
		snprintf(why, sizeof(why), "%.250s",
		         *status->message ? status->message : grpc_kind_name(status->kind));
	if (is_too_large(status) && !learn_limit(xds)) {
		/* One type may have been answered before the other's request was refused: without
		 * this the same request would go out several times a second for ever. */
		xds->useful = false;
		hint = "; ours cannot be smaller, and is sent again less and less often";
	}
	wait_for_retry(xds, reason, why, hint);
}

void xds_retry_init(struct xds *xds)
{
	backoff_init(&xds->backoff, RETRY_FLOOR_MS, RETRY_FIRST_MS, RETRY_MAX_MS,
	             xds->options.seed);
	hb_timer_init(&xds->retry, on_retry);
	hb_timer_init(&xds->patience, on_patience);
}
