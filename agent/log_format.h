/*
 * log_format: one event to one line, plain (ztunnel's five tab-separated parts) or JSON. Pure: the
 * time is given. Whatever the values hold, the result is one line of valid UTF-8.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "log.h"

#define LOG_LINE_BYTES 8192 /* longer events are clipped, and still well formed */

struct log_event {
	int64_t time_us; /* since 1970 */
	enum log_level level;
	const char *scope, *message;
	const char *text;               /* "k=v k=v", and perhaps ": error" behind; or "" */
	const struct log_field *fields; /* or these */
	size_t count;
};

/* Writes the line with its newline, at most LOG_LINE_BYTES, no NUL; returns its length. */
size_t log_format_plain(const struct log_event *event, char out[LOG_LINE_BYTES]);
size_t log_format_json(const struct log_event *event, char out[LOG_LINE_BYTES]);
