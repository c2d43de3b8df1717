/*
 * log_format: one event to one line.
 */
#include "log_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What closes a line however full it is: a quote, a brace and a newline. */
#define CLOSING 8

struct line {
	char *out;
	size_t len, room; /* room: bytes that values may fill */
	bool clipped;     /* something did not fit: nothing more is added but the closing */
};

static void put(struct line *line, const char *bytes, size_t len)
{
	if (line->clipped || len > line->room - line->len) {
		line->clipped = true;
		return;
	}
	memcpy(line->out + line->len, bytes, len);
	line->len += len;
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void put_format(struct line *line, const char *format,
                                                             ...)
{
	char text[64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put_text(line, text);
}

/* What must come, also on a line that is full. */
static void put_closing(struct line *line, const char *text)
{
	size_t len = strlen(text);

	memcpy(line->out + line->len, text, len);
	line->len += len;
}

/* One code point of UTF-8 (RFC 3629). Its length, or 0 when the bytes are not UTF-8. */
static size_t utf8_read(const unsigned char *s, size_t len, uint32_t *ret_point)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t need = s[0] < 0x80   ? 1
	              : s[0] < 0xc0 ? 0
	              : s[0] < 0xe0 ? 2
	              : s[0] < 0xf0 ? 3
	              : s[0] < 0xf8 ? 4
	                            : 0;
	uint32_t point;

	if (need == 0 || need > len)
		return 0;
	point = need == 1 ? s[0] : s[0] & (0xff >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < least[need] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	*ret_point = point;
	return need;
}

enum escape {
	ESCAPE_RUST, /* as Rust's Debug: ztunnel's plain form */
	ESCAPE_BARE, /* the same without the quote and the backslash, for text outside of quotes */
	ESCAPE_JSON, /* RFC 8259 7 */
};

/* The short escape of @c, or 0. */
static char short_escape(uint32_t c, enum escape how)
{
	switch (c) {
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	case '"':
	case '\\':
		return how == ESCAPE_BARE ? 0 : (char)c;
	default:
		return 0;
	}
}

/* Controls, also those of the second kind that terminals obey, and the two Unicode line ends. */
static bool is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 ||
	       point == 0x2029;
}

static void put_escaped(struct line *line, const char *text, size_t len, enum escape how)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0; i < len;) {
		uint32_t point = 0xfffd;
		size_t n = utf8_read(s + i, len - i, &point);
		char word;

		if (n == 0)
			put_text(line, "\xef\xbf\xbd"); /* U+FFFD */
		else if ((word = short_escape(point, how)) != 0)
			put(line, (char[]){ '\\', word }, 2);
		else if (is_control(point) && how == ESCAPE_JSON)
			put_format(line, "\\u%04" PRIx32, point);
		else if (is_control(point))
			put_format(line, "\\u{%" PRIx32 "}", point);
		else
			put(line, text + i, n);
		i += n ? n : 1;
	}
}

static void put_quoted(struct line *line, const char *text, size_t len, enum escape how)
{
	put_text(line, "\"");
	put_escaped(line, text, len, how);
	put_text(line, "\"");
}

static void put_time(struct line *line, int64_t time_us)
{
	time_t seconds = (time_t)(time_us / 1000000);
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	put_format(line, "%s.%06uZ", text, (unsigned)(time_us % 1000000));
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = { "off", "error", "warn", "info", "debug", "trace" };

	return names[level];
}

static bool is_absent(const struct log_field *field)
{
	return field->kind != LOG_NUMBER && (!field->text || !*field->text);
}

static void put_plain_field(struct line *line, const struct log_field *field)
{
	put_text(line, field->key);
	put_text(line, "=");
	if (field->kind == LOG_NUMBER)
		put_format(line, "%" PRIu64, field->number);
	else if (field->kind == LOG_TEXT)
		put_quoted(line, field->text, strlen(field->text), ESCAPE_RUST);
	else
		put_escaped(line, field->text, strlen(field->text), ESCAPE_BARE);
}

size_t log_format_plain(const struct log_event *event, char out[LOG_LINE_BYTES])
{
	struct line line = { out, 0, LOG_LINE_BYTES - CLOSING, false };
	bool first = true;

	put_time(&line, event->time_us);
	put_format(&line, "\t%s\t", level_name(event->level));
	put_escaped(&line, event->scope, strlen(event->scope), ESCAPE_BARE);
	put_text(&line, "\t");
	put_escaped(&line, event->message, strlen(event->message), ESCAPE_BARE);
	put_text(&line, "\t");
	if (event->text)
		put_escaped(&line, event->text, strlen(event->text), ESCAPE_BARE);
	for (size_t i = 0; i < event->count; i++) {
		if (is_absent(&event->fields[i]))
			continue;
		put_text(&line, first ? "" : " ");
		put_plain_field(&line, &event->fields[i]);
		first = false;
	}
	put_closing(&line, line.clipped ? "…\n" : "\n");
	return line.len;
}

/*
 * A JSON member goes on the line wholly or not at all, so that a clipped line is still an object.
 */
#define VALUE_BYTES 2048 /* one value; a longer one ends in … */

static void put_member(struct line *line, const char *key, size_t key_len, const char *value,
                       size_t len, bool bare)
{
	size_t before = line->len;

	if (line->out[before - 1] != '{')
		put_text(line, ",");
	put_quoted(line, key, key_len, ESCAPE_JSON);
	put_text(line, bare ? ":" : ":\"");
	if (bare)
		put(line, value, len);
	else
		put_escaped(line, value, len < VALUE_BYTES ? len : VALUE_BYTES, ESCAPE_JSON);
	if (!bare)
		put_text(line, len > VALUE_BYTES ? "…\"" : "\"");
	if (line->clipped)
		line->len = before;
	line->clipped = false;
}

static void put_string_member(struct line *line, const char *key, const char *value)
{
	put_member(line, key, strlen(key), value, strlen(value), false);
}

/* Numbers that any reader of JSON holds exactly: up to 15 digits, no leading zero. */
static bool is_number(const char *text, size_t len)
{
	return len > 0 && len <= 15 && strspn(text, "0123456789") >= len &&
	       (len == 1 || text[0] != '0');
}

/* The length of "key=" at @text with its '=', or 0. */
static size_t key_length(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                          "0123456789_.-");

	return len > 0 && text[len] == '=' ? len + 1 : 0;
}

/* The length of the value at @text: to the blank, or to the end of its quotes. */
static size_t value_length(const char *text)
{
	size_t len = 1;

	if (*text != '"')
		return strcspn(text, " ");
	while (text[len] && text[len] != '"')
		len += text[len] == '\\' && text[len + 1] ? 2 : 1;
	return text[len] == '"' ? len + 1 : strcspn(text, " ");
}

/*
 * "peer=1.2.3.4:5 after_ms=12: connection refused" becomes members peer, after_ms and error. What
 * does not begin like a field is the error, whole.
 */
static void put_text_members(struct line *line, const char *text)
{
	while (*text) {
		size_t key = key_length(text), len;
		const char *value = text + key;
		bool quoted, ends = false;

		if (key == 0) {
			put_string_member(line, "error", text);
			return;
		}
		len = value_length(value);
		quoted = *value == '"' && len >= 2 && value[len - 1] == '"';
		text = value + len;
		if (quoted && *text == ':') {
			ends = true;
			text++;
		} else if (!quoted && len > 0 && value[len - 1] == ':' && *text) {
			ends = true;
			len--;
		}
		put_member(line, value - key, key - 1, value + quoted, quoted ? len - 2 : len,
		           !quoted && is_number(value, len));
		text += strspn(text, " ");
		if (ends && *text) {
			put_string_member(line, "error", text);
			return;
		}
	}
}

size_t log_format_json(const struct log_event *event, char out[LOG_LINE_BYTES])
{
	struct line line = { out, 0, LOG_LINE_BYTES - CLOSING, false };
	char when[64];
	struct line time = { when, 0, sizeof(when), false };

	put_text(&line, "{");
	put_time(&time, event->time_us);
	put_string_member(&line, "level", level_name(event->level));
	put_member(&line, "time", 4, when, time.len, false);
	put_string_member(&line, "scope", event->scope);
	put_string_member(&line, "message", event->message);
	if (event->text)
		put_text_members(&line, event->text);
	for (size_t i = 0; i < event->count; i++) {
		const struct log_field *field = &event->fields[i];
		char number[24];

		if (is_absent(field))
			continue;
		if (field->kind == LOG_NUMBER)
			put_member(
			    &line, field->key, strlen(field->key), number,
			    (size_t)snprintf(number, sizeof(number), "%" PRIu64, field->number),
			    true);
		else
			put_string_member(&line, field->key, field->text);
	}
	put_closing(&line, "}\n");
	return line.len;
}
