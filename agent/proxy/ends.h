/*
 * ends: what the log says of the workloads at both ends of a flow. Pure.
 */
#pragma once

#include <hbone/headers.h>

#include "mesh/model.h"
#include "proxy/flow.h"

/* Fills the texts of the two workloads, each of which may be NULL; identities are the caller's. */
void ends_describe(const struct workload *src, const struct workload *dst,
                   const char *texts[FLOW_TEXTS]);

struct ends_said { /* holds what the texts below point to */
	char workload[HB_BAGGAGE_VALUE_MAX + 1], ns[HB_BAGGAGE_VALUE_MAX + 1];
	char cluster[HB_BAGGAGE_VALUE_MAX + 1];
};
/* The same by what a peer says of one of them: all its texts, "" where it says nothing. */
void ends_said_src(const struct hb_baggage *baggage, struct ends_said *said,
                   const char *texts[FLOW_TEXTS]);
void ends_said_dst(const struct hb_baggage *baggage, struct ends_said *said,
                   const char *texts[FLOW_TEXTS]);
