/*
 * ends: pod names, namespaces, clusters.
 */
#include "proxy/ends.h"

/* The pod's name; entries without one (VMs, external ones) go by the name they are known by. */
static const char *name_of(const struct workload *workload)
{
	if (*workload->name)
		return workload->name;
	return *workload->canonical_name ? workload->canonical_name : workload->workload_name;
}

void ends_describe(const struct workload *src, const struct workload *dst,
                   const char *texts[FLOW_TEXTS])
{
	if (src) {
		texts[FLOW_SRC_WORKLOAD] = name_of(src);
		texts[FLOW_SRC_NS] = src->ns;
		texts[FLOW_SRC_CLUSTER] = src->cluster_id;
	}
	if (dst) {
		texts[FLOW_DST_WORKLOAD] = name_of(dst);
		texts[FLOW_DST_NS] = dst->ns;
		texts[FLOW_DST_CLUSTER] = dst->cluster_id;
	}
}
