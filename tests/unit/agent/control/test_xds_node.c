/*
 * xds_node: by rows: what the environment says, and what a server reads (reference/controlplane
 * 2.4).
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "config/settings.h"
#include "control/xds_node.h"
#include "support/pbtext.h"

#define ID "1:'ztunnel~10.0.0.1~zt-1.istio-system~istio-system.svc.cluster.local'"
#define KNOWN                                                                                      \
	"1:{1:'NAME' 2:{3:'zt-1'}} 1:{1:'NAMESPACE' 2:{3:'istio-system'}} "                        \
	"1:{1:'INSTANCE_IPS' 2:{3:'10.0.0.1'}} 1:{1:'NODE_NAME' 2:{3:'n1'}}"

/* clang-format off */
static const struct {
	const char *name;
	const char *variables[4];
	struct setting_pair metadata[2];
	const char *want; /* before what is known */
	const char *skipped; /* "KEY: why", the beginning; "": nothing */
} rows[] = {
	{ "nothing else", { NULL }, { { NULL, NULL } }, "", "" },
	{ "ISTIO_META_", { "ISTIO_META_ISTIO_VERSION=1.30", "PATH=/", "ISTIO_META_=x" }, { { NULL, NULL } },
	  "1:{1:'ISTIO_VERSION' 2:{3:'1.30'}}", "" },
	{ "vector: K is v", { "ISTIO_META_K=v" }, { { NULL, NULL } }, "x", "" },
	{ "an empty one", { "ISTIO_META_A=" }, { { NULL, NULL } }, "1:{1:'A' 2:{3:''}}", "" },
	{ "JSON", { "ISTIO_METAJSON_A={\"a\":[true,null,\"t\",1.5],\"b\":{}}" }, { { NULL, NULL } },
	  "1:{1:'A' 2:{5:{1:{1:'a' 2:{6:{1:{4:1} 1:{1:0} 1:{3:'t'} 1:x'11000000000000f83f'}}} 1:{1:'b' 2:{5:{}}}}}}", "" },
	{ "JSON of one word", { "ISTIO_METAJSON_A=false" }, { { NULL, NULL } }, "1:{1:'A' 2:{4:0}}", "" },
	{ "not JSON", { "ISTIO_METAJSON_A={", "ISTIO_META_B=b" }, { { NULL, NULL } }, "1:{1:'B' 2:{3:'b'}}", "A: it is no JSON" },
	{ "JSON too deep", { "ISTIO_METAJSON_A=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]" }, { { NULL, NULL } }, "",
	  "A: its JSON is nested too deep" },
	{ "not UTF-8", { "ISTIO_META_A=\xff" }, { { NULL, NULL } }, "", "A: it is not UTF-8" },
	{ "proxyMetadata", { NULL }, { { "ISTIO_META_A", "1" }, { "B", "2" } }, "1:{1:'A' 2:{3:'1'}} 1:{1:'B' 2:{3:'2'}}", "" },
	{ "the environment wins", { "ISTIO_META_A=env" }, { { "A", "config" } }, "1:{1:'A' 2:{3:'env'}}", "" },
};
/* clang-format on */

static void on_skipped(void *owner, const char *key, const char *why)
{
	snprintf(owner, 256, "%s: %s", key, why);
}

START_TEST(nodes)
{
	char skipped[256] = "";
	struct xds_node_options options = {
		.instance_ip = "10.0.0.1",
		.pod_name = "zt-1",
		.pod_namespace = "istio-system",
		.node_name = "n1",
		.environ_ = (char *const *)(uintptr_t)rows[_i].variables,
		.metadata = rows[_i].metadata,
		.on_skipped = on_skipped,
		.owner = skipped,
	};
	bool vector = strcmp(rows[_i].want, "x") == 0;
	struct pb want = vector ? pb_format(ID " 3:{1:x'0a014b12031a0176' %s}", KNOWN)
	                        : pb_format(ID " 3:{%s %s}", rows[_i].want, KNOWN);
	uint8_t *bytes;
	size_t size;

	for (; options.metadata_count < 2; options.metadata_count++)
		if (!rows[_i].metadata[options.metadata_count].key)
			break;
	bytes = xds_node_new(&options, &size);
	ck_assert_msg(size == want.size && memcmp(bytes, want.bytes, size) == 0, "%s: %zu, %zu",
	              rows[_i].name, size, want.size);
	ck_assert_msg(strncmp(skipped, rows[_i].skipped, strlen(rows[_i].skipped)) == 0 &&
	                  !*skipped == !*rows[_i].skipped,
	              "%s: %s", rows[_i].name, skipped);
	free(bytes);
	free(want.bytes);
}
END_TEST

START_TEST(nobody)
{
	struct pb want = pb_of("1:'ztunnel~1.1.1.1~.~.svc.cluster.local' 3:{}");
	size_t size;
	uint8_t *bytes = xds_node_new(&(struct xds_node_options){ 0 }, &size);

	ck_assert(size == want.size && memcmp(bytes, want.bytes, size) == 0);
	free(bytes);
	free(want.bytes);
}
END_TEST

START_TEST(too_much)
{
	char skipped[256] = "", *big = malloc(XDS_NODE_MAX + 32);
	struct setting_pair pair = { "A", big };
	struct xds_node_options options = {
		.metadata = &pair,
		.metadata_count = 1,
		.node_name = "n1",
		.on_skipped = on_skipped,
		.owner = skipped,
	};
	size_t size;

	memset(big, 'x', XDS_NODE_MAX);
	big[XDS_NODE_MAX] = 0;
	free(xds_node_new(&options, &size));
	ck_assert_str_eq(skipped, "A: there is too much metadata");
	ck_assert_uint_lt(size, 200);
	free(big);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_node");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, nodes, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tcase, nobody);
	tcase_add_test(tcase, too_much);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
