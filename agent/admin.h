/*
 * admin: a small HTTP/1.1 server for operators, on a Unix socket and on loopback ports. A table
 * {method, path, handler, help}, filled by main; it knows nothing of what it shows. Thread: the
 * loop's.
 *
 * Heads are at most 8 KiB and must arrive within 2 s, else 431 or 408. Answers are built whole, and
 * a reader has 10 s and a second for each MiB to take one. One request for each connection; 64
 * connections at once, the next is closed at once and counted. HEAD is served where GET is.
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
	const char *help;  /* one sentence, for the index */
	const char *usage; /* what a 405 says; NULL: nothing */
};

/* @routes and @owner are borrowed until admin_free(). NULL: no memory. */
struct admin *admin_new(struct hb_loop *loop, const struct admin_route *routes, size_t count,
                        void *owner);
/* Mode 0600; a stale socket file is replaced, a live one is an error. 0 or -errno. */
int admin_listen_unix(struct admin *admin, const char *path);
/* "127.0.0.1:15000", "[::]:15021". 0 or -errno. */
int admin_listen_tcp(struct admin *admin, const char *address);
/*
 * Stops listening, removes the Unix socket, ends connections (answers under way get half a second);
 * then on_closed, from the loop. Requests being handled must still be answered, or it waits.
 */
void admin_close(struct admin *admin, void (*on_closed)(void *owner));
void admin_free(struct admin *admin); /* takes NULL; else only in or after on_closed */
/* A handler for "/": lists the other routes. */
void admin_index(struct admin_request *request, void *owner);
uint64_t admin_refused(const struct admin *admin); /* connections over the limit */

/* Decoded; "" without a value; or NULL. Valid until admin_reply(). */
const char *admin_query(const struct admin_request *request, const char *name);
const char *admin_method(const struct admin_request *request); /* valid until admin_reply() */
const char *admin_accept(const struct admin_request *request); /* the same; "": no such header */
/* @body is copied. type: "application/json" and so on. Ends the request: do not touch it again. */
void admin_reply(struct admin_request *request, int status, const char *type, const char *body,
                 size_t len);
