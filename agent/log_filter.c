/*
 * log_filter: which lines are wanted.
 */
#include "log_filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CRATE "ztunnel"

/* The first six by their level. */
static const struct {
	const char *name;
	enum log_level level;
} names[] = {
	{ "off", LOG_OFF },        { "error", LOG_ERROR },  { "warn", LOG_WARN },
	{ "info", LOG_INFO },      { "debug", LOG_DEBUG },  { "trace", LOG_TRACE },
	{ "critical", LOG_ERROR }, { "warning", LOG_WARN }, { "0", LOG_OFF },
	{ "1", LOG_ERROR },        { "2", LOG_WARN },       { "3", LOG_INFO },
	{ "4", LOG_DEBUG },        { "5", LOG_TRACE },
};

static bool parse_level(const char *text, size_t len, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i].name) == len && strncasecmp(names[i].name, text, len) == 0) {
			*ret_level = names[i].level;
			return true;
		}
	return false;
}

void log_filter_init(struct log_filter *filter)
{
	*filter = (struct log_filter){ .level = LOG_INFO, .most = LOG_INFO };
}

/* Scopes are words of letters, digits, '_', '-', '.' and ':'. */
static bool is_target(const char *text, size_t len)
{
	return len > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                               "0123456789_-.:") >= len;
}

static int set_target(struct log_filter *filter, const char *target, size_t len,
                      enum log_level level)
{
	bool in_crate = len >= strlen(CRATE) && memcmp(target, CRATE, strlen(CRATE)) == 0;
	size_t i;

	if (len >= strlen(CRATE "::") && memcmp(target, CRATE "::", strlen(CRATE "::")) == 0) {
		target += strlen(CRATE "::");
		len -= strlen(CRATE "::");
	} else if (len == strlen(CRATE) && memcmp(target, CRATE, len) == 0) {
		len = 0;
	} else {
		in_crate = false;
	}
	if (len >= LOG_TARGET_BYTES)
		return -EINVAL;
	for (i = 0; i < filter->targets; i++)
		if (strlen(filter->target[i].prefix) == len &&
		    memcmp(filter->target[i].prefix, target, len) == 0)
			break;
	if (i == LOG_TARGETS_MAX)
		return -E2BIG;
	if (i == filter->targets) {
		memcpy(filter->target[i].prefix, target, len);
		filter->target[i].prefix[len] = '\0';
		filter->targets++;
	}
	filter->target[i].in_crate = in_crate;
	filter->target[i].level = level;
	return 0;
}

/* One directive: "level", "target=level" or "target:level". */
static int add_one(struct log_filter *filter, const char *text, size_t len)
{
	enum log_level level;
	size_t split = len;

	if (parse_level(text, len, &level)) {
		filter->level = level;
		return 0;
	}
	while (split > 0 && text[split - 1] != '=' && text[split - 1] != ':')
		split--;
	if (split == 0 || !is_target(text, split - 1) ||
	    !parse_level(text + split, len - split, &level))
		return -EINVAL;
	return set_target(filter, text, split - 1, level);
}

static void find_most(struct log_filter *filter)
{
	filter->most = filter->level;
	for (size_t i = 0; i < filter->targets; i++)
		if (filter->target[i].level > filter->most)
			filter->most = filter->target[i].level;
}

int log_filter_add(struct log_filter *filter, const char *directives, char *why, size_t why_size)
{
	struct log_filter next = *filter;

	while (*directives) {
		size_t len, skip = strspn(directives, " ,");
		int err;

		directives += skip;
		len = strcspn(directives, ",");
		while (len > 0 && directives[len - 1] == ' ')
			len--;
		if (len == 0)
			continue;
		err = add_one(&next, directives, len);
		if (err == -E2BIG)
			snprintf(why, why_size, "more than %d log targets, expected fewer",
			         LOG_TARGETS_MAX);
		else if (err)
			snprintf(why, why_size,
			         "\"%.*s\" is not a log level, expected off, error, warn, info, "
			         "debug or trace, or target=level",
			         (int)(len < 64 ? len : 64), directives);
		if (err)
			return err;
		directives += len;
	}
	find_most(&next);
	*filter = next;
	return 0;
}

/* As long as it was given. */
static size_t target_len(const struct log_filter *filter, size_t i)
{
	size_t len = strlen(filter->target[i].prefix);

	if (!filter->target[i].in_crate)
		return len;
	return len ? strlen(CRATE "::") + len : strlen(CRATE);
}

/* Comes @a in front of @b? */
static bool is_before(const struct log_filter *filter, size_t a, size_t b)
{
	size_t a_len = target_len(filter, a), b_len = target_len(filter, b);

	return a_len != b_len ? a_len > b_len : a < b;
}

const char *log_filter_text(const struct log_filter *filter, char out[LOG_LEVELS_BYTES])
{
	size_t used = 0;

	for (size_t place = 0; place < filter->targets; place++) {
		for (size_t i = 0; i < filter->targets; i++) {
			const char *prefix = filter->target[i].prefix;
			size_t before = 0;

			for (size_t k = 0; k < filter->targets; k++)
				before += is_before(filter, k, i);
			if (before != place)
				continue;
			used += (size_t)snprintf(out + used, LOG_LEVELS_BYTES - used, "%s%s%s=%s,",
			                         filter->target[i].in_crate ? CRATE : "",
			                         filter->target[i].in_crate && *prefix ? "::" : "",
			                         prefix, names[filter->target[i].level].name);
		}
	}
	snprintf(out + used, LOG_LEVELS_BYTES - used, "%s", names[filter->level].name);
	return out;
}

/* ztunnel's own targets live below its crate's name, but for these two. */
static bool is_apart(const char *scope)
{
	return strncmp(scope, "access", 6) == 0 || strncmp(scope, "dns", 3) == 0;
}

enum log_level log_filter_level(const struct log_filter *filter, const char *scope)
{
	enum log_level level = filter->level;
	size_t longest = 0;
	bool named = false;

	for (size_t i = 0; i < filter->targets; i++) {
		const char *prefix = filter->target[i].prefix;
		size_t len = strlen(prefix);

		if (strncmp(scope, prefix, len) != 0 || (len == 0 && is_apart(scope)))
			continue;
		if (named && len < longest)
			continue;
		named = true;
		longest = len;
		level = filter->target[i].level;
	}
	return level;
}
