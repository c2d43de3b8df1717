/*
 * fuzz_yaml: any text is a tree of sound nodes, or one sentence that begins with name and line.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_node(const struct yaml_node *node, int lines)
{
	assert(node->line >= 1 && node->line <= lines && node->tag);
	if (node->kind == YAML_SCALAR) {
		assert(node->text && node->count == 0);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *item = node->items[i];

		if (node->kind == YAML_MAP)
			assert(item->key && item->key_line >= 1 && item->key_line <= lines);
		check_node(item, lines);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct yaml_doc *doc = NULL;
	char why[512] = "";
	int lines = (int)len + 1; /* at most */
	int err = yaml_parse("y", (const char *)bytes, len, &doc, why, sizeof(why));

	assert(err <= 0);
	if (err) {
		assert(!doc && strncmp(why, "y:", 2) == 0 && atoi(why + 2) >= 1);
		assert(!strchr(why, '\n'));
	} else if (yaml_root(doc)) {
		check_node(yaml_root(doc), lines);
	}
	yaml_unload(doc);
	return 0;
}
