/*
 * yaml: libyaml's events become a tree in an arena; the first thing that is wrong becomes one
 * sentence. No recursion: open lists and maps stand on a stack of fixed depth.
 */
#include "config/yaml.h"

#include <ctype.h>
#include <fcntl.h>
#include <hbone/arena.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <yaml.h>

#define DEPTH_MAX 64
#define NODES_MAX 8000000u
#define QUOTE_MAX 64 /* bytes of the file that a message repeats */
#define FEW_KEYS  32 /* of a map: compared each with each */

struct yaml_doc {
	struct hb_arena arena;
	const char *name;
	struct yaml_node *root;
};

struct level { /* a list or map that is still open */
	struct yaml_node *node;
	size_t first;    /* of its children, among parse.children */
	const char *key; /* MAP: seen, and its value not yet */
	uint32_t key_hash;
	int key_line;
};

struct parse {
	struct yaml_doc *doc;
	struct level levels[DEPTH_MAX];
	size_t depth, nodes, documents;
	struct yaml_node **children; /* of all open lists and maps, one after the other */
	size_t children_count, children_room;
	const struct yaml_stream *stream; /* or NULL */
	struct hb_arena items;            /* what stream is given is built here */
	const char *text;
	size_t len;
	char *why;
	size_t why_size;
};

static int __attribute__((format(printf, 3, 4)))
fail(struct parse *p, int line, const char *format, ...)
{
	va_list args;
	int used = snprintf(p->why, p->why_size, "%s:%d: ", p->doc->name, line);

	if (used >= 0 && (size_t)used < p->why_size) {
		va_start(args, format);
		vsnprintf(p->why + used, p->why_size - (size_t)used, format, args);
		va_end(args);
	}
	/* One sentence is one line, whatever the file holds. */
	for (char *at = p->why; p->why_size && *at; at++) {
		if (iscntrl((unsigned char)*at))
			*at = '?';
	}
	return -EINVAL;
}

static int fail_memory(struct parse *p, int line)
{
	(void)fail(p, line, "no memory left for this file, expected a smaller one");
	return -ENOMEM;
}

static int by_key(const void *a, const void *b)
{
	const struct yaml_node *const *x = a, *const *y = b;
	int order = strcmp((*x)->key, (*y)->key);

	return order ? order
	             : ((*x)->key_line > (*y)->key_line) - ((*x)->key_line < (*y)->key_line);
}

static int fail_twice(struct parse *p, const struct yaml_node *first, const struct yaml_node *again)
{
	return fail(p, again->key_line,
	            "key \"%.*s\" stands here again, expected only the one in line %d", QUOTE_MAX,
	            again->key, first->key_line);
}

/* Most maps are small, and few keys have the same hash. */
static int check_few(struct parse *p, struct yaml_node *const *items, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (items[i]->key_hash == items[j]->key_hash &&
			    strcmp(items[i]->key, items[j]->key) == 0)
				return fail_twice(p, items[j], items[i]);
		}
	}
	return 0;
}

static int check_duplicates(struct parse *p, const struct level *level)
{
	size_t count = level->node->count;
	struct yaml_node **items = count ? p->children + level->first : NULL;
	hb_cleanup(hb_free_ptr) struct yaml_node **sorted = NULL;

	if (count <= FEW_KEYS)
		return check_few(p, items, count);
	sorted = reallocarray(NULL, count, sizeof(*sorted));
	if (!sorted)
		return fail_memory(p, level->node->line);
	memcpy(sorted, items, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_key);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			return fail_twice(p, sorted[i - 1], sorted[i]);
	}
	return 0;
}

/* Is what begins or ended at this depth an item that the stream takes? */
static bool is_streamed(const struct parse *p)
{
	return p->stream && p->depth == 2 && p->levels[0].node->kind == YAML_MAP &&
	       p->levels[1].node->kind == YAML_LIST;
}

static struct hb_arena *arena_of(struct parse *p)
{
	bool inside = p->depth > 2 && p->stream && p->levels[0].node->kind == YAML_MAP &&
	              p->levels[1].node->kind == YAML_LIST;

	return inside || is_streamed(p) ? &p->items : &p->doc->arena;
}

/* The item that is complete now, if it is one: gives it away and forgets it. */
static int deliver(struct parse *p, const struct yaml_node *item)
{
	int err;

	if (!is_streamed(p))
		return 0;
	err = p->stream->on_item(p->stream->owner, p->levels[1].node->key, item);
	hb_arena_clear(&p->items);
	return err;
}

/* Hangs @node where the open list or map, or the document, expects it. */
static int attach(struct parse *p, struct yaml_node *node)
{
	struct level *level = p->depth ? &p->levels[p->depth - 1] : NULL;

	if (!level) {
		p->doc->root = node;
		return 0;
	}
	if (is_streamed(p))
		return 0;
	if (level->node->kind == YAML_MAP) {
		node->key = level->key;
		node->key_hash = level->key_hash;
		node->key_line = level->key_line;
		level->key = NULL;
	}
	if (p->children_count == p->children_room) {
		size_t room = p->children_room ? p->children_room * 2 : 256;
		struct yaml_node **more = reallocarray(p->children, room, sizeof(*more));

		if (!more)
			return fail_memory(p, node->line);
		p->children = more;
		p->children_room = room;
	}
	p->children[p->children_count++] = node;
	level->node->count++;
	return 0;
}

/* The tags of YAML itself say nothing here that the reader does not know; ours stay. */
static int tag_set(struct parse *p, struct yaml_node *node, const yaml_char_t *tag)
{
	static const char core[] = "tag:yaml.org,2002:";
	const char *text = (const char *)tag;

	node->tag = "";
	if (!text || !*text)
		return 0;
	if (strcmp(text, "!") == 0) { /* "not what it looks like": a string */
		node->quoted = true;
		return 0;
	}
	if (strncmp(text, core, sizeof(core) - 1) == 0) {
		node->quoted = node->quoted || strcmp(text + sizeof(core) - 1, "str") == 0;
		return 0;
	}
	node->tag = hb_arena_text(arena_of(p), text, strlen(text));
	return node->tag ? 0 : fail_memory(p, node->line);
}

static int node_new(struct parse *p, enum yaml_kind kind, const yaml_event_t *event,
                    const yaml_char_t *anchor, const yaml_char_t *tag, struct yaml_node **ret_node)
{
	int line = (int)event->start_mark.line + 1;
	struct yaml_node *node;

	if (anchor)
		return fail(p, line,
		            "anchor &%.*s, expected none: write the value where it is used",
		            QUOTE_MAX, (const char *)anchor);
	if (p->nodes++ >= NODES_MAX)
		return fail(p, line, "too many values, expected at most %u in one file", NODES_MAX);
	node = hb_arena_alloc(arena_of(p), sizeof(*node));
	if (!node)
		return fail_memory(p, line);
	node->kind = kind;
	node->line = line;
	node->text = "";
	*ret_node = node;
	return tag_set(p, node, tag);
}

static uint32_t hash_of(const char *text, size_t len)
{
	uint32_t hash = (uint32_t)len;

	for (size_t i = 0; i < len; i++)
		hash = hash * 31 + (unsigned char)text[i];
	return hash;
}

static int on_scalar(struct parse *p, const yaml_event_t *event)
{
	struct level *level = p->depth ? &p->levels[p->depth - 1] : NULL;
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	int err, line = (int)event->start_mark.line + 1;
	struct yaml_node *node;
	const char *text;

	if (memchr(value, 0, len))
		return fail(p, line, "a NUL character, expected text");
	text = hb_arena_text(arena_of(p), value, len);
	if (!text)
		return fail_memory(p, line);
	if (level && level->node->kind == YAML_MAP && !level->key) {
		if (event->data.scalar.anchor)
			return fail(p, line, "an anchor on a key, expected none");
		if (strcmp(text, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
			return fail(p, line, "merge key <<, expected the values themselves");
		level->key = text;
		level->key_hash = hash_of(text, len);
		level->key_line = line;
		return 0;
	}
	err = node_new(p, YAML_SCALAR, event, event->data.scalar.anchor, event->data.scalar.tag,
	               &node);
	if (err)
		return err;
	node->text = text;
	node->quoted = node->quoted || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	err = attach(p, node);
	return err ? err : deliver(p, node);
}

static int on_open(struct parse *p, const yaml_event_t *event)
{
	bool is_map = event->type == YAML_MAPPING_START_EVENT;
	const yaml_char_t *anchor =
	    is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
	const yaml_char_t *tag =
	    is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag;
	struct level *level = p->depth ? &p->levels[p->depth - 1] : NULL;
	int err, line = (int)event->start_mark.line + 1;
	struct yaml_node *node;

	if (level && level->node->kind == YAML_MAP && !level->key)
		return fail(p, line, "a list or map as a key, expected text");
	if (p->depth == DEPTH_MAX)
		return fail(p, line, "nested too deep, expected at most %d levels", DEPTH_MAX);
	err = node_new(p, is_map ? YAML_MAP : YAML_LIST, event, anchor, tag, &node);
	if (!err)
		err = attach(p, node);
	if (err)
		return err;
	p->levels[p->depth++] = (struct level){ .node = node, .first = p->children_count };
	return 0;
}

static int on_shut(struct parse *p)
{
	struct level *level = &p->levels[p->depth - 1];
	struct yaml_node *node = level->node;
	int err = 0;

	if (node->kind == YAML_MAP)
		err = check_duplicates(p, level);
	if (err)
		return err;
	p->depth--;
	if (node->count) {
		node->items = hb_arena_array(arena_of(p), node->count, sizeof(*node->items));
		if (!node->items)
			return fail_memory(p, node->line);
		memcpy(node->items, p->children + level->first, node->count * sizeof(*node->items));
	}
	p->children_count = level->first;
	return deliver(p, node);
}

static int on_event(struct parse *p, const yaml_event_t *event)
{
	int line = (int)event->start_mark.line + 1;

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (p->documents++)
			return fail(p, line, "a second document, expected one per file");
		return 0;
	case YAML_ALIAS_EVENT:
		return fail(p, line, "alias *%.*s, expected the value itself", QUOTE_MAX,
		            (const char *)event->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		return on_scalar(p, event);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return on_open(p, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_shut(p);
	default:
		return 0;
	}
}

/* libyaml names what it did not find; these say what to write instead. */
static const struct {
	const char *problem, *expected;
} hints[] = {
	{ "did not find expected key", "a key indented like its neighbours" },
	{ "mapping values are not allowed",
	  "one \"key: value\" a line, indented like its neighbours" },
	{ "could not find expected ':'", "a ':' after the key" },
	{ "did not find expected '-' indicator", "list items indented like their neighbours" },
	{ "block sequence entries are not allowed", "list items on lines of their own" },
	{ "cannot start any token",
	  "spaces rather than tabs, and quotes around special characters" },
	{ "did not find expected ',' or ']'", "',' or ']' to go on with or end the list" },
	{ "did not find expected ',' or '}'", "',' or '}' to go on with or end the map" },
	{ "unexpected end of stream", "the quote to be closed" },
	{ "did not find expected <document start>", "one document whose lines are indented alike" },
	{ "UTF-8", "UTF-8 text" },
	{ "control characters", "text without control characters" },
};

/* Lines up to @end bytes, and at most the last line of the text. */
static int line_at(const struct parse *p, size_t end)
{
	int line = 1;

	for (size_t i = 0; i < end && i + 1 < p->len; i++)
		line += p->text[i] == '\n';
	return line;
}

/* The reader counts bytes, everyone after it lines; the end of the file lies behind its last line.
 */
static int line_of_problem(const struct parse *p, const yaml_parser_t *parser)
{
	size_t line = parser->problem_mark.line + 1;
	int last = line_at(p, p->len);

	if (parser->error == YAML_READER_ERROR)
		return line_at(p, parser->problem_offset);
	return line < (size_t)last ? (int)line : last;
}

static int fail_syntax(struct parse *p, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "it does not parse";
	const char *expected = "well-formed YAML";
	char begun[48] = "";
	int line;

	if (parser->error == YAML_MEMORY_ERROR)
		return fail_memory(p, 1);
	for (size_t i = 0; i < HB_ARRAY_LEN(hints); i++) {
		if (strstr(problem, hints[i].problem)) {
			expected = hints[i].expected;
			break;
		}
	}
	line = line_of_problem(p, parser);
	if (parser->context && (int)parser->context_mark.line + 1 < line)
		snprintf(begun, sizeof(begun), " begun in line %zu", parser->context_mark.line + 1);
	return fail(p, line, "not YAML: %s%s%s%s, expected %s", problem, parser->context ? " " : "",
	            parser->context ? parser->context : "", begun, expected);
}

static int run(struct parse *p)
{
	yaml_parser_t parser;
	bool ended = false;
	int err = 0;

	if (!yaml_parser_initialize(&parser))
		return fail_memory(p, 1);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)p->text, p->len);
	while (!err && !ended) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			err = fail_syntax(p, &parser);
			break;
		}
		ended = event.type == YAML_STREAM_END_EVENT;
		err = on_event(p, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	free(p->children);
	hb_arena_done(&p->items);
	return err;
}

static int doc_new(const char *name, struct parse *p, char *why, size_t why_size)
{
	struct yaml_doc *doc = calloc(1, sizeof(*doc));

	*p = (struct parse){ .doc = doc, .why = why, .why_size = why_size };
	if (doc)
		doc->name = hb_arena_text(&doc->arena, name, strlen(name));
	if (!doc || !doc->name) {
		snprintf(why, why_size, "%s:1: no memory left", name);
		yaml_unload(doc);
		return -ENOMEM;
	}
	return 0;
}

static int fail_size(struct parse *p, size_t bytes)
{
	(void)fail(p, 1, "the file has %s%zu bytes, expected at most %u",
	           bytes > YAML_BYTES_MAX ? "" : "more than ", bytes, YAML_BYTES_MAX);
	return -EFBIG;
}

int yaml_parse_stream(const char *name, const char *text, size_t len,
                      const struct yaml_stream *stream, struct yaml_doc **ret_doc, char *why,
                      size_t why_size)
{
	struct parse p;
	int err = doc_new(name, &p, why, why_size);

	if (err)
		return err;
	p.text = text;
	p.len = len;
	p.stream = stream;
	err = len > YAML_BYTES_MAX ? fail_size(&p, len) : run(&p);
	if (err)
		yaml_unload(p.doc);
	else
		*ret_doc = p.doc;
	return err;
}

int yaml_parse(const char *name, const char *text, size_t len, struct yaml_doc **ret_doc, char *why,
               size_t why_size)
{
	return yaml_parse_stream(name, text, len, NULL, ret_doc, why, why_size);
}

/* Reads all of @fd, however its size was announced. */
static int read_all(struct parse *p, int fd, size_t announced, char **ret_text, size_t *ret_len)
{
	size_t room = announced + 1, len = 0;
	hb_cleanup(hb_free_ptr) char *text = malloc(room);

	while (text) {
		ssize_t got = read(fd, text + len, room - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			got = -errno;
			(void)fail(p, 1, "cannot be read: %s, expected a readable YAML file",
			           strerror(errno));
			return (int)got;
		}
		len += (size_t)got;
		if (len > YAML_BYTES_MAX)
			return fail_size(p, YAML_BYTES_MAX);
		if (got == 0) {
			*ret_len = len;
			*ret_text = hb_take(&text);
			return 0;
		}
		if (len == room) {
			char *more = reallocarray(text, room *= 2, 1);

			if (!more)
				break;
			text = more;
		}
	}
	return fail_memory(p, 1);
}

static int read_file(struct parse *p, const char *path, char **ret_text, size_t *ret_len)
{
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR))) {
		err = -errno;
		(void)fail(p, 1, "cannot be opened: %s, expected a readable YAML file",
		           strerror(-err));
		return err;
	}
	if (st.st_size > (off_t)YAML_BYTES_MAX)
		return fail_size(p, (size_t)st.st_size);
	return read_all(p, fd, (size_t)st.st_size + 4096, ret_text, ret_len);
}

int yaml_load_stream(const char *path, const struct yaml_stream *stream, struct yaml_doc **ret_doc,
                     char *why, size_t why_size)
{
	hb_cleanup(hb_free_ptr) char *text = NULL;
	struct parse p;
	int err = doc_new(path, &p, why, why_size);

	if (err)
		return err;
	err = read_file(&p, path, &text, &p.len);
	p.text = text;
	p.stream = stream;
	if (!err)
		err = run(&p);
	if (err)
		yaml_unload(p.doc);
	else
		*ret_doc = p.doc;
	return err;
}

int yaml_load(const char *path, struct yaml_doc **ret_doc, char *why, size_t why_size)
{
	return yaml_load_stream(path, NULL, ret_doc, why, why_size);
}

void yaml_unload(struct yaml_doc *doc)
{
	if (!doc)
		return;
	hb_arena_done(&doc->arena);
	free(doc);
}

const struct yaml_node *yaml_root(const struct yaml_doc *doc)
{
	return doc->root;
}

const char *yaml_name(const struct yaml_doc *doc)
{
	return doc->name;
}
