/*
 * fuzz_meshfile: no text makes the mesh file's reader do anything but load it or say why not, in
 * one line that begins with the name. What loads is also routed, judged and dumped.
 */
#include <assert.h>
#include <string.h>

#include "control/meshfile.h"
#include "mesh/dump.h"
#include "mesh/policy.h"
#include "mesh/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void use(const struct snapshot *s)
{
	const struct workload **workloads;
	size_t count = snapshot_workloads(s, &workloads);

	assert(workloads);
	for (size_t i = 0; i < count; i++) {
		struct route_query query = { .src = workloads[i], .network = "", .random = i };
		struct policy_query peer = { .identity = workloads[i]->identity };
		struct policy_verdict verdict;
		struct route route;

		/* Any will do; real addresses reach further than made-up ones. */
		if (workloads[count - 1 - i]->ips_count)
			query.dst.ip = workloads[count - 1 - i]->ips[0];
		query.dst.port = 80;
		peer.src = peer.dst = query.dst;
		route_decide(s, &query, &route);
		policy_judge(s, workloads[i], &peer, &verdict);
		assert(route.identities_count <= ROUTE_IDENTITIES_MAX && verdict.key);
	}
	free(workloads);
}

/* One section of it for each input: all would be most of the time. */
static void dump(const struct snapshot *s, size_t which)
{
	enum dump_section section =
	    (enum dump_section)(DUMP_WORKLOADS + which % (DUMP_STAGED - DUMP_WORKLOADS + 1));
	char *text = mesh_dump(s, section);

	assert(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct snapshot *s = NULL;
	char why[512] = "";
	int err = meshfile_parse("m", (const char *)bytes, len, &s, why, sizeof(why));

	if (err)
		assert(!s && strncmp(why, "m:", 2) == 0 && !strchr(why, '\n'));
	else
		use(s);
	if (s)
		dump(s, len);
	snapshot_unref(s);
	return 0;
}
