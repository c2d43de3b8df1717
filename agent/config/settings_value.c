/*
 * settings_value: one setting's text to its field and back, and what to say when it does not fit.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings_parse.h"
#include "config/settings_table.h"

struct setting_text {
	struct setting_text *next;
	char text[];
};

const char *setting_text_add(struct setting_texts *texts, const char *text)
{
	size_t size = strlen(text) + 1;
	struct setting_text *node = malloc(sizeof(*node) + size);

	if (!node)
		return NULL;
	memcpy(node->text, text, size);
	node->next = texts->first;
	texts->first = node;
	return node->text;
}

void setting_texts_free(struct setting_texts *texts)
{
	while (texts->first) {
		struct setting_text *node = texts->first;

		texts->first = node->next;
		free(node);
	}
}

static const struct {
	const char *name; /* in the reference */
	const char *noun; /* "x" is not <noun> */
} types[] = {
	[SETTING_BOOL] = { "boolean", "a boolean" },
	[SETTING_U32] = { "number", "a whole number" },
	[SETTING_BYTES] = { "bytes", "a size" },
	[SETTING_DURATION] = { "duration", "a duration" },
	[SETTING_STRING] = { "string", "a string" },
	[SETTING_TEXT] = { "text", "a text" },
	[SETTING_PATH] = { "path", "a path" },
	[SETTING_SECRET] = { "secret", "a secret" },
	[SETTING_CPUS] = { "CPU quantity", "a CPU quantity" },
	[SETTING_THREADS] = { "number or percentage", "a number of threads" },
	[SETTING_CHOICE] = { "word", "a known word" },
	[SETTING_GRACE] = { "seconds", "a whole number" },
};

const char *setting_type_name(enum setting_type type)
{
	return types[type].name;
}

static char printable(char c)
{
	return (unsigned char)c < ' ' || c == 127 ? '?' : c;
}

void setting_one_line(char *sentence)
{
	for (; *sentence; sentence++)
		*sentence = printable(*sentence);
}

const char *setting_quote(const char *text, char *out, size_t size)
{
	size_t used = 0, len = strlen(text);
	size_t room = size - sizeof("\"...\"");

	out[used++] = '"';
	for (size_t i = 0; i < len && used < room; i++)
		out[used++] = printable(text[i]);
	snprintf(out + used, size - used, "%s\"", used - 1 < len ? "..." : "");
	return out;
}

/* "auto, io_uring or epoll" */
static void list_choices(const char *choices, char *out, size_t size)
{
	size_t used = 0;

	while (used < size) {
		size_t len = strcspn(choices, "|");
		const char *after = choices + len + 1;
		const char *between = !choices[len] ? "" : strchr(after, '|') ? ", " : " or ";

		used += (size_t)snprintf(out + used, size - used, "%.*s%s", len ? (int)len : 7,
		                         len ? choices : "nothing", between);
		if (!choices[len])
			return;
		choices = after;
	}
}

const char *setting_expected(const struct setting_row *row, char *out, size_t size)
{
	char low[32], high[32];

	switch (row->type) {
	case SETTING_BOOL:
		snprintf(out, size, "true or false");
		break;
	case SETTING_U32:
	case SETTING_GRACE:
		snprintf(out, size, "%" PRIu64 " to %" PRIu64, row->min, row->max);
		break;
	case SETTING_BYTES:
		snprintf(out, size, "%" PRIu64 " to %" PRIu64 " bytes, such as 65536, 256Ki or 4Mi",
		         row->min, row->max);
		break;
	case SETTING_DURATION:
		snprintf(out, size, "%s to %s, in ms, s, m, h, d, such as 1h30m",
		         settings_format_duration(row->min, low, sizeof(low)),
		         settings_format_duration(row->max, high, sizeof(high)));
		break;
	case SETTING_STRING:
	case SETTING_TEXT:
	case SETTING_PATH:
	case SETTING_SECRET:
		snprintf(out, size, "%s%" PRIu64 " bytes", row->min ? "1 to " : "at most ",
		         row->max);
		break;
	case SETTING_CPUS:
		snprintf(out, size, "0 to %" PRIu64 " cores, such as 2, 1.5 or 250m", row->max);
		break;
	case SETTING_THREADS:
		snprintf(out, size, "0 to 1024, or above 0%% to 100%%");
		break;
	case SETTING_CHOICE:
		list_choices(row->choices, out, size);
		break;
	}
	return out;
}

static bool is_text(enum setting_type type)
{
	return type == SETTING_STRING || type == SETTING_TEXT || type == SETTING_PATH ||
	       type == SETTING_SECRET;
}

static int parse_number(const struct setting_row *row, const char *text, uint64_t *ret_value)
{
	switch (row->type) {
	case SETTING_BYTES:
		return settings_parse_bytes(text, ret_value);
	case SETTING_DURATION:
		return settings_parse_duration(text, ret_value);
	case SETTING_CPUS:
		return settings_parse_cpus(text, ret_value);
	default:
		return settings_parse_u64(text, ret_value);
	}
}

/* ztunnel's rule: leave time to say goodbye before the kubelet kills. */
static uint64_t drain_of_grace(uint64_t seconds)
{
	if (seconds > 10)
		return (seconds - 5) * 1000;
	return seconds > 2 ? (seconds - 1) * 1000 : 1000;
}

static int set_number(const struct setting_row *row, const char *text, void *field)
{
	uint64_t value;
	int err = parse_number(row, text, &value);

	if (err)
		return err;
	if (value < row->min || value > row->max)
		return -ERANGE;
	if (row->type == SETTING_GRACE)
		*(uint64_t *)field = drain_of_grace(value);
	else if (row->type == SETTING_DURATION)
		*(uint64_t *)field = value;
	else
		*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int set_text(const struct setting_row *row, const char *text, struct setting_texts *texts,
                    const char **field)
{
	size_t len = strlen(text);
	const char *copy;

	if (len < row->min || len > row->max)
		return -ERANGE;
	copy = setting_text_add(texts, text);
	if (!copy)
		return -ENOMEM;
	*field = copy;
	return 0;
}

static int set_choice(const struct setting_row *row, const char *text, uint8_t *field)
{
	uint64_t index;
	int err = settings_parse_choice(row->choices, text, &index);

	if (!err)
		*field = (uint8_t)index;
	return err;
}

int setting_set(const struct setting_row *row, const char *text, struct settings *settings,
                struct setting_texts *texts, char *why, size_t why_size)
{
	void *field = (char *)settings + row->offset;
	char expected[128], quoted[80];
	int err;

	switch (row->type) {
	case SETTING_BOOL:
		err = settings_parse_bool(text, field);
		break;
	case SETTING_STRING:
	case SETTING_TEXT:
	case SETTING_PATH:
	case SETTING_SECRET:
		err = set_text(row, text, texts, field);
		break;
	case SETTING_THREADS:
		err = settings_parse_threads(text, field);
		break;
	case SETTING_CHOICE:
		err = set_choice(row, text, field);
		break;
	default:
		err = set_number(row, text, field);
		break;
	}
	if (err == -ENOMEM)
		snprintf(why, why_size, "no memory");
	else if (err && !*text)
		snprintf(why, why_size, "is empty, expected %s",
		         setting_expected(row, expected, sizeof(expected)));
	else if (err == -ERANGE)
		snprintf(why, why_size, "%s is %s, expected %s",
		         row->type == SETTING_SECRET ? "it"
		                                     : setting_quote(text, quoted, sizeof(quoted)),
		         is_text(row->type) ? "too long" : "out of range",
		         setting_expected(row, expected, sizeof(expected)));
	else if (err)
		snprintf(why, why_size, "%s is not %s, expected %s",
		         setting_quote(text, quoted, sizeof(quoted)), types[row->type].noun,
		         setting_expected(row, expected, sizeof(expected)));
	return err == -ERANGE ? -EINVAL : err;
}

static const char *format_choice(const char *choices, unsigned place, char *out, size_t size)
{
	for (; place > 0; place--)
		choices = strchr(choices, '|') + 1;
	snprintf(out, size, "%.*s", (int)strcspn(choices, "|"), choices);
	return out;
}

static const char *format_threads(const struct setting_threads *threads, char *out, size_t size)
{
	if (threads->kind == THREADS_COUNT)
		snprintf(out, size, "%u", threads->n);
	else if (threads->n % 1000)
		snprintf(out, size, "%u.%03u%%", threads->n / 1000, threads->n % 1000);
	else
		snprintf(out, size, "%u%%", threads->n / 1000);
	return threads->kind == THREADS_AUTO ? "" : out;
}

/* A file's path says where a secret is, and is none. */
static const char *show_secret(const char *value)
{
	bool is_path = value[0] == '/' || strncmp(value, "./", 2) == 0;

	return is_path || !*value ? value : "(not shown)";
}

const char *setting_format(const struct setting_row *row, const struct settings *settings,
                           char *out, size_t size)
{
	const void *field = (const char *)settings + row->offset;

	switch (row->type) {
	case SETTING_BOOL:
		return *(const bool *)field ? "true" : "false";
	case SETTING_STRING:
	case SETTING_TEXT:
	case SETTING_PATH:
		return *(const char *const *)field;
	case SETTING_SECRET:
		return show_secret(*(const char *const *)field);
	case SETTING_THREADS:
		return format_threads(field, out, size);
	case SETTING_CHOICE:
		return format_choice(row->choices, *(const uint8_t *)field, out, size);
	case SETTING_DURATION:
	case SETTING_GRACE:
		return settings_format_duration(*(const uint64_t *)field, out, size);
	default:
		snprintf(out, size, "%" PRIu32, *(const uint32_t *)field);
		return out;
	}
}
