/*
 * store: random batches against a slow and obvious model; every lookup is compared, in the newest
 * snapshot and in old ones that are kept. Some batches are discarded, some run out of memory.
 */
#include <check.h>
#include <stdio.h>

#include "mesh/state.h"
#include "unit/agent/mesh/store_model.h"

#define BATCHES 300
#define KEPT    4

static uint64_t seed;

static unsigned int rnd(unsigned int below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(seed >> 33) % below;
}

static int put_workload(struct model *model, struct store *store, uint64_t generation)
{
	unsigned int i = rnd(MODEL_WORKLOADS);
	struct model_workload *m = &model->workloads[i], old = *m;

	m->in = true;
	m->hbone = rnd(2);
	m->host_network = rnd(8) == 0;
	m->unhealthy = rnd(2);
	m->ips = rnd(2) ? 1u << rnd(MODEL_IPS) : rnd(1u << MODEL_IPS);
	m->services = rnd(1u << MODEL_SERVICES);
	m->policies = rnd(4) ? old.policies : rnd(1u << MODEL_POLICIES);
	m->ns = rnd(4) ? old.ns : rnd(3);
	m->network = rnd(2);
	m->node = rnd(2);
	m->hostname = rnd(3);
	m->port = (uint16_t)(100 + rnd(3));
	if (rnd(4) == 0 && old.in) /* said again, word for word */
		*m = old;
	if (memcmp(m, &old, sizeof(old)) != 0)
		m->order = ++model->clock;
	if (!old.in || m->policies != old.policies || m->ns != old.ns)
		m->policies_changed = generation;
	return model_put_workload(model, i, store);
}

static int put_service(struct model *model, struct store *store)
{
	unsigned int i = rnd(MODEL_SERVICES);
	struct model_service *m = &model->services[i], old = *m;

	m->in = true;
	m->canonical = rnd(2);
	m->hidden = rnd(3) == 0;
	m->vips = rnd(1u << MODEL_VIPS);
	m->given = rnd(2) ? 0 : rnd(1u << MODEL_WORKLOADS) & rnd(1u << MODEL_WORKLOADS);
	if (!old.in)
		m->order = ++model->clock;
	for (unsigned int j = 0; j < MODEL_VIPS; j++) {
		if (m->vips & 1u << j && !(old.in && old.vips & 1u << j))
			m->vip_order[j] = ++model->clock;
	}
	return model_put_service(model, i, store);
}

static int put_policy(struct model *model, struct store *store, uint64_t generation)
{
	unsigned int i = rnd(MODEL_POLICIES);
	struct model_policy *m = &model->policies[i], old = *m;

	m->in = true;
	m->scope = (enum policy_scope)rnd(3);
	m->variant = rnd(2);
	if (memcmp(m, &old, sizeof(old)) != 0)
		model->policies_changed = generation;
	return model_put_policy(model, i, store);
}

static int remove_one(struct model *model, struct store *store, uint64_t generation)
{
	unsigned int i = rnd(MODEL_WORKLOADS + MODEL_SERVICES + MODEL_POLICIES);
	char key[24];
	bool *in;
	int err;

	if (i < MODEL_WORKLOADS) {
		in = &model->workloads[i].in;
		err = store_remove_address(store, model_uid(i));
	} else if (i < MODEL_WORKLOADS + MODEL_SERVICES) {
		i -= MODEL_WORKLOADS;
		in = &model->services[i].in;
		err = store_remove_address(store, model_key(i));
	} else {
		i -= MODEL_WORKLOADS + MODEL_SERVICES;
		in = &model->policies[i].in;
		snprintf(key, sizeof(key), "n%u/policy%u", i % 3, i);
		err = store_remove_policy(store, key);
		if (!err)
			model->policies_changed = generation;
	}
	if (err == -ENOMEM)
		return err;
	if (err != (*in ? 0 : -ENOENT))
		ck_abort_msg("removed %d", err);
	*in = false;
	return 0;
}

static int change(struct model *model, struct store *store, uint64_t generation)
{
	switch (rnd(8)) {
	case 0:
		return put_policy(model, store, generation);
	case 1:
	case 2:
		return put_service(model, store);
	case 3:
	case 4:
		return remove_one(model, store, generation);
	default:
		return put_workload(model, store, generation);
	}
}

/* Some changes; false: they were undone. */
static bool batch(struct model *model, struct store *store, uint64_t generation)
{
	for (unsigned int count = 1 + rnd(8); count > 0; count--) {
		int err;

		if (rnd(60) == 0)
			store->heap.bytes_max = store_bytes(store) + rnd(3000);
		err = change(model, store, generation);
		store->heap.bytes_max = 0;
		if (err) {
			ck_assert_int_eq(err, -ENOMEM);
			return false;
		}
	}
	if (rnd(20) == 0) {
		store_discard(store);
		return false;
	}
	return true;
}

START_TEST(every_lookup)
{
	static struct model now, before, kept_models[KEPT];
	struct snapshot *kept[KEPT] = { 0 }, *s;
	struct store *store = store_new(NULL);
	char name[32];

	seed = (uint64_t)_i;
	memset(&now, 0, sizeof(now));
	for (int i = 0; i < BATCHES; i++) {
		size_t at = rnd(KEPT);

		snprintf(name, sizeof(name), "seed %d batch %d", _i, i);
		before = now;
		if (!batch(&now, store, store->generation + 1))
			now = before;
		ck_assert_int_eq(store_publish(store, &s, NULL), 0);
		model_check(&now, s, name);
		if (kept[at])
			model_check(&kept_models[at], kept[at], name);
		if (rnd(5) == 0) {
			snapshot_unref(kept[at]);
			kept[at] = snapshot_ref(s);
			kept_models[at] = now;
		}
		snapshot_unref(s);
	}
	for (size_t i = 0; i < KEPT; i++)
		snapshot_unref(kept[i]);
	for (unsigned int i = 0; i < MODEL_WORKLOADS; i++)
		(void)store_remove_address(store, model_uid(i));
	for (unsigned int i = 0; i < MODEL_SERVICES; i++)
		(void)store_remove_address(store, model_key(i));
	for (unsigned int i = 0; i < MODEL_POLICIES; i++) {
		snprintf(name, sizeof(name), "n%u/policy%u", i % 3, i);
		(void)store_remove_policy(store, name);
	}
	ck_assert_int_eq(store_publish(store, &s, NULL), 0);
	snapshot_unref(s);
	store_reap(store);
	ck_assert_uint_eq(store_bytes(store), 0); /* nothing is left of it all */
	store_free(store);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store model");
	TCase *tc = tcase_create("batches");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_lookup, 1, 5);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
