/*
 * settings_file: the YAML settings file onto the table, and its list of pods.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hbone/base.h>

#include "config/settings_table.h"
#include "config/yaml.h"

#define PODS_MAX 4096

struct reading {
	struct settings_loaded *loaded;
	const char *path;
	char *why;
	size_t why_size;
};

static void free_doc(struct yaml_doc **doc)
{
	yaml_unload(*doc);
}

__attribute__((format(printf, 3, 4))) static int refuse(struct reading *r, int line,
                                                        const char *format, ...)
{
	char sentence[512];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	setting_one_line(sentence);
	snprintf(r->why, r->why_size, "%s:%d: %s", r->path, line, sentence);
	return -EINVAL;
}

static const char *kind_name(const struct yaml_node *node)
{
	return node->kind == YAML_LIST ? "a list" : node->kind == YAML_MAP ? "a map" : "a value";
}

/* `key:` with nothing behind, or an explicit null. */
static bool is_null(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted &&
	       (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

static bool takes_quotes(enum setting_type type)
{
	return type != SETTING_BOOL && type != SETTING_U32;
}

static int read_value(struct reading *r, const struct setting_row *row,
                      const struct yaml_node *node)
{
	struct setting_source *source = &r->loaded->sources[row - setting_rows];
	char sentence[320], expected[128];
	int err;

	setting_expected(row, expected, sizeof(expected));
	if (source->from == SETTING_FILE)
		return refuse(r, node->key_line, "%s: is given again, expected once (line %d)",
		              row->key, source->line);
	if (node->kind != YAML_SCALAR)
		return refuse(r, node->line, "%s: is %s, expected %s", row->key, kind_name(node),
		              expected);
	if (is_null(node))
		return refuse(r, node->key_line, "%s: is empty, expected %s", row->key, expected);
	if (*node->tag)
		return refuse(r, node->line, "%s: carries the tag %s, expected a plain value",
		              row->key, node->tag);
	if (node->quoted && !takes_quotes(row->type))
		return refuse(r, node->line, "%s: is a quoted string, expected %s without quotes",
		              row->key, expected);
	err = setting_set(row, node->text, &r->loaded->settings, &r->loaded->texts, sentence,
	                  sizeof(sentence));
	if (err) {
		refuse(r, node->line, "%s: %s", row->key, sentence);
		return err;
	}
	*source = (struct setting_source){ SETTING_FILE, node->key_line, NULL };
	return 0;
}

/* clang-format off */
static const struct pod_key {
	const char *key, *expected;
	size_t offset, max;
	bool required;
} pod_keys[] = {
	{ "name", "a pod's name", offsetof(struct setting_pod, name), 253, true },
	{ "namespace", "a namespace", offsetof(struct setting_pod, ns), 63, true },
	{ "serviceAccount", "a service account", offsetof(struct setting_pod, service_account), 253, false },
	{ "netns", "an absolute path to a network namespace", offsetof(struct setting_pod, netns), PATH_MAX - 1, true },
};
/* clang-format on */

static const struct pod_key *pod_key_lookup(const char *key)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(pod_keys); i++)
		if (strcmp(pod_keys[i].key, key) == 0)
			return &pod_keys[i];
	return NULL;
}

static const char **pod_field(struct setting_pod *pod, const struct pod_key *key)
{
	return (const char **)(void *)((char *)pod + key->offset);
}

static int read_pod_value(struct reading *r, struct setting_pod *pod, const struct yaml_node *node)
{
	const struct pod_key *key = pod_key_lookup(node->key);
	char quoted[80];
	const char **field;

	if (!key)
		return refuse(r, node->key_line,
		              "pods: %s is unknown, expected name, namespace, serviceAccount or "
		              "netns",
		              setting_quote(node->key, quoted, sizeof(quoted)));
	field = pod_field(pod, key);
	if (*field)
		return refuse(r, node->key_line, "pods: %s is given again, expected once",
		              node->key);
	if (node->kind != YAML_SCALAR)
		return refuse(r, node->line, "pods: %s is %s, expected %s", node->key,
		              kind_name(node), key->expected);
	if (*node->tag)
		return refuse(r, node->line, "pods: %s carries the tag %s, expected %s", node->key,
		              node->tag, key->expected);
	if (key->required && is_null(node))
		return refuse(r, node->line, "pods: %s is empty, expected %s", node->key,
		              key->expected);
	if ((key->required && !*node->text) || strlen(node->text) > key->max ||
	    (strcmp(node->key, "netns") == 0 && node->text[0] != '/'))
		return refuse(r, node->line,
		              "pods: %s %s does not fit, expected %s of 1 to %zu bytes", node->key,
		              setting_quote(node->text, quoted, sizeof(quoted)), key->expected,
		              key->max);
	*field = setting_text_add(&r->loaded->texts, is_null(node) ? "" : node->text);
	return *field ? 0 : -ENOMEM;
}

static int check_pod(struct reading *r, const struct setting_pod *pod,
                     const struct setting_pod *end)
{
	for (const struct setting_pod *other = r->loaded->pods; other < end; other++) {
		if (strcmp(other->name, pod->name) == 0 && strcmp(other->ns, pod->ns) == 0)
			return refuse(r, pod->line,
			              "pods: %s/%s is given again, expected once (line %d)",
			              pod->ns, pod->name, other->line);
		if (strcmp(other->netns, pod->netns) == 0)
			return refuse(r, pod->line,
			              "pods: netns %s is given again, expected one pod for each "
			              "(line %d)",
			              pod->netns, other->line);
	}
	return 0;
}

static int read_pod(struct reading *r, struct setting_pod *pod, const struct yaml_node *node)
{
	int err = 0;

	if (node->kind != YAML_MAP)
		return refuse(r, node->line,
		              "pods: is a list of %s, expected of maps with name, "
		              "namespace and netns",
		              node->kind == YAML_LIST ? "lists" : "values");
	pod->line = node->line;
	for (size_t i = 0; i < node->count && !err; i++)
		err = read_pod_value(r, pod, node->items[i]);
	if (err)
		return err;
	for (size_t i = 0; i < HB_ARRAY_LEN(pod_keys); i++)
		if (pod_keys[i].required && !*pod_field(pod, &pod_keys[i]))
			return refuse(r, node->line, "pods: %s is missing, expected %s",
			              pod_keys[i].key, pod_keys[i].expected);
	if (!pod->service_account)
		pod->service_account = "";
	return check_pod(r, pod, pod);
}

static int read_pods(struct reading *r, const struct yaml_node *node)
{
	struct settings_loaded *loaded = r->loaded;

	if (loaded->pods)
		return refuse(r, node->key_line, "pods: is given again, expected once");
	if (is_null(node))
		return 0;
	if (node->kind != YAML_LIST)
		return refuse(r, node->line, "pods: is %s, expected a list of pods",
		              kind_name(node));
	if (node->count > PODS_MAX)
		return refuse(r, node->line, "pods: has %zu items, expected at most %d",
		              node->count, PODS_MAX);
	loaded->pods = calloc(node->count + 1, sizeof(*loaded->pods));
	if (!loaded->pods)
		return -ENOMEM;
	for (size_t i = 0; i < node->count; i++) {
		int err = read_pod(r, &loaded->pods[i], node->items[i]);

		if (err)
			return err;
	}
	loaded->settings.pods = loaded->pods;
	loaded->settings.pods_count = node->count;
	return 0;
}

static int read_key(struct reading *r, const struct yaml_node *node)
{
	const struct setting_row *row = setting_lookup(node->key);
	const char *meant;
	char quoted[80];

	if (strcmp(node->key, "pods") == 0)
		return read_pods(r, node);
	if (row)
		return read_value(r, row, node);
	meant = setting_suggest(node->key);
	return refuse(r, node->key_line, "%s is unknown, expected %s",
	              setting_quote(node->key, quoted, sizeof(quoted)),
	              meant ? meant : "one of the keys in docs/settings.md");
}

int settings_read_file(struct settings_loaded *loaded, const char *path, char *why, size_t why_size)
{
	struct reading r = { loaded, path, why, why_size };
	hb_cleanup(free_doc) struct yaml_doc *doc = NULL;
	const struct yaml_node *root;
	int err = yaml_load(path, &doc, why, why_size);

	if (err)
		return err;
	root = yaml_root(doc);
	/* An empty file sets nothing; that is a file somebody meant to fill. */
	if (!root || is_null(root))
		return refuse(&r, 1, "the file is empty, expected settings such as nodeName: n1");
	if (root->kind != YAML_MAP)
		return refuse(&r, root->line,
		              "the file is %s, expected settings such as "
		              "nodeName: n1",
		              kind_name(root));
	snprintf(why, why_size, "no memory");
	for (size_t i = 0; i < root->count && !err; i++)
		err = read_key(&r, root->items[i]);
	return err;
}
