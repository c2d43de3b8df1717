/*
 * store_join: who is an endpoint of what. One question decides each pair of service and workload
 * anew from what is there now, so nothing depends on the order in which things came in.
 */
#include <string.h>

#include "mesh/state.h"

static struct given_object *given_lookup(const struct state *state, const char *key,
                                         const char *uid, uint64_t uid_hash)
{
	struct hamt_items items = hamt_get(&state->maps[GIVEN], uid_hash);
	struct given_object *given;

	hamt_for_each(given, items)
	{
		if (strcmp(given->endpoint.workload_uid, uid) == 0 &&
		    strcmp(given->service, key) == 0)
			return given;
	}
	return NULL;
}

/* What @uid is to the service, or NULL. The workload's own word comes first. */
static const struct endpoint *endpoint_due(const struct state *state, const char *key,
                                           const char *uid, uint64_t uid_hash)
{
	struct workload_object *object = state_workload(state, uid_hash, uid);
	struct given_object *given;

	for (size_t i = 0; object && i < object->workload.services_count; i++) {
		if (strcmp(object->workload.services[i].service, key) == 0)
			return &object->workload.services[i].endpoint;
	}
	given = given_lookup(state, key, uid, uid_hash);
	return given ? &given->endpoint : NULL;
}

static const struct endpoint *endpoint_now(const struct service_object *holder, const char *uid,
                                           uint64_t uid_hash)
{
	struct hamt_items items = hamt_get(&holder->service.endpoints, uid_hash);
	const struct endpoint *endpoint;

	hamt_for_each(endpoint, items)
	{
		if (strcmp(endpoint->workload_uid, uid) == 0)
			return endpoint;
	}
	return NULL;
}

static int vips_replace(struct store *store, struct service_object *old,
                        struct service_object *object)
{
	struct hamt *map = &store->state.maps[BY_VIP];

	for (size_t i = 0; i < object->body->vips_count; i++) {
		if (hamt_replace(&store->heap, map, object->body->vips[i], old, object) < 0)
			return -ENOMEM;
	}
	return 0;
}

struct service_object *store_service_own(struct store *store, struct service_object *old)
{
	struct hamt *maps = store->state.maps;
	uint64_t hash = service_key_hash(old->key);
	struct service_object *object;
	int err;

	if (old->batch == store->heap.batch)
		return old;
	object = service_object_copy(&store->heap, old);
	if (!object)
		return NULL;
	counted_ref(old);
	if (!object->body) {
		err = hamt_replace(&store->heap, &maps[GHOSTS], hash, old, object);
	} else {
		err = hamt_replace(&store->heap, &maps[BY_HOST],
		                   hash_text(object->service.hostname), old, object);
		if (!err)
			err = vips_replace(store, old, object);
		if (!err)
			err = hamt_replace(&store->heap, &maps[BY_SERVICE], hash, old, object);
	}
	counted_unref(&store->heap, old);
	if (!err)
		return object;
	counted_unref(&store->heap, object); /* the batch is undone by whoever sees this */
	return NULL;
}

static struct service_object *ghost_add(struct store *store, const char *key)
{
	struct service_object *ghost = ghost_object_new(&store->heap, key);

	if (ghost &&
	    hamt_add(&store->heap, &store->state.maps[GHOSTS], service_key_hash(key), ghost) < 0) {
		counted_unref(&store->heap, ghost);
		return NULL;
	}
	return ghost;
}

static int endpoint_change(struct store *store, struct service_object *holder, uint64_t uid_hash,
                           const struct endpoint *now, const struct endpoint *due)
{
	struct hamt *endpoints = &holder->service.endpoints;
	void *item = (void *)(uintptr_t)due;
	int err;

	if (now && due)
		err = hamt_replace(&store->heap, endpoints, uid_hash, now, item);
	else if (due)
		err = hamt_add(&store->heap, endpoints, uid_hash, item);
	else
		err = hamt_remove(&store->heap, endpoints, uid_hash, now);
	holder->service.endpoints_count = hamt_count(endpoints);
	return err;
}

int store_join(struct store *store, const char *key, const char *uid)
{
	struct state *state = &store->state;
	uint64_t uid_hash = hash_text(uid), hash = service_key_hash(key);
	const struct endpoint *due = endpoint_due(state, key, uid, uid_hash), *now = NULL;
	struct service_object *holder = state_service(state, BY_SERVICE, hash, key);

	if (!holder)
		holder = state_service(state, GHOSTS, hash, key);
	if (holder)
		now = endpoint_now(holder, uid, uid_hash);
	if (now == due)
		return 0;
	holder = holder ? store_service_own(store, holder) : ghost_add(store, key);
	if (!holder || endpoint_change(store, holder, uid_hash, now, due) < 0)
		return -ENOMEM;
	if (!holder->body && !holder->service.endpoints_count)
		return hamt_remove(&store->heap, &state->maps[GHOSTS], hash, holder);
	return 0;
}

static int given_follow_one(struct store *store, struct given_object *given, uint64_t hash,
                            const struct workload *workload)
{
	struct given_object *more =
	    given_object_new(&store->heap, given->service, &given->endpoint, workload);
	int err;

	if (!more)
		return -ENOMEM;
	err = hamt_replace(&store->heap, &store->state.maps[GIVEN], hash, given, more);
	if (err)
		counted_unref(&store->heap, more);
	else
		err = store_join(store, more->service, more->endpoint.workload_uid);
	return err;
}

int store_given_follow(struct store *store, const char *uid, const struct workload *workload)
{
	uint64_t hash = hash_text(uid);
	struct hamt_items items = hamt_get(&store->state.maps[GIVEN], hash);
	size_t count = items.count;
	hb_cleanup(hb_free_ptr) struct given_object **all = NULL;
	int err = 0;

	if (!count)
		return 0;
	/* Kept until they are replaced everywhere: the maps change under our hands. */
	all = reallocarray(NULL, count, sizeof(struct given_object *));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		all[i] = counted_ref(items.at[i]);
	for (size_t i = 0; i < count && !err; i++) {
		if (strcmp(all[i]->endpoint.workload_uid, uid) == 0)
			err = given_follow_one(store, all[i], hash, workload);
	}
	for (size_t i = 0; i < count; i++)
		counted_unref(&store->heap, all[i]);
	return err;
}

int store_given_add(struct store *store, const char *key, const struct body *body)
{
	for (size_t i = 0; i < body->given_count; i++) {
		const char *uid = body->given[i].workload_uid;
		uint64_t hash = hash_text(uid);
		struct workload_object *w = state_workload(&store->state, hash, uid);
		struct given_object *given, *before;

		/* Of two for one workload the last counts. */
		before = given_lookup(&store->state, key, uid, hash);
		given =
		    given_object_new(&store->heap, key, &body->given[i], w ? &w->workload : NULL);
		if (!given)
			return -ENOMEM;
		if (before)
			counted_ref(before);
		if ((before ? hamt_replace(&store->heap, &store->state.maps[GIVEN], hash, before,
		                           given)
		            : hamt_add(&store->heap, &store->state.maps[GIVEN], hash, given)) < 0) {
			counted_unref(&store->heap, given);
			counted_unref(&store->heap, before);
			return -ENOMEM;
		}
		if (store_join(store, key, uid) < 0) {
			counted_unref(&store->heap, before);
			return -ENOMEM;
		}
		counted_unref(&store->heap, before);
	}
	return 0;
}

int store_given_remove(struct store *store, const char *key, const struct body *body)
{
	for (size_t i = 0; i < body->given_count; i++) {
		const char *uid = body->given[i].workload_uid;
		uint64_t hash = hash_text(uid);
		struct given_object *given = given_lookup(&store->state, key, uid, hash);
		int err;

		if (!given)
			continue; /* it stood there twice */
		counted_ref(given);
		err = hamt_remove(&store->heap, &store->state.maps[GIVEN], hash, given);
		if (!err)
			err = store_join(store, key, uid);
		counted_unref(&store->heap, given);
		if (err)
			return err;
	}
	return 0;
}
