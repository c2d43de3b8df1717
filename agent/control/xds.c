/*
 * xds: what is asked on a stream, and one response at a time through it; how streams end is in
 * xds_retry.c.
 *
 *   (what was known -->) CONNECTING
 *
 *   WAITING --time--> CONNECTING --headers or a response--> CONNECTED
 *      ^                  |                                     |
 *      +------------------+-------------- the call ends --------+
 *
 * A response that is being taken when the call ends is taken to its end, as it is good, but is not
 * answered; the next call waits for it.
 */
#include "control/xds.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>
#include <hbone/loop.h>

#include "control/grpc.h"
#include "control/xds_own.h"
#define LOG_SCOPE "xds"
#include "log.h"
#include "metrics.h"

#define PATH "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

/*
 * Requests.
 */
static bool request_send(struct xds *xds, const struct xds_request *request)
{
	size_t size;
	uint8_t *bytes = xds_encode_request(request, 0, &size);
	bool sent = bytes && grpc_call_send(xds->call, bytes, size);

	free(bytes);
	return sent;
}

/* The first of its type on a stream: who we are, and what we have. */
static bool first_request_send(struct xds *xds, enum xds_type type)
{
	const struct xds_versions *versions = &xds->versions[type];
	const char *star = type == XDS_ADDRESS && xds->options.on_demand ? "*" : NULL;
	struct xds_request request = {
		.node = xds->options.node,
		.node_size = xds->options.node_size,
		.type_url = xds_type_url(type),
		.subscribe = star,
		.unsubscribe = star,
	};
	size_t size, all;
	uint8_t *bytes = xds_encode_request(&request, versions->wire_bytes, &size);
	bool sent;

	if (!bytes)
		return false;
	all = size + versions->wire_bytes;
	if (all > xds->options.request_max) {
		xds_settle_begin(xds, type);
	} else {
		xds_versions_encode(versions, bytes + size);
		size = all;
	}
	xds->sent_bytes = size > xds->sent_bytes ? size : xds->sent_bytes;
	sent = grpc_call_send(xds->call, bytes, size);
	free(bytes);
	return sent;
}

/* See struct xds_wants. */
static bool tell_names(void *owner, const char *subscribe, const char *unsubscribe)
{
	struct xds *xds = owner;

	return xds->call &&
	       request_send(xds, &(struct xds_request){ .type_url = xds_type_url(XDS_ADDRESS),
	                                                .subscribe = subscribe,
	                                                .unsubscribe = unsubscribe });
}

static void came_up(struct xds *xds)
{
	if (xds->view.state == XDS_CONNECTED)
		return;
	xds_enter(xds, XDS_CONNECTED);
	xds->view.connects++;
	log_info("connected to the xds server", "server=%s", xds_server(xds));
}

static void on_open(void *ctx)
{
	came_up(ctx);
}

static void on_message(void *ctx, uint8_t *bytes, size_t size)
{
	struct xds *xds = ctx;

	assert(!xds_is_busy(xds)); /* the call is paused meanwhile */
	came_up(xds);
	xds->came = true;
	xds->view.last_message_ms = hb_loop_now_ms(xds->loop);
	xds->bytes = bytes;
	xds_push_init(&xds->push, xds->options.store, xds->versions, bytes, size);
	xds_push_begin(xds);
}

void xds_push_begin(struct xds *xds)
{
	grpc_call_pause(xds->call);
	hb_loop_timer_start(xds->loop, &xds->slice, 0);
}

void xds_stream_open(struct xds *xds)
{
	static const struct grpc_events events = { on_open, on_message, xds_on_end };
	struct grpc_call_options options = {
		.max_message = XDS_MESSAGE_MAX,
		.max_send = GRPC_QUEUE_MAX / 2,
	};
	bool sent = true;

	xds_enter(xds, XDS_CONNECTING);
	xds->sent_bytes = 0;
	xds->call = grpc_call_new(xds->options.channel, PATH, &options, &events, xds);
	for (int type = 0; type < XDS_TYPES && xds->call && sent; type++)
		sent = first_request_send(xds, (enum xds_type)type);
	if (!xds->call || !sent || !xds_wants_stream(&xds->wants))
		xds_give_up(xds, "no memory for the first requests");
}

/*
 * A response, slice by slice (2.7).
 */
static const char *url_of(const struct xds_push *push)
{
	return push->type == XDS_TYPES ? "unknown" : xds_type_url(push->type);
}

static void push_end(struct xds *xds)
{
	xds_push_done(&xds->push);
	free(hb_take(&xds->bytes));
	xds->sweeping = false;
	if (xds->retry_due) {
		xds->retry_due = false;
		xds_stream_open(xds);
	}
}

/* The store has nothing of it. */
static void push_undo(struct xds *xds)
{
	store_discard(xds->options.store);
	for (int type = 0; type < XDS_TYPES; type++)
		xds_versions_distrust(&xds->versions[type]);
	xds_wants_forget_answers(&xds->wants);
}

/* It is not taken; the next stream will be sent what this one had. */
static void push_fail(struct xds *xds, const char *why)
{
	if (xds->call)
		xds_give_up(xds, why);
	else
		log_warn("the last response of an xds stream could not be taken", "server=%s: %s",
		         xds_server(xds), why);
	push_end(xds);
}

static void count(struct xds *xds)
{
	const struct xds_push *push = &xds->push;
	const char *url = url_of(push);
	struct metrics *metrics = xds->options.metrics;

	if (!xds->sweeping)
		metrics_count(metrics, METRIC_XDS_MESSAGES, url);
	*metrics_at(metrics, METRIC_XDS_BYTES, &url) += push->value_bytes;
	if (push->rejected) {
		*metrics_at(metrics, METRIC_XDS_REJECTED, &url) += push->rejected;
		metrics_count(metrics, METRIC_XDS_NACKS, url);
	}
	if (push->type != XDS_TYPES)
		*metrics_at(metrics, METRIC_XDS_RESOURCES, &url) = xds->versions[push->type].count;
}

static void say(struct xds *xds)
{
	const struct xds_push *push = &xds->push;

	if (push->type == XDS_TYPES)
		log_error("the xds server sent a type that nobody asked for", "type=%s",
		          push->type_url);
	if (push->rejected) {
		snprintf(xds->view.last_nack, sizeof(xds->view.last_nack), "%.255s", push->reasons);
		log_warn("xds resources cannot be taken and stay as they were, all others are",
		         "type=%s refused=%zu taken=%zu: %s", url_of(push), push->rejected,
		         push->resources - push->rejected, push->reasons);
	}
	if (push->skipped)
		log_warn("xds resources have parts that are no names or addresses, left out",
		         "type=%s parts=%zu first=\"%s\"", url_of(push), push->skipped,
		         push->skipped_of);
	if (xds->sweeping)
		log_info("what the xds server has not told again is removed",
		         "server=%s type=%s removed=%zu", xds_server(xds), url_of(push),
		         push->removed);
	else
		log_debug("xds response taken", "type=%s resources=%zu removed=%zu bytes=%zu",
		          url_of(push), push->resources, push->removed, push->walk.size);
}

/* The gate (2.10): each type that is pushed as a whole has had an ACK. */
static void note_sync(struct xds *xds, enum xds_type type)
{
	bool all = true;

	xds->view.synced[type] = true;
	for (int i = 0; i < XDS_TYPES; i++)
		all &= xds->view.synced[i] || (i == XDS_ADDRESS && xds->options.on_demand);
	if (!all || (xds->ready && !xds->view.from_known))
		return;
	xds->view.from_known = false;
	hb_loop_timer_stop(xds->loop, &xds->patience);
	log_info("the mesh is known", "server=%s addresses=%zu policies=%zu", xds_server(xds),
	         xds->versions[XDS_ADDRESS].count, xds->versions[XDS_AUTHORIZATION].count);
	if (!xds->ready)
		xds_become_ready(xds);
}

/* All of it is in the store. */
static void push_finish(struct xds *xds)
{
	struct xds_push *push = &xds->push;
	enum xds_type type = push->type;
	struct xds_request answer = { .type_url = push->type_url, .nonce = push->nonce };

	if (type != XDS_TYPES) {
		if (xds->options.on_publish(xds->options.owner, push) < 0) {
			push_undo(xds);
			push_fail(xds, "no memory for what the server sent");
			return;
		}
		xds_versions_commit(&xds->versions[type]);
		xds_settle_heard(xds, type);
		xds->useful = xds->call;
	}
	count(xds);
	say(xds);
	answer.error = push->rejected ? push->reasons : NULL;
	if (xds->call && !xds->sweeping && !request_send(xds, &answer))
		xds_give_up(xds, "no memory for an answer");
	else if (xds->call)
		grpc_call_resume(xds->call);
	if (xds->call && !xds->sweeping && type != XDS_TYPES && !push->rejected)
		note_sync(xds, type);
	push_end(xds);
	xds_wants_tell_answered(&xds->wants);
}

static void on_name(void *owner, const char *name)
{
	struct xds *xds = owner;
	bool is_gone = xds->push.phase == PUSH_REMOVED;

	if (xds->options.on_demand && xds->push.type == XDS_ADDRESS)
		xds_wants_answer(&xds->wants, name, is_gone,
		                 is_gone && xds_versions_has(&xds->versions[XDS_ADDRESS], name));
}

static void on_slice(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, slice);
	struct xds_push *push = &xds->push;
	int more;

	push->on_name = on_name;
	push->owner = xds;
	push->known = xds->options.known;
	more = xds_push_step(push);
	if (more > 0) {
		hb_loop_timer_start(xds->loop, timer, 0);
	} else if (more == 0) {
		push_finish(xds);
	} else if (more == -ENOMEM) {
		push_undo(xds);
		push_fail(xds, "no memory for what the server sent");
	} else {
		push_fail(xds, "what the server sent is no response of xDS");
	}
}

/*
 * What was known (laststate), before the server is asked.
 */
static void forget_known(struct xds *xds)
{
	store_discard(xds->options.store);
	for (int type = 0; type < XDS_TYPES; type++)
		xds_versions_done(&xds->versions[type]);
	log_error("what was known of the mesh cannot be taken, waiting for the server",
	          "server=%s: no memory", xds_server(xds));
}

static void on_restore(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, slice);
	int more = xds_restore_step(&xds->restore, xds->options.store, xds->versions);

	if (more > 0) {
		hb_loop_timer_start(xds->loop, timer, 0);
		return;
	}
	xds->push.type = XDS_TYPES;
	if (more == 0)
		more = xds->options.on_publish(xds->options.owner, &xds->push);
	if (more < 0)
		forget_known(xds);
	xds->view.has_known = more == 0;
	xds->view.restored = more == 0 ? xds->restore.taken : 0;
	xds_restore_done(&xds->restore);
	xds->restoring = false;
	hb_timer_init(&xds->slice, on_slice);
	hb_loop_timer_start(xds->loop, &xds->patience, XDS_PATIENCE_MS);
	xds_stream_open(xds);
}

/*
 * Life.
 */
struct xds *xds_new(struct hb_loop *loop, const struct xds_options *options)
{
	struct xds *xds = calloc(1, sizeof(*xds));

	if (!xds)
		return NULL;
	xds->loop = loop;
	xds->options = *options;
	if (!xds->options.request_max)
		xds->options.request_max = XDS_REQUEST_MAX;
	if (!xds->options.settle_ms)
		xds->options.settle_ms = XDS_SETTLE_MS;
	xds_wants_init(&xds->wants, loop, options->fresh_ms ? options->fresh_ms : XDS_FRESH_MS,
	               tell_names, xds);
	xds_retry_init(xds);
	xds_settle_init(xds);
	xds_enter(xds, XDS_CONNECTING);
	xds->restore.known = options->known;
	xds->restoring = options->known && laststate_report(options->known).restored_as_of_ms > 0;
	hb_timer_init(&xds->slice, xds->restoring ? on_restore : on_slice);
	hb_loop_timer_start(loop, xds->restoring ? &xds->slice : &xds->retry, 0);
	return xds;
}

void xds_free(struct xds *xds)
{
	if (!xds)
		return;
	if (xds->call)
		grpc_call_cancel(xds->call);
	hb_loop_timer_stop(xds->loop, &xds->retry);
	hb_loop_timer_stop(xds->loop, &xds->slice);
	hb_loop_timer_stop(xds->loop, &xds->patience);
	xds_settle_stop(xds);
	if (xds_is_busy(xds))
		store_discard(xds->options.store);
	xds_restore_done(&xds->restore);
	if (xds->bytes)
		xds_push_done(&xds->push);
	free(xds->bytes);
	xds_wants_done(&xds->wants);
	for (int type = 0; type < XDS_TYPES; type++)
		xds_versions_done(&xds->versions[type]);
	free(xds);
}

bool xds_is_ready(const struct xds *xds)
{
	return xds->ready;
}

bool xds_is_busy(const struct xds *xds)
{
	return xds->bytes || xds->restoring || xds->sweeping;
}

const struct xds_view *xds_view(const struct xds *xds)
{
	struct xds_view *view = &((struct xds *)(uintptr_t)xds)->view;

	for (int type = 0; type < XDS_TYPES; type++)
		view->resources[type] = xds->versions[type].count;
	return view;
}

void xds_want_start(struct xds *xds, struct xds_want *want, const char *name, uint32_t deadline_ms,
                    void (*on_done)(struct xds_want *want, int err))
{
	bool known = !xds->options.on_demand || xds_versions_has(&xds->versions[XDS_ADDRESS], name);

	xds_wants_start(&xds->wants, want, name, deadline_ms, known, on_done);
}
