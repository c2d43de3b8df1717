/*
 * yaml: trees with their lines, and one sentence for each way of not being one.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <hbone/base.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/yaml.h"

/* The tree as text: scalars as they are, 'quoted', tags in front, @line where it changes. */
static size_t node_format(const struct yaml_node *node, char *out, size_t size)
{
	const char *open = node->kind == YAML_LIST ? "[" : "{";
	const char *shut = node->kind == YAML_LIST ? "]" : "}";
	const char *quote = node->quoted ? "'" : "";
	size_t used = (size_t)snprintf(out, size, "%s%s", node->tag, *node->tag ? " " : "");

	if (node->kind == YAML_SCALAR)
		return used + (size_t)snprintf(out + used, size - used, "%s%s%s@%d", quote,
		                               node->text, quote, node->line);
	used += (size_t)snprintf(out + used, size - used, "%s", open);
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *item = node->items[i];

		used += (size_t)snprintf(out + used, size - used, "%s", i ? ", " : "");
		if (node->kind == YAML_MAP)
			used += (size_t)snprintf(out + used, size - used, "%s@%d: ", item->key,
			                         item->key_line);
		used += node_format(item, out + used, size - used);
	}
	return used + (size_t)snprintf(out + used, size - used, "%s@%d", shut, node->line);
}

/* clang-format off */
static const struct {
	const char *name, *text, *want; /* the tree, or the sentence */
	int err;
} rows[] = {
	{ "scalar", "a", "a@1", 0 },
	{ "empty", "", "", 0 },
	{ "only a comment", "# nothing\n\n", "", 0 },
	{ "map with lines", "a: 1\nb:\n  - 2\n  - 'x'\n", "{a@1: 1@1, b@2: [2@3, 'x'@4]@3}@1", 0 },
	{ "an empty map and nothing else", "{}", "{}@1", 0 },
	{ "flow", "{a: [], b: {}}", "{a@1: []@1, b@1: {}@1}@1", 0 },
	{ "no value", "a:\nb: ~", "{a@1: @1, b@2: ~@2}@1", 0 },
	{ "quoted", "[\"1\", '2', 3, \"\"]", "['1'@1, '2'@1, 3@1, ''@1]@1", 0 },
	{ "block text is quoted", "a: |\n  x\n", "{a@1: 'x\n'@1}@1", 0 },
	{ "tags", "[!Exact a, !Presence [], !Map {b: c}]", "[!Exact a@1, !Presence []@1, !Map {b@1: c@1}@1]@1", 0 },
	{ "YAML's own tags", "[!!str 1, !!int 2, ! 3]", "['1'@1, 2@1, '3'@1]@1", 0 },
	{ "JSON", "{\"a\": [1, \"b\", null, true]}", "{a@1: [1@1, 'b'@1, null@1, true@1]@1}@1", 0 },
	{ "same key at two levels", "a: {a: 1}", "{a@1: {a@1: 1@1}@1}@1", 0 },
	{ "UTF-8", "\xc3\xa4: \xe2\x82\xac", "{\xc3\xa4@1: \xe2\x82\xac@1}@1", 0 },

	{ "key twice", "a: 1\nb: 2\n\na: 3\n", "f:4: key \"a\" stands here again, expected only the one in line 1", -EINVAL },
	{ "key twice in a large map", "a: 1\nb: 2\nc: 3\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni: 1\nj: 1\nk: 1\nl: 1\nm: 1\nn: 1\no: 1\np: 1\nq: 1\nr: 1\nc: 4\n",
	  "f:19: key \"c\" stands here again, expected only the one in line 3", -EINVAL },
	{ "anchor", "a: &x 1\n", "f:1: anchor &x, expected none: write the value where it is used", -EINVAL },
	{ "anchor on a list", "\na: &x [1]\n", "f:2: anchor &x, expected none: write the value where it is used", -EINVAL },
	{ "anchor on a key", "&x a: 1\n", "f:1: an anchor on a key, expected none", -EINVAL },
	{ "alias", "a: *x\n", "f:1: alias *x, expected the value itself", -EINVAL },
	{ "merge key", "a:\n  <<: {b: 1}\n", "f:2: merge key <<, expected the values themselves", -EINVAL },
	{ "two documents", "a: 1\n---\nb: 1\n", "f:2: a second document, expected one per file", -EINVAL },
	{ "list as a key", "? [a]\n: 1\n", "f:1: a list or map as a key, expected text", -EINVAL },
	{ "bad indentation", "a:\n  b: 1\n c: 2\n", "f:3: not YAML: did not find expected key while parsing a block mapping begun in line 1, expected a key indented like its neighbours", -EINVAL },
	{ "deeper than its key", "a: 1\n  b: 2\n", "f:2: not YAML: mapping values are not allowed in this context, expected one \"key: value\" a line, indented like its neighbours", -EINVAL },
	{ "a key in a list", "- 1\na: 2\n", "f:2: not YAML: did not find expected '-' indicator while parsing a block collection begun in line 1, expected list items indented like their neighbours", -EINVAL },
	{ "list out of line", "a:\n  - 1\n - 2\n", "f:3: not YAML: did not find expected key while parsing a block mapping begun in line 1, expected a key indented like its neighbours", -EINVAL },
	{ "tab", "a:\n\tb: 1\n", "f:2: not YAML: found character that cannot start any token while scanning for the next token, expected spaces rather than tabs, and quotes around special characters", -EINVAL },
	{ "unclosed list", "a: [1, 2\nb: 3\n", "f:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence begun in line 1, expected ',' or ']' to go on with or end the list", -EINVAL },
	{ "unclosed map", "a: {b: 1\n", "f:1: not YAML: did not find expected ',' or '}' while parsing a flow mapping, expected ',' or '}' to go on with or end the map", -EINVAL },
	{ "unclosed quote", "a: \"b\n\nc: d\n", "f:3: not YAML: found unexpected end of stream while scanning a quoted scalar begun in line 1, expected the quote to be closed", -EINVAL },
	{ "no colon", "a: 1\nb\nc: 2\n", "f:3: not YAML: could not find expected ':' while scanning a simple key begun in line 2, expected a ':' after the key", -EINVAL },
	{ "not UTF-8", "a: 1\nb: \xff\n", "f:2: not YAML: invalid leading UTF-8 octet, expected UTF-8 text", -EINVAL },
	{ "a control character", "a: 1\n\nb: \x01\n", "f:3: not YAML: control characters are not allowed, expected text without control characters", -EINVAL },
	{ "an escaped NUL", "a: \"\\0\"\n", "f:1: a NUL character, expected text", -EINVAL },
	{ "one sentence is one line", "\"a\\nb\": 1\n\"a\\nb\": 2\n", "f:2: key \"a?b\" stands here again, expected only the one in line 1", -EINVAL },
};
/* clang-format on */

START_TEST(parse)
{
	char got[1024] = "";
	struct yaml_doc *doc;
	int err = yaml_parse("f", rows[_i].text, strlen(rows[_i].text), &doc, got, sizeof(got));

	ck_assert_msg(err == rows[_i].err, "%s: %d %s", rows[_i].name, err, got);
	if (!err) {
		ck_assert_str_eq(yaml_name(doc), "f");
		if (yaml_root(doc))
			node_format(yaml_root(doc), got, sizeof(got));
		yaml_unload(doc);
	}
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s:\n%s\n%s", rows[_i].name, got,
	              rows[_i].want);
}
END_TEST

static int parse_nested(size_t depth, char *why, size_t why_size)
{
	struct yaml_doc *doc;
	char text[256];
	int err;

	ck_assert_uint_lt(depth * 2, sizeof(text));
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	err = yaml_parse("f", text, depth * 2, &doc, why, why_size);
	if (!err)
		yaml_unload(doc);
	return err;
}

struct told { /* what a stream gave */
	char text[256];
	int stop_at; /* the item that is refused; 0: none */
	int count;
};

static int on_item(void *owner, const char *key, const struct yaml_node *item)
{
	struct told *told = owner;
	size_t used = strlen(told->text);
	char text[64] = "";

	node_format(item, text, sizeof(text));
	snprintf(told->text + used, sizeof(told->text) - used, "%s:%d:%s;", key, item->line, text);
	return ++told->count == told->stop_at ? -E2BIG : 0;
}

/* Items of lists under the root's keys, nothing else, each with its line. */
START_TEST(streamed)
{
	static const char text[] =
	    "a:\n- x\n- {b: [c, d], e: f}\n- - g\nh: {i: [j]}\nk: []\na2: [l]\n";
	struct told told = { "", 0, 0 };
	struct yaml_stream stream = { on_item, &told };
	struct yaml_doc *doc;
	char why[256];

	ck_assert_int_eq(
	    yaml_parse_stream("f", text, strlen(text), &stream, &doc, why, sizeof(why)), 0);
	ck_assert_int_eq(told.count, 4);
	ck_assert(strncmp(told.text, "a:2:", 4) == 0 && strstr(told.text, "a:3:") &&
	          strstr(told.text, "a:4:") && strstr(told.text, "a2:7:"));
	ck_assert_uint_eq(yaml_root(doc)->count, 4);
	ck_assert_uint_eq(yaml_root(doc)->items[0]->count, 0);
	ck_assert_uint_eq(yaml_root(doc)->items[1]->count, 1); /* a map: kept */
	yaml_unload(doc);
	told = (struct told){ "", 2, 0 };
	ck_assert_int_eq(
	    yaml_parse_stream("f", text, strlen(text), &stream, &doc, why, sizeof(why)), -E2BIG);
	ck_assert_int_eq(told.count, 2);
}
END_TEST

START_TEST(depth_is_bounded)
{
	char why[256] = "";

	ck_assert_int_eq(parse_nested(64, why, sizeof(why)), 0);
	ck_assert_int_eq(parse_nested(65, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "f:1: nested too deep, expected at most 64 levels");
}
END_TEST

START_TEST(files)
{
	char why[256] = "", path[] = "/tmp/test_yaml.XXXXXX", want[256];
	hb_cleanup(hb_close_fd) int fd = mkstemp(path);
	struct yaml_doc *doc;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "a: 1\n", 5), 5);
	ck_assert_int_eq(yaml_load(path, &doc, why, sizeof(why)), 0);
	ck_assert_str_eq(yaml_root(doc)->items[0]->text, "1");
	ck_assert_str_eq(yaml_name(doc), path);
	yaml_unload(doc);
	yaml_unload(NULL);

	/* 100 MB, of which not one byte is read. */
	ck_assert_int_eq(ftruncate(fd, 100 << 20), 0);
	ck_assert_int_eq(yaml_load(path, &doc, why, sizeof(why)), -EFBIG);
	snprintf(want, sizeof(want),
	         "%s:1: the file has 104857600 bytes, expected at most 67108864", path);
	ck_assert_str_eq(why, want);
	unlink(path);

	ck_assert_int_eq(yaml_load(path, &doc, why, sizeof(why)), -ENOENT);
	snprintf(want, sizeof(want),
	         "%s:1: cannot be opened: No such file or directory, expected a readable YAML file",
	         path);
	ck_assert_str_eq(why, want);
	ck_assert_int_eq(yaml_load("/", &doc, why, sizeof(why)), -EISDIR);
	ck_assert_str_eq(why,
	                 "/:1: cannot be opened: Is a directory, expected a readable YAML file");
}
END_TEST

/* A size that nobody announced is bounded too. */
START_TEST(a_device_without_end)
{
	struct yaml_doc *doc;
	char why[256];

	ck_assert_int_eq(yaml_load("/dev/zero", &doc, why, sizeof(why)), -EFBIG);
	ck_assert_str_eq(
	    why, "/dev/zero:1: the file has more than 67108864 bytes, expected at most 67108864");
}
END_TEST

/* A short buffer gets a short sentence, and nothing beyond it is written. */
START_TEST(a_small_why)
{
	char why[16] = "0123456789abcde";
	struct yaml_doc *doc;

	ck_assert_int_eq(yaml_parse("file", "a: [", 4, &doc, why, 8), -EINVAL);
	ck_assert_str_eq(why, "file:1:");
	ck_assert_int_eq(why[8], '8');
	ck_assert_int_eq(yaml_parse("a-long-name", "a: [", 4, &doc, why, 8), -EINVAL);
	ck_assert_str_eq(why, "a-long-");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("yaml");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, parse, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, streamed);
	tcase_add_test(tc, depth_is_bounded);
	tcase_add_test(tc, files);
	tcase_add_test(tc, a_device_without_end);
	tcase_add_test(tc, a_small_why);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
