/*
 * settings_parse: the text of one value to a number, by type.
 */
#include "config/settings_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static const struct unit {
	const char *name;
	uint64_t ms;
} units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

#define UNITS (sizeof(units) / sizeof(units[0]))

static const struct unit *unit_lookup(const char *name, size_t len)
{
	for (size_t i = 0; i < UNITS; i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0)
			return &units[i];
	return NULL;
}

int settings_parse_duration(const char *text, uint64_t *ret_ms)
{
	uint64_t sum = 0;

	do {
		const struct unit *unit;
		uint64_t number;
		int err = read_number(text, &number, &text);
		size_t len = 0;

		if (err)
			return err;
		while (text[len] >= 'a' && text[len] <= 'z')
			len++;
		unit = unit_lookup(text, len);
		if (!unit)
			return -EINVAL;
		if (__builtin_mul_overflow(number, unit->ms, &number) ||
		    __builtin_add_overflow(sum, number, &sum))
			return -ERANGE;
		text += len;
	} while (*text);
	*ret_ms = sum;
	return 0;
}

const char *settings_format_duration(uint64_t ms, char *out, size_t size)
{
	size_t used = 0;

	snprintf(out, size, "0s");
	for (size_t i = 0; i < UNITS && used < size; i++) {
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
