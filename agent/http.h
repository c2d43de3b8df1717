/*
 * http: the head of an HTTP/1.1 request from bytes to words (RFC 9112 2-5), and the head of its
 * answer. Pure and bounded; knows no sockets. Bodies are not read: no route of ours takes one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX   8192
#define HTTP_PARAMS_MAX 16

struct http_request {
	const char *method;
	const char *path;   /* without the query, as sent; begins with '/' */
	const char *accept; /* the first Accept header's value; "": there is none */
	size_t params;
	struct {
		const char *name, *value; /* percent-decoded; value "" without '=' */
	} param[HTTP_PARAMS_MAX];
};

/*
 * @bytes: @len bytes of what came so far, at most HTTP_HEAD_MAX. They are changed only when the
 * head is whole, and @ret_request points into them.
 * > 0: the length of the head. 0: more must come. Else the status to answer with, negated:
 * -400 not a request, -414 too many parameters, -431 the head is longer than HTTP_HEAD_MAX,
 * -501 a transfer coding, -505 a version other than 1.0 and 1.1.
 */
int http_head_parse(char *bytes, size_t len, struct http_request *ret_request);

/* The last of that name, or NULL. */
const char *http_param(const struct http_request *request, const char *name);
const char *http_status_words(int status); /* never NULL */
/* The answer's head; the connection is closed behind it. @type: "" where there is no body. @allow:
 * "" or a list of methods. */
size_t http_head_write(char *out, size_t size, int status, const char *type, size_t length,
                       const char *allow);
