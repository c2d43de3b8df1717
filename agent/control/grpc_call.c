/*
 * grpc_call: one call, a stream of HTTP/2.
 *
 *   WAITS --connection, token--> LIVES --trailers--> ANSWERED --last message told--> ENDED: on_end
 *     '---- no connection, deadline, ... ----'-- reset, deadline, too large, ... ------^
 *
 * grpc_call_end() alone leads to ENDED; on_end is told by the channel's task.
 */
#include "control/grpc_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_OWN 10 /* beside the configured ones */

/* ---- the end ---- */

/* Whoever still talks on the stream talks to nobody. */
static void detach(struct grpc_call *call)
{
	struct hb_stream *stream = hb_take(&call->stream);

	if (!stream)
		return;
	stream->events = &hb_stream_orphan_events;
	hb_stream_close(stream, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
}

/* No event comes from here on but on_end. */
static void settle(struct grpc_call *call)
{
	call->state = CALL_ENDED;
	hb_loop_timer_stop(call->channel->loop, &call->deadline);
	hb_loop_undefer(&call->work);
	detach(call);
	hb_bufq_clear(&call->tx);
	hb_bufq_clear(&call->rx);
	grpc_reader_done(&call->reader);
	hb_list_remove(&call->node);
}

/* With what is in kind, code and message. */
static void conclude(struct grpc_call *call)
{
	settle(call);
	hb_list_add(&call->channel->ended, &call->node);
	grpc_channel_look(call->channel);
}

void grpc_call_end(struct grpc_call *call, enum grpc_kind kind, int code, const char *why, ...)
{
	va_list args;

	if (call->state == CALL_ENDED)
		return;
	call->kind = kind;
	call->code = code;
	va_start(args, why);
	vsnprintf(call->message, sizeof(call->message), why, args);
	va_end(args);
	conclude(call);
}

void grpc_call_free(struct grpc_call *call)
{
	call->channel->calls_count--;
	free(call->path);
	free(call);
}

void grpc_call_cancel(struct grpc_call *call)
{
	settle(call);
	if (call->telling)
		call->cancelled = true; /* who tells it will free it */
	else
		grpc_call_free(call);
}

static void on_deadline(struct hb_timer *timer)
{
	struct grpc_call *call = hb_container_of(timer, struct grpc_call, deadline);

	grpc_call_end(call, GRPC_END_DEADLINE, GRPC_DEADLINE_EXCEEDED,
	              "no end of the call to %s within %u ms%s",
	              call->channel->settings.target.authority, call->options.deadline_ms,
	              call->state == CALL_WAITS ? ": there was no connection" : "");
}

/* ---- what comes ---- */

/* Events of the middle of a call are told here. False: the call is gone. */
static bool tell(struct grpc_call *call, uint8_t *message, size_t size)
{
	call->telling = true;
	if (message)
		call->events->on_message(call->ctx, message, size);
	else if (call->events->on_open)
		call->events->on_open(call->ctx);
	call->telling = false;
	if (call->cancelled)
		grpc_call_free(call);
	else
		return true;
	return false;
}

static void breach(struct grpc_call *call, const char *what)
{
	grpc_call_end(call, GRPC_END_PROTOCOL, GRPC_INTERNAL, "%s broke gRPC: %s",
	              call->channel->settings.target.authority, what);
}

/* The status is known, and all messages are told. */
static void end_answered(struct grpc_call *call)
{
	if (grpc_reader_is_inside(&call->reader) && call->code == GRPC_OK)
		breach(call, "the answer ends inside a message");
	else
		conclude(call);
}

/* The next message of what has come. False: the call is gone, or there is none. */
static bool read_one(struct grpc_call *call)
{
	const uint8_t *data = call->rx.head->data;
	size_t had = call->rx.head->len, len = had, size;
	uint8_t *message;
	enum grpc_read got = grpc_reader_take(&call->reader, &data, &len, &message, &size);

	hb_bufq_consume(&call->rx, had - len);
	switch (got) {
	case GRPC_READ_MESSAGE:
		return tell(call, message, size);
	case GRPC_READ_TOO_LARGE:
		grpc_call_end(call, GRPC_END_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED,
		              "%s sends a message of %u bytes, above the limit of %u",
		              call->channel->settings.target.authority, call->reader.size,
		              call->reader.max);
		return false;
	case GRPC_READ_COMPRESSED:
		breach(call, "a message is compressed, which was not asked for");
		return false;
	case GRPC_READ_NO_MEMORY:
		grpc_call_end(call, GRPC_END_LOCAL, GRPC_RESOURCE_EXHAUSTED,
		              "no memory for a message of %u bytes", call->reader.size);
		return false;
	case GRPC_READ_ALL:
		return true;
	}
	return false;
}

/* Tells what has come, as long as its owner listens. The call may be gone after it. */
static void read_all(struct grpc_call *call)
{
	while (call->rx.head && !call->paused)
		if (!read_one(call))
			return;
	if (call->state == CALL_ANSWERED && !call->paused)
		end_answered(call);
}

/* The status, which is in the headers of an answer without a body. */
static void take_status(struct grpc_call *call, const struct hb_header *status,
                        const struct hb_header *message)
{
	int code = status ? grpc_status_decode(status->value, status->value_len) : -1;

	call->kind = GRPC_END_SERVER;
	call->code = code < 0 ? GRPC_UNKNOWN : code;
	call->message[0] = '\0';
	if (message)
		grpc_message_decode(message->value, message->value_len, call->message, 1000);
	if (code < 0) {
		call->kind = GRPC_END_PROTOCOL;
		snprintf(call->message, sizeof(call->message), "%s broke gRPC: %s",
		         call->channel->settings.target.authority,
		         status ? "its status is no number" : "the answer ends without a status");
	}
	call->state = CALL_ANSWERED;
	detach(call);
}

static bool is_grpc(const struct hb_header *type)
{
	static const char name[] = "application/grpc";
	const size_t len = sizeof(name) - 1;

	if (!type || type->value_len < len || memcmp(type->value, name, len) != 0)
		return false;
	return type->value_len == len || type->value[len] == '+' || type->value[len] == ';';
}

static void on_open(struct hb_stream *s)
{
	struct grpc_call *call = s->owner;
	const struct hb_header *http = hb_h2_header(s, ":status");
	const struct hb_header *status = hb_h2_header(s, "grpc-status");
	int code = http ? grpc_status_decode(http->value, http->value_len) : -1;

	if (status) {
		take_status(call, status, hb_h2_header(s, "grpc-message"));
		end_answered(call);
	} else if (code != 200) {
		grpc_call_end(call, GRPC_END_SERVER, grpc_code_of_http(code),
		              "%s answers with HTTP status %d",
		              call->channel->settings.target.authority, code);
	} else if (!is_grpc(hb_h2_header(s, "content-type"))) {
		breach(call, "the answer is not application/grpc");
	} else {
		(void)tell(call, NULL, 0);
	}
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct grpc_call *call = s->owner;

	hb_bufq_push(&call->rx, chain);
	read_all(call);
}

static void on_finish(struct hb_stream *s)
{
	struct grpc_call *call = s->owner;

	take_status(call, hb_h2_trailer(s, "grpc-status"), hb_h2_trailer(s, "grpc-message"));
	read_all(call);
}

/* ---- what goes ---- */

static void on_full(struct hb_stream *s)
{
	struct grpc_call *call = s->owner;

	call->full = true;
}

static void on_drained(struct hb_stream *s)
{
	struct grpc_call *call = s->owner;

	call->full = false;
	hb_loop_defer(call->channel->loop, &call->work);
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct grpc_call *call = s->owner;
	const char *authority = call->channel->settings.target.authority;
	const struct hb_h2 *h2 = call->conn->h2;
	int reset = hb_error_number(why.code, HB_E_RST(0));
	const char *reason = why.code ? hb_strerror(why.code) : "it ended";

	call->stream = NULL;
	hb_stream_free(s);
	/* 7: REFUSED_STREAM, of those that a GOAWAY has left out. */
	if (why.code == HB_E_GOAWAY || (hb_h2_has_goaway(h2) && (reset <= 0 || reset == 7)))
		grpc_call_end(call, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "%s lets its connections go",
		              authority);
	else if (!hb_h2_has_settings(h2))
		grpc_call_end(call, GRPC_END_CONNECT, GRPC_UNAVAILABLE,
		              "could not connect to %s: %s", authority, reason);
	else if (reset > 0)
		grpc_call_end(call, GRPC_END_LOST, grpc_code_of_reset(reset),
		              "%s has reset the call: %s", authority, reason);
	else
		grpc_call_end(call, GRPC_END_LOST, GRPC_UNAVAILABLE,
		              "the connection to %s was lost: %s", authority, reason);
}

static const struct hb_stream_events stream_events = {
	.on_open = on_open,
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

static void on_work(struct hb_task *task)
{
	struct grpc_call *call = hb_container_of(task, struct grpc_call, work);

	if (call->stream && !call->full && call->tx.head)
		hb_stream_write(call->stream, hb_bufq_take(&call->tx));
	if (call->stream && call->finished && !call->finish_said && !call->tx.head) {
		call->finish_said = true;
		hb_stream_finish(call->stream);
	}
	read_all(call); /* last: the call may end in here */
}

/* ---- begun ---- */

struct grpc_call *grpc_call_alloc(struct grpc_channel *channel, const char *path,
                                  const struct grpc_call_options *options)
{
	struct grpc_call *call = calloc(1, sizeof(*call));
	char *own = strdup(path);

	if (!call || !own) {
		free(call);
		free(own);
		return NULL;
	}
	call->channel = channel;
	call->path = own;
	call->options = *options;
	if (!call->options.max_send)
		call->options.max_send = GRPC_MESSAGE_MAX;
	call->reader.max = options->max_message ? options->max_message : GRPC_MESSAGE_MAX;
	hb_task_init(&call->work, on_work);
	hb_timer_init(&call->deadline, on_deadline);
	if (options->deadline_ms)
		hb_loop_timer_start(channel->loop, &call->deadline, options->deadline_ms);
	hb_list_add(&channel->calls, &call->node);
	channel->calls_count++;
	return call;
}

static struct hb_header header(const char *name, const char *value)
{
	return (struct hb_header){ name, value, strlen(name), strlen(value) };
}

/* @bearer NULL: none. */
static struct hb_stream *ask(struct grpc_call *call, const char *bearer)
{
	const struct grpc_settings *settings = &call->channel->settings;
	struct hb_header headers[HEADERS_OWN + GRPC_HEADERS_MAX];
	char timeout[16];
	size_t n = 0;

	headers[n++] = header(":method", "POST");
	headers[n++] = header(":scheme", "https");
	headers[n++] = header(":authority", settings->target.authority);
	headers[n++] = header(":path", call->path);
	headers[n++] = header("te", "trailers");
	headers[n++] = header("content-type", "application/grpc");
	headers[n++] = header("user-agent", "culvert");
	if (call->options.deadline_ms) {
		/* At most eight digits, so in whole seconds (a day is 86,400,000 ms). */
		snprintf(timeout, sizeof(timeout), "%uS", call->options.deadline_ms / 1000 + 1);
		headers[n++] = header("grpc-timeout", timeout);
	}
	if (bearer)
		headers[n++] = header("authorization", bearer);
	if (settings->cluster_id)
		headers[n++] = header("clusterid", settings->cluster_id);
	for (size_t i = 0; i < settings->headers_count; i++)
		headers[n++] = header(settings->names[i], settings->values[i]);
	return hb_h2_exchange(call->channel->current->h2, headers, n);
}

void grpc_call_start(struct grpc_call *call)
{
	char why[GRPC_WHY_SIZE];
	char *bearer;

	if (grpc_bearer(&call->channel->settings, &bearer, why, sizeof(why)) < 0) {
		grpc_call_end(call, GRPC_END_TOKEN, GRPC_UNAUTHENTICATED, "%s", why);
		return;
	}
	call->stream = ask(call, bearer);
	if (bearer)
		explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	if (!call->stream) {
		grpc_call_end(call, GRPC_END_LOCAL, GRPC_RESOURCE_EXHAUSTED, "no memory");
		return;
	}
	call->state = CALL_LIVES;
	call->conn = call->channel->current;
	call->stream->events = &stream_events;
	call->stream->owner = call;
	if (!call->paused)
		hb_stream_resume(call->stream);
	hb_loop_defer(call->channel->loop, &call->work);
}

/* ---- asked by the owner ---- */

/* The prefix and the message, in as few slots as they need. NULL: no memory. */
static struct hb_buf *to_chain(struct hb_buf_pool *pool, const uint8_t *message, size_t size)
{
	size_t room = HB_BUF_READ_MAX - GRPC_PREFIX;
	struct hb_bufq chain = { 0 };

	for (bool first = true; first || size > 0; first = false) {
		struct hb_buf *buf = hb_buf_new(pool);
		size_t n = hb_min_size(size, room);

		if (!buf) {
			hb_bufq_clear(&chain);
			return NULL;
		}
		if (first) {
			grpc_prefix_encode(buf->data, (uint32_t)size);
			buf->len = GRPC_PREFIX;
		}
		if (n > 0)
			memcpy(buf->data + buf->len, message, n);
		buf->len += (uint32_t)n;
		hb_bufq_push(&chain, buf);
		message += n;
		size -= n;
		room = HB_BUF_READ_MAX;
	}
	return hb_bufq_take(&chain);
}

bool grpc_call_send(struct grpc_call *call, const void *message, size_t size)
{
	struct hb_buf *chain;

	if (call->finished || call->state >= CALL_ANSWERED || size > call->options.max_send ||
	    call->tx.bytes + size + GRPC_PREFIX > GRPC_QUEUE_MAX)
		return false;
	chain = to_chain(hb_loop_pool(call->channel->loop), message, size);
	if (!chain)
		return false;
	hb_bufq_push(&call->tx, chain);
	hb_bufq_compact(&call->tx); /* many small ones share a slot */
	hb_loop_defer(call->channel->loop, &call->work);
	return true;
}

void grpc_call_finish(struct grpc_call *call)
{
	call->finished = true;
	if (call->state < CALL_ANSWERED)
		hb_loop_defer(call->channel->loop, &call->work);
}

void grpc_call_pause(struct grpc_call *call)
{
	call->paused = true;
	if (call->stream)
		hb_stream_pause(call->stream);
}

void grpc_call_resume(struct grpc_call *call)
{
	call->paused = false;
	if (call->stream)
		hb_stream_resume(call->stream);
	if (call->state < CALL_ENDED)
		hb_loop_defer(call->channel->loop, &call->work);
}
