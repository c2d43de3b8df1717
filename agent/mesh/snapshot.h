/*
 * snapshot: the mesh at one moment, immutable, with its indexes. Readers share it by count and
 * never lock; the last one to let go leaves the freeing to the store's thread. Whatever a lookup
 * gives is valid while the snapshot is held. Pure.
 */
#pragma once

#include "mesh/model.h"

struct snapshot;

struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* takes NULL */

/* Rises with every publish that changed something; from 1. */
uint64_t snapshot_generation(const struct snapshot *s);
/*
 * The generation that last changed a policy. A verdict that was given in generation G about a
 * workload still holds if neither this nor the workload's own policies_changed is above G.
 */
uint64_t snapshot_policies_changed(const struct snapshot *s);

/* Best workload at (network, ip): reference/controlplane 7.3; host-network ones are never found. */
const struct workload *snapshot_workload_at(const struct snapshot *s, const char *network,
                                            const struct hb_ip *ip);
const struct workload *snapshot_workload_by_uid(const struct snapshot *s, const char *uid);
/* The workload of that namespace with that hostname (not its pod's name); of several any. */
const struct workload *snapshot_workload_by_host(const struct snapshot *s, const char *ns,
                                                 const char *hostname);
/* The workload with this pod name, namespace and (unless "") service account on @node ("": any). */
const struct workload *snapshot_workload_of_pod(const struct snapshot *s, const char *node,
                                                const char *ns, const char *name, const char *sa);
/* By exact VIP, then CIDR VIP, as seen by a client of @client_ns (7.4); NULL: whoever. */
const struct service *snapshot_service_at(const struct snapshot *s, const char *network,
                                          const struct hb_ip *ip, const char *client_ns);
const struct service *snapshot_service_by_name(const struct snapshot *s, const char *ns,
                                               const char *hostname);
/* The best service of that name in any namespace, as seen by a client of @client_ns (7.4). */
const struct service *snapshot_service_by_host(const struct snapshot *s, const char *hostname,
                                               const char *client_ns);
const struct policy *snapshot_policy_by_key(const struct snapshot *s, const char *key);
/* The first service of @workload with a target port @port, by name; NULL: none. For telemetry. */
const struct service *snapshot_service_of(const struct snapshot *s, const struct workload *workload,
                                          uint16_t port);

/* The services that have @workload as an endpoint, in any order; one may come twice. */
struct services_iter {
	const struct snapshot *s;
	const struct workload *workload;
	struct hamt_items given;
	size_t at;
};
void snapshot_services_of(const struct snapshot *s, const struct workload *workload,
                          struct services_iter *ret_iter);
/* NULL: no more. */
const struct service *services_next(struct services_iter *iter,
                                    const struct endpoint **ret_endpoint);

/* The policies that apply by themselves to all of @ns; "": to all namespaces. In any order. */
struct policies_iter {
	struct hamt_iter iter;
	const char *ns;
};
void snapshot_policies_of(const struct snapshot *s, const char *ns, struct policies_iter *ret_iter);
const struct policy *policies_next(struct policies_iter *iter); /* NULL: no more */

/* The workloads on the store's own node, in any order. */
struct locals_iter {
	struct hamt_iter iter;
};
void snapshot_locals(const struct snapshot *s, struct locals_iter *ret_iter);
const struct workload *locals_next(struct locals_iter *iter); /* NULL: no more */

/* Sorted copies of the lists, the caller's to free(): for people. NULL list: no memory. */
size_t snapshot_workloads(const struct snapshot *s, const struct workload ***ret_by_uid);
size_t snapshot_services(const struct snapshot *s, const struct service ***ret_by_host);
size_t snapshot_policies(const struct snapshot *s, const struct policy ***ret_by_key);
size_t service_endpoints(const struct service *service, const struct endpoint ***ret_by_uid);

/* Endpoints whose service is not known, sorted by service, then uid; the caller's to free(). */
struct staged_endpoint {
	const char *service; /* "ns/hostname" */
	const struct endpoint *endpoint;
};
size_t snapshot_staged(const struct snapshot *s, struct staged_endpoint **ret_sorted);

/* In an order that depends on the uids alone:
 *   service_for_each_endpoint (endpoint, service) ... */
struct endpoint_iter {
	struct hamt_iter iter;
};
struct endpoint_iter endpoint_iter_of(const struct service *service);
const struct endpoint *endpoint_next(struct endpoint_iter *iter); /* NULL: no more */
#define service_for_each_endpoint(endpoint, service)                                               \
	for (struct endpoint_iter iter_ = endpoint_iter_of(service);                               \
	     ((endpoint) = endpoint_next(&iter_));)
/* Or NULL: it is none. */
const struct endpoint *service_endpoint_of(const struct service *service,
                                           const struct workload *workload);

/* Is @port behind any of its ports at @endpoint? */
bool service_has_target(const struct service *service, const struct endpoint *endpoint,
                        uint16_t port);
/* The port behind @service_port at @endpoint: its own mapping, else the service's, else 0. */
uint16_t endpoint_target(const struct service *service, const struct endpoint *endpoint,
                         uint16_t service_port);
