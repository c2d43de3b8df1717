/*
 * xds_node: the metadata is gathered as JSON, and written as google.protobuf.Struct.
 */
#include "control/xds_node.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <hbone/base.h>

#include "config/settings.h"

#define META      "ISTIO_META_"
#define META_JSON "ISTIO_METAJSON_"
#define DEPTH_MAX 32 /* of JSON in JSON */

/* Tags: number and wire type (1: 8 bytes, 2: bytes). */
enum {
	NODE_ID = 1 << 3 | 2,
	NODE_METADATA = 3 << 3 | 2,
	STRUCT_FIELDS = 1 << 3 | 2,
	LIST_VALUES = 1 << 3 | 2,
	PAIR_KEY = 1 << 3 | 2,
	PAIR_VALUE = 2 << 3 | 2,
	VALUE_NULL = 1 << 3 | 0,
	VALUE_NUMBER = 2 << 3 | 1,
	VALUE_STRING = 3 << 3 | 2,
	VALUE_BOOL = 4 << 3 | 0,
	VALUE_STRUCT = 5 << 3 | 2,
	VALUE_LIST = 6 << 3 | 2,
};

struct gathering {
	const struct xds_node_options *options;
	json_t *all;
	size_t bytes; /* of what is in it, roughly */
};

static void skip(const struct gathering *g, const char *key, const char *why)
{
	if (g->options->on_skipped)
		g->options->on_skipped(g->options->owner, key, why);
}

/*
 * Writing. A stream into memory remembers that it had none, and says so when it is closed.
 */
static void bytes_write(FILE *out, uint8_t tag, const void *bytes, size_t size)
{
	size_t left = size;

	putc(tag, out);
	for (; left >= 0x80; left >>= 7)
		putc((int)(left & 0x7f) | 0x80, out);
	putc((int)left, out);
	fwrite(bytes, 1, size, out);
}

/* A message in a message is written aside, for its size stands before it. */
struct aside {
	FILE *out;
	char *bytes;
	size_t size;
};

static FILE *aside_begin(struct aside *aside)
{
	*aside = (struct aside){ 0 };
	aside->out = open_memstream(&aside->bytes, &aside->size);
	return aside->out;
}

/* False: no memory. */
static bool aside_end(struct aside *aside, FILE *out, uint8_t tag, bool good)
{
	good = fclose(aside->out) == 0 && good;
	if (good)
		bytes_write(out, tag, aside->bytes, aside->size);
	free(aside->bytes);
	return good;
}

static bool value_write(FILE *out, const json_t *value);

static bool pair_write(FILE *out, const char *key, const json_t *value)
{
	struct aside pair, inner;
	bool good;

	if (!aside_begin(&pair))
		return false;
	bytes_write(pair.out, PAIR_KEY, key, strlen(key));
	good = aside_begin(&inner);
	if (good)
		good = aside_end(&inner, pair.out, PAIR_VALUE, value_write(inner.out, value));
	return aside_end(&pair, out, STRUCT_FIELDS, good);
}

static bool object_write(FILE *out, const json_t *object)
{
	json_t *all = (json_t *)(uintptr_t)object; /* jansson iterates over what could be changed */
	const char *key;
	json_t *value;

	json_object_foreach(all, key, value)
	{
		if (!pair_write(out, key, value))
			return false;
	}
	return true;
}

static bool list_write(FILE *out, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct aside inner;

		if (!aside_begin(&inner))
			return false;
		if (!aside_end(&inner, out, LIST_VALUES,
		               value_write(inner.out, json_array_get(list, i))))
			return false;
	}
	return true;
}

static void number_write(FILE *out, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	putc(VALUE_NUMBER, out);
	for (unsigned i = 0; i < 64; i += 8)
		putc((int)(bits >> i & 0xff), out);
}

static void bool_write(FILE *out, uint8_t tag, bool number)
{
	putc(tag, out);
	putc(number, out);
}

static bool value_write(FILE *out, const json_t *value)
{
	struct aside inner;

	switch (json_typeof(value)) {
	case JSON_STRING:
		bytes_write(out, VALUE_STRING, json_string_value(value), json_string_length(value));
		return true;
	case JSON_INTEGER:
	case JSON_REAL:
		number_write(out, json_number_value(value));
		return true;
	case JSON_TRUE:
	case JSON_FALSE:
		bool_write(out, VALUE_BOOL, json_is_true(value));
		return true;
	case JSON_OBJECT:
		return aside_begin(&inner) &&
		       aside_end(&inner, out, VALUE_STRUCT, object_write(inner.out, value));
	case JSON_ARRAY:
		return aside_begin(&inner) &&
		       aside_end(&inner, out, VALUE_LIST, list_write(inner.out, value));
	default:
		bool_write(out, VALUE_NULL, false);
		return true;
	}
}

/*
 * Gathering.
 */
static bool is_deeper(const json_t *value, unsigned depth)
{
	json_t *all = (json_t *)(uintptr_t)value, *inner;
	const char *key;

	if (!json_is_object(value) && !json_is_array(value))
		return false;
	if (depth == 0)
		return true;
	for (size_t i = 0; i < json_array_size(value); i++)
		if (is_deeper(json_array_get(value, i), depth - 1))
			return true;
	json_object_foreach(all, key, inner)
	{
		if (is_deeper(inner, depth - 1))
			return true;
	}
	return false;
}

/* Takes @value; NULL: it is none. @size: of its text. */
static void add(struct gathering *g, const char *key, json_t *value, size_t size)
{
	size += strlen(key) + 16;
	if (!value)
		skip(g, key, "it is not UTF-8, or there is no memory");
	else if (g->bytes + size > XDS_NODE_MAX)
		skip(g, key, "there is too much metadata");
	else if (json_object_set(g->all, key, value) < 0)
		skip(g, key, "its name is not UTF-8, or there is no memory");
	else
		g->bytes += size;
	json_decref(value);
}

static void add_text(struct gathering *g, const char *key, const char *text)
{
	if (text && *text)
		add(g, key, json_string(text), strlen(text));
}

static void add_json(struct gathering *g, const char *key, const char *text)
{
	json_error_t error;
	char why[256];
	json_t *value = json_loads(text, JSON_DECODE_ANY, &error);

	if (value && is_deeper(value, DEPTH_MAX)) {
		skip(g, key, "its JSON is nested too deep");
		json_decref(value);
	} else if (!value) {
		snprintf(why, sizeof(why), "it is no JSON: %.160s", error.text);
		skip(g, key, why);
	} else {
		/* A number of one digit takes 9 bytes, and each value some for its lengths. */
		add(g, key, value, strlen(text) * 10);
	}
}

/* "KEY=value" in two, if it begins with @prefix. */
static const char *variable_split(const char *variable, const char *prefix, char *key, size_t size)
{
	const char *equals = strchr(variable, '=');
	size_t prefix_len = strlen(prefix), len;

	if (!equals || strncmp(variable, prefix, prefix_len) != 0)
		return NULL;
	len = (size_t)(equals - variable) - prefix_len;
	if (len == 0 || len >= size)
		return NULL;
	memcpy(key, variable + prefix_len, len);
	key[len] = 0;
	return equals + 1;
}

static void gather(struct gathering *g)
{
	const struct xds_node_options *options = g->options;
	char key[256];

	for (size_t i = 0; i < options->metadata_count; i++) {
		const char *name = options->metadata[i].key;

		if (strncmp(name, META, strlen(META)) == 0)
			name += strlen(META);
		add_text(g, name, options->metadata[i].value);
	}
	for (char *const *at = options->environ_; at && *at; at++) {
		const char *value = variable_split(*at, META, key, sizeof(key));

		if (value)
			add(g, key, json_string(value), strlen(value));
		value = variable_split(*at, META_JSON, key, sizeof(key));
		if (value)
			add_json(g, key, value);
	}
	add_text(g, "NAME", options->pod_name);
	add_text(g, "NAMESPACE", options->pod_namespace);
	add_text(g, "INSTANCE_IPS", options->instance_ip);
	add_text(g, "NODE_NAME", options->node_name);
}

static const char *or_nothing(const char *text)
{
	return text ? text : "";
}

/* The suffix is always this, whatever the cluster's domain is. */
static bool node_write(FILE *out, const struct gathering *g)
{
	const struct xds_node_options *options = g->options;
	const char *ns = or_nothing(options->pod_namespace);
	const char *ip = or_nothing(options->instance_ip);
	struct aside metadata;
	char *id;
	int len = asprintf(&id, "ztunnel~%s~%s.%s~%s.svc.cluster.local", *ip ? ip : "1.1.1.1",
	                   or_nothing(options->pod_name), ns, ns);

	if (len < 0)
		return false;
	bytes_write(out, NODE_ID, id, (size_t)len);
	free(id);
	return aside_begin(&metadata) &&
	       aside_end(&metadata, out, NODE_METADATA, object_write(metadata.out, g->all));
}

uint8_t *xds_node_new(const struct xds_node_options *options, size_t *ret_size)
{
	struct gathering g = { .options = options, .all = json_object() };
	char *bytes = NULL;
	size_t size = 0;
	FILE *out = g.all ? open_memstream(&bytes, &size) : NULL;
	bool good = false;

	if (out) {
		gather(&g);
		good = node_write(out, &g);
		good = fclose(out) == 0 && good;
	}
	json_decref(g.all);
	if (!good) {
		free(bytes);
		return NULL;
	}
	*ret_size = size;
	return (uint8_t *)bytes;
}
