/*
 * accesslog: one line per flow, in ztunnel's words, fields and order (reference/operations 4.3).
 * What ztunnel does not have (response_flags, policy, end) stands after what it has.
 */
#pragma once

#include "log.h"
#include "proxy/flow.h"

#define ACCESSLOG_FIELDS_MAX 24

struct accesslog_line { /* borrows the flow's texts */
	enum log_level level;
	const char *message;
	size_t count;
	struct log_field fields[ACCESSLOG_FIELDS_MAX];
	char src[HB_ADDR_STRLEN], dst[HB_ADDR_STRLEN];
	char duration[24], end[160];
};

/* @flags: response flags of an ended flow ("-": left out). Pure. */
void accesslog_build(const struct flow *flow, const char *flags, struct accesslog_line *ret_line);

void accesslog_opened(const struct flow *flow); /* at debug */
void accesslog_ended(const struct flow *flow, const char *flags);
