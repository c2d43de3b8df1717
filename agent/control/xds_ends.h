/*
 * xds_ends: why a stream of xDS has ended, as ztunnel counts it (reference/controlplane 2.9), and
 * what helps. Pure. Private to xds*.c.
 */
#pragma once

#include <stdbool.h>

struct grpc_status;

/* "Complete", "Reconnect", "ConnectionError" or "Error". @came: something had come on it. */
const char *xds_end_reason(const struct grpc_status *status, bool came);
/* To be said behind the reason; "": nothing. */
const char *xds_end_hint(const struct grpc_status *status);
