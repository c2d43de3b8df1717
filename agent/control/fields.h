/*
 * fields: from a YAML map to a struct by a table of its keys. Unknown keys, missing keys and values
 * of the wrong kind end the reading with one sentence: "file:line: what, expected what".
 *
 * Texts are the YAML's own, arrays are of the reader's arena: both are valid while one item of the
 * file is read. Functions give 0, -EINVAL after a sentence, or -ENOMEM (with a sentence too).
 */
#pragma once

#include <hbone/arena.h>

#include "config/yaml.h"

struct store;

struct reader {
	const char *file; /* as messages name it */
	struct hb_arena *arena;
	struct store *store;
	const char *key; /* whose value is being read, for messages */
	const char *uid; /* of the workload being read, also where it was made up */
	char *why;
	size_t why_size;
};

struct word { /* one word of a FIELD_WORD; the last has text NULL */
	const char *text;
	unsigned int value;
};

enum field_type {
	FIELD_TEXT,   /* const char * */
	FIELD_NAME,   /* const char *, without '/': part of keys and identities */
	FIELD_BOOL,   /* bool */
	FIELD_PORT,   /* uint16_t */
	FIELD_NUMBER, /* uint32_t */
	FIELD_WORD,   /* an enum or a bool: the value of one of the words */
	FIELD_NODE,   /* const struct yaml_node *: read later */
	FIELD_OTHER,  /* what read() makes of it */
};

enum field_need {
	OPTIONAL,
	NULLABLE, /* optional, and null says that it is absent */
	REQUIRED,
};

struct field {
	const char *key;
	enum field_type type;
	size_t offset, size; /* of the member: see FIELD_AT */
	enum field_need need;
	const struct word *words;
	int (*read)(struct reader *r, const struct yaml_node *node, void *member);
};

#define FIELD_AT(type, member)                                                                     \
	.offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

/* @what: "a workload". Members whose keys are absent keep their value. */
int fields_read(struct reader *r, const struct yaml_node *node, const char *what,
                const struct field *fields, size_t count, void *out);

/* "file:line: " and one sentence. Always -EINVAL. */
int reader_fail(struct reader *r, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "file:line: "key" has "value", expected ...". Always -EINVAL. */
int reader_expect(struct reader *r, const struct yaml_node *node, const char *expected);
int reader_no_memory(struct reader *r, int line); /* always -ENOMEM */

/* The right kind of node and no tag, or a sentence that expects @expected. An empty value is an
 * empty list or map. */
int reader_list(struct reader *r, const struct yaml_node *node, const char *expected);
int reader_map(struct reader *r, const struct yaml_node *node, const char *expected);
int reader_scalar(struct reader *r, const struct yaml_node *node, const char *expected);
int reader_word(struct reader *r, const struct yaml_node *node, const struct word *words,
                unsigned int *ret_value);
int reader_text(struct reader *r, const struct yaml_node *node, const char *expected,
                const char **ret_text);
/* @count items, zeroed; NULL after a sentence. */
void *reader_array(struct reader *r, const struct yaml_node *node, size_t count, size_t size);
bool node_is_null(const struct yaml_node *node);
/* The value of @key in a map, or NULL. */
const struct yaml_node *node_get(const struct yaml_node *map, const char *key);
/* Decimal digits without leading zeros, at most @max. 0 or -EINVAL. */
int number_parse(const char *text, uint32_t max, uint32_t *ret_number);
