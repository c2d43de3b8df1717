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
/* What readiness waits for, in ztunnel's words (reference/operations 2); NULL: nothing. */
const char *podlist_pending(const struct agent *agent);
