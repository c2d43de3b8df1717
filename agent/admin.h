/*
 * admin: a small HTTP/1.1 server for operators, on a Unix socket and on loopback ports. A table
 * {method, path, handler, help}, filled by main; it knows nothing of what it shows. Heads are at
 * most 8 KiB and must arrive within 2 s; answers are built whole. Thread: the loop's.
 */
#pragma once

#include <hbone/loop.h>

struct admin;
struct admin_request; /* one request being answered */

struct admin_route {
	const char *method; /* "GET", "POST"; "*": any */
	const char *path;
	/* Must lead to exactly one admin_reply(), now or later, also when the client has gone. */
	void (*handle)(struct admin_request *request, void *owner);
	const char *help; /* one sentence, for the index */
};

struct admin *admin_new(struct hb_loop *loop, const struct admin_route *routes, size_t count,
                        void *owner);
/* Mode 0600; a stale socket file is replaced, a live one is an error. 0 or -errno. */
int admin_listen_unix(struct admin *admin, const char *path);
/* "127.0.0.1:15000", "[::]:15021". 0 or -errno. */
int admin_listen_tcp(struct admin *admin, const char *address);
/* Stops listening, ends connections; then on_closed. */
void admin_close(struct admin *admin, void (*on_closed)(void *owner));
void admin_free(struct admin *admin);

const char *admin_query(const struct admin_request *request, const char *name); /* or NULL */
/* @body is copied. type: "application/json" and so on. */
void admin_reply(struct admin_request *request, int status, const char *type, const char *body,
                 size_t len);
