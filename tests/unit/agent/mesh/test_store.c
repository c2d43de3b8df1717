/*
 * store: every lookup with its tie-breaks, the joining of endpoints in any order, and the count.
 */
#include <pthread.h>
#include <stdio.h>

#include "unit/agent/mesh/mesh_text.h"

/* clang-format off */
static const struct {
	const char *name, *workloads, *want; /* want: who is at 10.0.0.1 of network "" */
} addresses[] = {
	{ "nobody", "- {uid: a, namespace: n, workloadIps: [10.0.0.2], services: {}}", "" },
	{ "second address", "- {uid: a, namespace: n, workloadIps: [10.0.0.2, 10.0.0.1], services: {}}", "a" },
	{ "another network", "- {uid: a, namespace: n, network: x, workloadIps: [10.0.0.1], services: {}}", "" },
	{ "host network", "- {uid: a, namespace: n, networkMode: HostNetwork, workloadIps: [10.0.0.1], services: {}}", "" },
	{ "equal rank: the last one",
	  "- {uid: b, namespace: n, workloadIps: [10.0.0.1], services: {}}\n"
	  "- {uid: a, namespace: n, workloadIps: [10.0.0.1], services: {}}", "a" },
	{ "HBONE before others",
	  "- {uid: a, namespace: n, protocol: HBONE, workloadIps: [10.0.0.1], services: {}}\n"
	  "- {uid: b, namespace: n, workloadIps: [10.0.0.1], services: {}}", "a" },
	{ "a pod before HBONE",
	  "- {uid: c//Pod/n/a, namespace: n, workloadIps: [10.0.0.1], services: {}}\n"
	  "- {uid: b, namespace: n, protocol: HBONE, workloadIps: [10.0.0.1], services: {}}", "c//Pod/n/a" },
	{ "a pod on HBONE before a pod",
	  "- {uid: c//Pod/n/a, namespace: n, protocol: HBONE, workloadIps: [10.0.0.1], services: {}}\n"
	  "- {uid: c//Pod/n/b, namespace: n, workloadIps: [10.0.0.1], services: {}}", "c//Pod/n/a" },
};

#define S(name, ns, more) "- {name: " name ", namespace: " ns ", hostname: h, ports: {}, " more "}\n"

static const struct {
	const char *name, *services, *client, *want; /* want: name of what is at 10.9.0.1; client "-": none */
} vips[] = {
	{ "first stored", S("a", "n1", "vips: [/10.9.0.1]") S("b", "n2", "vips: [/10.9.0.1]"), "x", "a" },
	{ "canonical", S("a", "n1", "vips: [/10.9.0.1]") S("b", "n2", "vips: [/10.9.0.1], canonical: true"), "x", "b" },
	{ "the last canonical", S("a", "n1", "vips: [/10.9.0.1], canonical: true") S("b", "n2", "vips: [/10.9.0.1], canonical: true"), "x", "b" },
	{ "own namespace", S("a", "n1", "vips: [/10.9.0.1]") S("b", "n2", "vips: [/10.9.0.1], canonical: true"), "n1", "a" },
	{ "no client: nothing is its own", S("a", "n1", "vips: [/10.9.0.1]") S("b", "n2", "vips: [/10.9.0.1], canonical: true"), "-", "b" },
	{ "hidden from others", S("a", "n1", "vips: [/10.9.0.1], visibility: Namespace"), "x", "" },
	{ "seen by its own", S("a", "n1", "vips: [/10.9.0.1], visibility: Namespace"), "n1", "a" },
	{ "seen without a client", S("a", "n1", "vips: [/10.9.0.1], visibility: Namespace"), "-", "a" },
	{ "another network", S("a", "n1", "vips: [net/10.9.0.1]"), "x", "" },
	{ "exact before CIDR", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/24}]") S("b", "n2", "vips: [/10.9.0.1]"), "n1", "b" },
	{ "CIDR when the exact one is hidden", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/24}]") S("b", "n2", "vips: [/10.9.0.1], visibility: Namespace"), "n1", "a" },
	{ "the longer prefix", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}]") S("b", "n2", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/24}]"), "x", "b" },
	{ "a short prefix of one's own", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}]") S("b", "n2", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/24}], canonical: true"), "n1", "a" },
	{ "canonical of equal prefixes", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}]") S("b", "n2", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}], canonical: true"), "x", "b" },
	{ "first of equal CIDRs", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}]") S("b", "n2", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/16}]"), "x", "a" },
	{ "a CIDR of full width is exact", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.1/32}]") S("b", "n2", "vips: [], cidrVips: [{network: '', cidr: 10.9.0.0/31}], canonical: true"), "n2", "a" },
	{ "a CIDR of another network", S("a", "n1", "vips: [], cidrVips: [{network: x, cidr: 10.9.0.0/16}]"), "x", "" },
	{ "a CIDR of the other family", S("a", "n1", "vips: [], cidrVips: [{network: '', cidr: '::/0'}]"), "x", "" },
};
/* clang-format on */

START_TEST(workload_at)
{
	struct hb_ip ip = ip_of("10.0.0.1");
	const struct workload *w;
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), "workloads:\n%s\n", addresses[_i].workloads);
	s = mesh_from(yaml);
	w = snapshot_workload_at(s, "", &ip);
	ck_assert_msg(strcmp(w ? w->uid : "", addresses[_i].want) == 0, "%s: %s",
	              addresses[_i].name, w ? w->uid : "nobody");
	snapshot_unref(s);
}
END_TEST

START_TEST(service_at)
{
	const char *client = strcmp(vips[_i].client, "-") ? vips[_i].client : NULL;
	struct hb_ip ip = ip_of("10.9.0.1");
	const struct service *service;
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), "services:\n%s\n", vips[_i].services);
	s = mesh_from(yaml);
	service = snapshot_service_at(s, "", &ip, client);
	ck_assert_msg(strcmp(service ? service->name : "", vips[_i].want) == 0, "%s: %s",
	              vips[_i].name, service ? service->name : "none");
	snapshot_unref(s);
}
END_TEST

START_TEST(service_by_host)
{
	struct snapshot *s =
	    mesh_from("services:\n" S("a", "n1", "vips: [], visibility: Namespace")
	                  S("b", "n2", "vips: []") S("c", "n3", "vips: [], canonical: true"));

	ck_assert_str_eq(snapshot_service_by_host(s, "h", "n1")->name, "a");
	ck_assert_str_eq(snapshot_service_by_host(s, "h", "n2")->name, "b");
	ck_assert_str_eq(snapshot_service_by_host(s, "h", "n9")->name, "c");
	ck_assert_ptr_null(snapshot_service_by_host(s, "H", "n1"));
	ck_assert_str_eq(snapshot_service_by_name(s, "n2", "h")->name, "b");
	ck_assert_ptr_null(snapshot_service_by_name(s, "n9", "h"));
	ck_assert_ptr_null(snapshot_service_by_name(s, "h", "n2"));
	snapshot_unref(s);
}
END_TEST

START_TEST(workload_of_pod)
{
	struct snapshot *s = mesh_from(
	    "workloads:\n"
	    "- {uid: u, name: p, namespace: n, serviceAccount: s, node: o, workloadIps: [], "
	    "services: {}}\n");

	ck_assert_ptr_nonnull(snapshot_workload_of_pod(s, "o", "n", "p", "s"));
	ck_assert_ptr_nonnull(snapshot_workload_of_pod(s, "", "n", "p", ""));
	ck_assert_ptr_null(snapshot_workload_of_pod(s, "x", "n", "p", "s"));
	ck_assert_ptr_null(snapshot_workload_of_pod(s, "o", "n", "p", "x"));
	ck_assert_ptr_null(snapshot_workload_of_pod(s, "o", "x", "p", "s"));
	ck_assert_ptr_null(snapshot_workload_of_pod(s, "o", "n", "x", "s"));
	snapshot_unref(s);
}
END_TEST

/* The service names u (port 1) and gone; the workload names both services (port 2). */
static const char joining[] =
    "workloads:\n"
    "- {uid: u, namespace: n, workloadIps: [], services: {n/h: {80: 2}, n/later: {80: 3}}}\n"
    "services:\n"
    "- {name: s, namespace: n, hostname: h, vips: [], ports: {80: 9}, endpoints: {\n"
    "   u: {workloadUid: u, port: {80: 1}, status: Unhealthy},\n"
    "   gone: {workloadUid: gone, port: {}, status: Healthy}}}\n";

START_TEST(endpoints_join)
{
	struct snapshot *s = mesh_from(joining);
	const struct service *service = snapshot_service_by_name(s, "n", "h");
	const struct workload *u = snapshot_workload_by_uid(s, "u");
	hb_cleanup(hb_free_ptr) const struct endpoint **endpoints = NULL;
	hb_cleanup(hb_free_ptr) struct staged_endpoint *staged = NULL;

	ck_assert_uint_eq(service->endpoints_count, 2);
	ck_assert_uint_eq(service_endpoints(service, &endpoints), 2);
	ck_assert_str_eq(endpoints[0]->workload_uid, "gone");
	ck_assert_ptr_null(endpoints[0]->workload);
	ck_assert_uint_eq(endpoint_target(service, endpoints[0], 80), 9);
	ck_assert_ptr_eq(endpoints[1]->workload, u);
	ck_assert_int_eq(endpoints[1]->status, HEALTH_HEALTHY);
	ck_assert_uint_eq(endpoint_target(service, endpoints[1], 80), 2);
	ck_assert_uint_eq(snapshot_staged(s, &staged), 1);
	ck_assert_str_eq(staged[0].service, "n/later");
	ck_assert_ptr_eq(staged[0].endpoint->workload, u);

	ck_assert_ptr_eq(snapshot_service_of(s, u, 2), service);
	ck_assert_ptr_null(snapshot_service_of(s, u, 1));
	ck_assert_ptr_null(snapshot_service_of(s, u, 0));
	snapshot_unref(s);
}
END_TEST

START_TEST(an_empty_mesh_answers)
{
	struct hb_ip ip = ip_of("10.0.0.1");
	const struct workload **list;
	struct snapshot *s = mesh_from("workloads: []");

	ck_assert_uint_eq(snapshot_workloads(s, &list), 0);
	free(list);
	ck_assert_ptr_null(snapshot_workload_at(s, "", &ip));
	ck_assert_ptr_null(snapshot_service_at(s, "", &ip, NULL));
	ck_assert_ptr_null(snapshot_policy_by_key(s, "a/b"));
	snapshot_unref(s);
	snapshot_unref(NULL);
}
END_TEST

static void *share(void *arg)
{
	for (int i = 0; i < 10000; i++) {
		struct snapshot *mine = snapshot_ref(arg);

		ck_assert_ptr_nonnull(snapshot_workload_by_uid(mine, "u"));
		snapshot_unref(mine);
	}
	snapshot_unref(arg);
	return NULL;
}

/* The last one to leave frees it, whoever that is: the sanitizers watch. */
START_TEST(threads_share)
{
	struct snapshot *s = mesh_from(joining);
	pthread_t threads[4];

	for (size_t i = 0; i < HB_ARRAY_LEN(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, share, snapshot_ref(s)), 0);
	snapshot_unref(s);
	for (size_t i = 0; i < HB_ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, workload_at, 0, HB_ARRAY_LEN(addresses));
	tcase_add_loop_test(tc, service_at, 0, HB_ARRAY_LEN(vips));
	tcase_add_test(tc, service_by_host);
	tcase_add_test(tc, workload_of_pod);
	tcase_add_test(tc, endpoints_join);
	tcase_add_test(tc, an_empty_mesh_answers);
	tcase_add_test(tc, threads_share);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
