/*
 * xds_settle: what went while we were away, where the server could not be told what we had.
 *
 *   (not active) --first request without names--> ACTIVE, nothing was told
 *   ACTIVE --a response that tells some of what is left--> ACTIVE, the time begins anew
 *   ACTIVE --all was told, or the stream ends--> (not active)
 *   ACTIVE --time--> what is left is swept out of the store, (not active)
 *
 * Changes of what was told already do not begin the time anew: a large mesh changes all the time.
 */
#include <hbone/loop.h>

#include "control/grpc.h"
#include "control/xds_own.h"
#define LOG_SCOPE "xds"
#include "log.h"

#define BUSY_MS 50u /* until it is looked again whether the store is free */

static void settle(struct xds *xds, enum xds_type type)
{
	struct xds_settle *settle = &xds->settle[type];

	if (xds_is_busy(xds)) {
		hb_loop_timer_start(xds->loop, &settle->timer, BUSY_MS);
		return;
	}
	settle->active = false;
	xds->sweeping = true;
	xds_push_init_sweep(&xds->push, xds->options.store, xds->versions, type);
	xds_push_begin(xds);
}

static void on_address_time(struct hb_timer *timer)
{
	settle(hb_container_of(timer, struct xds, settle[XDS_ADDRESS].timer), XDS_ADDRESS);
}

static void on_authorization_time(struct hb_timer *timer)
{
	settle(hb_container_of(timer, struct xds, settle[XDS_AUTHORIZATION].timer),
	       XDS_AUTHORIZATION);
}

void xds_settle_init(struct xds *xds)
{
	hb_timer_init(&xds->settle[XDS_ADDRESS].timer, on_address_time);
	hb_timer_init(&xds->settle[XDS_AUTHORIZATION].timer, on_authorization_time);
}

void xds_settle_begin(struct xds *xds, enum xds_type type)
{
	struct xds_versions *versions = &xds->versions[type];

	xds_versions_unsee(versions);
	xds->settle[type].active = true;
	xds->settle[type].unseen =
	    SIZE_MAX; /* the first response begins the time, whatever it tells */
	log_info(
	    "the names that we have are too many for a request, and the server will tell all anew",
	    "server=%s type=%s names=%zu", xds_server(xds), xds_type_url(type), versions->count);
}

void xds_settle_heard(struct xds *xds, enum xds_type type)
{
	struct xds_settle *settle = &xds->settle[type];
	size_t unseen = xds->versions[type].unseen;

	/* Without a call it was the last of an old stream. */
	if (!settle->active || !xds->call || unseen >= settle->unseen)
		return;
	settle->unseen = unseen;
	settle->active = unseen > 0;
	hb_loop_timer_stop(xds->loop, &settle->timer);
	if (unseen)
		hb_loop_timer_start(xds->loop, &settle->timer, xds->options.settle_ms);
}

void xds_settle_stop(struct xds *xds)
{
	for (int type = 0; type < XDS_TYPES; type++) {
		hb_loop_timer_stop(xds->loop, &xds->settle[type].timer);
		xds->settle[type].active = false;
	}
}
