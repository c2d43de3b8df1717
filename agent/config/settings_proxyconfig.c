/*
 * settings_proxyconfig: what Istio's proxy config document says of our settings (reference/
 * controlplane 9.1): PROXY_CONFIG, and the defaultConfig of a MeshConfig file. Its keys are few,
 * all others are somebody else's; proxyMetadata holds what would be ISTIO_META_ variables.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "config/settings_table.h"
#include "config/yaml.h"

#define METADATA_PREFIX "ISTIO_META_"

static const struct {
	const char *theirs, *ours;
} keys[] = {
	{ "discoveryAddress", "xdsAddress" },
	{ "proxyAdminPort", "adminPort" },
	{ "statsPort", "statsPort" },
	{ "concurrency", "workerThreads" },
};

static void free_doc(struct yaml_doc **doc)
{
	yaml_unload(*doc);
}

static const struct yaml_node *child_of(const struct yaml_node *map, const char *key)
{
	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->count; i++)
		if (strcmp(map->items[i]->key, key) == 0)
			return map->items[i];
	return NULL;
}

/* Two rows may write one field; here each has its own. */
static int set(struct settings_loaded *loaded, const struct setting_row *row, const char *name,
               const struct yaml_node *node, char *why, size_t why_size)
{
	char sentence[320];
	int err;

	if (node->kind != YAML_SCALAR) {
		snprintf(why, why_size, "%s:%d: %s: is no plain value", name, node->line,
		         node->key);
		return -EINVAL;
	}
	err = setting_set(row, node->text, &loaded->settings, &loaded->texts, sentence,
	                  sizeof(sentence));
	if (err) {
		snprintf(why, why_size, "%s:%d: %s: %s", name, node->line, node->key, sentence);
		return err;
	}
	loaded->sources[row - setting_rows] =
	    (struct setting_source){ SETTING_ENVIRONMENT, 0, "PROXY_CONFIG" };
	return 0;
}

/* The row that has the variable ISTIO_META_<key>, where the key may have that prefix already. */
static const struct setting_row *row_of_metadata(const char *key)
{
	char variable[128];

	if (strncmp(key, METADATA_PREFIX, strlen(METADATA_PREFIX)) == 0)
		key += strlen(METADATA_PREFIX);
	snprintf(variable, sizeof(variable), METADATA_PREFIX "%s", key);
	for (size_t i = 0; i < setting_rows_count * SETTING_VARIABLES; i++) {
		const struct setting_row *row = &setting_rows[i / SETTING_VARIABLES];
		const char *at = row->variables[i % SETTING_VARIABLES];

		if (at && strcmp(at, variable) == 0)
			return row;
	}
	return NULL;
}

#define METADATA_MAX 256 /* entries of one document that are kept for istiod */

/* Whatever it is, istiod hears of it. A document adds to those before it. */
static int keep_metadata(struct settings_loaded *loaded, const struct yaml_node *map)
{
	struct settings *s = &loaded->settings;
	size_t count = s->metadata_count;
	struct setting_pair *pairs;

	if (!map || map->kind != YAML_MAP || !map->count)
		return 0;
	pairs = reallocarray(loaded->metadata, count + map->count, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	s->metadata = loaded->metadata = pairs;
	for (size_t i = 0; i < map->count && i < METADATA_MAX; i++) {
		const struct yaml_node *node = map->items[i];
		const char *key = setting_text_add(&loaded->texts, node->key);
		const char *value =
		    node->kind == YAML_SCALAR ? setting_text_add(&loaded->texts, node->text) : "";

		if (!key || !value)
			return -ENOMEM;
		if (node->kind == YAML_SCALAR)
			pairs[s->metadata_count++] = (struct setting_pair){ key, value };
	}
	return 0;
}

static int read_metadata(struct settings_loaded *loaded, const char *name,
                         const struct yaml_node *map, char *why, size_t why_size)
{
	int err = 0;

	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->count && !err; i++) {
		const struct setting_row *row = row_of_metadata(map->items[i]->key);

		if (row)
			err = set(loaded, row, name, map->items[i], why, why_size);
	}
	return err;
}

static int read_document(struct settings_loaded *loaded, const char *name,
                         const struct yaml_node *root, char *why, size_t why_size)
{
	const struct yaml_node *metadata = child_of(root, "proxyMetadata");
	int err = read_metadata(loaded, name, metadata, why, why_size);

	if (!err && keep_metadata(loaded, metadata) < 0) {
		snprintf(why, why_size, "%s: no memory", name);
		err = -ENOMEM;
	}
	for (size_t i = 0; i < HB_ARRAY_LEN(keys) && !err; i++) {
		const struct yaml_node *node = child_of(root, keys[i].theirs);

		if (node)
			err = set(loaded, setting_lookup(keys[i].ours), name, node, why, why_size);
	}
	return err;
}

int settings_read_proxy_config(struct settings_loaded *loaded, const char *text, char *why,
                               size_t why_size)
{
	hb_cleanup(free_doc) struct yaml_doc *doc = NULL;
	int err = yaml_parse("PROXY_CONFIG", text, strlen(text), &doc, why, why_size);

	return err ? err : read_document(loaded, "PROXY_CONFIG", yaml_root(doc), why, why_size);
}

int settings_read_mesh_config(struct settings_loaded *loaded, const char *path, char *why,
                              size_t why_size)
{
	hb_cleanup(free_doc) struct yaml_doc *doc = NULL;
	int err = yaml_load(path, &doc, why, why_size);

	if (err == -ENOENT)
		return 0;
	return err ? err
	           : read_document(loaded, path, child_of(yaml_root(doc), "defaultConfig"), why,
	                           why_size);
}
