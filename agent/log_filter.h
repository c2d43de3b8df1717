/*
 * log_filter: which lines are wanted, from RUST_LOG's form: "info", "access=off",
 * "info,ztunnel::xds=debug". Pure.
 *
 * A target names every scope that begins with it; the longest that fits wins; what none names
 * has the default level. "ztunnel::" in front of a target is dropped, "ztunnel" alone names all but
 * access and dns (which are targets of their own there). Also understood: "target:level", warning
 * and critical, because istioctl sends them, and 0 to 5, as Rust does.
 */
#pragma once

#include <stddef.h>

#include "log.h"

#define LOG_TARGETS_MAX  32
#define LOG_TARGET_BYTES 64 /* with the NUL */

struct log_filter {
	enum log_level level; /* of scopes that no target names */
	enum log_level most;  /* the noisiest level of all; above it nothing is wanted */
	size_t targets;
	struct {
		char prefix[LOG_TARGET_BYTES]; /* "": all but access and dns */
		bool in_crate;                 /* it was given with "ztunnel" in front */
		enum log_level level;
	} target[LOG_TARGETS_MAX];
};

void log_filter_init(struct log_filter *filter); /* info */
/*
 * Lays @directives over what is there: targets named again change, others stay. "" changes nothing.
 * 0; or -EINVAL or -E2BIG (too many targets) with a sentence, and nothing has changed.
 */
int log_filter_add(struct log_filter *filter, const char *directives, char *why, size_t why_size);
/*
 * The directives that make this filter: targets, longest first, then the default level. Returns
 * @out, which has LOG_LEVELS_BYTES; log_filter_add() takes it back.
 */
#define LOG_LEVELS_BYTES (LOG_TARGETS_MAX * (LOG_TARGET_BYTES + 16) + 8)
const char *log_filter_text(const struct log_filter *filter, char out[LOG_LEVELS_BYTES]);
enum log_level log_filter_level(const struct log_filter *filter, const char *scope);
