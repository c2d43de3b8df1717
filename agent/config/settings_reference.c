/*
 * settings_reference: the table as a page for people, and one agent's values as JSON.
 */
#include <string.h>

#include <jansson.h>

#include "config/settings_table.h"

static void write_row(FILE *out, const struct setting_row *row)
{
	char expected[128];

	fprintf(out, "| %s%s%s |", row->key ? "`" : "", row->key ? row->key : "–",
	        row->key ? "`" : "");
	for (size_t v = 0; v < SETTING_VARIABLES && row->variables[v]; v++)
		fprintf(out, "%s `%s`", v ? "," : "", row->variables[v]);
	fprintf(out, "%s | %s | %s | %s%s%s | %s |\n", row->variables[0] ? "" : " –",
	        setting_type_name(row->type), setting_expected(row, expected, sizeof(expected)),
	        row->initial ? "`" : "", row->initial ? row->initial : "–", row->initial ? "`" : "",
	        row->help);
}

static const char intro[] =
    "# Settings\n"
    "\n"
    "Generated from the table in `agent/config/settings_table.c`; do not edit.\n"
    "\n"
    "`culvertd --config FILE` reads a YAML file with the keys below. Most settings can also be\n"
    "given by the environment variable that ztunnel knows them by, with the same meaning. A\n"
    "variable wins over the file, and the file over the default. An unknown key, and a value\n"
    "that does not fit, ends the start with one sentence that names the place.\n"
    "\n"
    "Without `--config` it starts as ztunnel does. Between the default and the variables then "
    "stand\n"
    "`defaultConfig` of `./etc/istio/config/mesh`, if there is such a file, and in any case\n"
    "`PROXY_CONFIG`: of both, `discoveryAddress`, `proxyAdminPort`, `statsPort`, `concurrency`, "
    "and the `ISTIO_META_` "
    "variables of\n"
    "this page in `proxyMetadata`.\n"
    "\n"
    "Durations are numbers with a unit (`ms`, `s`, `m`, `h`, `d`) and may be joined: `1h30m`. As "
    "with ztunnel a\n"
    "number alone is seconds, and `1h + 30 min`, `2 weeks` are understood.\n"
    "Sizes are bytes, or numbers with `Ki`, `Mi` or `Gi`. Booleans are exactly `true` or "
    "`false`.\n";

static const char headers[] =
    "\n## Request headers\n"
    "\n"
    "`XDS_HEADER_<name>` and `CA_HEADER_<name>` add a header to each request to the one or the "
    "other\n"
    "server, its name in small letters, at most 32 each. What they say is shown nowhere.\n";

static const char pods[] =
    "\n## Standalone pods\n"
    "\n"
    "`pods` lists the pods of this machine when there is no Kubernetes (at most 4096). Each has:\n"
    "\n"
    "| Key | Value |\n"
    "|---|---|\n"
    "| `name`, `namespace` | the workload of the mesh file that it is |\n"
    "| `serviceAccount` | its identity, when the workload's own is not meant |\n"
    "| `netns` | absolute path of its network namespace, such as `/run/netns/pod-a` |\n"
    "\n"
    "```yaml\n"
    "nodeName: node-1\n"
    "meshFile: /etc/culvert/mesh.yaml\n"
    "fakeCa: true\n"
    "pods:\n"
    "- {name: client, namespace: default, netns: /run/netns/client}\n"
    "```\n";

static const char unserved[] =
    "\n## Variables of ztunnel that are not served yet\n"
    "\n"
    "Each of these that is set is named in a warning at start, unless its value asks for what\n"
    "happens anyway.\n"
    "\n"
    "| Variable | About | No warning for |\n"
    "|---|---|---|\n";

void settings_write_reference(FILE *out)
{
	fputs(intro, out);
	for (size_t i = 0; i < setting_rows_count; i++) {
		const struct setting_row *row = &setting_rows[i];

		if (row->group)
			fprintf(out,
			        "\n## %s\n\n"
			        "| Key | Variable | Type | Range | Default | Meaning |\n"
			        "|---|---|---|---|---|---|\n",
			        row->group);
		write_row(out, row);
	}
	fputs(headers, out);
	fputs(pods, out);
	fputs(unserved, out);
	for (size_t i = 0; i < setting_unserved_count; i++) {
		const struct setting_unserved *row = &setting_unserved[i];

		fprintf(out, "| `%s%s` | %s | %s%s%s |\n", row->variable, row->prefix ? "…" : "",
		        row->help, row->harmless && *row->harmless ? "`" : "",
		        !row->harmless   ? ""
		        : *row->harmless ? row->harmless
		                         : "the empty value",
		        row->harmless && *row->harmless ? "`" : "");
	}
}

static json_t *value_json(const struct setting_row *row, const struct settings *settings)
{
	const char *field = (const char *)settings + row->offset;
	char text[64];

	switch (row->type) {
	case SETTING_BOOL:
		return json_boolean(*(const bool *)field);
	case SETTING_U32:
	case SETTING_BYTES:
	case SETTING_CPUS:
		return json_integer(*(const uint32_t *)(const void *)field);
	case SETTING_TEXT:
		/* Whole documents do not belong into a dump of settings. */
		return json_sprintf("(%zu bytes)",
		                    strlen(*(const char *const *)(const void *)field));
	default:
		return json_string(setting_format(row, settings, text, sizeof(text)));
	}
}

static json_t *row_json(const struct setting_row *row, const struct settings *settings,
                        const struct setting_source *source)
{
	json_t *object = json_pack("{s:o}", "value", value_json(row, settings));

	if (object && source->from == SETTING_FILE)
		json_object_set_new(object, "from", json_sprintf("line %d", source->line));
	else if (object)
		json_object_set_new(object, "from",
		                    json_string(source->variable ? source->variable : "default"));
	return object;
}

static json_t *pods_json(const struct settings *settings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < settings->pods_count; i++) {
		const struct setting_pod *pod = &settings->pods[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", pod->name,
		                                      "namespace", pod->ns, "serviceAccount",
		                                      pod->service_account, "netns", pod->netns));
	}
	return list;
}

char *settings_dump_json(const struct settings_loaded *loaded)
{
	json_t *object = json_object();
	char *text;

	for (size_t i = 0; i < setting_rows_count; i++)
		/* The grace period only sets another row's field, which is shown there. */
		if (setting_rows[i].type != SETTING_GRACE)
			json_object_set_new(
			    object, setting_name(&setting_rows[i]),
			    row_json(&setting_rows[i], &loaded->settings, &loaded->sources[i]));
	json_object_set_new(object, "pods", pods_json(&loaded->settings));
	text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
	json_decref(object);
	return text;
}
