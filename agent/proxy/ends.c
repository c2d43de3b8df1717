/*
 * ends: pod names, namespaces, clusters.
 */
#include "proxy/ends.h"

#include <string.h>

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

static const char *copy(struct hb_span span, char out[HB_BAGGAGE_VALUE_MAX + 1])
{
	size_t len = hb_min_size(span.len, HB_BAGGAGE_VALUE_MAX);

	if (len)
		memcpy(out, span.text, len);
	out[len] = 0;
	return out;
}

/* No pod's name is said; then it is the canonical service, as ztunnel has it. */
static struct hb_span name_said(const struct hb_baggage *baggage)
{
	return baggage->service.len ? baggage->service : baggage->workload;
}

void ends_said_src(const struct hb_baggage *baggage, struct ends_said *said,
                   const char *texts[FLOW_TEXTS])
{
	texts[FLOW_SRC_WORKLOAD] = copy(name_said(baggage), said->workload);
	texts[FLOW_SRC_NS] = copy(baggage->ns, said->ns);
	texts[FLOW_SRC_CLUSTER] = copy(baggage->cluster, said->cluster);
}

void ends_said_dst(const struct hb_baggage *baggage, struct ends_said *said,
                   const char *texts[FLOW_TEXTS])
{
	texts[FLOW_DST_WORKLOAD] = copy(name_said(baggage), said->workload);
	texts[FLOW_DST_NS] = copy(baggage->ns, said->ns);
	texts[FLOW_DST_CLUSTER] = copy(baggage->cluster, said->cluster);
}
