/*
 * route_hop: whom a reference to a waypoint or gateway means, and at which address a workload is
 * dialled (reference/datapath 2.7, 2.8). Pure.
 */
#pragma once

#include "mesh/route.h"

struct hop {
	const struct service *service; /* it was named by; or NULL */
	const struct workload *workload;
	uint16_t port;
	uint64_t key; /* see struct balance_choice */
	bool others;
};

enum hop_fault { HOP_FOUND, HOP_UNKNOWN, HOP_UNHEALTHY };

/* Whom @ref, not of kind NONE, names: a service, else a workload, else nobody: both NULL. */
void hop_lookup(const struct snapshot *s, const struct mesh_ref *ref,
                const struct service **ret_service, const struct workload **ret_workload);
/* The one of them to go to. */
enum hop_fault hop_find(const struct snapshot *s, const struct route_query *query,
                        const struct mesh_ref *ref, enum balance_mode mode, uint64_t random,
                        struct hop *ret_hop);
/* Is the source a workload behind @ref? By its identity and its address (2.3, step 6). */
bool hop_is_source(const struct snapshot *s, const struct route_query *query,
                   const struct mesh_ref *ref);

/* Where @workload, reached as @service (may be NULL), is dialled when @dialled was: NULL: nowhere.
 */
const struct hb_ip *hop_ip(const struct service *service, const struct workload *workload,
                           const struct hb_ip *dialled);
/*
 * The same into @route, with @port: an address, or else the name it goes by, to be looked up.
 * False: neither.
 */
bool hop_dial(struct route *route, const struct service *service, const struct workload *workload,
              const struct hb_ip *dialled, uint16_t port);

#define HOP_TEXT_SIZE ROUTE_MISSING_SIZE
/* "network/10.0.0.1" or "namespace/hostname". Returns @out. */
const char *hop_text(const struct mesh_ref *ref, char out[HOP_TEXT_SIZE]);
