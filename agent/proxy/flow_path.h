/*
 * flow_path: from where to where a flow goes, and what the log says of that, held once for all
 * flows of which it is the same.
 *
 * A thousand connections of one app to one service differ in their source's port only, which a flow
 * keeps itself. The rest is an immutable, counted block, and a table finds the block that says the
 * same: it lives as long as somebody holds it.
 *
 * Thread: one table belongs to one worker.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/slab.h>

#include "proxy/facts.h"

#define FLOW_PATH_BUCKETS 1024u

struct pod;

struct flow_path {
	struct flow_path *next; /* the table's, as the next two */
	uint32_t refs, hash;
	const struct facts *facts; /* what the log says of its ends */
	struct pod *pod; /* whose flow it is; not to be looked at once the flow has ended */
	struct hb_ip src;
	struct hb_addr dst;      /* as the access log means it, as src */
	struct hb_addr orig_dst; /* what was dialled, before routing */
};

struct flow_paths {
	struct hb_slabs *slabs;
	struct facts_table facts;
	size_t count; /* that live */
	struct flow_path *buckets[FLOW_PATH_BUCKETS];
};

/* All else zeroed is empty. The slabs outlive what is got from them. */
void flow_paths_init(struct flow_paths *table, struct hb_slabs *slabs);
/* The block that says what @want does, whose facts it takes, also on failure (NULL: no memory). To
 * be put back, which puts them back. */
const struct flow_path *flow_path_get(struct flow_paths *table, const struct flow_path *want);
void flow_path_put(struct flow_paths *table, const struct flow_path *path); /* takes NULL */
