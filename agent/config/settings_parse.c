/*
 * settings_parse: the text of one value to a number, by type.
 */
#include "config/settings_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits at @text; *ret_end is behind them. At least one digit. */
static int read_number(const char *text, uint64_t *ret_value, const char **ret_end)
{
	uint64_t value = 0;
	const char *p = text;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*ret_value = value;
	*ret_end = p;
	return 0;
}

/* Reads "12" or "12.375" as thousandths, with at most three digits behind the point. */
static int read_thousandths(const char *text, uint64_t *ret_value, const char **ret_end)
{
	uint64_t whole, part = 0;
	const char *p;
	int err = read_number(text, &whole, &p);

	if (err)
		return err;
	if (*p == '.') {
		unsigned scale = 100;

		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p) && scale; p++, scale /= 10)
			part += scale * (unsigned)(*p - '0');
		if (is_digit(*p))
			return -EINVAL;
	}
	if (__builtin_mul_overflow(whole, 1000, &whole) ||
	    __builtin_add_overflow(whole, part, &whole))
		return -ERANGE;
	*ret_value = whole;
	*ret_end = p;
	return 0;
}

int settings_parse_bool(const char *text, bool *ret_value)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return -EINVAL;
	*ret_value = text[0] == 't';
	return 0;
}

int settings_parse_u64(const char *text, uint64_t *ret_value)
{
	uint64_t value;
	const char *end;
	int err = read_number(text, &value, &end);

	if (err)
		return err;
	if (*end)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

#define NS_PER_MS 1000000u

/* The first five are what a duration is written in. A word may stand in the plural. */
static const struct unit {
	const char *name;
	uint64_t ms;  /* 0: */
	unsigned ns;  /* less than that */
	bool is_word; /* that takes an s */
} units[] = {
	{ "d", 86400000, 0, false },
	{ "h", 3600000, 0, false },
	{ "m", 60000, 0, false },
	{ "s", 1000, 0, false },
	{ "ms", 1, 0, false },
	{ "y", 31536000000, 0, false },
	{ "year", 31536000000, 0, true },
	{ "mon", 2592000000, 0, false },
	{ "month", 2592000000, 0, true },
	{ "w", 604800000, 0, false },
	{ "week", 604800000, 0, true },
	{ "day", 86400000, 0, true },
	{ "hr", 3600000, 0, false },
	{ "hour", 3600000, 0, true },
	{ "min", 60000, 0, false },
	{ "minute", 60000, 0, true },
	{ "sec", 1000, 0, false },
	{ "second", 1000, 0, true },
	{ "msec", 1, 0, false },
	{ "millisecond", 1, 0, true },
	{ "us", 0, 1000, false },
	{ "usec", 0, 1000, false },
	{ "\302\265s", 0, 1000, false }, /* the micro sign, in UTF-8 */
	{ "microsecond", 0, 1000, true },
	{ "ns", 0, 1, false },
	{ "nsec", 0, 1, false },
	{ "nanosecond", 0, 1, true },
};

#define UNITS         (sizeof(units) / sizeof(units[0]))
#define UNITS_WRITTEN 5

/* NULL: none. Without a word it is seconds. */
static const struct unit *unit_lookup(const char *name, size_t len)
{
	if (len == 0)
		return unit_lookup("s", 1);
	for (size_t i = 0; i < UNITS; i++) {
		size_t own = strlen(units[i].name);

		if (len >= own && strncasecmp(units[i].name, name, own) == 0 &&
		    (len == own || (units[i].is_word && len == own + 1 && (name[own] | 32) == 's')))
			return &units[i];
	}
	return NULL;
}

static bool is_unit_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

static int add_duration(uint64_t number, const struct unit *unit, uint64_t *ms, uint64_t *ns)
{
	uint64_t more = 0;

	if (__builtin_mul_overflow(number, unit->ms, &more) ||
	    __builtin_add_overflow(*ms, more, ms) ||
	    __builtin_mul_overflow(number, unit->ns, &more) ||
	    __builtin_add_overflow(*ns, more, ns))
		return -ERANGE;
	return 0;
}

/* As ztunnel's variables have them, but for products. */
int settings_parse_duration(const char *text, uint64_t *ret_ms)
{
	uint64_t ms = 0, ns = 0, number;
	size_t len;
	int err;

	text += strspn(text, " ");
	do {
		err = read_number(text, &number, &text);
		if (err)
			return err;
		text += strspn(text, " ");
		for (len = 0; is_unit_char(text[len]);)
			len++;
		if (!unit_lookup(text, len))
			return -EINVAL;
		err = add_duration(number, unit_lookup(text, len), &ms, &ns);
		if (err)
			return err;
		text += len;
		text += strspn(text, " ");
		if (len == 0 && *text) /* only the last one may go without */
			return -EINVAL;
		if (*text == '+') {
			text++;
			text += strspn(text, " ");
			if (!*text)
				return -EINVAL;
		}
	} while (*text);
	/* Rounded up, so that little is not nothing. */
	ns = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
	if (__builtin_add_overflow(ms, ns, ret_ms))
		return -ERANGE;
	return 0;
}

const char *settings_format_duration(uint64_t ms, char *out, size_t size)
{
	size_t used = 0;

	snprintf(out, size, "0s");
	for (size_t i = 0; i < UNITS_WRITTEN && used < size; i++) {
		if (ms < units[i].ms)
			continue;
		used += (size_t)snprintf(out + used, size - used, "%llu%s",
		                         (unsigned long long)(ms / units[i].ms), units[i].name);
		ms %= units[i].ms;
	}
	return out;
}

int settings_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} sizes[] = { { "", 1 }, { "Ki", 1 << 10 }, { "Mi", 1 << 20 }, { "Gi", 1 << 30 } };
	uint64_t number;
	const char *end;
	int err = read_number(text, &number, &end);

	if (err)
		return err;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (strcmp(end, sizes[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(number, sizes[i].bytes, &number))
			return -ERANGE;
		*ret_bytes = number;
		return 0;
	}
	return -EINVAL;
}

int settings_parse_cpus(const char *text, uint64_t *ret_cores)
{
	uint64_t milli;
	const char *end;
	int err = read_thousandths(text, &milli, &end);

	if (err)
		return err;
	if (strcmp(end, "m") == 0) {
		/* "250m" is milli-cores already; "0.5m" is no quantity of Kubernetes. */
		if (strchr(text, '.'))
			return -EINVAL;
		milli /= 1000;
	} else if (*end) {
		return -EINVAL;
	}
	*ret_cores = milli / 1000 + (milli % 1000 != 0);
	return 0;
}

int settings_parse_threads(const char *text, struct setting_threads *ret_threads)
{
	uint64_t number;
	const char *end;
	int err = read_thousandths(text, &number, &end);

	if (err)
		return err;
	if (strcmp(end, "%") == 0) {
		if (number == 0 || number > 100000)
			return -ERANGE;
		*ret_threads = (struct setting_threads){ THREADS_PERCENT, (uint32_t)number };
		return 0;
	}
	if (*end || strchr(text, '.'))
		return -EINVAL;
	number /= 1000;
	if (number > 1024)
		return -ERANGE;
	*ret_threads = (struct setting_threads){ THREADS_COUNT, (uint32_t)number };
	return 0;
}

int settings_parse_choice(const char *choices, const char *text, uint64_t *ret_index)
{
	size_t want = strlen(text);
	uint64_t index = 0;

	for (;; index++) {
		size_t len = strcspn(choices, "|");

		if (len == want && memcmp(choices, text, len) == 0) {
			*ret_index = index;
			return 0;
		}
		if (!choices[len])
			return -EINVAL;
		choices += len + 1;
	}
}
