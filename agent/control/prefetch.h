/*
 * prefetch: what pods of the node will need is held before they come: the identities of the node's
 * own workloads that speak HBONE, as the mesh knows them (reference/controlplane 5.5). A workload
 * may be heard of before its pod is handed over.
 * Thread: the control loop's.
 */
#pragma once

#include <stddef.h>

#include "control/certmanager.h"
#include "mesh/snapshot.h"

#define PREFETCH_MAX 1024u /* identities; of more, those that come first by name */

struct prefetch {          /* zeroed: nothing is held */
	char **identities; /* held, sorted, each once */
	size_t count;
};

/*
 * The mesh is @snapshot now: what is new in it is held, what is not in it any more is let go. The
 * cost is that of the node's own workloads. 0, or -ENOMEM and nothing has changed.
 */
int prefetch_update(struct prefetch *prefetch, struct certmanager *certs,
                    const struct snapshot *snapshot);
/* Forgets what is held, and lets nothing go: the manager is ending. */
void prefetch_done(struct prefetch *prefetch);
