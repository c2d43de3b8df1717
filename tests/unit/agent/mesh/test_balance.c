/*
 * balance: ranks and weights of endpoints; who failed is left out; the less busy of two.
 */
#include <stdio.h>

#include "mesh/balance.h"
#include "unit/agent/mesh/mesh_text.h"

/* clang-format off */
static const struct {
	const char *name, *preferences, *network, *region, *zone, *node;
	unsigned int rank, matched;
} ranks[] = {
	{ "N+R+Z", "Network, Region, Zone", "n", "r", "z", "x", 5, 3 },
	{ "N+R", "Network, Region, Zone", "n", "r", "x", "x", 4, 2 },
	{ "N", "Network, Region, Zone", "n", "x", "z", "x", 3, 1 },
	{ "test_load_balance: FAILOVER, R+Z in another network", "Network, Region, Zone", "x", "r", "z", "x", 2, 2 },
	{ "R in another network", "Network, Region, Zone", "x", "r", "x", "x", 1, 1 },
	{ "nothing", "Network, Region, Zone", "x", "x", "z", "x", 0, 0 },
	{ "the first mismatch ends the walk", "Region, Zone, Node", "n", "x", "z", "o", 0, 0 },
	{ "so does one in the middle", "Region, Zone, Node", "n", "r", "x", "o", 1, 1 },
	{ "all three", "Region, Zone, Node", "n", "r", "z", "o", 3, 3 },
	{ "the network is special in front only", "Region, Network, Zone", "x", "r", "z", "o", 1, 1 },
	{ "two empty words are equal", "Cluster, Subzone", "n", "x", "z", "o", 1, 1 },
	{ "no preferences", "", "n", "r", "z", "o", 0, 0 },
};
/* clang-format on */

START_TEST(rank)
{
	const struct service *service;
	unsigned int got, matched;
	struct snapshot *s;
	char yaml[2048];

	snprintf(yaml, sizeof(yaml),
	         "workloads:\n"
	         "- {uid: src, namespace: app, workloadIps: [], services: {}, network: n, node: o, "
	         "locality: {region: r, zone: z, subzone: s}}\n"
	         "- {uid: dst, namespace: app, workloadIps: [], services: {}, network: %s, node: "
	         "%s, locality: {region: %s, zone: %s, subzone: ''}}\n"
	         "services:\n- {name: s, namespace: app, hostname: s, vips: [], ports: {80: 80}, "
	         "loadBalancer: {routingPreferences: [%s], mode: Failover, healthPolicy: "
	         "OnlyHealthy}}\n",
	         ranks[_i].network, ranks[_i].node, ranks[_i].region, ranks[_i].zone,
	         ranks[_i].preferences);
	s = mesh_from(yaml);
	service = snapshot_service_by_name(s, "app", "s");
	got = balance_rank(service, snapshot_workload_by_uid(s, "src"),
	                   snapshot_workload_by_uid(s, "dst"), &matched);
	ck_assert_msg(got == ranks[_i].rank && matched == ranks[_i].matched, "%s: %u, %u matched",
	              ranks[_i].name, got, matched);
	snapshot_unref(s);
}
END_TEST

#define E(uid, node, zone, more)                                                                   \
	"- {uid: " uid ", namespace: app, workloadIps: [10.0.0.1], node: " node                    \
	", locality: {region: r, zone: " zone ", subzone: ''}, services: {app/s: {80: 80}}, " more \
	"}\n"

/* clang-format off */
static const struct {
	const char *name, *mode, *preferences, *health, *endpoints, *want; /* of random 0, 1, 2, 3 */
} picks[] = {
	{ "standard ignores preferences", "Standard", "Node", "OnlyHealthy",
	  E("a", "o", "z", "") E("b", "x", "z", ""), "a b a b" },
	{ "test_load_balance: FAILOVER takes the best group", "Failover", "Node", "OnlyHealthy",
	  E("a", "x", "z", "") E("b", "o", "z", "") E("c", "o", "z", ""), "b c b c" },
	{ "failover falls back", "Failover", "Node", "OnlyHealthy",
	  E("a", "x", "z", "") E("b", "y", "z", ""), "a b a b" },
	{ "test_load_balance: STRICT, none", "Strict", "Zone, Node", "OnlyHealthy",
	  E("a", "o", "x", "") E("b", "x", "z", ""), "- - - -" },
	{ "test_load_balance: STRICT, one; the region alone is not enough", "Strict", "Region, Node", "OnlyHealthy",
	  E("a", "x", "z", "") E("b", "o", "z", ""), "b b b b" },
	{ "strict without preferences", "Strict", "", "OnlyHealthy", E("a", "x", "z", ""), "a a a a" },
	{ "test_load_balance: never a local endpoint without an address", "Failover", "Node", "OnlyHealthy",
	  "- {uid: a, namespace: app, workloadIps: [], node: o, services: {app/s: {80: 80}}}\n" E("b", "x", "z", ""), "b b b b" },
	{ "weights", "Standard", "", "OnlyHealthy",
	  E("a", "x", "z", "capacity: 3") E("b", "x", "z", ""), "a a a b" },
	{ "weight 0 is never", "Standard", "", "OnlyHealthy",
	  E("a", "x", "z", "capacity: 0") E("b", "x", "z", ""), "b b b b" },
	{ "only weight 0", "Standard", "", "OnlyHealthy", E("a", "x", "z", "capacity: 0"), "- - - -" },
	{ "the best group weighs nothing: none, no falling back", "Failover", "Node", "OnlyHealthy",
	  E("a", "o", "z", "capacity: 0") E("b", "x", "z", ""), "- - - -" },
	{ "unhealthy is left out", "Standard", "", "OnlyHealthy",
	  E("a", "x", "z", "status: Unhealthy") E("b", "x", "z", ""), "b b b b" },
	{ "unhealthy is let in", "Standard", "", "AllowAll",
	  E("a", "x", "z", "status: Unhealthy") E("b", "x", "z", ""), "a b a b" },
	{ "the largest weights do not overflow", "Standard", "", "OnlyHealthy",
	  E("a", "x", "z", "capacity: 4294967295") E("b", "x", "z", "capacity: 4294967295"), "a a a a" },
};
/* clang-format on */

static const char *picked(const struct snapshot *s, const struct service *service,
                          const struct balance_view *view, uint64_t random)
{
	struct balance_query query = {
		.service = service,
		.src = snapshot_workload_by_uid(s, "src"),
		.port = 80,
		.random = random,
		.view = view,
	};
	struct balance_choice choice;

	return balance_pick(&query, &choice) ? choice.endpoint->workload_uid : "-";
}

START_TEST(pick)
{
	static const struct balance_view nothing;
	char yaml[4096], got[64] = "";
	const struct service *service;
	struct snapshot *s;

	snprintf(yaml, sizeof(yaml),
	         "services:\n- {name: s, namespace: app, hostname: s, vips: [], ports: {80: 0}, "
	         "loadBalancer: {routingPreferences: [%s], mode: %s, healthPolicy: %s}}\n"
	         "workloads:\n- {uid: src, namespace: app, workloadIps: [], services: {}, node: o, "
	         "locality: {region: r, zone: z, subzone: ''}}\n%s",
	         picks[_i].preferences, picks[_i].mode, picks[_i].health, picks[_i].endpoints);
	s = mesh_from(yaml);
	service = snapshot_service_by_name(s, "app", "s");
	for (uint64_t random = 0; random < 4; random++) {
		strcat(got, random ? " " : "");
		strcat(got, picked(s, service, &nothing, random));
	}
	ck_assert_msg(strcmp(got, picks[_i].want) == 0, "%s: %s", picks[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* ---- who failed ---- */

#define NOW 1000000u

/* clang-format off */
static const struct {
	const char *name, *mode, *preferences, *endpoints, *failed, *tried, *want; /* of random 0 to 3 */
	bool others;
} failures[] = {
	{ "nobody failed", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "", "", "a b a b", true },
	{ "one failed just now", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "a", "", "b b b b", true },
	{ "all failed just now: as if none had", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "ab", "", "a b a b", true },
	{ "one was tried", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "", "a", "b b b b", false },
	{ "all were tried", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "", "ab", "- - - -", false },
	{ "one was tried, the other failed just now", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", ""), "b", "a", "b b b b", false },
	{ "what suits less well takes over", "Failover", "Node", E("a", "o", "z", "") E("b", "x", "z", ""), "a", "", "b b b b", true },
	{ "in its group first", "Failover", "Node", E("a", "o", "z", "") E("b", "o", "z", "") E("c", "x", "z", ""), "a", "", "b b b b", true },
	{ "strict stays strict", "Strict", "Node", E("a", "o", "z", "") E("b", "x", "z", ""), "a", "", "a a a a", false },
	{ "strict, and tried", "Strict", "Node", E("a", "o", "z", "") E("b", "x", "z", ""), "", "a", "- - - -", false },
	{ "weight 0 does not take over", "Standard", "", E("a", "x", "z", "") E("b", "x", "z", "capacity: 0"), "a", "", "a a a a", false },
	{ "weight 0 does not hide a group below", "Failover", "Node", E("a", "o", "z", "") E("b", "o", "z", "capacity: 0") E("c", "x", "z", ""), "", "a", "c c c c", false },
	{ "failures elsewhere do not let weight 0 be passed over", "Failover", "Node", E("a", "o", "z", "capacity: 0") E("b", "x", "z", ""), "q", "", "- - - -", false },
};
/* clang-format on */

static uint64_t key_of(const struct snapshot *s, uint64_t scope, char uid)
{
	struct workload other = { .uid = "q", .network = "" };
	const struct workload *src = snapshot_workload_by_uid(s, "src");
	const struct workload *dst = snapshot_workload_by_uid(s, (const char[]){ uid, 0 });

	return balance_key(scope, src, dst ? dst : &other, 80);
}

static struct snapshot *service_of(const char *mode, const char *preferences, const char *endpoints)
{
	char yaml[4096];

	snprintf(yaml, sizeof(yaml),
	         "services:\n- {name: s, namespace: app, hostname: s, vips: [], ports: {80: 0}, "
	         "loadBalancer: {routingPreferences: [%s], mode: %s, healthPolicy: OnlyHealthy}}\n"
	         "workloads:\n- {uid: src, namespace: app, workloadIps: [], services: {}, node: o, "
	         "locality: {region: r, zone: z, subzone: ''}}\n%s",
	         preferences, mode, endpoints);
	return mesh_from(yaml);
}

START_TEST(failed)
{
	static struct balance_memory memory;
	struct snapshot *s =
	    service_of(failures[_i].mode, failures[_i].preferences, failures[_i].endpoints);
	const struct service *service = snapshot_service_by_name(s, "app", "s");
	uint64_t tried[4];
	struct balance_view view = { .memory = &memory, .now_ms = NOW, .scope = 5, .tried = tried };
	struct balance_query query = {
		.service = service,
		.src = snapshot_workload_by_uid(s, "src"),
		.port = 80,
		.view = &view,
	};
	struct balance_choice choice = { .others = false };
	char got[64] = "";

	memset(&memory, 0, sizeof(memory));
	for (const char *uid = failures[_i].failed; *uid; uid++)
		balance_failed(&memory, key_of(s, 5, *uid), NOW);
	for (const char *uid = failures[_i].tried; *uid; uid++)
		tried[view.tried_count++] = key_of(s, 5, *uid);
	for (uint64_t random = 0; random < 4; random++) {
		strcat(got, random ? " " : "");
		strcat(got, picked(s, service, &view, random));
	}
	ck_assert_msg(strcmp(got, failures[_i].want) == 0, "%s: %s", failures[_i].name, got);
	(void)balance_pick(&query, &choice);
	ck_assert_msg(choice.others == failures[_i].others, "%s: others", failures[_i].name);
	/* Another pod has not met that. */
	view.scope = 6;
	view.tried_count = 0;
	ck_assert_str_eq(picked(s, service, &view, 0),
	                 picked(s, service, &(struct balance_view){ .scope = 6 }, 0));
	snapshot_unref(s);
}
END_TEST

START_TEST(avoided_for_longer_and_longer)
{
	static struct balance_memory memory;
	uint64_t now = NOW;

	memset(&memory, 0, sizeof(memory));
	ck_assert(!balance_is_avoided(NULL, 7, now));
	for (uint64_t for_ms = BALANCE_AVOID_MS; for_ms <= 2 * BALANCE_AVOID_MAX_MS; for_ms *= 2) {
		uint64_t most = for_ms < BALANCE_AVOID_MAX_MS ? for_ms : BALANCE_AVOID_MAX_MS;

		balance_failed(&memory, 7, now);
		balance_failed(&memory, 7, now + 1); /* dialled before that was known */
		ck_assert(balance_is_avoided(&memory, 7, now + most - 1));
		ck_assert(!balance_is_avoided(&memory, 7, now + most));
		ck_assert(!balance_is_avoided(&memory, 7 + BALANCE_FAILURES, now));
		now += most;
	}
	balance_worked(&memory, 7, now);
	balance_failed(&memory, 7, now);
	ck_assert(!balance_is_avoided(&memory, 7, now + BALANCE_AVOID_MS));
	/* Long ago is forgotten, and so is whoever shares the place. */
	balance_failed(&memory, 7, now += BALANCE_AVOID_MS);
	balance_failed(&memory, 7, now += 10 * BALANCE_AVOID_MAX_MS);
	ck_assert(!balance_is_avoided(&memory, 7, now + BALANCE_AVOID_MS));
	balance_failed(&memory, 7 + BALANCE_FAILURES, now);
	ck_assert(!balance_is_avoided(&memory, 7, now));
	ck_assert(balance_is_avoided(&memory, 7 + BALANCE_FAILURES, now));
}
END_TEST

/* Whom one gateway hides is one to remember; and so is every port of a workload by itself. */
START_TEST(keys)
{
	static const char yaml[] =
	    "workloads:\n"
	    "- {uid: src, namespace: app, workloadIps: [], services: {}}\n"
	    "- {uid: a, namespace: app, network: n, networkGateway: {destination: n/10.0.0.8, "
	    "hboneMtlsPort: 1}, workloadIps: [], services: {}}\n"
	    "- {uid: b, namespace: app, network: n, networkGateway: {destination: n/10.0.0.8, "
	    "hboneMtlsPort: 1}, workloadIps: [], services: {}}\n"
	    "- {uid: c, namespace: app, network: n, networkGateway: {destination: app/gw, "
	    "hboneMtlsPort: 1}, workloadIps: [], services: {}}\n";
	struct snapshot *s = mesh_from(yaml);
	const struct workload *src = snapshot_workload_by_uid(s, "src");
	const struct workload *a = snapshot_workload_by_uid(s, "a");
	const struct workload *b = snapshot_workload_by_uid(s, "b");
	const struct workload *c = snapshot_workload_by_uid(s, "c");

	ck_assert(balance_key(1, src, a, 80) == balance_key(1, src, b, 81));
	ck_assert(balance_key(1, src, a, 80) != balance_key(1, src, c, 80));
	ck_assert(balance_key(1, a, a, 80) != balance_key(1, a, b, 80));
	ck_assert(balance_key(1, a, a, 80) != balance_key(1, a, a, 81));
	ck_assert(balance_key(1, a, a, 80) != balance_key(2, a, a, 80));
	snapshot_unref(s);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *endpoints;
	bool on;
	unsigned int a, b, c; /* flows */
	const char *want;     /* of random 0 to 3 */
} busy[] = {
	{ "off", E("a", "x", "z", "") E("b", "x", "z", ""), false, 9, 0, 0, "a b a b" },
	{ "the less busy of two", E("a", "x", "z", "") E("b", "x", "z", ""), true, 9, 0, 0, "b b b b" },
	{ "a draw: the first", E("a", "x", "z", "") E("b", "x", "z", ""), true, 3, 3, 0, "a b a b" },
	{ "by weight: 9 of 10 is more than 0 of 1", E("a", "x", "z", "capacity: 10") E("b", "x", "z", ""), true, 9, 0, 0, "b b b b" },
	{ "by weight: 9 of 10 is less than 1 of 1", E("a", "x", "z", "capacity: 10") E("b", "x", "z", ""), true, 9, 1, 0, "a a a a" },
	{ "alone", E("a", "x", "z", ""), true, 9, 0, 0, "a a a a" },
	{ "weight 0 is never", E("a", "x", "z", "") E("b", "x", "z", "capacity: 0"), true, 9, 0, 0, "a a a a" },
};
/* clang-format on */

START_TEST(less_busy)
{
	static struct balance_memory memory;
	struct snapshot *s = service_of("Standard", "", busy[_i].endpoints);
	const struct service *service = snapshot_service_by_name(s, "app", "s");
	struct balance_view view = { .memory = &memory, .least_flows = busy[_i].on };
	const unsigned int flows[] = { busy[_i].a, busy[_i].b, busy[_i].c };
	char got[64] = "";

	memset(&memory, 0, sizeof(memory));
	for (size_t i = 0; i < HB_ARRAY_LEN(flows); i++) {
		const struct workload *workload =
		    snapshot_workload_by_uid(s, (const char[]){ (char)('a' + i), 0 });

		if (workload)
			memory.flows[balance_slot(workload)] = flows[i];
	}
	for (uint64_t random = 0; random < 4; random++) {
		strcat(got, random ? " " : "");
		strcat(got, picked(s, service, &view, random));
	}
	ck_assert_msg(strcmp(got, busy[_i].want) == 0, "%s: %s", busy[_i].name, got);
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balance");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failures_count;

	tcase_add_loop_test(tc, rank, 0, HB_ARRAY_LEN(ranks));
	tcase_add_loop_test(tc, pick, 0, HB_ARRAY_LEN(picks));
	tcase_add_loop_test(tc, failed, 0, HB_ARRAY_LEN(failures));
	tcase_add_test(tc, avoided_for_longer_and_longer);
	tcase_add_test(tc, keys);
	tcase_add_loop_test(tc, less_busy, 0, HB_ARRAY_LEN(busy));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failures_count = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures_count ? 1 : 0;
}
