/*
 * route: where does this outbound connection go: as is, in a tunnel, or nowhere
 * (reference/datapath 1.14, 2.3 to 2.8). Pure: randomness and what failed before are given. A
 * waypoint or gateway that cannot be found ends the connection; nothing goes around it.
 */
#pragma once

#include "mesh/balance.h"
#include "mesh/store.h"

struct route_query {
	const struct workload *src;
	struct hb_ip src_ip; /* the app's: a waypoint's own traffic is known by it */
	const char *network; /* the node's */
	struct hb_addr dst;  /* as the app dialled it */
	uint64_t random;     /* for the choices among endpoints and among weighted waypoints */
	struct balance_view view;
};

enum route_kind {
	ROUTE_PASSTHROUGH, /* plain TCP to dst, unchanged: not of the mesh */
	ROUTE_PLAIN,       /* plain TCP to next_hop: of the mesh, not on HBONE */
	ROUTE_HBONE,  /* tunnel to next_hop, a workload at 15008 or a waypoint; CONNECT authority */
	ROUTE_DOUBLE, /* double HBONE: through the gateway at next_hop; CONNECT host and port */
	ROUTE_REFUSE, /* error says why */
};

#define ROUTE_IDENTITIES_MAX 64 /* more of a service are not accepted: its first ones count */

struct route {
	enum route_kind kind;
	struct hb_addr next_hop;
	/* Not NULL: nobody knows the next hop's address but by this name, and route_resolve() is
	 * still to be told what it means. */
	const char *lookup;
	bool prefers_v6;
	struct hb_addr authority;        /* HBONE; DOUBLE: its port alone */
	const char *host;                /* DOUBLE: the authority's name, a service's */
	const struct workload *workload; /* the next hop's, a waypoint's too; or NULL. DOUBLE: the
	                                    chosen one's, which the gateway need not choose */
	const struct service *service;   /* what was dialled, if it was a service */
	const char *identities[ROUTE_IDENTITIES_MAX]; /* HBONE, DOUBLE: the next hop is one */
	size_t identities_count;
	const char *inner_identities[ROUTE_IDENTITIES_MAX]; /* DOUBLE: and the far end is one */
	size_t inner_identities_count;
	/* Should it fail before it carries a byte: what to remember, and with it as tried there is
	 * another way to decide. */
	uint64_t key; /* of balance_key(); 0: nothing */
	bool others;
	/* Of the address that route_resolve() has taken; 0: there was nothing to look up. */
	uint64_t address_key;
	bool other_addresses;
	bool via; /* a waypoint or gateway: what it answers may be about what lies behind it */
	/* What was looked for and is not known, see route_missing(). */
	bool unknown;                   /* PASSTHROUGH: what was dialled */
	const struct mesh_ref *missing; /* REFUSE: a waypoint or gateway; or NULL */
	char error[256];                /* REFUSE: "no healthy upstream: 10.96.0.7:80", ... */
};

#define ROUTE_MISSING_SIZE   384
#define ROUTE_AUTHORITY_SIZE 264 /* a host's name, colon, port, NUL */

/* The CONNECT's authority of a HBONE or DOUBLE route. Returns @out. */
const char *route_authority(const struct route *route, char out[ROUTE_AUTHORITY_SIZE]);

void route_decide(const struct snapshot *s, const struct route_query *query,
                  struct route *ret_route);

/*
 * The name by which the control plane may be asked for what @route lacks, "network/ip" or
 * "namespace/hostname" (reference/controlplane 2.12), into @out: with it known there may be another
 * decision. The address that was dialled is one of the node's network. False: it lacks nothing.
 */
bool route_missing(const struct route *route, const struct route_query *query,
                   char out[ROUTE_MISSING_SIZE]);

/*
 * What route->lookup means, @count > 0 addresses: one of them becomes the next hop's, drawn by
 * @query's random among those of the family that was dialled, else the others (reference/datapath
 * 2.7); those that failed just now are left out as long as there are more. @query: as
 * route_decide() was given it, tried also holds address keys. False: all of them were tried.
 */
bool route_resolve(struct route *route, const struct route_query *query, const struct hb_ip *ips,
                   size_t count);
