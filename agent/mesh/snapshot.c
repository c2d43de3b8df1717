/*
 * snapshot: every lookup with its tie-breaks (reference/controlplane 7.3 to 7.5).
 */
#include "mesh/snapshot.h"

#include <string.h>

#include "mesh/cidr.h"
#include "mesh/state.h"

uint64_t snapshot_generation(const struct snapshot *s)
{
	return s->generation;
}

uint64_t snapshot_policies_changed(const struct snapshot *s)
{
	return s->state.policies_changed;
}

struct workload_object *state_workload(const struct state *state, uint64_t hash, const char *uid)
{
	struct hamt_items items = hamt_get(&state->maps[BY_UID], hash);
	struct workload_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->workload.uid, uid) == 0)
			return object;
	}
	return NULL;
}

struct service_object *state_service(const struct state *state, enum state_map map, uint64_t hash,
                                     const char *key)
{
	struct hamt_items items = hamt_get(&state->maps[map], hash);
	struct service_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->key, key) == 0)
			return object;
	}
	return NULL;
}

struct policy_object *state_policy(const struct state *state, uint64_t hash, const char *key)
{
	struct hamt_items items = hamt_get(&state->maps[BY_POLICY], hash);
	struct policy_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->policy.key, key) == 0)
			return object;
	}
	return NULL;
}

/*
 * Workloads.
 */
static int address_rank(const struct workload *w)
{
	return (strstr(w->uid, "//Pod/") ? 2 : 0) + (w->protocol == PROTOCOL_HBONE ? 1 : 0);
}

static bool is_at(const struct workload *w, const char *network, const struct hb_ip *ip)
{
	if (strcmp(w->network, network) != 0)
		return false;
	for (size_t i = 0; i < w->ips_count; i++) {
		if (hb_ip_equal(&w->ips[i], ip))
			return true;
	}
	return false;
}

const struct workload *snapshot_workload_at(const struct snapshot *s, const char *network,
                                            const struct hb_ip *ip)
{
	struct hamt_items items = hamt_get(&s->state.maps[BY_IP], hash_ip(network, ip));
	const struct workload *best = NULL;
	struct workload_object *object;

	hamt_for_each(object, items)
	{
		const struct workload *w = &object->workload;

		/* Equal: the last one that came in. */
		if (is_at(w, network, ip) && (!best || address_rank(w) >= address_rank(best)))
			best = w;
	}
	return best;
}

const struct workload *snapshot_workload_by_uid(const struct snapshot *s, const char *uid)
{
	struct workload_object *object = state_workload(&s->state, hash_text(uid), uid);

	return object ? &object->workload : NULL;
}

const struct workload *snapshot_workload_by_host(const struct snapshot *s, const char *ns,
                                                 const char *hostname)
{
	struct hamt_items items = hamt_get(&s->state.maps[BY_HOSTNAME], hash_pair(ns, hostname));
	struct workload_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->workload.hostname, hostname) == 0 &&
		    strcmp(object->workload.ns, ns) == 0)
			return &object->workload;
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
	struct hamt_items items = hamt_get(&s->state.maps[BY_POD], hash_pair(ns, name));
	const struct workload *first = NULL;
	struct workload_object *object;

	/* By uid, so that it does not depend on what came in first. */
	hamt_for_each(object, items)
	{
		const struct workload *w = &object->workload;

		if (is_of_pod(w, node, ns, name, sa) && (!first || strcmp(w->uid, first->uid) < 0))
			first = w;
	}
	return first;
}

/*
 * Services.
 */
/* 7.4: own namespace, then canonical, then any; -1: the client may not see it. */
static int preference(const struct service *service, const char *client_ns)
{
	bool own = client_ns && strcmp(service->ns, client_ns) == 0;

	if (service->namespace_only && client_ns && !own)
		return -1;
	return own ? 2 : service->canonical ? 1 : 0;
}

struct choice {
	const struct service *service;
	int preference;
};

/* Of equals the first stored wins, but the last one of the canonical ones, and of a namespace. */
static void consider(struct choice *best, const struct service *service, const char *client_ns)
{
	int preferred = preference(service, client_ns);
	bool is_later_of_two = best->service && preferred == best->preference &&
	                       (preferred == 1 || strcmp(service->ns, best->service->ns) == 0);

	if (preferred > best->preference || is_later_of_two)
		*best = (struct choice){ service, preferred };
}

static bool has_exact_vip(const struct service *service, const char *network,
                          const struct hb_ip *ip)
{
	for (size_t i = 0; i < service->vips_count && vip_is_exact(&service->vips[i]); i++) {
		if (hb_ip_equal(&service->vips[i].ip, ip) &&
		    strcmp(service->vips[i].network, network) == 0)
			return true;
	}
	return false;
}

static bool has_cidr_vip(const struct service *service, const char *network, const struct hb_ip *ip,
                         uint8_t prefix)
{
	for (size_t i = 0; i < service->vips_count; i++) {
		const struct mesh_vip *vip = &service->vips[i];

		if (vip->prefix == prefix && cidr_contains(&vip->ip, prefix, ip) &&
		    strcmp(vip->network, network) == 0)
			return true;
	}
	return false;
}

static const struct service *service_at_exact(const struct snapshot *s, const char *network,
                                              const struct hb_ip *ip, const char *client_ns)
{
	uint64_t hash = vip_hash(network, ip, hb_ip_is_v4(ip) ? 32 : 128);
	struct hamt_items items = hamt_get(&s->state.maps[BY_VIP], hash);
	struct choice best = { .preference = -1 };
	struct service_object *object;

	hamt_for_each(object, items)
	{
		if (has_exact_vip(&object->service, network, ip))
			consider(&best, &object->service, client_ns);
	}
	return best.service;
}

/* The best of one prefix length: own namespace, then canonical, then the first stored. */
static void consider_cidrs(const struct snapshot *s, const char *network, const struct hb_ip *ip,
                           uint8_t prefix, const char *client_ns, struct choice *best)
{
	struct hamt_items items = hamt_get(&s->state.maps[BY_VIP], vip_hash(network, ip, prefix));
	struct choice here = { .preference = -1 };
	struct service_object *object;

	hamt_for_each(object, items)
	{
		int preferred = preference(&object->service, client_ns);

		/* Its own namespace decides first, then being canonical, also there. */
		if (preferred == 2)
			preferred += object->service.canonical;
		if (preferred > here.preference &&
		    has_cidr_vip(&object->service, network, ip, prefix))
			here = (struct choice){ &object->service, preferred };
	}
	/* A shorter prefix beats a longer one only by being of the client's namespace. */
	if (here.service && (!best->service || (here.preference >= 2 && best->preference < 2)))
		*best = here;
}

static const struct service *service_at_cidr(const struct snapshot *s, const char *network,
                                             const struct hb_ip *ip, const char *client_ns)
{
	bool v4 = hb_ip_is_v4(ip);
	struct choice best = { .preference = -1 };

	for (unsigned int prefix = v4 ? 32 : 128; prefix-- > 0 && best.preference < 2;) {
		if (s->state.cidrs[(v4 ? 0 : 32) + prefix])
			consider_cidrs(s, network, ip, (uint8_t)prefix, client_ns, &best);
	}
	return best.service;
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
	struct hamt_items items = hamt_get(&s->state.maps[BY_SERVICE], hash_pair(ns, hostname));
	struct service_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->service.hostname, hostname) == 0 &&
		    strcmp(object->service.ns, ns) == 0)
			return &object->service;
	}
	return NULL;
}

const struct service *snapshot_service_by_host(const struct snapshot *s, const char *hostname,
                                               const char *client_ns)
{
	struct hamt_items items = hamt_get(&s->state.maps[BY_HOST], hash_text(hostname));
	struct choice best = { .preference = -1 };
	struct service_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->service.hostname, hostname) == 0)
			consider(&best, &object->service, client_ns);
	}
	return best.service;
}

/*
 * Policies.
 */
const struct policy *snapshot_policy_by_key(const struct snapshot *s, const char *key)
{
	struct policy_object *object = state_policy(&s->state, hash_text(key), key);

	return object ? &object->policy : NULL;
}

void snapshot_policies_of(const struct snapshot *s, const char *ns, struct policies_iter *ret_iter)
{
	hamt_iter_prefix(&ret_iter->iter, &s->state.maps[BY_POLICY_NS], policy_ns_hash(ns, ""));
	ret_iter->ns = ns;
}

const struct policy *policies_next(struct policies_iter *iter)
{
	struct policy_object *object;

	while ((object = hamt_next(&iter->iter))) {
		if (strcmp(policy_index_ns(&object->policy), iter->ns) == 0)
			return &object->policy;
	}
	return NULL;
}

/*
 * Endpoints.
 */
struct endpoint_iter endpoint_iter_of(const struct service *service)
{
	struct endpoint_iter iter;

	hamt_iter_init(&iter.iter, &service->endpoints);
	return iter;
}

const struct endpoint *endpoint_next(struct endpoint_iter *iter)
{
	return hamt_next(&iter->iter);
}

const struct endpoint *service_endpoint_of(const struct service *service,
                                           const struct workload *workload)
{
	struct hamt_items items = hamt_get(&service->endpoints, hash_text(workload->uid));
	const struct endpoint *endpoint;

	hamt_for_each(endpoint, items)
	{
		if (endpoint->workload == workload)
			return endpoint;
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

bool service_has_target(const struct service *service, const struct endpoint *endpoint,
                        uint16_t port)
{
	for (size_t i = 0; i < service->ports_count; i++) {
		if (endpoint_target(service, endpoint, service->ports[i].port) == port)
			return true;
	}
	return false;
}

void snapshot_services_of(const struct snapshot *s, const struct workload *workload,
                          struct services_iter *ret_iter)
{
	*ret_iter = (struct services_iter){
		.s = s,
		.workload = workload,
		.given = hamt_get(&s->state.maps[GIVEN], hash_text(workload->uid)),
	};
}

void snapshot_locals(const struct snapshot *s, struct locals_iter *ret_iter)
{
	hamt_iter_init(&ret_iter->iter, &s->state.maps[BY_NODE]);
}

const struct workload *locals_next(struct locals_iter *iter)
{
	const struct workload_object *object = hamt_next(&iter->iter);

	return object ? &object->workload : NULL;
}

/* The key of the next one that names the workload, or is named by it; NULL: no more. */
static const char *next_key(struct services_iter *iter)
{
	size_t own = iter->workload->services_count;
	size_t at = iter->at++;

	if (at < own)
		return iter->workload->services[at].service;
	if (at - own < iter->given.count)
		return ((const struct given_object *)iter->given.at[at - own])->service;
	return NULL;
}

const struct service *services_next(struct services_iter *iter,
                                    const struct endpoint **ret_endpoint)
{
	const char *key;

	while ((key = next_key(iter))) {
		struct service_object *object =
		    state_service(&iter->s->state, BY_SERVICE, service_key_hash(key), key);
		const struct endpoint *endpoint =
		    object ? service_endpoint_of(&object->service, iter->workload) : NULL;

		if (!endpoint)
			continue;
		*ret_endpoint = endpoint;
		return &object->service;
	}
	return NULL;
}

const struct service *snapshot_service_of(const struct snapshot *s, const struct workload *workload,
                                          uint16_t port)
{
	const struct service *first = NULL, *service;
	const struct endpoint *endpoint;
	struct services_iter iter;

	if (!port)
		return NULL;
	snapshot_services_of(s, workload, &iter);
	while ((service = services_next(&iter, &endpoint))) {
		if (service_has_target(service, endpoint, port) &&
		    (!first || service_order(service, first) < 0))
			first = service;
	}
	return first;
}
