/*
 * store: the mesh as one immutable snapshot with its indexes. A builder takes workloads, services
 * and policies in any order and publishes; readers share the snapshot by count and never lock.
 * Pure: no files, no clock, no threads (the count is atomic).
 */
#pragma once

#include "mesh/model.h"

struct snapshot;

struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* takes NULL */

/* Best workload at (network, ip): reference/controlplane 7.3; host-network ones are never found. */
const struct workload *snapshot_workload_at(const struct snapshot *s, const char *network,
                                            const struct hb_ip *ip);
const struct workload *snapshot_workload_by_uid(const struct snapshot *s, const char *uid);
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

size_t snapshot_workloads(const struct snapshot *s,
                          const struct workload *const **ret_sorted_by_uid);
size_t snapshot_services(const struct snapshot *s,
                         const struct service *const **ret_sorted_by_host);
size_t snapshot_policies(const struct snapshot *s, const struct policy *const **ret_sorted_by_key);

/* Endpoints whose service is not known (yet), sorted by service, then uid. */
struct staged_endpoint {
	const char *service; /* "ns/hostname" */
	struct endpoint endpoint;
};
size_t snapshot_staged(const struct snapshot *s, const struct staged_endpoint **ret_sorted);

/* The port behind @service_port at @endpoint: its own mapping, else the service's, else 0. */
uint16_t endpoint_target(const struct service *service, const struct endpoint *endpoint,
                         uint16_t service_port);
