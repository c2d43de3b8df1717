/*
 * store_sync: one source says all it knows; what it does not say any more goes.
 */
#include "mesh/state.h"

static const enum state_map synced[] = { BY_UID, BY_SERVICE, BY_POLICY };

static struct origin *origin_of(enum state_map map, void *item)
{
	if (map == BY_UID)
		return &((struct workload_object *)item)->origin;
	if (map == BY_SERVICE)
		return &((struct service_object *)item)->origin;
	return &((struct policy_object *)item)->origin;
}

void store_speak_as(struct store *store, enum store_source source)
{
	store->origin = (struct origin){ .source = (uint8_t)source };
}

int store_sync_begin(struct store *store, enum store_source source)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(synced); i++) {
		struct hamt_iter iter;
		void *item;

		hamt_iter_init(&iter, &store->state.maps[synced[i]]);
		while ((item = hamt_next(&iter)))
			origin_of(synced[i], item)->line = 0;
	}
	store->syncing = true;
	store->origin = (struct origin){ .source = (uint8_t)source };
	return 0;
}

void store_at_line(struct store *store, uint32_t line)
{
	store->origin.line = line;
}

uint32_t store_first_line(const struct store *store)
{
	return store->first_line;
}

static int remove_item(struct store *store, enum state_map map, void *item)
{
	const struct service_object *service = item;

	if (map == BY_UID)
		return store_remove_workload(store, ((struct workload_object *)item)->workload.uid);
	if (map == BY_SERVICE)
		return store_remove_service(store, service->service.ns, service->service.hostname);
	return store_remove_policy(store, ((struct policy_object *)item)->policy.key);
}

static int map_sweep(struct store *store, enum state_map map)
{
	const struct hamt *items = &store->state.maps[map];
	hb_cleanup(hb_free_ptr) void **gone = NULL;
	struct hamt_iter iter;
	size_t count = 0;
	int err = 0;
	void *item;

	if (!hamt_count(items))
		return 0;
	gone = reallocarray(NULL, hamt_count(items), sizeof(void *));
	if (!gone)
		return -ENOMEM;
	hamt_iter_init(&iter, items);
	while ((item = hamt_next(&iter))) {
		const struct origin *origin = origin_of(map, item);

		if (origin->source == store->origin.source && !origin->line)
			gone[count++] = counted_ref(item);
	}
	for (size_t i = 0; i < count && !err; i++)
		err = remove_item(store, map, gone[i]);
	for (size_t i = 0; i < count; i++)
		counted_unref(&store->heap, gone[i]);
	return err;
}

int store_sync_end(struct store *store)
{
	int err = 0;

	for (size_t i = 0; i < HB_ARRAY_LEN(synced) && !err; i++)
		err = map_sweep(store, synced[i]);
	store->syncing = false;
	if (err)
		store_discard(store); /* after some it is done already: twice does no harm */
	return err;
}
