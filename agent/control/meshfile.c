/*
 * meshfile: the document, its three sections, and what must not come twice in them.
 */
#include "control/meshfile.h"

#include <stdio.h>
#include <string.h>

#include "control/meshfile_parts.h"

struct section {
	const char *key, *what, *unique; /* "workloads", "workload", "uid" */
	int (*read)(struct reader *r, const struct yaml_node *node, struct item_key *ret_key);
};

static const struct section sections[] = {
	{ "workloads", "workload", "uid", meshfile_workload },
	{ "policies", "policy", "namespace and name", meshfile_policy },
	{ "services", "service", "namespace and hostname", meshfile_service },
};

static int fail_twice(struct reader *r, const struct section *section, const struct item_key *keys,
                      const struct item_key *last)
{
	const struct item_key *first = keys;

	while (first->ns != last->ns || first->name != last->name)
		first++;
	return reader_fail(r, last->line,
	                   "the %s \"%s%s%.64s\" is in line %d too, expected a %s of its own",
	                   section->what, last->ns, *last->ns ? "/" : "", last->name, first->line,
	                   section->unique);
}

static int section_read(struct reader *r, const struct yaml_node *node,
                        const struct section *section)
{
	hb_cleanup(hb_free_ptr) struct item_key *keys = calloc(node->count + 1, sizeof(*keys));
	char expected[32];
	int err;

	if (!keys)
		return reader_no_memory(r, node->line);
	snprintf(expected, sizeof(expected), "a list of %s", section->key);
	r->key = section->key;
	err = reader_list(r, node, expected);
	for (size_t i = 0; i < node->count && !err; i++) {
		r->key = section->key;
		err = section->read(r, node->items[i], &keys[i]);
		if (err == -EEXIST)
			return fail_twice(r, section, keys, &keys[i]);
	}
	return err;
}

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
		if (nodes[i])
			err = section_read(r, nodes[i], &sections[i]);
	}
	return err;
}

static int doc_read(struct yaml_doc *doc, struct snapshot **ret_snapshot, char *why,
                    size_t why_size)
{
	struct reader r = {
		.file = yaml_name(doc),
		.builder = builder_new(),
		.why = why,
		.why_size = why_size,
	};
	int err = r.builder ? document_read(&r, yaml_root(doc)) : reader_no_memory(&r, 1);

	if (err)
		builder_free(r.builder);
	else if (builder_publish(r.builder, ret_snapshot) < 0)
		err = reader_no_memory(&r, 1);
	yaml_unload(doc);
	return err;
}

int meshfile_load(const char *path, struct snapshot **ret_snapshot, char *why, size_t why_size)
{
	struct yaml_doc *doc;
	int err = yaml_load(path, &doc, why, why_size);

	return err ? err : doc_read(doc, ret_snapshot, why, why_size);
}

int meshfile_parse(const char *name, const char *text, size_t len, struct snapshot **ret_snapshot,
                   char *why, size_t why_size)
{
	struct yaml_doc *doc;
	int err = yaml_parse(name, text, len, &doc, why, why_size);

	return err ? err : doc_read(doc, ret_snapshot, why, why_size);
}
