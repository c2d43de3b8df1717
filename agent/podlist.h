/*
 * podlist: all pods of the agent in one shape, wherever they come from, for those who report.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;

struct pod_view {
	const char *id;  /* "ns/name", or in shared mode the pod's uid */
	const char *pod; /* "ns/name" */
	const char *name, *ns, *service_account;
	uint32_t index; /* of its pod_spec; 0: it has none */
	bool up;
	const char *reason; /* why it waits, or what is wrong with it; never NULL */
};

void podlist_each(const struct agent *agent, void (*each)(const struct pod_view *view, void *arg),
                  void *arg);
/*
 * Why all connections of the pod @ns/@name are refused, in @out: the mesh has no workload for it,
 * or another than the pod says that it is. "": it has one.
 */
void podlist_unknown(const struct agent *agent, const char *ns, const char *name,
                     const char *service_account, char *out, size_t size);
/* What readiness waits for, in ztunnel's words (reference/operations 2); NULL: nothing. */
const char *podlist_pending(const struct agent *agent);
