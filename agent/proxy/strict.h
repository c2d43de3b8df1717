/*
 * strict: must this have come through a waypoint, and did it? For the setting waypointStrict; what
 * upstream leaves to a policy by hand (reference/datapath 3.8). Pure.
 *
 * A port of a workload has waypoints: the workload's own, and those of each service that leads to
 * this port of it, be their weight 0 today. Where it has any, only who has proven the identity of a
 * workload behind one of them may come: whatever address it comes from, and by whatever authority
 * it asks. A waypoint that is not known lets nobody in. Free are ports without a waypoint, a
 * workload that is a waypoint of its own port (the hand-off itself), and who is listed as
 * exception: gateways that go to pods directly, by design.
 */
#pragma once

#include "mesh/snapshot.h"

struct strict_query {
	const struct workload *workload; /* what is to be reached, */
	uint16_t port;                   /* at its app's port */
	const char *identity;            /* the peer's, spiffe://...; NULL or "": plaintext */
	const char *except;              /* spiffe://..., comma-separated; "": none */
	/* It was let in before: then it also stays while one of the port's waypoints is not known
	 * or has no workload, as it may have come through that one. */
	bool stands;
};

/* False: refuse it, with why in @words. */
bool strict_allows(const struct snapshot *s, const struct strict_query *query, char *words,
                   size_t size);
/* Changes with all that strict_allows() looks at for @workload, whatever the port: waypoints, whom
 * they are, and which services lead here. For memory only, as hash.h. */
uint64_t strict_print(const struct snapshot *s, const struct workload *workload);
/* A list for strict_query.except. 0; or -EINVAL, with what is wrong in @why. */
int strict_except_check(const char *except, char *why, size_t why_size);
