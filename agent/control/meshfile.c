/*
 * meshfile: the document, its three sections, and what must not come twice in them.
 */
#include "control/meshfile.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "control/meshfile_parts.h"

struct section {
	const char *key, *what;
	int (*read)(struct reader *r, const struct yaml_node *node);
	/* What a message calls it. */
	void (*name)(const struct reader *r, const struct yaml_node *node, char *out, size_t size);
	const char *unique, *unique_key; /* the key in whose line that stands; NULL: the item's */
};

static const char *text_of(const struct yaml_node *node, const char *key)
{
	const struct yaml_node *child = node_get(node, key);

	return child && child->kind == YAML_SCALAR ? child->text : "";
}

static void name_uid(const struct reader *r, const struct yaml_node *node, char *out, size_t size)
{
	snprintf(out, size, "%.64s", r->uid);
}

static void name_policy(const struct reader *r, const struct yaml_node *node, char *out,
                        size_t size)
{
	snprintf(out, size, "%.64s/%.64s", text_of(node, "namespace"), text_of(node, "name"));
}

static void name_service(const struct reader *r, const struct yaml_node *node, char *out,
                         size_t size)
{
	snprintf(out, size, "%.64s/%.64s", text_of(node, "namespace"), text_of(node, "hostname"));
}

static const struct section sections[] = {
	{ "workloads", "workload", meshfile_workload, name_uid, "uid", "uid" },
	{ "policies", "policy", meshfile_policy, name_policy, "namespace and name", NULL },
	{ "services", "service", meshfile_service, name_service, "namespace and hostname", NULL },
};

static int item_read(struct reader *r, const struct section *section, const struct yaml_node *item)
{
	const struct yaml_node *unique =
	    section->unique_key ? node_get(item, section->unique_key) : NULL;
	int err, line = unique ? unique->line : item->line;
	char name[160];

	r->key = section->key;
	r->uid = "";
	store_at_line(r->store, (uint32_t)line);
	*r->why = 0;
	err = section->read(r, item);
	if (err == -EEXIST) {
		section->name(r, item, name, sizeof(name));
		return reader_fail(
		    r, line, "the %s \"%s\" is in line %u too, expected a %s of its own",
		    section->what, name, store_first_line(r->store), section->unique);
	}
	if (err && !*r->why) /* the store's word, not the reader's */
		err = err == -ENOMEM ? reader_no_memory(r, line)
		                     : reader_fail(r, line, "%s", store_why(r->store));
	return err;
}

static int on_item(void *owner, const char *key, const struct yaml_node *item)
{
	struct reader *r = owner;
	int err = 0;

	for (size_t i = 0; i < HB_ARRAY_LEN(sections); i++) {
		if (strcmp(sections[i].key, key) == 0)
			err = item_read(r, &sections[i], item);
	}
	hb_arena_clear(r->arena);
	return err; /* an unknown section is told of at the end, by document_read() */
}

/* What is left when the items have gone by: the sections themselves. */
static int document_read(struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *nodes[HB_ARRAY_LEN(sections)] = { 0 };
	struct field fields[HB_ARRAY_LEN(sections)];
	int err;

	if (!root)
		return reader_fail(r, 1,
		                   "the file is empty, expected workloads, services or policies");
	for (size_t i = 0; i < HB_ARRAY_LEN(sections); i++)
		fields[i] = (struct field){
			.key = sections[i].key,
			.type = FIELD_NODE,
			.offset = i * sizeof(nodes[0]),
		};
	r->key = r->file;
	err = fields_read(r, root, "a mesh file", fields, HB_ARRAY_LEN(fields), nodes);
	for (size_t i = 0; i < HB_ARRAY_LEN(sections) && !err; i++) {
		char expected[32];

		snprintf(expected, sizeof(expected), "a list of %s", sections[i].key);
		r->key = sections[i].key;
		if (nodes[i])
			err = reader_list(r, nodes[i], expected);
	}
	return err;
}

struct input { /* a file, or a text in memory */
	const char *name, *text;
	size_t len;
};

static int sync_input(struct store *store, const struct input *input, char *why, size_t why_size)
{
	struct hb_arena arena = { 0 };
	struct reader r = {
		.file = input->name,
		.arena = &arena,
		.store = store,
		.why = why,
		.why_size = why_size,
	};
	struct yaml_stream stream = { .on_item = on_item, .owner = &r };
	struct yaml_doc *doc = NULL;
	int err;

	assert(why_size > 0);
	store_sync_begin(store, STORE_FILE);
	err = input->text ? yaml_parse_stream(input->name, input->text, input->len, &stream, &doc,
	                                      why, why_size)
	                  : yaml_load_stream(input->name, &stream, &doc, why, why_size);
	if (!err)
		err = document_read(&r, yaml_root(doc));
	if (!err && store_sync_end(store) < 0)
		err = reader_no_memory(&r, 1);
	if (err)
		store_discard(store);
	hb_arena_done(&arena);
	yaml_unload(doc);
	return err;
}

int meshfile_sync(struct store *store, const char *path, char *why, size_t why_size)
{
	return sync_input(store, &(struct input){ .name = path }, why, why_size);
}

int meshfile_sync_text(struct store *store, const char *name, const char *text, size_t len,
                       char *why, size_t why_size)
{
	return sync_input(store, &(struct input){ name, text, len }, why, why_size);
}

static int load_input(const struct input *input, struct snapshot **ret_snapshot, char *why,
                      size_t why_size)
{
	struct store *store = store_new(NULL);
	int err = store ? sync_input(store, input, why, why_size) : -ENOMEM;

	if (!err)
		err = store_publish(store, ret_snapshot, NULL);
	if (err == -ENOMEM)
		snprintf(why, why_size,
		         "%s:1: no memory left for this file, expected a smaller one", input->name);
	store_free(store);
	return err;
}

int meshfile_load(const char *path, struct snapshot **ret_snapshot, char *why, size_t why_size)
{
	return load_input(&(struct input){ .name = path }, ret_snapshot, why, why_size);
}

int meshfile_parse(const char *name, const char *text, size_t len, struct snapshot **ret_snapshot,
                   char *why, size_t why_size)
{
	return load_input(&(struct input){ name, text, len }, ret_snapshot, why, why_size);
}
