/*
 * publish: from what a builder collected to a snapshot: endpoints find their services, every list
 * is sorted, every lookup gets its index.
 */
#include <string.h>

#include "mesh/snapshot.h"

static int by_uid(const void *a, const void *b)
{
	const struct workload *const *x = a, *const *y = b;

	return strcmp((*x)->uid, (*y)->uid);
}

static int by_host(const void *a, const void *b)
{
	const struct service *const *x = a, *const *y = b;
	int order = strcmp((*x)->hostname, (*y)->hostname);

	return order ? order : strcmp((*x)->ns, (*y)->ns);
}

static int by_service_name(const void *a, const void *b)
{
	const struct service *const *x = a, *const *y = b;
	int order = strcmp((*x)->name, (*y)->name);

	return order ? order : by_host(a, b);
}

static int by_policy_key(const void *a, const void *b)
{
	const struct policy *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* Texts of a builder are stored once, so the same key is the same pointer. */
static int by_join(const void *a, const void *b)
{
	const struct joint *x = a, *y = b;
	int order = x->service_key == y->service_key ? 0 : strcmp(x->service_key, y->service_key);

	if (!order)
		order = strcmp(x->endpoint.workload_uid, y->endpoint.workload_uid);
	return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* A sorted copy in the arena. */
static void *sorted(struct hb_arena *arena, const void *items, size_t count,
                    int (*compare)(const void *, const void *))
{
	void *copy = hb_arena_array(arena, count, sizeof(void *));

	if (copy && count) {
		memcpy(copy, items, count * sizeof(void *));
		qsort(copy, count, sizeof(void *), compare);
	}
	return copy;
}

static int lists_build(struct snapshot *s, const struct contents *contents, struct hb_arena *arena)
{
	s->workloads_count = contents->workloads_count;
	s->workloads = sorted(arena, contents->workloads, s->workloads_count, by_uid);
	s->services_count = contents->services_count;
	s->services = sorted(arena, contents->services, s->services_count, by_host);
	s->services_stored = hb_arena_array(arena, s->services_count, sizeof(void *));
	s->policies_count = contents->policies_count;
	s->policies = sorted(arena, contents->policies, s->policies_count, by_policy_key);
	if (!s->workloads || !s->services || !s->services_stored || !s->policies)
		return -ENOMEM;
	for (size_t i = 0; i < s->services_count; i++)
		s->services_stored[i] = contents->services[i];
	return 0;
}

static int workloads_index(struct snapshot *s, struct hb_arena *arena)
{
	if (index_init(&s->by_uid, arena, s->workloads_count) < 0 ||
	    index_init(&s->by_pod, arena, s->workloads_count) < 0)
		return -ENOMEM;
	for (size_t i = s->workloads_count; i-- > 0;) {
		const struct workload *w = s->workloads[i];

		index_add(&s->by_uid, index_hash_text(w->uid), (uint32_t)i);
		index_add(&s->by_pod, snapshot_hash_pair(w->ns, w->name), (uint32_t)i);
	}
	return 0;
}

/* reference/controlplane 7.3 */
static int address_rank(const struct workload *w)
{
	return (strstr(w->uid, "//Pod/") ? 2 : 0) + (w->protocol == PROTOCOL_HBONE ? 1 : 0);
}

static void ip_index(struct snapshot *s, const struct workload *w, const struct hb_ip *ip)
{
	uint32_t hash = snapshot_hash_ip(w->network, ip);

	index_for_each(i, &s->by_ip, hash)
	{
		struct ip_item *item = &s->ips[i];

		if (!hb_ip_equal(item->ip, ip) || strcmp(item->workload->network, w->network) != 0)
			continue;
		if (address_rank(w) >= address_rank(item->workload)) /* equal: the last one */
			item->workload = w;
		return;
	}
	s->ips[s->ips_count] = (struct ip_item){ .workload = w, .ip = ip };
	index_add(&s->by_ip, hash, (uint32_t)s->ips_count++);
}

static int ips_index(struct snapshot *s, const struct contents *contents, struct hb_arena *arena)
{
	size_t count = 0;

	for (size_t i = 0; i < contents->workloads_count; i++)
		count += contents->workloads[i]->ips_count;
	s->ips = hb_arena_array(arena, count, sizeof(*s->ips));
	if (!s->ips || index_init(&s->by_ip, arena, count) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < contents->workloads_count; i++) {
		const struct workload *w = contents->workloads[i];

		for (size_t j = 0; j < w->ips_count && !w->host_network; j++)
			ip_index(s, w, &w->ips[j]);
	}
	return 0;
}

static int services_index(struct snapshot *s, struct hb_arena *arena)
{
	if (index_init(&s->by_key, arena, s->services_count) < 0 ||
	    index_init(&s->by_host, arena, s->services_count) < 0)
		return -ENOMEM;
	for (size_t i = s->services_count; i-- > 0;) {
		const struct service *service = s->services_stored[i];

		index_add(&s->by_key, snapshot_hash_pair(service->ns, service->hostname),
		          (uint32_t)i);
		index_add(&s->by_host, index_hash_text(service->hostname), (uint32_t)i);
	}
	return 0;
}

static int vips_index(struct snapshot *s, struct hb_arena *arena)
{
	size_t count = 0;

	for (size_t i = 0; i < s->services_count; i++)
		count += s->services_stored[i]->vips_count;
	s->vips = hb_arena_array(arena, count, sizeof(*s->vips));
	s->cidrs = hb_arena_array(arena, count, sizeof(*s->cidrs));
	if (!s->vips || !s->cidrs || index_init(&s->by_vip, arena, count) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->services_count; i++) {
		const struct service *service = s->services_stored[i];

		for (size_t j = 0; j < service->vips_count; j++) {
			struct vip_item item = { service, &service->vips[j] };
			bool exact = item.vip->prefix == (hb_ip_is_v4(&item.vip->ip) ? 32 : 128);

			if (exact)
				s->vips[s->vips_count++] = item;
			else
				s->cidrs[s->cidrs_count++] = item;
		}
	}
	for (size_t i = s->vips_count; i-- > 0;)
		index_add(&s->by_vip,
		          snapshot_hash_ip(s->vips[i].vip->network, &s->vips[i].vip->ip),
		          (uint32_t)i);
	return 0;
}

static int policies_index(struct snapshot *s, struct hb_arena *arena)
{
	if (index_init(&s->by_policy, arena, s->policies_count) < 0 ||
	    index_init(&s->by_policy_ns, arena, s->policies_count) < 0)
		return -ENOMEM;
	for (size_t i = s->policies_count; i-- > 0;) {
		const struct policy *policy = s->policies[i];
		const char *ns = policy_index_ns(policy);

		index_add(&s->by_policy, index_hash_text(policy->key), (uint32_t)i);
		if (ns)
			index_add(&s->by_policy_ns, index_hash_text(ns), (uint32_t)i);
	}
	return 0;
}

static struct service *service_of_key(const struct snapshot *s, const struct contents *contents,
                                      const char *key)
{
	size_t ns_len = strcspn(key, "/");
	const char *host = key[ns_len] ? key + ns_len + 1 : key + ns_len;
	uint32_t hash = index_mix(index_hash(key, ns_len), index_hash_text(host));

	index_for_each(i, &s->by_key, hash)
	{
		struct service *service = contents->services[i];

		if (strcmp(service->hostname, host) == 0 && strlen(service->ns) == ns_len &&
		    memcmp(service->ns, key, ns_len) == 0)
			return service;
	}
	return NULL;
}

/* Sorts, looks up both ends and drops all but the last of the same service and workload. */
static void joints_resolve(const struct snapshot *s, struct contents *contents)
{
	struct joint *joints = contents->joints;
	size_t count = 0;

	if (contents->joints_count)
		qsort(joints, contents->joints_count, sizeof(*joints), by_join);
	for (size_t i = 0; i < contents->joints_count; i++) {
		struct joint *joint = &joints[i], *last = count ? &joints[count - 1] : NULL;
		bool same_service = last && last->service_key == joint->service_key;

		joint->service =
		    same_service ? last->service : service_of_key(s, contents, joint->service_key);
		joint->endpoint.workload =
		    snapshot_workload_by_uid(s, joint->endpoint.workload_uid);
		if (same_service && last->endpoint.workload_uid == joint->endpoint.workload_uid)
			*last = *joint;
		else
			joints[count++] = *joint;
	}
	contents->joints_count = count;
}

/* Joints of one service stand together now: each service gets its stretch of one array. */
static int endpoints_build(struct snapshot *s, struct contents *contents, struct hb_arena *arena)
{
	struct endpoint *endpoints;

	joints_resolve(s, contents);
	endpoints = hb_arena_array(arena, contents->joints_count, sizeof(*endpoints));
	s->staged = hb_arena_array(arena, contents->joints_count, sizeof(*s->staged));
	if (!endpoints || !s->staged)
		return -ENOMEM;
	for (size_t i = 0; i < contents->joints_count; i++) {
		const struct joint *joint = &contents->joints[i];

		if (!joint->service) {
			s->staged[s->staged_count++] = (struct staged_endpoint){
				.service = joint->service_key,
				.endpoint = joint->endpoint,
			};
			continue;
		}
		endpoints[i] = joint->endpoint;
		if (!joint->service->endpoints)
			joint->service->endpoints = &endpoints[i];
		joint->service->endpoints_count++;
	}
	return 0;
}

static int serves_index(struct snapshot *s, size_t joints_count, struct hb_arena *arena)
{
	const struct service **services =
	    sorted(arena, s->services, s->services_count, by_service_name);

	s->serves = hb_arena_array(arena, joints_count, sizeof(*s->serves));
	if (!services || !s->serves || index_init(&s->by_endpoint, arena, joints_count) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->services_count; i++) {
		for (size_t j = 0; j < services[i]->endpoints_count; j++) {
			const struct endpoint *endpoint = &services[i]->endpoints[j];

			if (endpoint->workload)
				s->serves[s->serves_count++] =
				    (struct serves_item){ services[i], endpoint };
		}
	}
	for (size_t i = s->serves_count; i-- > 0;)
		index_add(&s->by_endpoint, snapshot_hash_pointer(s->serves[i].endpoint->workload),
		          (uint32_t)i);
	return 0;
}

int snapshot_build(struct contents *contents, struct hb_arena *arena,
                   struct snapshot **ret_snapshot)
{
	hb_cleanup(hb_free_ptr) struct snapshot *s = calloc(1, sizeof(*s));

	if (!s || lists_build(s, contents, arena) < 0 || workloads_index(s, arena) < 0 ||
	    ips_index(s, contents, arena) < 0 || services_index(s, arena) < 0 ||
	    vips_index(s, arena) < 0 || policies_index(s, arena) < 0 ||
	    endpoints_build(s, contents, arena) < 0 ||
	    serves_index(s, contents->joints_count, arena) < 0)
		return -ENOMEM;
	s->arena = *arena;
	hb_arena_init(arena);
	atomic_init(&s->refs, 1);
	*ret_snapshot = hb_take(&s);
	return 0;
}
