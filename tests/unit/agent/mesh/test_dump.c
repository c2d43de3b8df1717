/*
 * dump: the shape that istioctl and people read, key by key (reference/operations 6.1 to 6.3).
 */
#include <stdio.h>

#include "mesh/dump.h"
#include "unit/agent/mesh/mesh_text.h"

/* clang-format off */
static const struct {
	const char *name, *yaml;
	enum dump_section section;
	const char *want; /* without blanks and line breaks */
} rows[] = {
	{ "no workloads", "workloads: []", DUMP_WORKLOADS, "[]" },
	{ "nothing staged", "workloads: []", DUMP_STAGED, "{}" },
	{ "a bare workload", "workloads: [{uid: u, namespace: n, workloadIps: [10.0.0.1, 'fd00::1'], services: {}}]", DUMP_WORKLOADS,
	  "[{\"workloadIps\":[\"10.0.0.1\",\"fd00::1\"],\"protocol\":\"TCP\",\"networkMode\":\"Standard\",\"uid\":\"u\",\"name\":\"\",\"namespace\":\"n\",\"status\":\"Healthy\",\"clusterId\":\"\",\"capacity\":1}]" },
	{ "a full workload",
	  "workloads: [{uid: u, name: p, namespace: n, trustDomain: td, serviceAccount: sa, network: net, workloadName: d, workloadType: pod, canonicalName: c, canonicalRevision: v1,"
	  " hostname: h, node: o, nativeTunnel: true, applicationTunnel: {protocol: PROXY, port: null}, authorizationPolicies: [n/p], status: Unhealthy, clusterId: k,"
	  " locality: {region: r, zone: z, subzone: s}, capacity: 0, protocol: HBONE, networkMode: HostNetwork, workloadIps: [], services: {},"
	  " waypoint: {destination: net/10.0.0.9, hboneMtlsPort: 15008}, networkGateway: {destination: gw/host, hboneMtlsPort: 15009}}]", DUMP_WORKLOADS,
	  "[{\"workloadIps\":[],\"waypoint\":{\"destination\":\"net/10.0.0.9\",\"hboneMtlsPort\":15008},\"networkGateway\":{\"destination\":\"gw/host\",\"hboneMtlsPort\":15009},"
	  "\"protocol\":\"HBONE\",\"networkMode\":\"HostNetwork\",\"uid\":\"u\",\"name\":\"p\",\"namespace\":\"n\",\"trustDomain\":\"td\",\"serviceAccount\":\"sa\",\"network\":\"net\","
	  "\"workloadName\":\"d\",\"workloadType\":\"pod\",\"canonicalName\":\"c\",\"canonicalRevision\":\"v1\",\"hostname\":\"h\",\"node\":\"o\",\"nativeTunnel\":true,"
	  "\"applicationTunnel\":{\"protocol\":\"PROXY\",\"port\":null},\"authorizationPolicies\":[\"n/p\"],\"status\":\"Unhealthy\",\"clusterId\":\"k\","
	  "\"locality\":{\"region\":\"r\",\"zone\":\"z\",\"subzone\":\"s\"},\"capacity\":0}]" },
	{ "sorted by uid", "workloads: [{uid: b, namespace: n, workloadIps: [], services: {}}, {uid: a, namespace: n, workloadIps: [], services: {}}]", DUMP_WORKLOADS,
	  "[{\"workloadIps\":[],\"protocol\":\"TCP\",\"networkMode\":\"Standard\",\"uid\":\"a\",\"name\":\"\",\"namespace\":\"n\",\"status\":\"Healthy\",\"clusterId\":\"\",\"capacity\":1},"
	  "{\"workloadIps\":[],\"protocol\":\"TCP\",\"networkMode\":\"Standard\",\"uid\":\"b\",\"name\":\"\",\"namespace\":\"n\",\"status\":\"Healthy\",\"clusterId\":\"\",\"capacity\":1}]" },
	{ "a workload of services", "workloads: [{uid: u, namespace: n, workloadIps: [], services: {n/g: {}, n/h: {80: 81}}}]", DUMP_WORKLOADS,
	  "[{\"workloadIps\":[],\"protocol\":\"TCP\",\"networkMode\":\"Standard\",\"uid\":\"u\",\"name\":\"\",\"namespace\":\"n\",\"status\":\"Healthy\",\"clusterId\":\"\",\"capacity\":1,"
	  "\"services\":[\"n/g\",\"n/h\"]}]" },
	{ "a bare service", "services: [{name: s, namespace: n, hostname: h, vips: [/10.0.0.1], ports: {80: 8080}}]", DUMP_SERVICES,
	  "[{\"name\":\"s\",\"namespace\":\"n\",\"hostname\":\"h\",\"vips\":[\"/10.0.0.1\"],\"ports\":{\"80\":8080},\"endpoints\":{},\"subjectAltNames\":[],\"canonical\":false,\"visibility\":\"Public\"}]" },
	{ "a full service",
	  "services: [{name: s, namespace: n, hostname: h, vips: [], cidrVips: [{network: x, cidr: 10.0.0.0/8}], ports: {}, subjectAltNames: [a], canonical: true, visibility: Namespace, ipFamilies: Dual,"
	  " endpoints: {u: {workloadUid: u, port: {80: 81}, status: Unhealthy}}, waypoint: {destination: n/w, hboneMtlsPort: 1},"
	  " weightedWaypoints: [{destination: {destination: n/w2, hboneMtlsPort: 2}, weight: 4294967295}],"
	  " loadBalancer: {routingPreferences: [Network, Region], mode: Failover, healthPolicy: AllowAll}}]", DUMP_SERVICES,
	  "[{\"name\":\"s\",\"namespace\":\"n\",\"hostname\":\"h\",\"vips\":[],\"cidrVips\":[{\"network\":\"x\",\"cidr\":\"10.0.0.0/8\"}],\"ports\":{},"
	  "\"endpoints\":{\"u\":{\"workloadUid\":\"u\",\"port\":{\"80\":81},\"status\":\"Unhealthy\"}},\"subjectAltNames\":[\"a\"],"
	  "\"waypoint\":{\"destination\":\"n/w\",\"hboneMtlsPort\":1},\"weightedWaypoints\":[{\"destination\":{\"destination\":\"n/w2\",\"hboneMtlsPort\":2},\"weight\":4294967295}],"
	  "\"loadBalancer\":{\"routingPreferences\":[\"Network\",\"Region\"],\"mode\":\"Failover\",\"healthPolicy\":\"AllowAll\"},\"ipFamilies\":\"Dual\",\"canonical\":true,\"visibility\":\"Namespace\"}]" },
	{ "a policy",
	  "policies: [{name: p, namespace: n, scope: WorkloadSelector, action: Deny, dryRun: true, rules: [[[{namespaces: [!Exact a], notNamespaces: [!Presence []], principals: [!Prefix b, !Suffix c],"
	  " serviceAccounts: [{namespace: d, serviceAccount: e}], sourceIps: [10.0.0.1/8], notDestinationIps: ['::ffff:10.0.0.1/128'], destinationPorts: [1, 2]}]], []]}]", DUMP_POLICIES,
	  "[{\"name\":\"p\",\"namespace\":\"n\",\"scope\":\"WorkloadSelector\",\"action\":\"Deny\",\"rules\":[[[{\"namespaces\":[{\"Exact\":\"a\"}],\"notNamespaces\":[{\"Presence\":[]}],"
	  "\"serviceAccounts\":[{\"namespace\":\"d\",\"serviceAccount\":\"e\"}],\"principals\":[{\"Prefix\":\"b\"},{\"Suffix\":\"c\"}],\"sourceIps\":[\"10.0.0.1/8\"],"
	  "\"notDestinationIps\":[\"::ffff:10.0.0.1/128\"],\"destinationPorts\":[1,2]}]],[]],\"dryRun\":true}]" },
	{ "staged endpoints", "workloads: [{uid: u, namespace: n, workloadIps: [], services: {n/h: {80: 81}, n/g: {}}}]", DUMP_STAGED,
	  "{\"n/g\":{\"u\":{\"workloadUid\":\"u\",\"port\":{},\"status\":\"Healthy\"}},\"n/h\":{\"u\":{\"workloadUid\":\"u\",\"port\":{\"80\":81},\"status\":\"Healthy\"}}}" },
	{ "text that JSON must escape", "services: [{name: \"a\\\"b\\nc\", namespace: n, hostname: h, vips: [], ports: {}}]", DUMP_SERVICES,
	  "[{\"name\":\"a\\\"b\\nc\",\"namespace\":\"n\",\"hostname\":\"h\",\"vips\":[],\"ports\":{},\"endpoints\":{},\"subjectAltNames\":[],\"canonical\":false,\"visibility\":\"Public\"}]" },
};
/* clang-format on */

static void strip_blanks(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from != ' ' && *from != '\n')
			*to++ = *from;
	}
	*to = 0;
}

START_TEST(shape)
{
	struct snapshot *s = mesh_from(rows[_i].yaml);
	char *got = mesh_dump(s, rows[_i].section);

	ck_assert_ptr_nonnull(got);
	strip_blanks(got);
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s:\n%s\n%s", rows[_i].name, got,
	              rows[_i].want);
	free(got);
	snapshot_unref(s);
}
END_TEST

/* What was dumped is JSON, so it is YAML: read back it is the same mesh. */
START_TEST(a_dump_loads_again)
{
	struct snapshot *s = mesh_from(rows[8].yaml), *again;
	char *first = mesh_dump(s, DUMP_POLICIES), *second, *yaml;

	ck_assert_int_gt(asprintf(&yaml, "{\"policies\": %s}", first), 0);
	again = mesh_from(yaml);
	second = mesh_dump(again, DUMP_POLICIES);
	ck_assert_str_eq(first, second);
	free(first);
	free(second);
	free(yaml);
	snapshot_unref(s);
	snapshot_unref(again);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dump");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, shape, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, a_dump_loads_again);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
