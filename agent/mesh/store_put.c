/*
 * store_put: what comes in or goes finds its place in every map. Whatever fails for want of memory
 * is undone with its batch, so no step here takes back another.
 */
#include <string.h>

#include "mesh/state.h"

static int undo(struct store *store, int err)
{
	if (err == -ENOMEM)
		store_discard(store);
	return err;
}

static int map_add(struct store *store, enum state_map map, uint64_t hash, void *item)
{
	return hamt_add(&store->heap, &store->state.maps[map], hash, item);
}

static int map_remove(struct store *store, enum state_map map, uint64_t hash, const void *item)
{
	return hamt_remove(&store->heap, &store->state.maps[map], hash, item);
}

/* An object that was put before in this sync may not come again. */
static bool came_before(struct store *store, const struct origin *origin)
{
	if (!store->syncing || origin->source != store->origin.source || !origin->line)
		return false;
	store->first_line = origin->line;
	return true;
}

/*
 * Workloads.
 */
static bool is_local(const struct store *store, const struct workload *w)
{
	return *store->node && strcmp(w->node, store->node) == 0;
}

static int workload_index(struct store *store, struct workload_object *object)
{
	const struct workload *w = &object->workload;
	int err = 0;

	if (*w->name)
		err = map_add(store, BY_POD, hash_pair(w->ns, w->name), object);
	if (!err && *w->hostname)
		err = map_add(store, BY_HOSTNAME, hash_pair(w->ns, w->hostname), object);
	if (!err && is_local(store, w))
		err = map_add(store, BY_NODE, hash_text(w->uid), object);
	for (size_t i = 0; i < w->ips_count && !w->host_network && !err; i++)
		err = map_add(store, BY_IP, hash_ip(w->network, &w->ips[i]), object);
	return err;
}

static int workload_unindex(struct store *store, const struct workload_object *object)
{
	const struct workload *w = &object->workload;
	int err = 0;

	if (*w->name)
		err = map_remove(store, BY_POD, hash_pair(w->ns, w->name), object);
	if (!err && *w->hostname)
		err = map_remove(store, BY_HOSTNAME, hash_pair(w->ns, w->hostname), object);
	if (!err && is_local(store, w))
		err = map_remove(store, BY_NODE, hash_text(w->uid), object);
	for (size_t i = 0; i < w->ips_count && !w->host_network && !err; i++)
		err = map_remove(store, BY_IP, hash_ip(w->network, &w->ips[i]), object);
	return err;
}

/* Texts in common are equal pointers. */
static bool is_judged_alike(const struct workload *a, const struct workload *b)
{
	return a->ns == b->ns && a->policies_count == b->policies_count &&
	       (!a->policies_count ||
	        memcmp(a->policies, b->policies, a->policies_count * sizeof(*a->policies)) == 0);
}

static int services_join(struct store *store, const struct workload *w)
{
	int err = 0;

	for (size_t i = 0; i < w->services_count && !err; i++)
		err = store_join(store, w->services[i].service, w->uid);
	return err;
}

/* @old leaves and @object comes; either may be NULL. Takes @object's reference. */
static int workload_change(struct store *store, struct workload_object *old,
                           struct workload_object *object)
{
	const struct workload *w = object ? &object->workload : &old->workload;
	uint64_t hash = hash_text(w->uid);
	struct hamt *map = &store->state.maps[BY_UID];
	int err = old ? workload_unindex(store, old) : 0;

	if (old)
		counted_ref(old); /* its endpoints are still in services */
	if (!err)
		err = !object ? hamt_remove(&store->heap, map, hash, old)
		      : old   ? hamt_replace(&store->heap, map, hash, old, object)
		              : hamt_add(&store->heap, map, hash, object);
	if (err && object)
		counted_unref(&store->heap, object);
	if (!err && object)
		err = workload_index(store, object);
	if (!err)
		err = store_given_follow(store, w->uid, object ? w : NULL);
	if (!err && old)
		err = services_join(store, &old->workload);
	if (!err && object)
		err = services_join(store, w);
	counted_unref(&store->heap, old);
	store->changes.workloads++;
	return err;
}

int store_put_workload(struct store *store, const struct workload *workload)
{
	struct workload_object *object, *old;
	int err = store_check_workload(store, workload);

	if (err)
		return err;
	old = state_workload(&store->state, hash_text(workload->uid), workload->uid);
	if (old && came_before(store, &old->origin))
		return -EEXIST;
	object = workload_object_new(&store->heap, workload);
	if (!object)
		return undo(store, -ENOMEM);
	if (old && workload_object_equal(old, object)) {
		old->origin = store->origin;
		counted_unref(&store->heap, object);
		return 0;
	}
	object->origin = store->origin;
	object->workload.policies_changed = store->generation + 1;
	if (old && is_judged_alike(&old->workload, &object->workload))
		object->workload.policies_changed = old->workload.policies_changed;
	else
		store->changes.policy_lists++;
	return undo(store, workload_change(store, old, object));
}

int store_remove_workload(struct store *store, const char *uid)
{
	struct workload_object *old = state_workload(&store->state, hash_text(uid), uid);

	return old ? undo(store, workload_change(store, old, NULL)) : -ENOENT;
}

/*
 * Services.
 */
static void cidrs_count(struct store *store, const struct service *service, int by)
{
	for (size_t i = 0; i < service->vips_count; i++) {
		const struct mesh_vip *vip = &service->vips[i];
		bool v4 = hb_ip_is_v4(&vip->ip);
		uint32_t *count = &store->state.cidrs[(v4 ? 0u : 32u) + vip->prefix];

		/* Of IPv4 and longer than that: no address matches it, see mesh/cidr.h. */
		if (vip->prefix < (v4 ? 32 : 128))
			*count = by > 0 ? *count + 1 : *count - 1;
	}
}

/* Both lists are sorted: what is in one only comes or goes, what is in both keeps its place. */
static int vips_change(struct store *store, struct service_object *old,
                       struct service_object *object)
{
	const struct body *was = old ? old->body : NULL, *is = object ? object->body : NULL;
	size_t i = 0, j = 0, was_count = was ? was->vips_count : 0,
	       is_count = is ? is->vips_count : 0;
	int err = 0;

	while (!err && (i < was_count || j < is_count)) {
		if (j == is_count || (i < was_count && was->vips[i] < is->vips[j])) {
			err = map_remove(store, BY_VIP, was->vips[i++], old);
		} else if (i == was_count || is->vips[j] < was->vips[i]) {
			err = map_add(store, BY_VIP, is->vips[j++], object);
		} else {
			err = hamt_replace(&store->heap, &store->state.maps[BY_VIP], is->vips[j++],
			                   old, object);
			i++;
		}
	}
	if (old)
		cidrs_count(store, &old->service, -1);
	if (object)
		cidrs_count(store, &object->service, 1);
	return err;
}

static int service_index(struct store *store, struct service_object *old,
                         struct service_object *object)
{
	const struct service *service = object ? &object->service : &old->service;
	struct hamt *map = &store->state.maps[BY_HOST];
	uint64_t hash = hash_text(service->hostname);
	int err = vips_change(store, old, object);

	if (err)
		return err;
	if (!object)
		return hamt_remove(&store->heap, map, hash, old);
	return old ? hamt_replace(&store->heap, map, hash, old, object)
	           : hamt_add(&store->heap, map, hash, object);
}

/* @object is new, or a ghost: it takes over from the one that held the endpoints until now. */
static int service_take_place(struct store *store, struct service_object *old,
                              struct service_object *object)
{
	enum state_map from = old && !old->body ? GHOSTS : BY_SERVICE;
	enum state_map to = object->body ? BY_SERVICE : GHOSTS;
	uint64_t hash = service_key_hash(object->key);
	int err;

	if (old) {
		object->service.endpoints = hamt_share(&old->service.endpoints);
		object->service.endpoints_count = old->service.endpoints_count;
	}
	if (old && from == to)
		err = hamt_replace(&store->heap, &store->state.maps[to], hash, old, object);
	else
		err = map_add(store, to, hash, object);
	if (err)
		counted_unref(&store->heap, object);
	else if (old && from != to)
		err = map_remove(store, from, hash, old);
	return err;
}

static int service_put(struct store *store, struct service_object *old,
                       struct service_object *object)
{
	const char *key = object->key;
	struct service_object *holder = old;
	int err = old ? store_given_remove(store, key, old->body) : 0;

	/* That may have made a version of its own of it. */
	if (old)
		holder = old = state_service(&store->state, BY_SERVICE, service_key_hash(key), key);
	else
		holder = state_service(&store->state, GHOSTS, service_key_hash(key), key);
	if (!err)
		err = service_index(store, old, object);
	if (err) {
		counted_unref(&store->heap, object);
		return err;
	}
	err = service_take_place(store, holder, object);
	if (!err)
		err = store_given_add(store, key, object->body);
	store->changes.services++;
	return err;
}

int store_put_service(struct store *store, const struct service *service,
                      const struct endpoint *given, size_t given_count)
{
	struct service_object *object, *old;
	int err = store_check_service(store, service, given, given_count);

	if (err)
		return err;
	object = service_object_new(&store->heap, service, given, given_count);
	if (!object)
		return undo(store, -ENOMEM);
	object->origin = store->origin;
	old = state_service(&store->state, BY_SERVICE, service_key_hash(object->key), object->key);
	if (old && came_before(store, &old->origin))
		err = -EEXIST;
	else if (old && service_object_equal(old, object))
		old->origin = store->origin;
	else
		return undo(store, service_put(store, old, object));
	counted_unref(&store->heap, object);
	return err;
}

static int service_remove(struct store *store, struct service_object *old)
{
	const char *key = text_ref(old->key);
	uint64_t hash = service_key_hash(key);
	struct service_object *ghost = NULL;
	int err = store_given_remove(store, key, old->body);

	if (!err) {
		old = state_service(&store->state, BY_SERVICE, hash, key);
		err = service_index(store, old, NULL);
	}
	if (!err && old->service.endpoints_count) {
		ghost = ghost_object_new(&store->heap, key);
		err = ghost ? service_take_place(store, old, ghost) : -ENOMEM;
	} else if (!err) {
		err = map_remove(store, BY_SERVICE, hash, old);
	}
	text_unref(&store->heap, key);
	store->changes.services++;
	return err;
}

int store_remove_service(struct store *store, const char *ns, const char *hostname)
{
	struct hamt_items items = hamt_get(&store->state.maps[BY_SERVICE], hash_pair(ns, hostname));
	struct service_object *object;

	hamt_for_each(object, items)
	{
		if (strcmp(object->service.ns, ns) == 0 &&
		    strcmp(object->service.hostname, hostname) == 0)
			return undo(store, service_remove(store, object));
	}
	return -ENOENT;
}

static int service_remove_by_key(struct store *store, const char *key)
{
	struct service_object *object =
	    state_service(&store->state, BY_SERVICE, service_key_hash(key), key);

	return object ? undo(store, service_remove(store, object)) : -ENOENT;
}

int store_remove_address(struct store *store, const char *name)
{
	int err = store_remove_workload(store, name);

	return err == -ENOENT ? service_remove_by_key(store, name) : err;
}

/*
 * Policies.
 */
static int policy_change(struct store *store, struct policy_object *old,
                         struct policy_object *object)
{
	const char *key = object ? object->policy.key : old->policy.key;
	const char *ns = old ? policy_index_ns(&old->policy) : NULL;
	struct hamt *map = &store->state.maps[BY_POLICY];
	int err = 0;

	if (ns)
		err = map_remove(store, BY_POLICY_NS, policy_ns_hash(ns, key), old);
	ns = object ? policy_index_ns(&object->policy) : NULL;
	if (!err && ns)
		err = map_add(store, BY_POLICY_NS, policy_ns_hash(ns, key), object);
	if (!err)
		err = !object ? hamt_remove(&store->heap, map, hash_text(key), old)
		      : old   ? hamt_replace(&store->heap, map, hash_text(key), old, object)
		              : hamt_add(&store->heap, map, hash_text(key), object);
	if (err && object)
		counted_unref(&store->heap, object);
	store->state.policies_changed = store->generation + 1;
	store->changes.policies++;
	return err;
}

int store_put_policy(struct store *store, const struct policy *policy)
{
	struct policy_object *object, *old;
	int err = store_check_policy(store, policy);

	if (err)
		return err;
	object = policy_object_new(&store->heap, policy);
	if (!object)
		return undo(store, -ENOMEM);
	object->origin = store->origin;
	old = state_policy(&store->state, hash_text(object->policy.key), object->policy.key);
	if (old && came_before(store, &old->origin))
		err = -EEXIST;
	else if (old && policy_object_equal(old, object))
		old->origin = store->origin;
	else
		return undo(store, policy_change(store, old, object));
	counted_unref(&store->heap, object);
	return err;
}

int store_remove_policy(struct store *store, const char *key)
{
	struct policy_object *old = state_policy(&store->state, hash_text(key), key);

	return old ? undo(store, policy_change(store, old, NULL)) : -ENOENT;
}
