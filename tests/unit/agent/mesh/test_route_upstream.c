/*
 * route: the cases of upstream's own tests, under upstream's names (reference/datapath 7.3, 7.7),
 * and who goes by a waypoint (2.8).
 */
#include <hbone/headers.h>

#include "unit/agent/mesh/route_text.h"

#define W(uid, ip, more)                                                                           \
	"- {uid: " uid ", namespace: app, trustDomain: td, serviceAccount: " uid                   \
	", workloadIps: [" ip "], " more "}\n"
#define S(name, vips, more)                                                                        \
	"- {name: " name ", namespace: app, hostname: " name ", vips: [" vips "], " more "}\n"
#define SAN(name) "subjectAltNames: ['spiffe://td/ns/app/sa/" name "']"
#define FAR       "network: remote, networkGateway: {destination: "
#define FAILOVER                                                                                   \
	"loadBalancer: {routingPreferences: [Network], mode: Failover, healthPolicy: OnlyHealthy}"
#define PASS  "loadBalancer: {routingPreferences: [], mode: Passthrough, healthPolicy: AllowAll}"
#define TO_WP "waypoint: {destination: app/wp, hboneMtlsPort: 15008}"

/* clang-format off */
static const char mesh[] =
	"workloads:\n"
	W("src", "127.0.0.1", "protocol: HBONE, node: here, services: {}")
	W("gw", "10.22.1.1", "network: remote, services: {app/gateway: {15009: 15008}}")
	W("nogateway", "127.0.0.9", "network: remote, services: {app/wrong: {80: 8080}}")
	W("far1", "", FAR "remote/10.22.1.1, hboneMtlsPort: 15009}, services: {app/byip: {80: 8080}, app/mixed: {80: 8080}, app/mixedsick: {80: 8080}}")
	W("far2", "", FAR "app/gateway, hboneMtlsPort: 15009}, services: {app/byname: {80: 8080}}")
	W("farwp", "", FAR "remote/10.22.1.1, hboneMtlsPort: 15009}, services: {app/farwp: {15008: 15008}}")
	W("near", "127.0.0.3", "protocol: HBONE, services: {app/mixed: {80: 8080}}")
	W("nearsick", "127.0.0.4", "protocol: HBONE, status: Unhealthy, services: {app/mixedsick: {80: 8080}}")
	W("tcpfar", "127.0.0.5", "node: there, services: {}")
	W("hbonefar", "127.0.0.6", "protocol: HBONE, node: there, services: {}")
	W("tcphere", "127.0.0.7", "node: here, services: {}")
	W("hbonehere", "127.0.0.8", "protocol: HBONE, node: here, services: {}")
	W("captive", "127.0.0.21", "protocol: HBONE, " TO_WP ", services: {}")
	W("dst", "127.0.0.22", "protocol: HBONE, " TO_WP ", services: {app/front: {80: 8080}, app/bare: {80: 8080}}")
	W("dst6", "\"ff06::c3\"", "protocol: HBONE, waypoint: {destination: /127.0.0.10, hboneMtlsPort: 15008}, services: {}")
	W("wp", "127.0.0.10", "services: {app/wp: {15008: 15008}}")
	W("wptwin", "127.0.0.11", "services: {}")
	W("wpnamed", "127.0.0.12", "hostname: way.example, services: {}")
	W("dsthost", "127.0.0.23", "protocol: HBONE, waypoint: {destination: app/way.example, hboneMtlsPort: 15008}, services: {}")
	W("sandwich", "127.0.0.13", "applicationTunnel: {protocol: PROXY, port: 15088}, services: {app/noports: {}}")
	W("ported", "127.0.0.31", "services: {app/ports: {80: 1000}}")
	W("portless", "127.0.0.32", "services: {app/ports: {}, app/appports: {}}")
	W("host", "127.0.0.33", "networkMode: HostNetwork, services: {app/onhost: {80: 8080}}")
	W("multi", "127.0.0.41, \"ff06::c4\"", "protocol: HBONE, services: {app/multi: {80: 80}, app/only4: {80: 80}, app/only6: {80: 80}}")
	W("mapped", "127.0.0.61", "services: {app/maps: {80: 1000}}")
	W("unmapped", "127.0.0.62", "services: {app/targets: {}}")
	W("headless", "127.0.0.51", "protocol: HBONE, services: {app/nohead: {80: 80}}")
	"services:\n"
	S("gateway", "", "ports: {15009: 15008}")
	S("wrong", "/127.10.0.1", "ports: {80: 8080}, " SAN("wrong"))
	S("byip", "/127.10.0.2", "ports: {80: 8080}, " SAN("byip"))
	S("byname", "/127.10.0.3", "ports: {80: 8080}, " SAN("byname"))
	S("mixed", "/127.10.0.4", "ports: {80: 8080}, " SAN("mixed") ", " FAILOVER)
	S("mixedsick", "/127.10.0.5", "ports: {80: 8080}, " SAN("mixedsick") ", " FAILOVER)
	S("behindfar", "/127.10.0.6", "ports: {80: 8080}, waypoint: {destination: app/farwp, hboneMtlsPort: 15008}")
	S("farwp", "", "ports: {15008: 15008}, " SAN("farwp"))
	S("wp", "/127.10.0.7", "ports: {15008: 15008}, " SAN("wpsvc"))
	S("front", "/127.10.0.8", "ports: {80: 8080}, " TO_WP)
	S("bare", "/127.10.0.9", "ports: {80: 8080}")
	S("empty", "/127.10.0.10", "ports: {80: 8080}")
	S("ports", "/127.10.0.11", "ports: {80: 0}")
	S("appports", "/127.10.0.12", "ports: {80: 0}")
	S("onhost", "/127.10.0.13", "ports: {80: 8080}")
	S("multi", "/127.10.0.14, \"/ff06::14\"", "ports: {80: 80}")
	S("only4", "/127.10.0.15, \"/ff06::15\"", "ports: {80: 80}, ipFamilies: IPv4")
	S("only6", "/127.10.0.16, \"/ff06::16\"", "ports: {80: 80}, ipFamilies: IPv6")
	S("pass", "/127.10.0.17", "ports: {80: 80}, " PASS)
	S("passwp", "/127.10.0.18", "ports: {80: 80}, " TO_WP ", " PASS)
	S("noports", "/127.10.0.19", "ports: {}")
	S("viasandwich", "/127.10.0.20", "ports: {80: 80}, waypoint: {destination: /127.10.0.19, hboneMtlsPort: 15008}")
	S("maps", "/127.10.0.21", "ports: {80: 8080}")
	S("targets", "/127.10.0.22", "ports: {80: 8080}")
	S("nohead", "", "ports: {80: 80}, " TO_WP);

static const struct {
	const char *name, *src, *dst, *want; /* @src NULL: src */
} rows[] = {
	{ "build_request_unknown_dest", NULL, "1.2.3.4:80", "passthrough 1.2.3.4:80" },
	{ "build_request_wrong_network", NULL, "127.10.0.1:80", "workload nogateway of network remote has no gateway" },
	{ "build_request_double_hbone, gateway by IP", NULL, "127.10.0.2:80", "double 10.22.1.1:15009 byip:80 gw | byip" },
	{ "build_request_double_hbone, gateway by hostname, port mapped", NULL, "127.10.0.3:80", "double 10.22.1.1:15008 byname:80 gw | byname" },
	{ "build_request_double_hbone, remote waypoint", NULL, "127.10.0.6:80", "double 10.22.1.1:15009 behindfar:80 gw | farwp" },
	{ "build_request_failover_to_remote, healthy", NULL, "127.10.0.4:80", "hbone 127.0.0.3:15008 127.0.0.3:8080 mixed near" },
	{ "build_request_failover_to_remote, unhealthy", NULL, "127.10.0.5:80", "double 10.22.1.1:15009 mixedsick:80 gw | mixedsick" },
	{ "build_request_known_dest_remote_node_tcp", NULL, "127.0.0.5:80", "plain 127.0.0.5:80" },
	{ "build_request_known_dest_remote_node_hbone", NULL, "127.0.0.6:80", "hbone 127.0.0.6:15008 127.0.0.6:80 hbonefar" },
	{ "build_request_known_dest_local_node_tcp", NULL, "127.0.0.7:80", "plain 127.0.0.7:80" },
	{ "build_request_known_dest_local_node_hbone", NULL, "127.0.0.8:80", "hbone 127.0.0.8:15008 127.0.0.8:80 hbonehere" },
	{ "build_request_source_waypoint", "captive", "127.0.0.6:80", "hbone 127.0.0.6:15008 127.0.0.6:80 hbonefar" },
	{ "build_request_destination_waypoint", NULL, "127.0.0.22:80", "hbone 127.0.0.10:15008 127.0.0.22:80 wpsvc wp" },
	{ "build_request_destination_waypoint_mismatch_ip", NULL, "[ff06::c3]:80", "hbone 127.0.0.10:15008 [ff06::c3]:80 wp" },
	{ "build_request_destination_svc_waypoint", NULL, "127.10.0.8:80", "hbone 127.0.0.10:15008 127.10.0.8:80 wpsvc wp" },
	{ "build_request_empty_service", NULL, "127.10.0.10:80", "no healthy upstream: 127.10.0.10:80" },
	{ "build_request_target_port", NULL, "127.10.0.11:80", "plain 127.0.0.31:1000" },
	{ "build_request_target_port, nobody has it", NULL, "127.10.0.12:80", "no healthy upstream: 127.10.0.12:80" },
	{ "build_request_host_network, by its service", NULL, "127.10.0.13:80", "plain 127.0.0.33:8080" },
	{ "build_request_host_network, by the node's IP", NULL, "127.0.0.33:80", "passthrough 127.0.0.33:80" },
	{ "multiple_address_workload, IPv4", NULL, "127.0.0.41:80", "hbone 127.0.0.41:15008 127.0.0.41:80 multi" },
	{ "multiple_address_workload, IPv6", NULL, "[ff06::c4]:80", "hbone [ff06::c4]:15008 [ff06::c4]:80 multi" },
	{ "service_ip_families, DUAL by IPv4", NULL, "127.10.0.14:80", "hbone 127.0.0.41:15008 127.0.0.41:80 multi" },
	{ "service_ip_families, DUAL by IPv6", NULL, "[ff06::14]:80", "hbone [ff06::c4]:15008 [ff06::c4]:80 multi" },
	{ "service_ip_families, IPV4_ONLY", NULL, "[ff06::15]:80", "hbone 127.0.0.41:15008 127.0.0.41:80 multi" },
	{ "service_ip_families, IPV6_ONLY", NULL, "127.10.0.16:80", "hbone [ff06::c4]:15008 [ff06::c4]:80 multi" },
	{ "build_request_passthrough_svc", NULL, "127.10.0.17:80", "passthrough 127.10.0.17:80" },
	{ "build_request_passthrough_with_waypoint", NULL, "127.10.0.18:80", "hbone 127.0.0.10:15008 127.10.0.18:80 wpsvc wp" },
	{ "service_waypoint_workload_hostname", NULL, "127.0.0.23:80", "hbone 127.0.0.12:15008 127.0.0.23:80 wpnamed" },
	{ "sandwich_waypoint_proxy_protocol: a waypoint service without ports", NULL, "127.10.0.20:80", "hbone 127.0.0.13:15008 127.10.0.20:80 sandwich" },
	{ "find_upstream_port_mappings: the endpoint's", NULL, "127.10.0.21:80", "plain 127.0.0.61:1000" },
	{ "find_upstream_port_mappings: the service's", NULL, "127.10.0.22:80", "plain 127.0.0.62:8080" },
	{ "find_upstream_port_mappings: the app tunnel's counts for waypoints only", NULL, "127.10.0.19:80", "no healthy upstream: 127.10.0.19:80" },

	{ "2.8: VIP, service with a waypoint", NULL, "127.10.0.8:80", "hbone 127.0.0.10:15008 127.10.0.8:80 wpsvc wp" },
	{ "2.8: pod IP, workload with a waypoint", NULL, "127.0.0.22:8080", "hbone 127.0.0.10:15008 127.0.0.22:8080 wpsvc wp" },
	{ "2.8: pod IP, only a service of it has one", NULL, "127.0.0.51:80", "hbone 127.0.0.51:15008 127.0.0.51:80 headless" },
	{ "2.8: VIP, only the pod chosen has one", NULL, "127.10.0.9:80", "hbone 127.0.0.22:15008 127.0.0.22:8080 dst" },
	{ "2.8: the source's own does not matter", "captive", "127.10.0.9:80", "hbone 127.0.0.22:15008 127.0.0.22:8080 dst" },
	{ "2.8: the waypoint, to a pod it fronts", "wp", "127.0.0.22:8080", "hbone 127.0.0.22:15008 127.0.0.22:8080 dst" },
	{ "2.8: the waypoint, by address and by name of a workload", "wpnamed", "127.0.0.23:80", "hbone 127.0.0.23:15008 127.0.0.23:80 dsthost" },
	{ "2.8: another waypoint is none of it", "wptwin", "127.0.0.22:8080", "hbone 127.0.0.10:15008 127.0.0.22:8080 wpsvc wp" },
	{ "2.8: the waypoint, to the VIP of a service it fronts", "wp", "127.10.0.8:80", "hbone 127.0.0.10:15008 127.10.0.8:80 wpsvc wp" },
	{ "2.8: headless, the workload's rules", NULL, "127.0.0.51:80", "hbone 127.0.0.51:15008 127.0.0.51:80 headless" },
	{ "2.8: a VIP of one's own", "dst", "127.10.0.9:80", "hbone 127.0.0.22:15008 127.0.0.22:8080 dst" },
};
/* clang-format on */

static struct route_query query_of(const struct snapshot *s, const char *src, const char *dst)
{
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, src ? src : "src"),
		.network = "",
		.dst = addr_of(dst),
		.random = 7,
	};

	ck_assert_ptr_nonnull(query.src);
	query.src_ip = query.src->ips[0];
	return query;
}

START_TEST(decide)
{
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = query_of(s, rows[_i].src, rows[_i].dst);
	struct route route;
	char got[256];

	route_decide(s, &query, &route);
	route_format(&route, got, sizeof(got));
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* 2.3, step 6: the same account alone is not the waypoint, its address has to be there too. */
START_TEST(waypoint_is_known_by_both)
{
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = query_of(s, "wp", "127.0.0.22:8080");
	struct route route;
	char got[256];

	query.src_ip = ip_of("127.0.0.99");
	route_decide(s, &query, &route);
	route_format(&route, got, sizeof(got));
	ck_assert_str_eq(got, "hbone 127.0.0.10:15008 127.0.0.22:8080 wpsvc wp");
	snapshot_unref(s);
}
END_TEST

#define WEIGHTED(weights)                                                                          \
	"workloads:\n" W("src", "10.0.0.1", "services: {}") W("a", "10.0.0.2", "services: {}") W(  \
	    "b", "10.0.0.3", "services: {}")                                                       \
	    W("c", "10.0.0.4", "services: {app/s: {80: 80}}") "services:\n" S("s", "/10.96.0.1",   \
	                                                                      "ports: {80: "       \
	                                                                      "80}, "              \
	                                                                      "weightedWaypoint"   \
	                                                                      "s: [" weights "]")
#define TO(ip, weight)                                                                             \
	"{destination: {destination: /" ip ", hboneMtlsPort: 15008}, weight: " weight "}"

/* clang-format off */
static const struct {
	const char *name, *mesh;
	unsigned int a, b, none; /* percent */
} weights[] = {
	{ "test_sample_weighted_waypoint: weight 0 never", WEIGHTED(TO("10.0.0.2", "0") "," TO("10.0.0.3", "1")), 0, 100, 0 },
	{ "test_sample_weighted_waypoint: all zero, none", WEIGHTED(TO("10.0.0.2", "0") "," TO("10.0.0.3", "0")), 0, 0, 100 },
	{ "test_sample_weighted_waypoint: 75 to 25", WEIGHTED(TO("10.0.0.2", "75") "," TO("10.0.0.3", "25")), 75, 25, 0 },
	{ "the largest weights do not overflow", WEIGHTED(TO("10.0.0.2", "4294967295") "," TO("10.0.0.3", "4294967295")), 50, 50, 0 },
};
/* clang-format on */

static bool is_about(unsigned int percent, unsigned int got, unsigned int of)
{
	unsigned int want = of * percent / 100;

	return got + of / 20 >= want && got <= want + of / 20 && (percent || got == 0);
}

START_TEST(weighted_waypoints)
{
	enum { DRAWS = 2000 };
	struct snapshot *s = mesh_from(weights[_i].mesh);
	struct route_query query = query_of(s, NULL, "10.96.0.1:80");
	unsigned int a = 0, b = 0, none = 0;
	struct route route;

	for (uint64_t i = 0; i < DRAWS; i++) {
		query.random = i * 0x9e3779b97f4a7c15u;
		route_decide(s, &query, &route);
		a += route.workload && strcmp(route.workload->uid, "a") == 0;
		b += route.workload && strcmp(route.workload->uid, "b") == 0;
		none += route.workload && strcmp(route.workload->uid, "c") == 0;
	}
	ck_assert_msg(is_about(weights[_i].a, a, DRAWS) && is_about(weights[_i].b, b, DRAWS) &&
	                  is_about(weights[_i].none, none, DRAWS),
	              "%s: %u, %u, %u", weights[_i].name, a, b, none);
	snapshot_unref(s);
}
END_TEST

static const struct {
	const char *name, *src, *host, *want;
} forwarded[] = {
	{ "build_forwarded: IPv4 with a service", "127.0.0.1:80", "svc",
	  "for=\"127.0.0.1:80\";host=svc" },
	{ "build_forwarded: IPv4", "127.0.0.1:80", NULL, "for=\"127.0.0.1:80\"" },
	{ "build_forwarded: IPv6 with a service", "[::1]:80", "svc", "for=\"[::1]:80\";host=svc" },
	{ "build_forwarded: IPv6", "[::1]:80", NULL, "for=\"[::1]:80\"" },
};

START_TEST(build_forwarded)
{
	struct hb_addr src = addr_of(forwarded[_i].src);
	char got[HB_FORWARDED_SIZE];

	hb_forwarded_format(&src, forwarded[_i].host, got);
	ck_assert_msg(strcmp(got, forwarded[_i].want) == 0, "%s: %s", forwarded[_i].name, got);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route_upstream");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, decide, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, waypoint_is_known_by_both);
	tcase_add_loop_test(tc, weighted_waypoints, 0, HB_ARRAY_LEN(weights));
	tcase_add_loop_test(tc, build_forwarded, 0, HB_ARRAY_LEN(forwarded));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
