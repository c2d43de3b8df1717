/*
 * grpc: channels: which connection a call goes on, and in what order things are told.
 */
#include "control/grpc_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CALLS_MAX 256 /* of one channel at once */

void grpc_channel_look(struct grpc_channel *channel)
{
	hb_loop_defer(channel->loop, &channel->task);
}

void grpc_channel_fail_waiting(struct grpc_channel *channel, enum grpc_kind kind, const char *why)
{
	hb_list_for_each_safe (node, &channel->calls) {
		struct grpc_call *call = hb_container_of(node, struct grpc_call, node);

		if (call->state == CALL_WAITS)
			grpc_call_end(call, kind, GRPC_UNAVAILABLE, "%s", why);
	}
}

static struct grpc_call *first_waiting(const struct grpc_channel *channel)
{
	hb_list_for_each (node, &channel->calls) {
		struct grpc_call *call = hb_container_of(node, struct grpc_call, node);

		if (call->state == CALL_WAITS)
			return call;
	}
	return NULL;
}

/* Starts those that wait, as far as there is room. */
static void serve(struct grpc_channel *channel)
{
	struct grpc_call *call;

	while ((call = first_waiting(channel)) != NULL) {
		struct grpc_conn *conn = channel->current;

		if (conn && conn->state == CONN_OPEN && hb_h2_is_draining(conn->h2)) {
			grpc_conn_retire(conn);
			conn = NULL;
		}
		if (!conn && !grpc_conn_start(channel)) {
			grpc_channel_fail_waiting(channel, GRPC_END_LOCAL, "no memory");
			return;
		}
		if (!conn || conn->state != CONN_OPEN || hb_h2_room(conn->h2) == 0)
			return;
		grpc_call_start(call);
	}
}

static void tell_ended(struct grpc_channel *channel)
{
	struct hb_list *node;

	while ((node = hb_list_shift(&channel->ended))) {
		struct grpc_call *call = hb_container_of(node, struct grpc_call, node);
		struct grpc_status status = {
			.code = call->code,
			.kind = call->kind,
			.message = call->message,
		};

		call->telling = true; /* a cancel in there is late, and does nothing */
		call->events->on_end(call->ctx, &status);
		grpc_call_free(call);
	}
}

static void on_task(struct hb_task *task)
{
	struct grpc_channel *channel = hb_container_of(task, struct grpc_channel, task);

	tell_ended(channel);
	serve(channel);
	if (!channel->closing || !hb_list_is_empty(&channel->conns))
		return;
	hb_loop_undefer(&channel->task);
	if (channel->on_closed)
		channel->on_closed(channel->owner);
	grpc_settings_done(&channel->settings);
	free(channel);
}

struct grpc_channel *grpc_channel_new(struct hb_loop *loop,
                                      const struct grpc_channel_config *config, char *why,
                                      size_t why_size)
{
	struct grpc_channel *channel = calloc(1, sizeof(*channel));

	if (!channel) {
		snprintf(why, why_size, "no memory");
		return NULL;
	}
	if (grpc_settings_init(&channel->settings, config, why, why_size) < 0) {
		free(channel);
		return NULL;
	}
	channel->loop = loop;
	hb_list_init(&channel->conns);
	hb_list_init(&channel->calls);
	hb_list_init(&channel->ended);
	hb_task_init(&channel->task, on_task);
	return channel;
}

void grpc_channel_close(struct grpc_channel *channel, void (*on_closed)(void *owner), void *owner)
{
	assert(!channel->closing);
	channel->closing = true;
	channel->on_closed = on_closed;
	channel->owner = owner;
	hb_list_for_each_safe (node, &channel->calls)
		grpc_call_cancel(hb_container_of(node, struct grpc_call, node));
	hb_list_for_each_safe (node, &channel->ended)
		grpc_call_cancel(hb_container_of(node, struct grpc_call, node));
	hb_list_for_each_safe (node, &channel->conns)
		grpc_conn_close(hb_container_of(node, struct grpc_conn, node));
	grpc_channel_look(channel);
}

const char *grpc_channel_target(const struct grpc_channel *channel)
{
	return channel->settings.target.authority;
}

const struct hb_addr *grpc_channel_peer(const struct grpc_channel *channel)
{
	const struct grpc_conn *conn = channel->current;

	return conn && conn->state == CONN_OPEN ? &conn->peer : NULL;
}

struct grpc_call *grpc_call_new(struct grpc_channel *channel, const char *path,
                                const struct grpc_call_options *options,
                                const struct grpc_events *events, void *ctx)
{
	struct grpc_call *call;

	assert(!channel->closing);
	if (channel->calls_count >= CALLS_MAX)
		return NULL;
	call = grpc_call_alloc(channel, path, options);
	if (!call)
		return NULL;
	call->events = events;
	call->ctx = ctx;
	grpc_channel_look(channel);
	return call;
}
