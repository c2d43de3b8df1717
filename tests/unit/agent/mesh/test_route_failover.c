/*
 * route: the same connection decided again and again, each time with what failed before as tried;
 * what fails is a next hop: an endpoint, a waypoint's, a gateway's, or all behind one gateway.
 */
#include <stdlib.h>

#include "unit/agent/mesh/route_text.h"

/* clang-format off */
#define W(uid, ip, more) "- {uid: " uid ", namespace: app, trustDomain: td, serviceAccount: " uid ", workloadIps: [" ip "], " more "}\n"
#define S(name, vip, more) "- {name: " name ", namespace: app, hostname: " name ", vips: [" vip "], ports: {80: 80, 15008: 15008}, subjectAltNames: ['spiffe://td/ns/app/sa/s'], " more "}\n"
#define FAR(gateway) "network: net2, networkGateway: {destination: " gateway ", hboneMtlsPort: 15008}"
#define LOCAL "loadBalancer: {routingPreferences: [Network], mode: Failover, healthPolicy: OnlyHealthy}"

static const char mesh[] =
	"workloads:\n"
	W("src", "10.0.0.1", "services: {}")
	W("a", "10.0.0.2", "protocol: HBONE, services: {app/two: {80: 80}, app/local: {80: 80}, app/one: {80: 80}}")
	W("b", "10.0.0.3", "services: {app/two: {80: 80}}")
	W("wp1", "10.0.0.4", "services: {app/wp: {15008: 15008}}")
	W("wp2", "10.0.0.5", "services: {app/wp: {15008: 15008}}")
	W("wpown", "10.0.0.6", "protocol: HBONE, waypoint: {destination: app/wp, hboneMtlsPort: 15008}, services: {}")
	W("gw1", "10.0.0.7", "network: net2, services: {app/gw: {15008: 15008}}")
	W("gw2", "10.0.0.8", "network: net2, services: {app/gw: {15008: 15008}}")
	W("gw3", "10.0.0.9", "network: net2, services: {}")
	W("far1", "", FAR("app/gw") ", services: {app/far: {80: 80}, app/local: {80: 80}}")
	W("far2", "", FAR("app/gw") ", services: {app/far: {80: 80}, app/local: {80: 80}}")
	W("far3", "", FAR("net2/10.0.0.9") ", services: {app/single: {80: 80}, app/mixed: {80: 80}}")
	W("far4", "", FAR("net2/10.0.0.9") ", services: {app/single: {80: 80}, app/mixed: {80: 80}}")
	W("c", "10.0.0.10", "services: {app/mixed: {80: 80}}")
	"services:\n"
	S("one", "/10.96.0.1", "")
	S("two", "/10.96.0.2", "")
	S("wp", "", "")
	S("viawp", "/10.96.0.3", "waypoint: {destination: app/wp, hboneMtlsPort: 15008}")
	S("viaone", "/10.96.0.4", "waypoint: {destination: /10.0.0.4, hboneMtlsPort: 15008}")
	S("gw", "", "")
	S("far", "/10.96.0.5", "")
	S("local", "/10.96.0.6", LOCAL)
	S("single", "/10.96.0.7", "")
	S("mixed", "/10.96.0.8", "");

static const struct {
	const char *name, *dst;
	const char *first; /* of the next hops; NULL: any */
	const char *want;  /* all of them, in any order */
} rows[] = {
	{ "a workload's own address", "10.0.0.2:80", NULL, "10.0.0.2:15008 " },
	{ "unknown", "1.2.3.4:80", NULL, "1.2.3.4:80 " },
	{ "one endpoint", "10.96.0.1:80", NULL, "10.0.0.2:15008 " },
	{ "two endpoints, one of them not on HBONE", "10.96.0.2:80", NULL, "10.0.0.2:15008 10.0.0.3:80 " },
	{ "a service's waypoint with two endpoints", "10.96.0.3:80", NULL, "10.0.0.4:15008 10.0.0.5:15008 " },
	{ "a workload's waypoint with two endpoints", "10.0.0.6:80", NULL, "10.0.0.4:15008 10.0.0.5:15008 " },
	{ "a waypoint that is one workload: nothing around it", "10.96.0.4:80", NULL, "10.0.0.4:15008 " },
	{ "two gateways", "10.96.0.5:80", NULL, "10.0.0.7:15008 10.0.0.8:15008 " },
	{ "the own network, then two gateways", "10.96.0.6:80", "10.0.0.2:15008", "10.0.0.2:15008 10.0.0.7:15008 10.0.0.8:15008 " },
	{ "one gateway for all", "10.96.0.7:80", NULL, "10.0.0.9:15008 " },
	{ "one gateway for two of three", "10.96.0.8:80", NULL, "10.0.0.10:80 10.0.0.9:15008 " },
};
/* clang-format on */

#define TRIES 5

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void expect(const struct snapshot *s, int row, uint64_t random)
{
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, "src"),
		.src_ip = ip_of("10.0.0.1"),
		.network = "",
		.dst = addr_of(rows[row].dst),
		.random = random,
	};
	char hops[TRIES][HB_ADDR_STRLEN] = { "" }, got[512] = "";
	struct route route = { .others = true };
	uint64_t tried[TRIES];
	size_t count = 0;

	while (route.others && count < TRIES) {
		query.view.tried = tried;
		query.view.tried_count = count;
		route_decide(s, &query, &route);
		ck_assert_msg(route.kind != ROUTE_REFUSE, "%s: %s", rows[row].name, route.error);
		hb_addr_format(&route.next_hop, hops[count], sizeof(hops[count]));
		tried[count++] = route.key;
	}
	if (rows[row].first)
		ck_assert_msg(strcmp(hops[0], rows[row].first) == 0, "%s: %s", rows[row].name,
		              hops[0]);
	qsort(hops, count, sizeof(hops[0]), by_text);
	for (size_t i = 0; i < count; i++) {
		strcat(got, hops[i]);
		strcat(got, " ");
	}
	ck_assert_msg(strcmp(got, rows[row].want) == 0, "%s: %s", rows[row].name, got);
}

START_TEST(one_after_another)
{
	struct snapshot *s = mesh_from(mesh);

	for (uint64_t random = 0; random < 12; random++)
		expect(s, _i, random);
	snapshot_unref(s);
}
END_TEST

/* Nobody is left: one sentence, and nothing else is dialled. */
START_TEST(nobody_is_left)
{
	static const struct {
		const char *dst, *want;
	} ends[] = {
		{ "10.96.0.1:80", "no healthy upstream: 10.96.0.1:80" },
		{ "10.96.0.3:80", "no healthy waypoint: app/wp, port 15008" },
		{ "10.0.0.6:80", "no healthy waypoint: app/wp, port 15008" },
		{ "10.96.0.7:80", "no healthy upstream: 10.96.0.7:80" },
	};
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, "src"),
		.src_ip = ip_of("10.0.0.1"),
		.network = "",
	};
	uint64_t tried[2];
	struct route route;

	query.view.tried = tried;
	for (size_t i = 0; i < HB_ARRAY_LEN(ends); i++) {
		query.dst = addr_of(ends[i].dst);
		query.view.tried_count = 0;
		do {
			route_decide(s, &query, &route);
			tried[query.view.tried_count++] = route.key;
		} while (route.others);
		route_decide(s, &query, &route);
		ck_assert_int_eq(route.kind, ROUTE_REFUSE);
		ck_assert_str_eq(route.error, ends[i].want);
	}
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route_failover");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, one_after_another, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, nobody_is_left);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
