/*
 * grpc_played: see the header.
 */
#include "support/grpc_played.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct grpc_call *grpc_call_new(struct grpc_channel *channel, const char *path,
                                const struct grpc_call_options *options,
                                const struct grpc_events *events, void *ctx)
{
	struct grpc_call *call = &channel->calls[channel->count];

	if (channel->no_memory)
		return NULL;
	assert(channel->count < GRPC_PLAYED_CALLS);
	channel->count++;
	*call = (struct grpc_call){ .options = *options, .events = events, .ctx = ctx };
	snprintf(call->path, sizeof(call->path), "%s", path);
	call->finished = false;
	call->cancelled = channel->no_room; /* so that send() knows, until it is asked */
	return call;
}

bool grpc_call_send(struct grpc_call *call, const void *message, size_t size)
{
	if (call->cancelled) {
		call->cancelled = false;
		return false;
	}
	assert(!call->finished && !call->ended);
	free(call->sent);
	call->sent = malloc(size + 1);
	assert(call->sent);
	memcpy(call->sent, message, size);
	call->sent[size] = '\0';
	call->sent_size = size;
	call->messages++;
	return true;
}

void grpc_call_finish(struct grpc_call *call)
{
	call->finished = true;
}

void grpc_call_pause(struct grpc_call *call)
{
}

void grpc_call_resume(struct grpc_call *call)
{
}

void grpc_call_cancel(struct grpc_call *call)
{
	assert(!call->ended && !call->cancelled);
	call->cancelled = true;
}

const char *grpc_code_name(int code)
{
	switch (code) {
	case GRPC_OK:
		return "Ok";
	case GRPC_DEADLINE_EXCEEDED:
		return "DeadlineExceeded";
	case GRPC_UNAVAILABLE:
		return "Unavailable";
	case GRPC_UNAUTHENTICATED:
		return "Unauthenticated";
	default:
		return NULL;
	}
}

const char *grpc_kind_name(enum grpc_kind kind)
{
	return kind == GRPC_END_LOST ? "connection lost" : "another kind";
}

void grpc_played_message(struct grpc_call *call, const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	assert(copy && !call->ended && !call->cancelled);
	memcpy(copy, bytes, size);
	call->events->on_message(call->ctx, copy, size);
}

void grpc_played_end(struct grpc_call *call, int code, enum grpc_kind kind, const char *message)
{
	struct grpc_status status = { .code = code, .kind = kind, .message = message };

	assert(!call->ended && !call->cancelled);
	call->ended = true;
	call->events->on_end(call->ctx, &status);
}

void grpc_played_done(struct grpc_channel *channel)
{
	for (unsigned i = 0; i < channel->count; i++)
		free(channel->calls[i].sent);
	*channel = (struct grpc_channel){ 0 };
}
