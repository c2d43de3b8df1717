/*
 * route: where does this outbound connection go: as is, in a tunnel, or nowhere
 * (reference/datapath 2.3 to 2.7). Pure: randomness is given. Waypoints and other networks are
 * refused with a reason rather than bypassed until they are served.
 */
#pragma once

#include "mesh/store.h"

struct route_query {
	const struct workload *src;
	const char *network; /* the node's */
	struct hb_addr dst;  /* as the app dialled it */
	uint64_t random;     /* for the choice among endpoints */
};

enum route_kind {
	ROUTE_PASSTHROUGH, /* plain TCP to dst, unchanged: not of the mesh */
	ROUTE_PLAIN,       /* plain TCP to next_hop: of the mesh, not on HBONE */
	ROUTE_HBONE,       /* tunnel to next_hop (ip:15008), CONNECT authority */
	ROUTE_REFUSE,      /* error says why */
};

#define ROUTE_IDENTITIES_MAX 8

struct route {
	enum route_kind kind;
	struct hb_addr next_hop;
	struct hb_addr authority;                     /* HBONE */
	const struct workload *workload;              /* the next hop's, or NULL */
	const struct service *service;                /* what was dialled, if it was a service */
	const char *identities[ROUTE_IDENTITIES_MAX]; /* HBONE: any of these */
	size_t identities_count;
	char error[160]; /* REFUSE: "no healthy upstream: 10.96.0.7:80", ... */
};

void route_decide(const struct snapshot *s, const struct route_query *query,
                  struct route *ret_route);
