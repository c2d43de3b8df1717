/*
 * store: what batches do, case by case. Names in brackets are ztunnel's own tests
 * (reference/datapath 7.6, 7.7); where our rule is another one the case says so.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "mesh/store.h"

static const struct mesh_port port80 = { 80, 8080 };

static struct store *fresh(void)
{
	struct store *store = store_new(NULL);

	ck_assert_ptr_nonnull(store);
	return store;
}

static struct snapshot *publish(struct store *store)
{
	struct snapshot *s;

	ck_assert_int_eq(store_publish(store, &s, NULL), 0);
	return s;
}

/* @service NULL: of none. */
static int put(struct store *store, const char *uid, const char *service, enum health status)
{
	struct hb_ip ip;
	struct membership member = {
		.service = service,
		.endpoint = { .ports = &port80, .ports_count = 1 },
	};
	struct workload w = {
		.uid = uid,
		.name = uid,
		.ns = "ns",
		.status = status,
		.capacity = 1,
		.ips = &ip,
		.ips_count = 1,
		.services = &member,
		.services_count = service != NULL,
	};

	(void)hb_ip_parse("10.0.0.1", 8, &ip);
	return store_put_workload(store, &w);
}

static int put_service(struct store *store, const char *hostname)
{
	return store_put_service(store,
	                         &(struct service){
				     .name = "svc",
				     .ns = "ns",
				     .hostname = hostname,
				     .ports = &port80,
				     .ports_count = 1,
				 },
	                         NULL, 0);
}

static size_t endpoints_of(const struct snapshot *s, const char *hostname)
{
	const struct service *service = snapshot_service_by_name(s, "ns", hostname);

	return service ? service->endpoints_count : SIZE_MAX;
}

static size_t staged_in(const struct snapshot *s)
{
	struct staged_endpoint *staged;
	size_t count = snapshot_staged(s, &staged);

	free(staged);
	return count;
}

/* [apply_endpoints_stages_and_filters_on_flush, batch_service_before_workloads] Ours keeps the
 * unhealthy ones and filters where it chooses, so that a new health policy finds them. */
START_TEST(staged_until_the_service_comes)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put(store, "b", "ns/h", HEALTH_UNHEALTHY), 0);
	s = publish(store);
	ck_assert_uint_eq(staged_in(s), 2);
	snapshot_unref(s);
	ck_assert_int_eq(put_service(store, "h"), 0);
	s = publish(store);
	ck_assert_uint_eq(staged_in(s), 0);
	ck_assert_uint_eq(endpoints_of(s, "h"), 2);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [staged_services_cleanup, apply_endpoints_staged_removals] */
START_TEST(staged_goes_with_its_workload)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(store_remove_workload(store, "a"), 0);
	s = publish(store);
	ck_assert_uint_eq(staged_in(s), 0);
	snapshot_unref(s);
	ck_assert_uint_eq(store_bytes(store), 0);
	store_free(store);
}
END_TEST

/* ztunnel forgets the endpoints of a service that goes until each workload is sent again. */
START_TEST(a_service_that_returns_has_its_endpoints)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put_service(store, "h"), 0);
	snapshot_unref(publish(store));
	ck_assert_int_eq(store_remove_address(store, "ns/h"), 0);
	s = publish(store);
	ck_assert_uint_eq(staged_in(s), 1);
	ck_assert_uint_eq(endpoints_of(s, "h"), SIZE_MAX);
	snapshot_unref(s);
	ck_assert_int_eq(put_service(store, "h"), 0);
	s = publish(store);
	ck_assert_uint_eq(endpoints_of(s, "h"), 1);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [unhealthy_workloads, apply_endpoints_present_unhealthy_reinsert_evicts, batch_filters_unhealthy]
 * The endpoint's health is the workload's latest; choosing leaves it out (balance). */
START_TEST(health_follows_the_workload)
{
	struct store *store = fresh();
	const struct endpoint *endpoint;
	const struct service *service;
	struct snapshot *s;

	ck_assert_int_eq(put_service(store, "h"), 0);
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	snapshot_unref(publish(store));
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_UNHEALTHY), 0);
	s = publish(store);
	service = snapshot_service_by_name(s, "ns", "h");
	endpoint = service_endpoint_of(service, snapshot_workload_by_uid(s, "a"));
	ck_assert_int_eq(endpoint->status, HEALTH_UNHEALTHY);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [apply_endpoints_present_removal_applied_before_upsert, remove_drops_endpoint] */
START_TEST(removed_and_put_in_one_batch)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put_service(store, "h"), 0);
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	snapshot_unref(publish(store));
	ck_assert_int_eq(store_remove_workload(store, "a"), 0);
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	s = publish(store);
	ck_assert_uint_eq(endpoints_of(s, "h"), 1);
	snapshot_unref(s);
	ck_assert_int_eq(store_remove_workload(store, "a"), 0);
	s = publish(store);
	ck_assert_uint_eq(endpoints_of(s, "h"), 0);
	ck_assert_int_eq(store_remove_workload(store, "a"), -ENOENT);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [batch_groups_endpoints_per_service] A workload that changes its services leaves the old ones. */
START_TEST(moves_between_services)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put_service(store, "h"), 0);
	ck_assert_int_eq(put_service(store, "i"), 0);
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put(store, "b", "ns/h", HEALTH_HEALTHY), 0);
	snapshot_unref(publish(store));
	ck_assert_int_eq(put(store, "a", "ns/i", HEALTH_HEALTHY), 0);
	s = publish(store);
	ck_assert_uint_eq(endpoints_of(s, "h"), 1);
	ck_assert_uint_eq(endpoints_of(s, "i"), 1);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [overlapping_workload_ip] The loser is found again when the winner goes. */
START_TEST(shared_address)
{
	struct store *store = fresh();
	struct snapshot *s;
	struct hb_ip ip;

	(void)hb_ip_parse("10.0.0.1", 8, &ip);
	ck_assert_int_eq(put(store, "one", NULL, HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put(store, "two", NULL, HEALTH_HEALTHY), 0);
	s = publish(store);
	ck_assert_str_eq(snapshot_workload_at(s, "", &ip)->uid, "two");
	snapshot_unref(s);
	ck_assert_int_eq(store_remove_workload(store, "two"), 0);
	s = publish(store);
	ck_assert_str_eq(snapshot_workload_at(s, "", &ip)->uid, "one");
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [cidr_remove_cleanup] And endpoint changes do not make it grow, as they do in ztunnel. */
START_TEST(cidr_goes_with_its_service)
{
	struct mesh_vip vip = { .network = "", .prefix = 24 };
	struct service service = {
		.name = "s", .ns = "ns", .hostname = "h", .vips = &vip, .vips_count = 1
	};
	struct store *store = fresh();
	struct snapshot *s;
	struct hb_ip ip;

	(void)hb_ip_parse("10.9.0.7", 8, &ip);
	vip.ip = ip;
	ck_assert_int_eq(store_put_service(store, &service, NULL, 0), 0);
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	s = publish(store);
	ck_assert_uint_eq(snapshot_service_at(s, "", &ip, NULL)->endpoints_count, 1);
	snapshot_unref(s);
	ck_assert_int_eq(store_remove_service(store, "ns", "h"), 0);
	s = publish(store);
	ck_assert_ptr_null(snapshot_service_at(s, "", &ip, NULL));
	snapshot_unref(s);
	store_free(store);
}
END_TEST

static int put_policy(struct store *store, const char *name, enum policy_scope scope)
{
	return store_put_policy(store,
	                        &(struct policy){ .ns = "ns", .name = name, .scope = scope });
}

static size_t policies_of(const struct snapshot *s, const char *ns)
{
	struct policies_iter iter;
	size_t count = 0;

	snapshot_policies_of(s, ns, &iter);
	while (policies_next(&iter))
		count++;
	return count;
}

/* [rbac_change_scope] */
START_TEST(policy_changes_scope)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put_policy(store, "p", SCOPE_NAMESPACE), 0);
	s = publish(store);
	ck_assert_uint_eq(policies_of(s, "ns"), 1);
	snapshot_unref(s);
	ck_assert_int_eq(put_policy(store, "p", SCOPE_WORKLOAD), 0);
	s = publish(store);
	ck_assert_uint_eq(policies_of(s, "ns"), 0);
	ck_assert_ptr_nonnull(snapshot_policy_by_key(s, "ns/p"));
	snapshot_unref(s);
	store_free(store);
}
END_TEST

/* [batch_partial_failure] One bad resource rejects only itself, in one sentence. */
START_TEST(one_bad_resource)
{
	static const struct {
		const char *uid, *service, *want;
	} rows[] = {
		{ "", NULL, "a workload has no uid, expected one" },
		{ "u", "h", "u: the service \"h\", expected \"namespace/hostname\"" },
		{ "u", "n/h/i", "u: the service \"n/h/i\", expected \"namespace/hostname\"" },
	};
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(put(store, "good", NULL, HEALTH_HEALTHY), 0);
	for (size_t i = 0; i < HB_ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(put(store, rows[i].uid, rows[i].service, HEALTH_HEALTHY), -EINVAL);
		ck_assert_str_eq(store_why(store), rows[i].want);
	}
	ck_assert_int_eq(put_service(store, "a/b"), -EINVAL);
	ck_assert_int_eq(put_policy(store, "a/b", SCOPE_GLOBAL), -EINVAL);
	s = publish(store);
	ck_assert_ptr_nonnull(snapshot_workload_by_uid(s, "good"));
	snapshot_unref(s);
	store_free(store);
}
END_TEST

START_TEST(changes_are_told)
{
	struct store *store = fresh();
	struct store_changes changes;
	struct snapshot *s, *again;
	uint64_t generation;

	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put_service(store, "h"), 0);
	ck_assert_int_eq(put_policy(store, "p", SCOPE_GLOBAL), 0);
	ck_assert_int_eq(store_publish(store, &s, &changes), 0);
	ck_assert(changes.workloads == 1 && changes.services == 1 && changes.policies == 1 &&
	          changes.policy_lists == 1);
	generation = snapshot_generation(s);
	ck_assert_uint_eq(snapshot_policies_changed(s), generation);
	ck_assert_uint_eq(snapshot_workload_by_uid(s, "a")->policies_changed, generation);
	/* What says the same changes nothing, and makes no snapshot. */
	ck_assert_int_eq(put(store, "a", "ns/h", HEALTH_HEALTHY), 0);
	ck_assert_int_eq(put_service(store, "h"), 0);
	ck_assert_int_eq(put_policy(store, "p", SCOPE_GLOBAL), 0);
	ck_assert_int_eq(store_publish(store, &again, &changes), 0);
	ck_assert(!changes.workloads && !changes.services && !changes.policies);
	ck_assert_ptr_eq(again, s);
	snapshot_unref(again);
	/* A workload may change without its verdicts. */
	ck_assert_int_eq(put(store, "a", NULL, HEALTH_HEALTHY), 0);
	again = publish(store);
	ck_assert_uint_eq(snapshot_generation(again), generation + 1);
	ck_assert_uint_eq(snapshot_policies_changed(again), generation);
	ck_assert_uint_eq(snapshot_workload_by_uid(again, "a")->policies_changed, generation);
	snapshot_unref(again);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

START_TEST(a_sync_replaces_its_source)
{
	struct store *store = fresh();
	struct snapshot *s;

	ck_assert_int_eq(store_sync_begin(store, STORE_XDS), 0);
	store_at_line(store, 1);
	ck_assert_int_eq(put(store, "theirs", NULL, HEALTH_HEALTHY), 0);
	ck_assert_int_eq(store_sync_end(store), 0);
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(store_sync_begin(store, STORE_FILE), 0);
		store_at_line(store, 3);
		ck_assert_int_eq(put(store, round ? "b" : "a", "ns/h", HEALTH_HEALTHY), 0);
		store_at_line(store, 9);
		ck_assert_int_eq(put(store, round ? "b" : "a", "ns/h", HEALTH_HEALTHY), -EEXIST);
		ck_assert_uint_eq(store_first_line(store), 3);
		ck_assert_int_eq(put_service(store, round ? "i" : "h"), 0);
		ck_assert_int_eq(store_sync_end(store), 0);
		snapshot_unref(publish(store));
	}
	s = publish(store);
	ck_assert_ptr_nonnull(snapshot_workload_by_uid(s, "theirs"));
	ck_assert_ptr_null(snapshot_workload_by_uid(s, "a"));
	ck_assert_ptr_nonnull(snapshot_workload_by_uid(s, "b"));
	ck_assert_uint_eq(endpoints_of(s, "h"), SIZE_MAX);
	ck_assert_uint_eq(endpoints_of(s, "i"), 0);
	ck_assert_uint_eq(staged_in(s), 1);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

#define MANY 10000

/* A change of one endpoint of a large service costs as little as any. */
START_TEST(a_large_service)
{
	struct store *store = fresh();
	struct snapshot *s;
	size_t bytes;
	char uid[16];

	ck_assert_int_eq(put_service(store, "h"), 0);
	for (int i = 0; i < MANY; i++) {
		snprintf(uid, sizeof(uid), "u%d", i);
		if (put(store, uid, "ns/h", HEALTH_HEALTHY) != 0)
			ck_abort();
	}
	s = publish(store);
	ck_assert_uint_eq(endpoints_of(s, "h"), MANY);
	bytes = store_bytes(store);
	ck_assert_int_eq(store_remove_workload(store, "u77"), 0);
	ck_assert_uint_lt(store_bytes(store), bytes + 100000); /* they share one address: a list */
	snapshot_unref(publish(store));
	ck_assert_uint_eq(endpoints_of(s, "h"), MANY);
	snapshot_unref(s);
	store_free(store);
}
END_TEST

#define READERS 3
#define ROUNDS  300

struct shelf { /* where readers find the newest snapshot */
	pthread_mutex_t lock;
	struct snapshot *newest;
	bool over;
};

static struct snapshot *shelf_take(struct shelf *shelf, bool *ret_over)
{
	struct snapshot *s;

	pthread_mutex_lock(&shelf->lock);
	s = snapshot_ref(shelf->newest);
	*ret_over = shelf->over;
	pthread_mutex_unlock(&shelf->lock);
	return s;
}

/* Every workload that is there is an endpoint, and every endpoint's workload is there. */
static void *read_along(void *arg)
{
	struct snapshot *old = NULL;
	bool over = false;

	while (!over) {
		struct snapshot *s = shelf_take(arg, &over);
		const struct service *service = snapshot_service_by_name(s, "ns", "h");
		const struct endpoint *endpoint;
		size_t count = 0;

		service_for_each_endpoint(endpoint, service)
		{
			if (snapshot_workload_by_uid(s, endpoint->workload_uid) !=
			    endpoint->workload)
				abort();
			count++;
		}
		if (count != service->endpoints_count)
			abort();
		snapshot_unref(old);
		old = s;
	}
	snapshot_unref(old);
	return NULL;
}

/* Readers hold old snapshots while one writes, and outlive the store. */
START_TEST(readers_and_a_writer)
{
	struct shelf shelf = { .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[READERS];
	struct store *store = fresh();
	struct snapshot *last;

	ck_assert_int_eq(put_service(store, "h"), 0);
	shelf.newest = publish(store);
	for (size_t i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_along, &shelf), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct snapshot *old, *s;
		char uid[16];

		snprintf(uid, sizeof(uid), "u%d", i * 7 % 50);
		if (store_remove_workload(store, uid) == -ENOENT &&
		    put(store, uid, "ns/h", i % 2 ? HEALTH_HEALTHY : HEALTH_UNHEALTHY) != 0)
			ck_abort();
		s = publish(store);
		pthread_mutex_lock(&shelf.lock);
		old = shelf.newest;
		shelf.newest = s;
		pthread_mutex_unlock(&shelf.lock);
		snapshot_unref(old);
	}
	pthread_mutex_lock(&shelf.lock);
	shelf.over = true;
	last = shelf.newest;
	pthread_mutex_unlock(&shelf.lock);
	store_free(store);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	snapshot_unref(last);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store batches");
	TCase *tc = tcase_create("cases");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, staged_until_the_service_comes);
	tcase_add_test(tc, staged_goes_with_its_workload);
	tcase_add_test(tc, a_service_that_returns_has_its_endpoints);
	tcase_add_test(tc, health_follows_the_workload);
	tcase_add_test(tc, removed_and_put_in_one_batch);
	tcase_add_test(tc, moves_between_services);
	tcase_add_test(tc, shared_address);
	tcase_add_test(tc, cidr_goes_with_its_service);
	tcase_add_test(tc, policy_changes_scope);
	tcase_add_test(tc, one_bad_resource);
	tcase_add_test(tc, changes_are_told);
	tcase_add_test(tc, a_sync_replaces_its_source);
	tcase_add_test(tc, a_large_service);
	tcase_add_test(tc, readers_and_a_writer);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
