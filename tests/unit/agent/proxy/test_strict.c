/*
 * strict: who may come where there is a waypoint: of the workload, of a service, of several, of one
 * that is not known; and to whom that says nothing.
 */
#include <stdio.h>

#include "proxy/strict.h"
#include "unit/agent/mesh/mesh_text.h"

#define W(uid, more)                                                                               \
	"- {uid: " uid ", name: " uid ", namespace: app, serviceAccount: " uid                     \
	", network: n1, " more "}\n"
#define WAYPOINT(destination) "waypoint: {destination: " destination ", hboneMtlsPort: 15008}"
#define SA                    "spiffe://cluster.local/ns/app/sa/"

/* clang-format off */
static const char mesh[] =
	"workloads:\n"
	W("way1", "workloadIps: [10.0.0.1], services: {app/way: {15008: 15008}}, " WAYPOINT("app/way"))
	W("way2", "workloadIps: [10.0.0.2], services: {app/way: {15008: 15008}}")
	W("lone", "workloadIps: [10.0.0.3], hostname: lone.app, services: {}")
	W("client", "workloadIps: [10.0.0.4], services: {}")
	W("free", "workloadIps: [10.0.0.5], services: {app/plain: {80: 8080}}")
	W("own", "workloadIps: [10.0.0.6], services: {}, " WAYPOINT("n1/10.0.0.3"))
	W("ownhost", "workloadIps: [10.0.0.7], services: {}, " WAYPOINT("app/lone.app"))
	W("ownvip", "workloadIps: [10.0.0.8], services: {}, " WAYPOINT("n1/10.96.0.1"))
	W("served", "workloadIps: [10.0.0.9], services: {app/web: {80: 8080}, app/plain: {80: 9090}}")
	W("shifted", "workloadIps: [10.0.0.10], services: {app/shift: {80: 8080}}")
	W("gone", "workloadIps: [10.0.0.11], services: {app/lost: {80: 8080}}")
	W("both", "workloadIps: [10.0.0.12], services: {app/web: {80: 8080}}, " WAYPOINT("n1/10.0.0.3"))
	"services:\n"
	"- {name: way, namespace: app, hostname: way, vips: [n1/10.96.0.1], ports: {15008: 15008}}\n"
	"- {name: plain, namespace: app, hostname: plain, vips: [n1/10.96.0.2], ports: {80: 80}}\n"
	"- {name: web, namespace: app, hostname: web, vips: [n1/10.96.0.3], ports: {80: 8080}, " WAYPOINT("app/way") "}\n"
	"- {name: shift, namespace: app, hostname: shift, vips: [n1/10.96.0.4], ports: {80: 8080}, weightedWaypoints: "
		"[{destination: {destination: app/way, hboneMtlsPort: 15008}, weight: 100}, {destination: {destination: n1/10.0.0.3, hboneMtlsPort: 15008}, weight: 0}]}\n"
	"- {name: lost, namespace: app, hostname: lost, vips: [n1/10.96.0.5], ports: {80: 8080}, " WAYPOINT("app/nowhere") "}\n";

static const struct {
	const char *name, *pod;
	uint16_t port;
	const char *identity, *want; /* "": it is let in */
} rows[] = {
	{ "no waypoint: a peer", "free", 8080, SA "client", "" },
	{ "no waypoint: plaintext", "free", 8080, "", "" },
	{ "own waypoint: it", "own", 8080, SA "lone", "" },
	{ "own waypoint: directly", "own", 8080, SA "client",
	  "port 8080 of app/own is reached through waypoint n1/10.0.0.3 only, not directly" },
	{ "own waypoint: any port", "own", 1, SA "client",
	  "port 1 of app/own is reached through waypoint n1/10.0.0.3 only, not directly" },
	{ "own waypoint: plaintext", "own", 8080, "",
	  "port 8080 of app/own is reached through waypoint n1/10.0.0.3 only, not in plaintext" },
	{ "own waypoint: itself", "own", 8080, SA "own",
	  "port 8080 of app/own is reached through waypoint n1/10.0.0.3 only, not directly" },
	{ "own waypoint: another domain's", "own", 8080, "spiffe://other/ns/app/sa/lone",
	  "port 8080 of app/own is reached through waypoint n1/10.0.0.3 only, not directly" },
	{ "own waypoint by a workload's hostname", "ownhost", 8080, SA "lone", "" },
	{ "the same, directly", "ownhost", 8080, SA "way1",
	  "port 8080 of app/ownhost is reached through waypoint app/lone.app only, not directly" },
	{ "own waypoint by a VIP: each behind it", "ownvip", 8080, SA "way2", "" },
	{ "a service's waypoint: the first behind it", "served", 8080, SA "way1", "" },
	{ "a service's waypoint: the second behind it", "served", 8080, SA "way2", "" },
	{ "a service's waypoint: directly", "served", 8080, SA "client",
	  "port 8080 of app/served is reached through waypoint app/way only, not directly" },
	{ "a service's waypoint: plaintext", "served", 8080, "",
	  "port 8080 of app/served is reached through waypoint app/way only, not in plaintext" },
	{ "a port of a service without one", "served", 9090, SA "client", "" },
	{ "a port of no service", "served", 7070, "", "" },
	{ "weighted: one with a weight", "shifted", 8080, SA "way1", "" },
	{ "weighted: one of weight 0, whose connections still live", "shifted", 8080, SA "lone", "" },
	{ "weighted: directly", "shifted", 8080, SA "client",
	  "port 8080 of app/shifted is reached through waypoint app/way only, not directly" },
	{ "own and a service's: the service's", "both", 8080, SA "way1", "" },
	{ "own and a service's: its own", "both", 8080, SA "lone", "" },
	{ "own and a service's: directly", "both", 8080, SA "client",
	  "port 8080 of app/both is reached through waypoint n1/10.0.0.3 only, not directly" },
	{ "a waypoint nobody knows", "gone", 8080, SA "way1",
	  "port 8080 of app/gone is reached through waypoint app/nowhere only, not directly" },
	{ "a waypoint of itself: the hand-off", "way1", 15008, SA "client", "" },
	{ "an exception", "served", 8080, SA "gateway", "" },
	{ "an exception with blanks", "served", 8080, SA "east", "" },
	{ "the beginning of an exception", "served", 8080, SA "gate",
	  "port 8080 of app/served is reached through waypoint app/way only, not directly" },
};

static const struct {
	const char *name, *except, *want;
} lists[] = {
	{ "none", "", "" },
	{ "two", SA "a, " SA "b", "" },
	{ "a comma at the end", SA "a,", "" },
	{ "no SPIFFE name", "app/a", "'app/a' is no identity, expected spiffe://<trust domain>/ns/<namespace>/sa/<account>" },
	{ "an empty one", SA "a,," SA "b", "'' is no identity, expected spiffe://<trust domain>/ns/<namespace>/sa/<account>" },
};
/* clang-format on */

START_TEST(lets_in)
{
	struct snapshot *s = mesh_from(mesh);
	struct strict_query query = {
		.workload = snapshot_workload_by_uid(s, rows[_i].pod),
		.port = rows[_i].port,
		.identity = rows[_i].identity,
		.except = SA "gateway , " SA "east",
	};
	char words[256] = "";
	bool allowed = strict_allows(s, &query, words, sizeof(words));

	ck_assert_msg(allowed == !*rows[_i].want, "%s: %s", rows[_i].name, words);
	ck_assert_msg(strcmp(words, rows[_i].want) == 0, "%s: %s", rows[_i].name, words);
	snapshot_unref(s);
}
END_TEST

/* What stood before. */
static const struct {
	const char *name, *pod, *identity;
	bool stays;
} standing[] = {
	{ "directly", "served", SA "client", false },
	{ "in plaintext", "served", "", false },
	{ "through it", "served", SA "way1", true },
	{ "by an exception", "served", SA "east", true },
	{ "its waypoint is not known, so it may have been that", "gone", SA "client", true },
	{ "but not in plaintext", "gone", "", false },
};

START_TEST(lets_stand)
{
	struct snapshot *s = mesh_from(mesh);
	struct strict_query query = {
		.workload = snapshot_workload_by_uid(s, standing[_i].pod),
		.port = 8080,
		.identity = standing[_i].identity,
		.except = SA "east",
		.stands = true,
	};
	char words[256] = "";

	ck_assert_msg(strict_allows(s, &query, words, sizeof(words)) == standing[_i].stays,
	              "%s: %s", standing[_i].name, words);
	snapshot_unref(s);
}
END_TEST

/* @print of "pod" in a mesh of a waypoint (or not), a service (with it or not) and more. */
static uint64_t print_of(const char *pod, const char *service, const char *more)
{
	char yaml[2048];
	struct snapshot *s;
	uint64_t print;

	snprintf(yaml, sizeof(yaml),
	         "workloads:\n" W(
		     "pod", "workloadIps: [10.0.0.1], services: {app/web: {80: "
			    "8080}}, %s") "%sservices:\n"
	                                  "- {name: way, namespace: app, hostname: way, vips: [], "
	                                  "ports: {15008: 15008}}\n"
	                                  "- {name: web, namespace: app, hostname: web, vips: [], "
	                                  "ports: {80: 8080}, %s}\n",
	         pod, more, service);
	s = mesh_from(yaml);
	print = strict_print(s, snapshot_workload_by_uid(s, "pod"));
	snapshot_unref(s);
	return print;
}

START_TEST(changes_are_seen)
{
	static const char way1[] =
	    W("w1", "workloadIps: [10.0.0.2], services: {app/way: {15008: 15008}}");
	static const char other[] = W("o", "workloadIps: [10.0.0.3], services: {}");
	const char *none = "capacity: 1", *by = WAYPOINT("app/way");
	uint64_t prints[] = {
		print_of(none, "canonical: false", ""),
		print_of(none, by, ""),
		print_of(none, by, way1),
		print_of(by, "canonical: false", way1),
		print_of(by, by, way1),
	};

	for (size_t i = 0; i < HB_ARRAY_LEN(prints); i++)
		for (size_t k = 0; k < i; k++)
			ck_assert_msg(prints[i] != prints[k], "%zu and %zu", i, k);
	ck_assert(print_of(none, by, way1) == prints[2]);
	ck_assert(print_of(none, "canonical: false", other) == prints[0]);
	ck_assert(print_of("capacity: 2", by, way1) == prints[2]);
}
END_TEST

START_TEST(reads_lists)
{
	char why[256] = "";
	int err = strict_except_check(lists[_i].except, why, sizeof(why));

	ck_assert_msg(!err == !*lists[_i].want, "%s: %d", lists[_i].name, err);
	ck_assert_msg(strcmp(why, lists[_i].want) == 0, "%s: %s", lists[_i].name, why);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("strict");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, lets_in, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, lets_stand, 0, HB_ARRAY_LEN(standing));
	tcase_add_test(tc, changes_are_seen);
	tcase_add_loop_test(tc, reads_lists, 0, HB_ARRAY_LEN(lists));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
