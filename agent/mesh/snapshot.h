/*
 * snapshot: what store, builder and policy know of a snapshot's inside; nobody else looks in here.
 */
#pragma once

#include <stdatomic.h>

#include "mesh/index.h"
#include "mesh/store.h"

struct vip_item {
	const struct service *service;
	const struct mesh_vip *vip;
};

struct ip_item { /* the best workload at an address */
	const struct workload *workload;
	const struct hb_ip *ip;
};

struct serves_item { /* workload is an endpoint of service */
	const struct service *service;
	const struct endpoint *endpoint;
};

struct snapshot {
	atomic_uint refs;
	struct hb_arena arena; /* everything below */

	const struct workload **workloads; /* by uid */
	size_t workloads_count;
	const struct service **services;        /* by hostname, then namespace */
	const struct service **services_stored; /* in the order they came in */
	size_t services_count;
	const struct policy **policies; /* by key */
	size_t policies_count;
	struct staged_endpoint *staged; /* by service, then uid */
	size_t staged_count;

	struct ip_item *ips;
	struct vip_item *vips, *cidrs; /* in the order they came in */
	size_t ips_count, vips_count, cidrs_count;
	struct serves_item *serves; /* by name of the service */
	size_t serves_count;

	struct index by_uid, by_pod, by_ip;   /* workloads, workloads, ips */
	struct index by_key, by_host, by_vip; /* services_stored, services_stored, vips */
	struct index by_policy, by_policy_ns; /* policies; ns "" holds the global ones */
	struct index by_endpoint;             /* serves */
};

struct joint {                   /* an endpoint on its way into its service */
	const char *service_key; /* "ns/hostname" */
	struct service *service; /* once joined; NULL: not known, staged */
	struct endpoint endpoint;
	uint64_t order; /* of the same service and uid the highest wins */
};

struct contents { /* what a builder collected, each list in the order it came in */
	struct workload **workloads;
	struct service **services; /* still without endpoints */
	struct policy **policies;
	struct joint *joints;
	size_t workloads_count, services_count, policies_count, joints_count;
};

/*
 * Joins the endpoints to their services, sorts and indexes. On success @arena, which holds all that
 * @contents points to, has moved into the snapshot; on failure it is the caller's still.
 * 0 or -ENOMEM.
 */
int snapshot_build(struct contents *contents, struct hb_arena *arena,
                   struct snapshot **ret_snapshot);

uint32_t snapshot_hash_ip(const char *network, const struct hb_ip *ip);
uint32_t snapshot_hash_pair(const char *a, const char *b);
uint32_t snapshot_hash_pointer(const void *pointer);

/* Where a policy applies by itself: "" everywhere, a namespace, or NULL: only where it is listed.
 */
const char *policy_index_ns(const struct policy *policy);
