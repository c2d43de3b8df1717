/*
 * fuzz_xds_workload: an Address into a store: it is taken or refused with a sentence, and what is
 * taken can be published and shown.
 */
#include <assert.h>
#include <string.h>

#include "control/xds_codec.h"
#include "mesh/dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_arena arena = { 0 };
	char why[256] = "";
	struct xds_reader r = {
		.store = store_new(NULL),
		.arena = &arena,
		.name = "n",
		.why = why,
		.why_size = sizeof(why),
	};
	int err = xds_put_address(&r, bytes, len);
	struct store_changes changes;
	struct snapshot *s;

	assert(err == 0 || (err == -EINVAL && *why && strlen(why) < sizeof(why)));
	assert(store_publish(r.store, &s, &changes) == 0);
	assert(changes.workloads + changes.services == (err == 0));
	free(mesh_dump(s, DUMP_WORKLOADS));
	free(mesh_dump(s, DUMP_SERVICES));
	free(mesh_dump(s, DUMP_STAGED));
	snapshot_unref(s);
	store_free(r.store);
	hb_arena_done(&arena);
	return 0;
}
