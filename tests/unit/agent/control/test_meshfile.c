/*
 * meshfile: the example of the format loads, and every mistake gets its one sentence.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "control/meshfile.h"

/* reference/controlplane 10.4, as it stands */
static const char example[] = "workloads:\n"
			      "- uid: cluster1//Pod/default/app-1\n"
			      "  name: app-1\n"
			      "  namespace: default\n"
			      "  serviceAccount: app\n"
			      "  trustDomain: cluster.local\n"
			      "  node: n1\n"
			      "  protocol: HBONE\n"
			      "  workloadIps: [10.1.0.5]\n"
			      "  services:\n"
			      "    default/app.default.svc.cluster.local: {80: 8080}\n"
			      "services:\n"
			      "- name: app\n"
			      "  namespace: default\n"
			      "  hostname: app.default.svc.cluster.local\n"
			      "  vips: [/10.96.0.7]\n"
			      "  ports: {80: 8080}\n"
			      "policies:\n"
			      "- name: only-frontend\n"
			      "  namespace: default\n"
			      "  scope: Namespace\n"
			      "  action: Allow\n"
			      "  dryRun: false\n"
			      "  rules:\n"
			      "  - - - principals: [!Exact cluster.local/ns/default/sa/frontend]\n";

START_TEST(the_example_loads)
{
	const struct policy_match *match;
	const struct workload *w;
	const struct service *service;
	struct snapshot *s;
	char why[512] = "";

	ck_assert_msg(meshfile_parse("m", example, strlen(example), &s, why, sizeof(why)) == 0,
	              "%s", why);
	w = snapshot_workload_by_uid(s, "cluster1//Pod/default/app-1");
	ck_assert_str_eq(w->identity, "spiffe://cluster.local/ns/default/sa/app");
	ck_assert_int_eq(w->protocol, PROTOCOL_HBONE);
	ck_assert_uint_eq(w->capacity, 1);
	ck_assert_str_eq(w->network, "");
	service = snapshot_service_by_name(s, "default", "app.default.svc.cluster.local");
	ck_assert_uint_eq(service->endpoints_count, 1);
	ck_assert_ptr_nonnull(service_endpoint_of(service, w));
	match = &snapshot_policy_by_key(s, "default/only-frontend")->rules[0].clauses[0].matches[0];
	ck_assert_uint_eq(match->principals.count, 1);
	ck_assert_str_eq(match->principals.items[0].text, "cluster.local/ns/default/sa/frontend");
	snapshot_unref(s);
}
END_TEST

#define W(more)                                                                                    \
	"workloads:\n- uid: u\n  namespace: n\n  workloadIps: [10.0.0.1]\n  services: {}\n" more
#define S(more)                                                                                    \
	"services:\n- name: s\n  namespace: n\n  hostname: h\n  vips: []\n  ports: {}\n" more
#define P(rules)                                                                                   \
	"policies:\n- name: p\n  namespace: n\n  scope: Global\n  action: Deny\n  dryRun: "        \
	"false\n  rules: " rules "\n"
#define M(match) P("[[[{" match "}]]]")

/* clang-format off */
static const struct {
	const char *name, *text;
} good[] = {
	{ "nothing in it", "{}" },
	{ "empty sections", "workloads:\nservices: []\npolicies:\n" },
	{ "numbers are texts too", W("  name: 123\n  node: true\n") },
	{ "one-key maps", M("namespaces: [{Exact: a}, {Presence: []}, {Presence: }, {Prefix: b}]") },
	{ "Presence in three ways", M("namespaces: [!Presence [], !Presence , !Presence {}]") },
	{ "null where it may be", W("  waypoint: null\n  networkGateway: ~\n  applicationTunnel: {protocol: NONE, port: null}\n") },
	{ "ports as JSON writes them", S("  endpoints: {u: {workloadUid: u, port: {\"80\": 81}, status: Healthy}}\n") },
	{ "two workloads without a uid", "workloads:\n- {namespace: n, name: a, workloadIps: [], services: {}}\n- {namespace: n, name: b, workloadIps: [], services: {}}\n" },
	{ "JSON", "{\"workloads\": [{\"uid\": \"u\", \"namespace\": \"n\", \"workloadIps\": [\"10.0.0.1\"], \"services\": {}, \"capacity\": 2, \"nativeTunnel\": true}]}" },
};
/* clang-format on */

START_TEST(loads)
{
	struct snapshot *s = NULL;
	char why[1024] = "";

	ck_assert_msg(
	    meshfile_parse("m", good[_i].text, strlen(good[_i].text), &s, why, sizeof(why)) == 0,
	    "%s: %s", good[_i].name, why);
	snapshot_unref(s);
}
END_TEST

#define WORKLOAD_KEYS                                                                              \
	"uid, name, namespace, serviceAccount, trustDomain, clusterId, network, node, hostname, "  \
	"protocol, networkMode, workloadIps, services, workloadName, workloadType, "               \
	"canonicalName, canonicalRevision, nativeTunnel, applicationTunnel, waypoint, "            \
	"networkGateway, authorizationPolicies, status, locality, capacity"
#define MATCH_KEYS                                                                                 \
	"namespaces, notNamespaces, principals, notPrincipals, serviceAccounts, "                  \
	"notServiceAccounts, sourceIps, notSourceIps, destinationIps, notDestinationIps, "         \
	"destinationPorts, notDestinationPorts"
#define STRING_MATCH "!Exact text, !Prefix text, !Suffix text or !Presence []"

/* clang-format off */
static const struct {
	const char *name, *text, *want;
} bad[] = {
	/* the eight of every day: two more, of files, below */
	{ "bad indentation", "workloads:\n- uid: u\n   namespace: n\n", "m:3: not YAML: mapping values are not allowed in this context, expected one \"key: value\" a line, indented like its neighbours" },
	{ "unknown key", W("  protocl: HBONE\n"), "m:6: unknown key \"protocl\" in a workload (did you mean \"protocol\"?), expected one of " WORKLOAD_KEYS },
	{ "wrong type", "workloads: {a: b}\n", "m:1: \"workloads\" has a map, expected a list of workloads" },
	{ "bad IP", "workloads:\n- namespace: n\n  workloadIps:\n  - 10.0.0.999\n  services: {}\n", "m:4: \"workloadIps\" has \"10.0.0.999\", expected an IP address" },
	{ "duplicate uid", "workloads:\n- {uid: u, namespace: n, workloadIps: [], services: {}}\n- namespace: m\n  workloadIps: []\n  services: {}\n  uid: u\n",
	  "m:6: the workload \"u\" is in line 2 too, expected a uid of its own" },
	{ "empty file", "", "m:1: the file is empty, expected workloads, services or policies" },
	{ "a file of comments", "# workloads:\n", "m:1: the file is empty, expected workloads, services or policies" },

	{ "a list", "[]", "m:1: \"m\" has a list, expected a map with the keys of a mesh file" },
	{ "a word", "hello", "m:1: \"m\" has \"hello\", expected a map with the keys of a mesh file" },
	{ "unknown section", "workload: []", "m:1: unknown key \"workload\" in a mesh file (did you mean \"workloads\"?), expected one of workloads, policies, services" },
	{ "nothing alike", W("  foo: 1\n"), "m:6: unknown key \"foo\" in a workload, expected one of " WORKLOAD_KEYS },
	{ "case matters", W("  Protocol: HBONE\n"), "m:6: unknown key \"Protocol\" in a workload (did you mean \"protocol\"?), expected one of " WORKLOAD_KEYS },
	{ "a long key is clipped", W("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbb: 1\n"), "m:6: unknown key \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" in a workload, expected one of " WORKLOAD_KEYS },
	{ "key twice", W("  uid: v\n"), "m:6: key \"uid\" stands here again, expected only the one in line 2" },
	{ "item of a wrong type", "workloads:\n- foo\n", "m:2: \"workloads\" has \"foo\", expected a map with the keys of a workload" },
	{ "missing namespace", "workloads:\n- uid: u\n  workloadIps: []\n  services: {}\n", "m:2: a workload has no \"namespace\", expected that key too" },
	{ "missing addresses", "workloads:\n- {uid: u, namespace: n, services: {}}\n", "m:2: a workload has no \"workloadIps\", expected that key too" },
	{ "missing services", "workloads:\n- {uid: u, namespace: n, workloadIps: []}\n", "m:2: a workload has no \"services\", expected that key too" },
	{ "text is a list", W("  name: [a]\n"), "m:6: \"name\" has a list, expected text without '/'" },
	{ "a slash in a name", "workloads: [{uid: u, namespace: a/b, workloadIps: [], services: {}}]", "m:1: \"namespace\" has \"a/b\", expected text without '/'" },
	{ "a tag where none belongs", W("  name: !Exact a\n"), "m:6: \"name\" has !Exact \"a\", expected text without '/'" },
	{ "word", W("  protocol: hbone\n"), "m:6: \"protocol\" has \"hbone\", expected one of TCP, HBONE" },
	{ "word is a list", W("  protocol: [HBONE]\n"), "m:6: \"protocol\" has a list, expected one of TCP, HBONE" },
	{ "word is missing", W("  protocol:\n"), "m:6: \"protocol\" has no value, expected one of TCP, HBONE" },
	{ "bool", W("  nativeTunnel: yes\n"), "m:6: \"nativeTunnel\" has \"yes\", expected true or false" },
	{ "quoted bool", W("  nativeTunnel: 'true'\n"), "m:6: \"nativeTunnel\" has \"true\", expected true or false" },
	{ "number", W("  capacity: many\n"), "m:6: \"capacity\" has \"many\", expected a number from 0 to 4294967295" },
	{ "negative", W("  capacity: -1\n"), "m:6: \"capacity\" has \"-1\", expected a number from 0 to 4294967295" },
	{ "too large", W("  capacity: 4294967296\n"), "m:6: \"capacity\" has \"4294967296\", expected a number from 0 to 4294967295" },
	{ "IP is a name", "workloads: [{uid: u, namespace: n, workloadIps: [localhost], services: {}}]", "m:1: \"workloadIps\" has \"localhost\", expected an IP address" },
	{ "IPs are text", "workloads: [{uid: u, namespace: n, workloadIps: 10.0.0.1, services: {}}]", "m:1: \"workloadIps\" has \"10.0.0.1\", expected a list of IP addresses" },
	{ "service without a slash", "workloads: [{uid: u, namespace: n, workloadIps: [], services: {h: {80: 80}}}]", "m:1: \"services\" has the key \"h\", expected \"namespace/hostname\"" },
	{ "services is a list", "workloads: [{uid: u, namespace: n, workloadIps: [], services: [a/b]}]", "m:1: \"services\" has a list, expected a map from \"namespace/hostname\" to ports" },
	{ "service port", "workloads: [{uid: u, namespace: n, workloadIps: [], services: {n/h: {http: 80}}}]", "m:1: \"services\" has the port \"http\", expected a map from service port to target port, each 0 to 65535" },
	{ "target port", "workloads:\n- uid: u\n  namespace: n\n  workloadIps: []\n  services:\n    n/h:\n      80: 65536\n", "m:7: \"services\" has \"65536\", expected a map from service port to target port, each 0 to 65535" },
	{ "waypoint without a port", W("  waypoint: {destination: a/b}\n"), "m:6: a waypoint or gateway has no \"hboneMtlsPort\", expected that key too" },
	{ "waypoint without a slash", W("  waypoint: {destination: b, hboneMtlsPort: 1}\n"), "m:6: \"destination\" has \"b\", expected \"network/ip\" or \"namespace/hostname\"" },
	{ "waypoint port", W("  waypoint: {destination: a/b, hboneMtlsPort: 65536}\n"), "m:6: \"hboneMtlsPort\" has \"65536\", expected a number from 0 to 65535" },
	{ "half a locality", W("  locality: {region: a}\n"), "m:6: a locality has no \"zone\", expected that key too" },
	{ "a typo in a locality", W("  locality: {region: a, zon: b, subzone: c}\n"), "m:6: unknown key \"zon\" in a locality (did you mean \"zone\"?), expected one of region, zone, subzone" },
	{ "same workload without uid", "workloads:\n- {namespace: n, name: a, workloadIps: [10.0.0.1], services: {}}\n- {namespace: n, name: a, workloadIps: [10.0.0.1], services: {}}\n",
	  "m:3: the workload \"n/a/10.0.0.1\" is in line 2 too, expected a uid of its own" },

	{ "duplicate service", S("- {name: t, namespace: n, hostname: h, vips: [], ports: {}}\n"), "m:7: the service \"n/h\" is in line 2 too, expected a namespace and hostname of its own" },
	{ "VIP without a slash", "services: [{name: s, namespace: n, hostname: h, vips: [10.0.0.1], ports: {}}]", "m:1: \"vips\" has \"10.0.0.1\", expected \"network/ip\" (\"/10.0.0.1\" without a network)" },
	{ "CIDR VIP", S("  cidrVips: [{network: '', cidr: 10.0.0.0/33}]\n"), "m:7: \"cidr\" has \"10.0.0.0/33\", expected \"ip/prefix\"" },
	{ "CIDR VIP as text", S("  cidrVips: [10.0.0.0/8]\n"), "m:7: \"cidrVips\" has \"10.0.0.0/8\", expected a map with the keys of a CIDR VIP" },
	{ "a typo in an endpoint", S("  endpoints: {u: {workloadUid: u, ports: {}, status: Healthy}}\n"), "m:7: unknown key \"ports\" in an endpoint (did you mean \"port\"?), expected one of workloadUid, port, status" },
	{ "half an endpoint", S("  endpoints: {u: {workloadUid: u, port: {}}}\n"), "m:7: an endpoint has no \"status\", expected that key too" },
	{ "half a load balancer", S("  loadBalancer: {mode: Strict}\n"), "m:7: a load balancer has no \"routingPreferences\", expected that key too" },
	{ "scope", S("  loadBalancer: {routingPreferences: [Rack], mode: Strict, healthPolicy: AllowAll}\n"), "m:7: \"routingPreferences\" has \"Rack\", expected one of Region, Zone, Subzone, Node, Cluster, Network" },
	{ "seven scopes", S("  loadBalancer: {routingPreferences: [Zone, Zone, Zone, Zone, Zone, Zone, Zone], mode: Strict, healthPolicy: AllowAll}\n"), "m:7: \"routingPreferences\" has 7 scopes, expected at most 6" },
	{ "family", S("  ipFamilies: ipv4\n"), "m:7: \"ipFamilies\" has \"ipv4\", expected one of Dual, IPv4, IPv6" },

	{ "duplicate policy", P("[]") "- {name: p, namespace: n, scope: Global, action: Deny, dryRun: false, rules: []}\n", "m:8: the policy \"n/p\" is in line 2 too, expected a namespace and name of its own" },
	{ "policy without dryRun", "policies: [{name: p, namespace: n, scope: Global, action: Deny, rules: []}]", "m:1: a policy has no \"dryRun\", expected that key too" },
	{ "unknown action", "policies: [{name: p, namespace: n, scope: Global, action: Audit, dryRun: false, rules: []}]", "m:1: \"action\" has \"Audit\", expected one of Allow, Deny" },
	{ "two levels of rules", P("[[{namespaces: [!Exact a]}]]"), "m:7: \"rules\" has a map, expected a list of rules, each a list of clauses, each a list of matches" },
	{ "a typo in a match (ztunnel loads it)", M("principal: [!Exact a]"), "m:7: unknown key \"principal\" in a match of a policy (did you mean \"principals\"?), expected one of " MATCH_KEYS },
	{ "a typo in a service account", M("serviceAccounts: [{namespace: a, serviceaccount: b}]"), "m:7: unknown key \"serviceaccount\" in a service account (did you mean \"serviceAccount\"?), expected one of namespace, serviceAccount" },
	{ "a match without its kind", M("namespaces: [a]"), "m:7: \"namespaces\" has \"a\", expected " STRING_MATCH },
	{ "a kind that is none", M("namespaces: [!Regex a]"), "m:7: \"namespaces\" has !Regex \"a\", expected " STRING_MATCH },
	{ "a kind in lower case", M("namespaces: [!exact a]"), "m:7: \"namespaces\" has !exact \"a\", expected " STRING_MATCH },
	{ "a map of two kinds", M("namespaces: [{Exact: a, Prefix: b}]"), "m:7: \"namespaces\" has a map, expected " STRING_MATCH },
	{ "a list to match", M("namespaces: [!Exact [a]]"), "m:7: \"namespaces\" has !Exact a list, expected " STRING_MATCH },
	{ "Presence of something", M("namespaces: [!Presence a]"), "m:7: \"namespaces\" has !Presence \"a\", expected nothing after Presence, or []" },
	{ "one match, not a list", M("namespaces: !Exact a"), "m:7: \"namespaces\" has !Exact \"a\", expected a list of matches, each !Exact, !Prefix, !Suffix or !Presence" },
	{ "IP without a prefix", M("sourceIps: [10.0.0.1]"), "m:7: \"sourceIps\" has \"10.0.0.1\", expected \"ip/prefix\"" },
	{ "a prefix too long", M("sourceIps: [10.0.0.1/33]"), "m:7: \"sourceIps\" has \"10.0.0.1/33\", expected \"ip/prefix\"" },
	{ "an IPv6 prefix too long", M("notSourceIps: ['::1/129']"), "m:7: \"notSourceIps\" has \"::1/129\", expected \"ip/prefix\"" },
	{ "port", M("destinationPorts: [65536]"), "m:7: \"destinationPorts\" has \"65536\", expected a port from 0 to 65535" },
	{ "port as text", M("destinationPorts: ['80']"), "m:7: \"destinationPorts\" has \"80\", expected a port from 0 to 65535" },
};
/* clang-format on */

START_TEST(sentence)
{
	struct snapshot *s = NULL;
	char why[1024] = "";
	int err = meshfile_parse("m", bad[_i].text, strlen(bad[_i].text), &s, why, sizeof(why));

	ck_assert_msg(err == -EINVAL, "%s: %d", bad[_i].name, err);
	ck_assert_ptr_null(s);
	ck_assert_msg(strcmp(why, bad[_i].want) == 0, "%s:\n%s\n%s", bad[_i].name, why,
	              bad[_i].want);
}
END_TEST

START_TEST(files)
{
	char path[] = "/tmp/test_meshfile.XXXXXX", why[512] = "", want[512];
	hb_cleanup(hb_close_fd) int fd = mkstemp(path);
	struct snapshot *s = NULL;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(meshfile_load(path, &s, why, sizeof(why)), -EINVAL);
	snprintf(want, sizeof(want),
	         "%s:1: the file is empty, expected workloads, services or policies", path);
	ck_assert_str_eq(why, want);

	ck_assert_int_eq(ftruncate(fd, 100 * 1000 * 1000), 0);
	ck_assert_int_eq(meshfile_load(path, &s, why, sizeof(why)), -EFBIG);
	snprintf(want, sizeof(want),
	         "%s:1: the file has 100000000 bytes, expected at most 67108864", path);
	ck_assert_str_eq(why, want);

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(write(fd, example, strlen(example)), strlen(example));
	ck_assert_int_eq(meshfile_load(path, &s, why, sizeof(why)), 0);
	snapshot_unref(hb_take(&s));
	unlink(path);

	ck_assert_int_eq(meshfile_load(path, &s, why, sizeof(why)), -ENOENT);
	snprintf(want, sizeof(want),
	         "%s:1: cannot be opened: No such file or directory, expected a readable YAML file",
	         path);
	ck_assert_str_eq(why, want);
	ck_assert_ptr_null(s);
}
END_TEST

/* Cut anywhere, the example is refused or loads; the sanitizers watch. */
START_TEST(cut_anywhere)
{
	for (size_t len = 0; len < strlen(example); len++) {
		struct snapshot *s = NULL;
		char why[256] = "";
		int err = meshfile_parse("m", example, len, &s, why, sizeof(why));

		ck_assert_msg(err == 0 || (err == -EINVAL && strncmp(why, "m:", 2) == 0), "%zu: %d",
		              len, err);
		snapshot_unref(s);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("meshfile");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, the_example_loads);
	tcase_add_loop_test(tc, loads, 0, HB_ARRAY_LEN(good));
	tcase_add_loop_test(tc, sentence, 0, HB_ARRAY_LEN(bad));
	tcase_add_test(tc, files);
	tcase_add_test(tc, cut_anywhere);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
