/*
 * store: birth, batches and end; the puts are store_put.c's.
 */
#include "mesh/store.h"

#include <assert.h>
#include <string.h>

#include "mesh/state.h"

/*
 *   snapshot:  published --ref, unref--> nobody holds it --> dead list --store's thread--> freed
 *   store:     users: the owner + each held snapshot; the last one frees it, with the dead list
 */

static struct state state_share(const struct state *state)
{
	struct state shared = *state;

	for (int i = 0; i < STATE_MAPS; i++)
		(void)hamt_share(&shared.maps[i]);
	return shared;
}

/* Borrowing maps first: what they point to is kept by the others. */
static void state_drop(struct store *store, struct state *state)
{
	for (int i = STATE_MAPS; i-- > 0;)
		hamt_drop(&store->heap, &state->maps[i]);
}

static void state_init(struct state *state)
{
	*state = (struct state){ 0 };
	for (int i = BY_POD; i < STATE_MAPS; i++)
		state->maps[i].borrows = true;
}

void store_reap(struct store *store)
{
	struct snapshot *next, *dead = atomic_exchange(&store->dead, NULL);

	for (; dead; dead = next) {
		next = dead->next_dead;
		state_drop(store, &dead->state);
		free(dead);
	}
}

static void store_end(struct store *store)
{
	state_drop(store, &store->state);
	store_reap(store);
	texts_done(&store->texts);
	assert(store->heap.bytes == 0);
	free(store->node);
	free(store);
}

static void leave(struct store *store)
{
	if (atomic_fetch_sub(&store->users, 1) == 1)
		store_end(store);
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	unsigned int before = atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX);
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	struct store *store;
	unsigned int before;

	if (!snapshot)
		return;
	store = snapshot->store; /* after the count it may be gone */
	before = atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before > 1)
		return;
	snapshot->next_dead = atomic_load(&store->dead);
	while (!atomic_compare_exchange_weak(&store->dead, &snapshot->next_dead, snapshot))
		;
	leave(store);
}

/* The state as it is, with one reference. */
static struct snapshot *snapshot_new(struct store *store)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	atomic_init(&snapshot->refs, 1);
	snapshot->store = store;
	snapshot->generation = store->generation;
	snapshot->state = state_share(&store->state);
	atomic_fetch_add(&store->users, 1);
	return snapshot;
}

struct store *store_new(const struct store_options *options)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->node = strdup(options && options->node ? options->node : "");
	store->heap.bytes_max = options ? options->bytes_max : 0;
	store->heap.batch = 1;
	texts_init(&store->texts, &store->heap);
	hamt_init_heap(&store->heap);
	objects_init_heap(&store->heap);
	state_init(&store->state);
	atomic_init(&store->users, 1);
	store->generation = 1;
	store->published = store->node ? snapshot_new(store) : NULL;
	if (!store->published) {
		free(store->node);
		free(store);
		return NULL;
	}
	return store;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	/* What is not published goes now, and what is only in snapshots with them. */
	state_drop(store, &store->state);
	snapshot_unref(store->published);
	store_reap(store);
	leave(store);
}

static void batch_begin(struct store *store)
{
	store->heap.batch++;
	store->changes = (struct store_changes){ 0 };
	store->syncing = false;
	store_reap(store);
}

void store_discard(struct store *store)
{
	state_drop(store, &store->state);
	store->state = state_share(&store->published->state);
	batch_begin(store);
}

int store_publish(struct store *store, struct snapshot **ret_snapshot,
                  struct store_changes *ret_changes)
{
	const struct store_changes *changes = &store->changes;
	struct snapshot *snapshot;

	if (ret_changes)
		*ret_changes = *changes;
	if (changes->workloads || changes->services || changes->policies) {
		store->generation++;
		snapshot = snapshot_new(store);
		if (!snapshot) {
			store->generation--;
			store_discard(store);
			return -ENOMEM;
		}
		snapshot_unref(store->published);
		store->published = snapshot;
	}
	batch_begin(store);
	*ret_snapshot = snapshot_ref(store->published);
	return 0;
}

const char *store_why(const struct store *store)
{
	return store->why;
}

size_t store_bytes(const struct store *store)
{
	return store->heap.bytes;
}
