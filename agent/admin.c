/*
 * admin: a small HTTP/1.1 server for operators.
 *
 *   READING --head is whole--> HANDLING --admin_reply--> REPLYING --all written--> ENDING --> freed
 *      |  bad head, too slow                               ^             | deadline
 *      +---------------------------------------------------+             v abort
 *
 * A client that goes takes its stream away; a request that is being handled then stays, without
 * one, until its handler has answered.
 */
#include "admin.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hbone/list.h>
#include <hbone/tcp.h>

#include "admin_socket.h"
#include "http.h"

#define CONNECTIONS_MAX 64
#define HEAD_MS         2000u
#define REPLY_MS        10000u /* and REPLY_MS_PER_MIB for each MiB */
#define REPLY_MS_MIB    1000u
#define FAREWELL_MS     500u          /* for answers under way when we close */
#define PORTION         (128u * 1024) /* written in one turn */
#define NO_BUFFER_MS    20u           /* the pool is empty: look again */

struct admin {
	struct hb_loop *loop;
	const struct admin_route *routes;
	size_t routes_count;
	void *owner;
	struct hb_list listeners, requests;
	size_t requests_count;
	uint64_t refused;
	bool closing;
	void (*on_closed)(void *owner);
	struct hb_task ended;
};

struct listener {
	struct hb_list node;
	struct hb_accept accept;
	struct admin *admin;
	int fd;
	char *path; /* of a Unix socket, or NULL */
};

enum request_state { READING, HANDLING, REPLYING, ENDING };

/* One connection, which is one request. */
struct admin_request {
	struct hb_list node;
	struct admin *admin;
	struct hb_stream *stream; /* NULL: the client has gone */
	enum request_state state;
	struct hb_timer deadline, next_portion;
	bool full; /* the stream asked us to wait */
	size_t head_len;
	struct http_request http;
	char *reply; /* REPLYING, ENDING: head and body */
	size_t reply_len, sent;
	char head[HTTP_HEAD_MAX];
};

static void on_ended(struct hb_task *task)
{
	struct admin *admin = hb_container_of(task, struct admin, ended);

	admin->on_closed(admin->owner);
}

static void end_if_done(struct admin *admin)
{
	if (admin->closing && hb_list_is_empty(&admin->listeners) &&
	    hb_list_is_empty(&admin->requests))
		hb_loop_defer(admin->loop, &admin->ended);
}

static void request_free(struct admin_request *request)
{
	struct admin *admin = request->admin;

	hb_loop_timer_stop(admin->loop, &request->deadline);
	hb_loop_timer_stop(admin->loop, &request->next_portion);
	hb_list_remove(&request->node);
	admin->requests_count--;
	free(request->reply);
	free(request);
	end_if_done(admin);
}

/* One buffer's worth. False: the pool has none. */
static bool write_some(struct admin_request *request)
{
	size_t len = hb_min_size(request->reply_len - request->sent, HB_BUF_PAYLOAD);
	struct hb_buf *buf = hb_buf_new(hb_loop_pool(request->admin->loop));

	if (!buf)
		return false;
	memcpy(buf->data, request->reply + request->sent, len);
	buf->len = (uint32_t)len;
	request->sent += len;
	hb_stream_write(request->stream, buf);
	return true;
}

/* A portion for each turn, so that a long answer neither holds the loop nor empties its pool. */
static void write_portion(struct admin_request *request)
{
	uint64_t again_ms = 0;

	if (request->state != REPLYING || !request->stream || request->full)
		return;
	for (size_t n = 0; n < PORTION / HB_BUF_PAYLOAD && request->sent < request->reply_len; n++)
		if (!write_some(request)) {
			again_ms = NO_BUFFER_MS;
			break;
		}
	if (request->sent < request->reply_len) {
		hb_loop_timer_start(request->admin->loop, &request->next_portion, again_ms);
		return;
	}
	request->state = ENDING;
	hb_stream_close(request->stream, HB_END_CLEAN);
}

static void on_next_portion(struct hb_timer *timer)
{
	write_portion(hb_container_of(timer, struct admin_request, next_portion));
}

static void give_up(struct admin_request *request, int code)
{
	hb_stream_close(request->stream, hb_end(HB_LAYER_AGENT, HB_SIDE_US, code));
}

static void reply(struct admin_request *request, int status, const char *type, const char *allow,
                  const char *body, size_t len)
{
	bool head_only = request->http.method && strcmp(request->http.method, "HEAD") == 0;
	char head[1024];
	size_t head_len = http_head_write(head, sizeof(head), status, type, len, allow);

	request->state = REPLYING;
	if (!request->stream) {
		request_free(request);
		return;
	}
	if (head_only)
		len = 0;
	request->reply = malloc(head_len + len);
	if (!request->reply) {
		give_up(request, -ENOMEM);
		return;
	}
	memcpy(request->reply, head, head_len);
	if (len)
		memcpy(request->reply + head_len, body, len);
	request->reply_len = head_len + len;
	hb_loop_timer_start(request->admin->loop, &request->deadline,
	                    request->admin->closing
	                        ? FAREWELL_MS
	                        : REPLY_MS + (uint64_t)(len >> 20) * REPLY_MS_MIB);
	write_portion(request);
}

void admin_reply(struct admin_request *request, int status, const char *type, const char *body,
                 size_t len)
{
	assert(request->state == HANDLING);
	reply(request, status, type, "", body, len);
}

static void reply_status(struct admin_request *request, int status)
{
	char body[64];
	int len = snprintf(body, sizeof(body), "%d %s\n", status, http_status_words(status));

	reply(request, status, "text/plain; charset=utf-8", "", body, (size_t)len);
}

static bool takes_method(const struct admin_route *route, const char *method)
{
	return strcmp(route->method, "*") == 0 || strcmp(route->method, method) == 0 ||
	       (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void reply_not_allowed(struct admin_request *request)
{
	const struct admin *admin = request->admin;
	const char *usage = "";
	char allow[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < admin->routes_count; i++) {
		const struct admin_route *route = &admin->routes[i];

		if (strcmp(route->path, request->http.path) != 0 || used >= sizeof(allow))
			continue;
		used += (size_t)snprintf(allow + used, sizeof(allow) - used, "%s%s%s",
		                         used ? ", " : "", route->method,
		                         strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
		if (route->usage)
			usage = route->usage;
	}
	reply(request, 405, *usage ? "text/plain" : "", allow, usage, strlen(usage));
}

/* Routes are ours, so nothing in them needs escaping. */
void admin_index(struct admin_request *request, void *owner)
{
	const struct admin *admin = request->admin;
	hb_cleanup(hb_free_ptr) char *body = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&body, &len);

	if (!out) {
		reply_status(request, 500);
		return;
	}
	fputs("<!DOCTYPE html>\n<title>culvert</title>\n<h1>culvert " CULVERT_VERSION "</h1>\n"
	      "<table>\n",
	      out);
	for (size_t i = 0; i < admin->routes_count; i++) {
		const struct admin_route *route = &admin->routes[i];

		if (strcmp(route->path, "/") == 0)
			continue;
		fprintf(out, "<tr><td>%s</td><td><a href=\"%s\">%s</a></td><td>%s</td></tr>\n",
		        strcmp(route->method, "*") == 0 ? "" : route->method, route->path,
		        route->path, route->help);
	}
	fputs("</table>\n", out);
	if (fclose(out) != 0)
		reply_status(request, 500);
	else
		reply(request, 200, "text/html; charset=utf-8", "", body, len);
}

static void dispatch(struct admin_request *request)
{
	const struct admin *admin = request->admin;
	bool known = false;

	for (size_t i = 0; i < admin->routes_count; i++) {
		const struct admin_route *route = &admin->routes[i];

		if (strcmp(route->path, request->http.path) != 0)
			continue;
		known = true;
		if (!takes_method(route, request->http.method))
			continue;
		request->state = HANDLING;
		route->handle(request, admin->owner);
		return; /* the request may be gone */
	}
	if (known)
		reply_not_allowed(request);
	else
		reply(request, 404, "", "", "", 0);
}

const char *admin_query(const struct admin_request *request, const char *name)
{
	return http_param(&request->http, name);
}

const char *admin_method(const struct admin_request *request)
{
	return request->http.method;
}

const char *admin_accept(const struct admin_request *request)
{
	return request->http.accept;
}

/* Copies what fits into the head; what is behind a whole head is of no interest. */
static void take_bytes(struct admin_request *request, const struct hb_buf *chain)
{
	for (; chain; chain = chain->next) {
		size_t len = hb_min_size(chain->len, HTTP_HEAD_MAX - request->head_len);

		memcpy(request->head + request->head_len, chain->data, len);
		request->head_len += len;
	}
}

static void on_data(struct hb_stream *stream, struct hb_buf *chain)
{
	struct admin_request *request = stream->owner;
	int n;

	if (request->state == READING)
		take_bytes(request, chain);
	hb_buf_free_all(chain);
	if (request->state != READING)
		return;
	n = http_head_parse(request->head, request->head_len, &request->http);
	if (n == 0)
		return;
	hb_stream_pause(stream);
	hb_loop_timer_stop(request->admin->loop, &request->deadline);
	if (n < 0)
		reply_status(request, -n);
	else
		dispatch(request);
}

static void on_finish(struct hb_stream *stream)
{
	struct admin_request *request = stream->owner;

	/* A client may end its half behind the request; without a request it just left. */
	if (request->state == READING)
		hb_stream_close(stream, HB_END_CLEAN);
}

static void on_full(struct hb_stream *stream)
{
	((struct admin_request *)stream->owner)->full = true;
}

static void on_drained(struct hb_stream *stream)
{
	struct admin_request *request = stream->owner;

	request->full = false;
	write_portion(request);
}

static void on_closed(struct hb_stream *stream, struct hb_end why)
{
	struct admin_request *request = stream->owner;

	hb_loop_timer_stop(request->admin->loop, &request->deadline);
	hb_stream_free(stream);
	request->stream = NULL;
	if (request->state != HANDLING)
		request_free(request);
}

static const struct hb_stream_events events = {
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

static void on_deadline(struct hb_timer *timer)
{
	struct admin_request *request = hb_container_of(timer, struct admin_request, deadline);

	if (request->state == READING) {
		hb_stream_pause(request->stream);
		reply_status(request, 408);
	} else {
		give_up(request, -ETIMEDOUT);
	}
}

static void request_start(struct admin *admin, int fd)
{
	static const struct hb_tcp_options options = { .read_max = HB_BUF_PAYLOAD };
	struct admin_request *request;

	if (admin->requests_count >= CONNECTIONS_MAX) {
		admin->refused++;
		close(fd);
		return;
	}
	request = calloc(1, sizeof(*request));
	if (!request) {
		close(fd);
		return;
	}
	request->stream = hb_tcp_new(admin->loop, fd, &options);
	if (!request->stream) {
		free(request);
		return;
	}
	request->admin = admin;
	request->stream->owner = request;
	request->stream->events = &events;
	hb_timer_init(&request->deadline, on_deadline);
	hb_timer_init(&request->next_portion, on_next_portion);
	hb_list_add(&admin->requests, &request->node);
	admin->requests_count++;
	hb_loop_timer_start(admin->loop, &request->deadline, HEAD_MS);
	hb_stream_resume(request->stream);
}

static void listener_free(struct listener *listener)
{
	struct admin *admin = listener->admin;

	close(listener->fd);
	free(listener->path);
	hb_list_remove(&listener->node);
	free(listener);
	end_if_done(admin);
}

static void on_accept(struct hb_accept *accept, int fd)
{
	struct listener *listener = hb_container_of(accept, struct listener, accept);

	if (fd == -ECANCELED)
		listener_free(listener);
	else if (fd >= 0 && listener->admin->closing)
		close(fd);
	else if (fd >= 0)
		request_start(listener->admin, fd);
}

/* Takes @fd. */
static int listen_on(struct admin *admin, int fd, const char *path)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (listener && path)
		listener->path = strdup(path);
	if (!listener || (path && !listener->path)) {
		free(listener);
		close(fd);
		return -ENOMEM;
	}
	listener->admin = admin;
	listener->fd = fd;
	hb_list_add(&admin->listeners, &listener->node);
	hb_loop_accept(admin->loop, &listener->accept, fd, on_accept);
	return 0;
}

int admin_listen_unix(struct admin *admin, const char *path)
{
	int fd = admin_socket_unix(path);

	return fd < 0 ? fd : listen_on(admin, fd, path);
}

int admin_listen_tcp(struct admin *admin, const char *address)
{
	int fd = admin_socket_tcp(address);

	return fd < 0 ? fd : listen_on(admin, fd, NULL);
}

struct admin *admin_new(struct hb_loop *loop, const struct admin_route *routes, size_t count,
                        void *owner)
{
	struct admin *admin = calloc(1, sizeof(*admin));

	if (!admin)
		return NULL;
	admin->loop = loop;
	admin->routes = routes;
	admin->routes_count = count;
	admin->owner = owner;
	hb_list_init(&admin->listeners);
	hb_list_init(&admin->requests);
	hb_task_init(&admin->ended, on_ended);
	return admin;
}

void admin_close(struct admin *admin, void (*done)(void *owner))
{
	assert(!admin->closing);
	admin->closing = true;
	admin->on_closed = done;
	hb_list_for_each_safe (node, &admin->listeners) {
		struct listener *listener = hb_container_of(node, struct listener, node);

		if (listener->path)
			admin_socket_remove(listener->fd, listener->path);
		hb_loop_accept_stop(&listener->accept);
	}
	hb_list_for_each_safe (node, &admin->requests) {
		struct admin_request *request = hb_container_of(node, struct admin_request, node);

		if (!request->stream)
			continue;
		if (request->state == READING || request->state == HANDLING)
			give_up(request, -ECANCELED);
		else
			hb_loop_timer_start(admin->loop, &request->deadline, FAREWELL_MS);
	}
	end_if_done(admin);
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	assert(hb_list_is_empty(&admin->listeners) && hb_list_is_empty(&admin->requests));
	hb_loop_undefer(&admin->ended);
	free(admin);
}

uint64_t admin_refused(const struct admin *admin)
{
	return admin->refused;
}
