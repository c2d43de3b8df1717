/*
 * fields: reading maps by tables, and saying what is wrong with them.
 */
#include "control/fields.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define QUOTE_MAX 64 /* bytes of a file's text that a message repeats */
#define CLOSE_MAX 40 /* longer keys are not guessed at */

int reader_fail(struct reader *r, int line, const char *format, ...)
{
	int used = snprintf(r->why, r->why_size, "%s:%d: ", r->file, line);
	va_list args;

	if (used >= 0 && (size_t)used < r->why_size) {
		va_start(args, format);
		vsnprintf(r->why + used, r->why_size - (size_t)used, format, args);
		va_end(args);
	}
	/* One sentence is one line, whatever the file holds. */
	for (char *at = r->why; r->why_size && *at; at++) {
		if (iscntrl((unsigned char)*at))
			*at = '?';
	}
	return -EINVAL;
}

int reader_no_memory(struct reader *r, int line)
{
	(void)reader_fail(r, line, "no memory left for this file, expected a smaller one");
	return -ENOMEM;
}

bool node_is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted && !*node->tag &&
	       (!*node->text || strcmp(node->text, "~") == 0 ||
	        strcasecmp(node->text, "null") == 0);
}

const struct yaml_node *node_get(const struct yaml_node *map, const char *key)
{
	for (size_t i = 0; i < map->count && map->kind == YAML_MAP; i++) {
		if (strcmp(map->items[i]->key, key) == 0)
			return map->items[i];
	}
	return NULL;
}

int reader_expect(struct reader *r, const struct yaml_node *node, const char *expected)
{
	const char *tag = node->tag, *space = *tag ? " " : "";

	if (node->kind == YAML_LIST || node->kind == YAML_MAP)
		return reader_fail(r, node->line, "\"%.*s\" has %s%sa %s, expected %s", QUOTE_MAX,
		                   r->key, tag, space, node->kind == YAML_LIST ? "list" : "map",
		                   expected);
	if (!*tag && !node->quoted && !*node->text)
		return reader_fail(r, node->line, "\"%.*s\" has no value, expected %s", QUOTE_MAX,
		                   r->key, expected);
	return reader_fail(r, node->line, "\"%.*s\" has %.*s%s\"%.*s\", expected %s", QUOTE_MAX,
	                   r->key, QUOTE_MAX, tag, space, QUOTE_MAX, node->text, expected);
}

static int check_kind(struct reader *r, const struct yaml_node *node, enum yaml_kind kind,
                      const char *expected)
{
	bool empty = node->kind == YAML_SCALAR && !node->quoted && !*node->text;

	if (!*node->tag && (node->kind == kind || empty))
		return 0;
	return reader_expect(r, node, expected);
}

int reader_list(struct reader *r, const struct yaml_node *node, const char *expected)
{
	return check_kind(r, node, YAML_LIST, expected);
}

int reader_map(struct reader *r, const struct yaml_node *node, const char *expected)
{
	return check_kind(r, node, YAML_MAP, expected);
}

int reader_scalar(struct reader *r, const struct yaml_node *node, const char *expected)
{
	return check_kind(r, node, YAML_SCALAR, expected);
}

int reader_text(struct reader *r, const struct yaml_node *node, const char *expected,
                const char **ret_text)
{
	int err = reader_scalar(r, node, expected);

	if (!err)
		*ret_text = node->text;
	return err;
}

void *reader_array(struct reader *r, const struct yaml_node *node, size_t count, size_t size)
{
	void *items = hb_arena_array(r->arena, count, size);

	if (!items)
		(void)reader_no_memory(r, node->line);
	return items;
}

int number_parse(const char *text, uint32_t max, uint32_t *ret_number)
{
	uint64_t number = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 10 || (len > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		number = number * 10 + (uint64_t)(text[i] - '0');
	}
	if (number > max)
		return -EINVAL;
	*ret_number = (uint32_t)number;
	return 0;
}

static int read_number(struct reader *r, const struct yaml_node *node, uint32_t max,
                       uint32_t *ret_number)
{
	char expected[64];

	if (node->kind == YAML_SCALAR && !*node->tag && !node->quoted &&
	    number_parse(node->text, max, ret_number) == 0)
		return 0;
	snprintf(expected, sizeof(expected), "a number from 0 to %u", max);
	return reader_expect(r, node, expected);
}

static int read_bool(struct reader *r, const struct yaml_node *node, bool *ret_bool)
{
	bool is_true = strcasecmp(node->text, "true") == 0;

	if (node->kind != YAML_SCALAR || *node->tag || node->quoted ||
	    (!is_true && strcasecmp(node->text, "false") != 0))
		return reader_expect(r, node, "true or false");
	*ret_bool = is_true;
	return 0;
}

int reader_word(struct reader *r, const struct yaml_node *node, const struct word *words,
                unsigned int *ret_value)
{
	char expected[160] = "one of ";
	size_t used = strlen(expected);

	for (const struct word *word = words; word->text; word++) {
		if (node->kind == YAML_SCALAR && !*node->tag &&
		    strcmp(node->text, word->text) == 0) {
			*ret_value = word->value;
			return 0;
		}
	}
	for (const struct word *word = words; word->text; word++) {
		if (used < sizeof(expected))
			used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
			                         word == words ? "" : ", ", word->text);
	}
	return reader_expect(r, node, expected);
}

static int read_name(struct reader *r, const struct yaml_node *node, const char **ret_text)
{
	/* A '/' would make keys ("ns/name") and identities read as something else. */
	if (node->kind == YAML_SCALAR && strchr(node->text, '/'))
		return reader_expect(r, node, "text without '/'");
	return reader_text(r, node, "text without '/'", ret_text);
}

static int read_value(struct reader *r, const struct field *field, const struct yaml_node *node,
                      void *member)
{
	uint32_t number = 0;
	int err;

	switch (field->type) {
	case FIELD_TEXT:
		return reader_text(r, node, "text", member);
	case FIELD_NAME:
		return read_name(r, node, member);
	case FIELD_BOOL:
		return read_bool(r, node, member);
	case FIELD_PORT:
		err = read_number(r, node, UINT16_MAX, &number);
		*(uint16_t *)member = (uint16_t)number;
		return err;
	case FIELD_NUMBER:
		return read_number(r, node, UINT32_MAX, member);
	case FIELD_WORD:
		err = reader_word(r, node, field->words, &number);
		if (field->size == sizeof(uint8_t)) /* a bool or a small enum */
			*(uint8_t *)member = (uint8_t)number;
		else
			memcpy(member, &number, sizeof(number));
		return err;
	case FIELD_NODE:
		*(const struct yaml_node **)member = node;
		return 0;
	case FIELD_OTHER:
		return field->read(r, node, member);
	}
	return -EINVAL;
}

/* Edits (insert, remove, replace; case is free) from @a to @b, both at most CLOSE_MAX long. */
static size_t distance(const char *a, const char *b)
{
	size_t row[CLOSE_MAX + 1], len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			bool same =
			    tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
			size_t replace = diagonal + !same;

			diagonal = row[j];
			row[j] = hb_min_size(replace, hb_min_size(row[j], row[j - 1]) + 1);
		}
	}
	return row[len];
}

static const char *closest(const char *key, const struct field *fields, size_t count)
{
	size_t best = 3; /* two typos are forgiven, in words long enough to bear them */
	const char *found = NULL;

	for (size_t i = 0; i < count && strlen(key) <= CLOSE_MAX; i++) {
		size_t edits = distance(key, fields[i].key);

		if (edits < best && edits * 2 < strlen(fields[i].key)) {
			best = edits;
			found = fields[i].key;
		}
	}
	return found;
}

static int fail_unknown(struct reader *r, const struct yaml_node *child, const char *what,
                        const struct field *fields, size_t count)
{
	const char *guess = closest(child->key, fields, count);
	char all[512] = "", hint[CLOSE_MAX + 32] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof(all); i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
		                         fields[i].key);
	if (guess)
		snprintf(hint, sizeof(hint), " (did you mean \"%s\"?)", guess);
	return reader_fail(r, child->key_line, "unknown key \"%.*s\" in %s%s, expected one of %s",
	                   QUOTE_MAX, child->key, what, hint, all);
}

static const struct field *field_lookup(const struct field *fields, size_t count, const char *key,
                                        size_t guess)
{
	/* Files keep to one order of keys: where the last one was, the next one follows. */
	for (size_t i = guess; i < count; i++)
		if (strcmp(fields[i].key, key) == 0)
			return &fields[i];
	for (size_t i = 0; i < guess; i++)
		if (strcmp(fields[i].key, key) == 0)
			return &fields[i];
	return NULL;
}

int fields_read(struct reader *r, const struct yaml_node *node, const char *what,
                const struct field *fields, size_t count, void *out)
{
	const char *outer_key = r->key;
	uint64_t seen = 0;
	size_t guess = 0;
	char expected[64];

	assert(count <= 64);
	if (node->kind != YAML_MAP || *node->tag) { /* else no words are needed */
		snprintf(expected, sizeof(expected), "a map with the keys of %s", what);
		if (reader_map(r, node, expected) < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *child = node->items[i];
		const struct field *field = field_lookup(fields, count, child->key, guess);
		int err;

		if (!field)
			return fail_unknown(r, child, what, fields, count);
		guess = (size_t)(field - fields) + 1;
		seen |= UINT64_C(1) << (field - fields);
		if (field->need == NULLABLE && node_is_null(child))
			continue;
		r->key = field->key;
		err = read_value(r, field, child, (char *)out + field->offset);
		r->key = outer_key;
		if (err)
			return err;
	}
	for (size_t i = 0; i < count; i++) {
		if (fields[i].need == REQUIRED && !(seen & UINT64_C(1) << i))
			return reader_fail(r, node->line, "%s has no \"%s\", expected that key too",
			                   what, fields[i].key);
	}
	return 0;
}
