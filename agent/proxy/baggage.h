/*
 * baggage: what a CONNECT and its answer say of a workload, for telemetry (reference/datapath 1.8).
 * Pure.
 */
#pragma once

#include "mesh/model.h"

/* A new string, the caller's; "" when nothing is known of it (@workload may be NULL). NULL: no
 * memory. */
char *baggage_format(const struct workload *workload, const char *cluster_id);
