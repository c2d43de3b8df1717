/*
 * xds: the stream's life, and one response at a time through it.
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

#include "control/backoff.h"
#include "control/grpc.h"
#include "control/xds_ends.h"
#include "control/xds_known.h"
#include "control/xds_wants.h"
#define LOG_SCOPE "xds"
#include "log.h"
#include "metrics.h"

#define PATH           "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define RETRY_FLOOR_MS 10u
#define RETRY_FIRST_MS 200u
#define RETRY_MAX_MS   15000u
#define REQUEST_MIN    (64u << 10) /* below that request_max does not go: the server means another */

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

static void stream_open(struct xds *xds);

static void enter(struct xds *xds, enum xds_state state)
{
	xds->view.state = state;
	xds->view.since_ms = hb_loop_now_ms(xds->loop);
	*metrics_at(xds->options.metrics, METRIC_XDS_CONNECTED, NULL) = state == XDS_CONNECTED;
}

static const char *server_of(const struct xds *xds)
{
	return grpc_channel_target(xds->options.channel);
}

static void become_ready(struct xds *xds)
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
	become_ready(xds);
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

	if (xds->came)
		backoff_reset(&xds->backoff);
	after_ms = backoff_next_ms(&xds->backoff);
	xds->came = false;
	metrics_count(xds->options.metrics, METRIC_XDS_ENDS, reason);
	snprintf(xds->view.last_end, sizeof(xds->view.last_end), "%s", why);
	log_warn("xds stream ended, opening another; the mesh stays as it is",
	         "server=%s reason=%s after_ms=%u: %s%s", server_of(xds), reason, after_ms, why,
	         hint);
	enter(xds, XDS_WAITING);
	hb_loop_timer_start(xds->loop, &xds->retry, after_ms);
	serve_known(xds);
}

static void give_up_call(struct xds *xds, const char *why)
{
	if (xds->call)
		grpc_call_cancel(hb_take(&xds->call));
	wait_for_retry(xds, "Error", why, "");
}

static void on_retry(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, retry);

	xds->retry_due = xds_is_busy(xds);
	if (!xds->retry_due)
		stream_open(xds);
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
	         "server=%s request_bytes=%zu", server_of(xds), xds->sent_bytes);
	return true;
}

static void on_end(void *ctx, const struct grpc_status *status)
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
		xds->came = false;
		hint = "; ours cannot be smaller, and is sent again less and less often";
	}
	wait_for_retry(xds, reason, why, hint);
}

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
	xds->full[type] = all > xds->options.request_max;
	if (!xds->full[type]) {
		xds_versions_encode(versions, bytes + size);
		size = all;
	}
	xds->sent_bytes = size > xds->sent_bytes ? size : xds->sent_bytes;
	sent = grpc_call_send(xds->call, bytes, size);
	free(bytes);
	return sent;
}

static bool subscribe(struct xds *xds, const char *name)
{
	return request_send(
	    xds, &(struct xds_request){ .type_url = xds_type_url(XDS_ADDRESS), .subscribe = name });
}

/* What is waited for is asked for again: this stream has not heard of it. */
static bool wanted_subscribe(struct xds *xds)
{
	bool sent = true;

	hb_list_for_each (node, &xds->wants.waiting) {
		const struct xds_want *want = hb_container_of(node, struct xds_want, node);

		if (sent && xds_wants_is_first(&xds->wants, want))
			sent = subscribe(xds, want->name);
	}
	return sent;
}

static void came_up(struct xds *xds)
{
	if (xds->view.state == XDS_CONNECTED)
		return;
	enter(xds, XDS_CONNECTED);
	xds->view.connects++;
	log_info("connected to the xds server", "server=%s", server_of(xds));
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
	grpc_call_pause(xds->call);
	hb_loop_timer_start(xds->loop, &xds->slice, 0);
}

static void stream_open(struct xds *xds)
{
	static const struct grpc_events events = { on_open, on_message, on_end };
	struct grpc_call_options options = {
		.max_message = XDS_MESSAGE_MAX,
		.max_send = GRPC_QUEUE_MAX / 2,
	};
	bool sent = true;

	enter(xds, XDS_CONNECTING);
	xds->sent_bytes = 0;
	xds->call = grpc_call_new(xds->options.channel, PATH, &options, &events, xds);
	for (int type = 0; type < XDS_TYPES && xds->call && sent; type++)
		sent = first_request_send(xds, (enum xds_type)type);
	if (!xds->call || !sent || !wanted_subscribe(xds))
		give_up_call(xds, "no memory for the first requests");
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
	if (xds->retry_due) {
		xds->retry_due = false;
		stream_open(xds);
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
		give_up_call(xds, why);
	else
		log_warn("the last response of an xds stream could not be taken", "server=%s: %s",
		         server_of(xds), why);
	push_end(xds);
}

static void count(struct xds *xds)
{
	const struct xds_push *push = &xds->push;
	const char *url = url_of(push);
	struct metrics *metrics = xds->options.metrics;

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
	log_debug("xds response taken", "type=%s resources=%zu removed=%zu bytes=%zu", url_of(push),
	          push->resources, push->removed, push->walk.size);
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
	log_info("the mesh is known", "server=%s addresses=%zu policies=%zu", server_of(xds),
	         xds->versions[XDS_ADDRESS].count, xds->versions[XDS_AUTHORIZATION].count);
	if (!xds->ready)
		become_ready(xds);
}

static void answer_wants(struct xds *xds)
{
	struct xds_want *want;

	while ((want = xds_wants_take_answered(&xds->wants))) {
		hb_loop_timer_stop(xds->loop, &want->deadline);
		want->on_done(want, 0);
	}
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
		xds->full[type] = false;
	}
	count(xds);
	say(xds);
	answer.error = push->rejected ? push->reasons : NULL;
	if (xds->call && !request_send(xds, &answer))
		give_up_call(xds, "no memory for an answer");
	else if (xds->call)
		grpc_call_resume(xds->call);
	if (xds->call && type != XDS_TYPES && !push->rejected)
		note_sync(xds, type);
	push_end(xds);
	answer_wants(xds);
}

static void on_name(void *owner, const char *name)
{
	struct xds *xds = owner;

	if (xds->wants.count && xds->push.type == XDS_ADDRESS)
		xds_wants_answer(&xds->wants, name);
}

static void on_slice(struct hb_timer *timer)
{
	struct xds *xds = hb_container_of(timer, struct xds, slice);
	struct xds_push *push = &xds->push;
	int more;

	push->on_name = on_name;
	push->owner = xds;
	push->known = xds->options.known;
	push->full = push->type != XDS_TYPES && xds->full[push->type];
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
	          "server=%s: no memory", server_of(xds));
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
	stream_open(xds);
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
	backoff_init(&xds->backoff, RETRY_FLOOR_MS, RETRY_FIRST_MS, RETRY_MAX_MS, options->seed);
	xds_wants_init(&xds->wants);
	hb_timer_init(&xds->retry, on_retry);
	hb_timer_init(&xds->patience, on_patience);
	enter(xds, XDS_CONNECTING);
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
	if (xds_is_busy(xds))
		store_discard(xds->options.store);
	xds_restore_done(&xds->restore);
	if (xds->bytes)
		xds_push_done(&xds->push);
	free(xds->bytes);
	hb_list_for_each_safe (node, &xds->wants.waiting)
		xds_want_cancel(hb_container_of(node, struct xds_want, node));
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
	return xds->bytes || xds->restoring;
}

const struct xds_view *xds_view(const struct xds *xds)
{
	struct xds_view *view = &((struct xds *)(uintptr_t)xds)->view;

	for (int type = 0; type < XDS_TYPES; type++)
		view->resources[type] = xds->versions[type].count;
	return view;
}

/*
 * Wants.
 */
static void on_want_time(struct hb_timer *timer)
{
	struct xds_want *want = hb_container_of(timer, struct xds_want, deadline);
	int err = want->err;

	xds_want_cancel(want);
	want->on_done(want, err);
}

void xds_want_start(struct xds *xds, struct xds_want *want, const char *name, uint32_t deadline_ms,
                    void (*on_done)(struct xds_want *want, int err))
{
	bool again = xds_wants_has(&xds->wants, name);

	*want = (struct xds_want){ .xds = xds, .name = name, .on_done = on_done };
	hb_list_init(&want->node);
	hb_timer_init(&want->deadline, on_want_time);
	if (!xds->options.on_demand || xds_versions_has(&xds->versions[XDS_ADDRESS], name)) {
		deadline_ms = 0;
	} else if (xds->wants.count >= XDS_WANTS_MAX) {
		want->err = -ENOBUFS;
		deadline_ms = 0;
	} else {
		want->err = -ETIMEDOUT;
		xds_wants_add(&xds->wants, want);
		if (xds->call && !again)
			(void)subscribe(xds, name); /* lost: the deadline says so */
	}
	hb_loop_timer_start(xds->loop, &want->deadline, deadline_ms);
}

void xds_want_cancel(struct xds_want *want)
{
	hb_loop_timer_stop(want->xds->loop, &want->deadline);
	if (hb_list_is_empty(&want->node))
		return;
	hb_list_remove(&want->node);
	want->xds->wants.count--;
}
