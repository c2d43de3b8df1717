/*
 * fuzz_xds_authorization: an Authorization into a store: it is taken or refused with a sentence,
 * and what is taken can be judged by and shown.
 */
#include <assert.h>
#include <string.h>

#include "control/xds_codec.h"
#include "mesh/dump.h"
#include "mesh/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void judge(const struct snapshot *s)
{
	static const char *const policies[] = { "n/p" };
	struct workload w = { .uid = "w", .ns = "n", .policies = policies, .policies_count = 1 };
	struct policy_query query = { .identity = "spiffe://td/ns/n/sa/a" };
	struct policy_verdict verdict;
	char text[512];

	(void)hb_addr_parse("10.0.0.1:80", 11, &query.dst);
	query.src = query.dst;
	policy_judge(s, &w, &query, &verdict);
	policy_verdict_explain(&verdict, text, sizeof(text));
	assert(verdict.by || verdict.allowed || verdict.reason == POLICY_MISSING ||
	       verdict.reason == POLICY_NONE_ALLOWED);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_arena arena = { 0 };
	char why[256] = "";
	struct xds_reader r = {
		.store = store_new(NULL),
		.arena = &arena,
		.name = "n/p",
		.why = why,
		.why_size = sizeof(why),
	};
	int err = xds_put_authorization(&r, bytes, len);
	struct snapshot *s;

	assert(err == 0 || (err == -EINVAL && *why && strlen(why) < sizeof(why)));
	assert(store_publish(r.store, &s, NULL) == 0);
	assert(!snapshot_policy_by_key(s, "n/p") == (err != 0));
	judge(s);
	free(mesh_dump(s, DUMP_POLICIES));
	snapshot_unref(s);
	store_free(r.store);
	hb_arena_done(&arena);
	return 0;
}
