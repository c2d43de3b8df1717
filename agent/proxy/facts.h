/*
 * facts: what the log says of a flow's ends, held once for all flows of which it is the same.
 *
 * A thousand connections of one app to one service differ in their ports only. So the texts are an
 * immutable, counted block, and a table finds the block that says the same: it lives as long as
 * somebody holds it, and the table is never larger than the flows that are carried or remembered.
 *
 * Thread: one table belongs to one worker.
 */
#pragma once

#include <hbone/base.h>

enum flow_text {
	FLOW_POD, /* "ns/name" of the enrolled pod */
	FLOW_SRC_WORKLOAD,
	FLOW_SRC_NS,
	FLOW_SRC_IDENTITY,
	FLOW_SRC_CLUSTER,
	FLOW_DST_SERVICE, /* its hostname */
	FLOW_DST_WORKLOAD,
	FLOW_DST_NS,
	FLOW_DST_IDENTITY,
	FLOW_DST_CLUSTER,
	FLOW_AUTHORITY, /* of the CONNECT; "" without a tunnel */
	FLOW_POLICY,    /* the policy and rule that decided, or "" */
	FLOW_TEXTS,
};

#define FLOW_TEXT_MAX 1024u /* bytes kept of one text; longer ones are cut */
#define FACTS_BUCKETS 512u

struct facts;

struct facts_table { /* zeroed is empty */
	struct facts *buckets[FACTS_BUCKETS];
	size_t blocks; /* that live */
};

/*
 * The block that says what @texts say (FLOW_TEXTS of them), and what @base says (may be NULL) where
 * they are NULL. To be put back. NULL: no memory.
 */
const struct facts *facts_get(struct facts_table *table, const char *const *texts,
                              const struct facts *base);
void facts_put(struct facts_table *table, const struct facts *facts); /* takes NULL */
/* The same block, to be put back once more. */
const struct facts *facts_ref(const struct facts *facts);
/* Never NULL; "" when @facts is NULL. */
const char *facts_text(const struct facts *facts, enum flow_text which);
size_t facts_bytes(const struct facts *facts); /* what it takes; 0: NULL */
