/*
 * store: reading a snapshot, and sharing it by count.
 */
#include "mesh/snapshot.h"

#include <assert.h>
#include <string.h>

#include "mesh/cidr.h"

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	unsigned int before = atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX);
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	unsigned int before;

	if (!snapshot)
		return;
	before = atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before > 1)
		return;
	hb_arena_done(&snapshot->arena);
	free(snapshot);
}

uint32_t snapshot_hash_ip(const char *network, const struct hb_ip *ip)
{
	return index_mix(index_hash_text(network), index_hash(ip->b, sizeof(ip->b)));
}

uint32_t snapshot_hash_pair(const char *a, const char *b)
{
	return index_mix(index_hash_text(a), index_hash_text(b));
}

uint32_t snapshot_hash_pointer(const void *pointer)
{
	return index_hash(&pointer, sizeof(pointer));
}

const char *policy_index_ns(const struct policy *policy)
{
	if (policy->scope == SCOPE_WORKLOAD)
		return NULL;
	return policy->scope == SCOPE_GLOBAL ? "" : policy->ns;
}

const struct workload *snapshot_workload_at(const struct snapshot *s, const char *network,
                                            const struct hb_ip *ip)
{
	index_for_each(i, &s->by_ip, snapshot_hash_ip(network, ip))
	{
		const struct ip_item *item = &s->ips[i];

		if (hb_ip_equal(item->ip, ip) && strcmp(item->workload->network, network) == 0)
			return item->workload;
	}
	return NULL;
}

const struct workload *snapshot_workload_by_uid(const struct snapshot *s, const char *uid)
{
	index_for_each(i, &s->by_uid, index_hash_text(uid))
	{
		if (strcmp(s->workloads[i]->uid, uid) == 0)
			return s->workloads[i];
	}
	return NULL;
}

static bool is_of_pod(const struct workload *w, const char *node, const char *ns, const char *name,
                      const char *sa)
{
	return strcmp(w->name, name) == 0 && strcmp(w->ns, ns) == 0 &&
	       (!*sa || strcmp(w->service_account, sa) == 0) &&
	       (!*node || strcmp(w->node, node) == 0);
}

const struct workload *snapshot_workload_of_pod(const struct snapshot *s, const char *node,
                                                const char *ns, const char *name, const char *sa)
{
	index_for_each(i, &s->by_pod, snapshot_hash_pair(ns, name))
	{
		if (is_of_pod(s->workloads[i], node, ns, name, sa))
			return s->workloads[i];
	}
	return NULL;
}

/* reference/controlplane 7.4: own namespace, then canonical, then any; -1: the client may not see
 * it. */
static int preference(const struct service *service, const char *client_ns)
{
	bool own = client_ns && strcmp(service->ns, client_ns) == 0;

	if (service->namespace_only && client_ns && !own)
		return -1;
	return own ? 2 : service->canonical ? 1 : 0;
}

/* Of equals the first stored wins, but the last stored of the canonical ones. */
static bool is_better(int preferred, int than)
{
	return preferred > than || (preferred == 1 && than == 1);
}

static const struct service *service_at_exact(const struct snapshot *s, const char *network,
                                              const struct hb_ip *ip, const char *client_ns)
{
	const struct service *best = NULL;
	int best_preference = -1;

	index_for_each(i, &s->by_vip, snapshot_hash_ip(network, ip))
	{
		const struct vip_item *item = &s->vips[i];
		int preferred = preference(item->service, client_ns);

		if (!hb_ip_equal(&item->vip->ip, ip) || strcmp(item->vip->network, network) != 0)
			continue;
		if (is_better(preferred, best_preference)) {
			best = item->service;
			best_preference = preferred;
		}
	}
	return best;
}

static const struct service *service_at_cidr(const struct snapshot *s, const char *network,
                                             const struct hb_ip *ip, const char *client_ns)
{
	const struct service *best = NULL;
	int best_rank = -1;

	for (size_t i = 0; i < s->cidrs_count; i++) {
		const struct vip_item *item = &s->cidrs[i];
		int preferred = preference(item->service, client_ns);
		int rank =
		    (preferred == 2) << 16 | item->vip->prefix << 1 | (int)item->service->canonical;

		if (preferred < 0 || !cidr_contains(&item->vip->ip, item->vip->prefix, ip) ||
		    strcmp(item->vip->network, network) != 0)
			continue;
		if (rank > best_rank) {
			best = item->service;
			best_rank = rank;
		}
	}
	return best;
}

const struct service *snapshot_service_at(const struct snapshot *s, const char *network,
                                          const struct hb_ip *ip, const char *client_ns)
{
	const struct service *exact = service_at_exact(s, network, ip, client_ns);

	return exact ? exact : service_at_cidr(s, network, ip, client_ns);
}

const struct service *snapshot_service_by_name(const struct snapshot *s, const char *ns,
                                               const char *hostname)
{
	index_for_each(i, &s->by_key, snapshot_hash_pair(ns, hostname))
	{
		const struct service *service = s->services_stored[i];

		if (strcmp(service->hostname, hostname) == 0 && strcmp(service->ns, ns) == 0)
			return service;
	}
	return NULL;
}

const struct service *snapshot_service_by_host(const struct snapshot *s, const char *hostname,
                                               const char *client_ns)
{
	const struct service *best = NULL;
	int best_preference = -1;

	index_for_each(i, &s->by_host, index_hash_text(hostname))
	{
		const struct service *service = s->services_stored[i];
		int preferred = preference(service, client_ns);

		if (strcmp(service->hostname, hostname) != 0)
			continue;
		if (is_better(preferred, best_preference)) {
			best = service;
			best_preference = preferred;
		}
	}
	return best;
}

const struct policy *snapshot_policy_by_key(const struct snapshot *s, const char *key)
{
	index_for_each(i, &s->by_policy, index_hash_text(key))
	{
		if (strcmp(s->policies[i]->key, key) == 0)
			return s->policies[i];
	}
	return NULL;
}

uint16_t endpoint_target(const struct service *service, const struct endpoint *endpoint,
                         uint16_t service_port)
{
	for (size_t i = 0; i < endpoint->ports_count; i++) {
		if (endpoint->ports[i].port == service_port && endpoint->ports[i].target)
			return endpoint->ports[i].target;
	}
	for (size_t i = 0; i < service->ports_count; i++) {
		if (service->ports[i].port == service_port)
			return service->ports[i].target;
	}
	return 0;
}

const struct service *snapshot_service_of(const struct snapshot *s, const struct workload *workload,
                                          uint16_t port)
{
	index_for_each(i, &s->by_endpoint, snapshot_hash_pointer(workload))
	{
		const struct serves_item *item = &s->serves[i];

		if (item->endpoint->workload != workload)
			continue;
		for (size_t j = 0; j < item->service->ports_count; j++) {
			uint16_t service_port = item->service->ports[j].port;

			if (port &&
			    endpoint_target(item->service, item->endpoint, service_port) == port)
				return item->service;
		}
	}
	return NULL;
}

size_t snapshot_workloads(const struct snapshot *s,
                          const struct workload *const **ret_sorted_by_uid)
{
	*ret_sorted_by_uid = s->workloads;
	return s->workloads_count;
}

size_t snapshot_services(const struct snapshot *s, const struct service *const **ret_sorted_by_host)
{
	*ret_sorted_by_host = s->services;
	return s->services_count;
}

size_t snapshot_policies(const struct snapshot *s, const struct policy *const **ret_sorted_by_key)
{
	*ret_sorted_by_key = s->policies;
	return s->policies_count;
}

size_t snapshot_staged(const struct snapshot *s, const struct staged_endpoint **ret_sorted)
{
	*ret_sorted = s->staged;
	return s->staged_count;
}
