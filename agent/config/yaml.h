/*
 * yaml: a YAML document as a tree that remembers lines, and one sentence when it is not one.
 * The only file that sees libyaml. Bounded: bytes, nodes, depth. Anchors and merge keys are
 * refused; several documents are refused. Pure but for reading the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	int line;         /* from 1 */
	const char *tag;  /* "!Exact"; "" without one */
	const char *text; /* SCALAR, UTF-8, ended by NUL */
	bool quoted;      /* SCALAR: it was quoted, so it is a string; null and {} are not */
	const char *key;  /* child of a MAP */
	int key_line;
	uint32_t key_hash;
	struct yaml_node **items; /* LIST and MAP: children */
	size_t count;
};

struct yaml_doc; /* owns all nodes (an arena) */

/*
 * For large files: what stands in a list under a key of the root is given item by item, and is
 * forgotten when on_item() returns; these lists are empty in the document. An error ends the
 * reading and is given on; the sentence in @why is then on_item()'s.
 */
struct yaml_stream {
	int (*on_item)(void *owner, const char *key, const struct yaml_node *item);
	void *owner;
};

#define YAML_BYTES_MAX (64u << 20)

/* 0 or -errno with "<file>:<line>: ..." in @why. root is NULL for an empty document. */
int yaml_load(const char *path, struct yaml_doc **ret_doc, char *why, size_t why_size);
int yaml_parse(const char *name, const char *text, size_t len, struct yaml_doc **ret_doc, char *why,
               size_t why_size);
int yaml_load_stream(const char *path, const struct yaml_stream *stream, struct yaml_doc **ret_doc,
                     char *why, size_t why_size);
int yaml_parse_stream(const char *name, const char *text, size_t len,
                      const struct yaml_stream *stream, struct yaml_doc **ret_doc, char *why,
                      size_t why_size);
/* Takes NULL. Not yaml_free: libyaml exports that name for itself and would call ours. */
void yaml_unload(struct yaml_doc *doc);
const struct yaml_node *yaml_root(const struct yaml_doc *doc);
const char *yaml_name(const struct yaml_doc *doc);
