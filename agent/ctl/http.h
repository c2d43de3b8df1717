/*
 * http: one request to the agent's admin socket, and its whole answer. Blocks, for at most half a
 * minute of silence.
 */
#pragma once

#include <stddef.h>

#define HTTP_BODY_MAX ((size_t)1 << 30)

struct http_answer {
	int status;
	char *body; /* ended by a NUL of ours; free() it */
	size_t len;
};

/* 0; or -1 with one sentence in @why. @method "POST" sends an empty body. */
int http_ask(const char *socket_path, const char *method, const char *target,
             struct http_answer *ret_answer, char *why, size_t why_size);
