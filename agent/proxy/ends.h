/*
 * ends: what the log says of the workloads at both ends of a flow. Pure.
 */
#pragma once

#include "mesh/model.h"
#include "proxy/flow.h"

/* Fills the texts of the two workloads, each of which may be NULL; identities are the caller's. */
void ends_describe(const struct workload *src, const struct workload *dst,
                   const char *texts[FLOW_TEXTS]);
