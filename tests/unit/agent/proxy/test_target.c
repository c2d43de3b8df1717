/*
 * target: what each authority leads to, for a plain pod, a waypoint in front of others, and one
 * behind an application tunnel.
 */
#include "unit/agent/proxy/target_text.h"

#define W(uid, ip, more)                                                                           \
	"- {uid: " uid ", namespace: app, network: n1, workloadIps: [" ip "], " more "}\n"

/* clang-format off */
static const char mesh[] =
	"workloads:\n"
	W("plain", "10.0.0.1", "hostname: plain.app, services: {app/web: {80: 8080}}")
	W("proxy", "10.0.0.2", "applicationTunnel: {protocol: PROXY, port: 15088}, services: {app/way: {15008: 15008}}")
	W("proxyany", "10.0.0.3", "applicationTunnel: {protocol: PROXY, port: null}, services: {}")
	W("none", "\"fd00::4\"", "applicationTunnel: {protocol: NONE, port: 7777}, services: {}")
	W("behind", "10.0.0.5", "waypoint: {destination: n1/10.0.0.1, hboneMtlsPort: 15008}, services: {}")
	W("behindname", "10.0.0.6", "waypoint: {destination: app/web, hboneMtlsPort: 15008}, services: {}")
	W("behindhost", "10.0.0.8", "waypoint: {destination: app/plain.app, hboneMtlsPort: 15008}, services: {}")
	W("behindunknown", "10.0.0.9", "waypoint: {destination: app/unknown, hboneMtlsPort: 15008}, services: {}")
	W("behindother", "10.0.0.7", "waypoint: {destination: n1/10.0.0.2, hboneMtlsPort: 15008}, services: {}")
	"services:\n"
	"- {name: web, namespace: app, hostname: web, vips: [n1/10.96.0.1], ports: {80: 80}}\n"
	"- {name: far, namespace: app, hostname: far, vips: [n2/10.96.0.2, \"n1/fd96::2\", n1/10.96.0.3], ports: {80: 8081, 81: 0}, waypoint: {destination: n1/10.96.0.1, hboneMtlsPort: 15008}}\n"
	"- {name: six, namespace: app, hostname: six, vips: [n2/10.96.0.4, \"n1/fd96::4\"], ports: {80: 8081}}\n"
	"- {name: bare, namespace: app, hostname: bare, vips: [], ports: {80: 8081}}\n"
	"- {name: ours, namespace: app, hostname: ours, vips: [n1/10.96.0.5], ports: {80: 15006}}\n"
	"- {name: way, namespace: app, hostname: way, vips: [n1/10.96.0.6], ports: {15008: 15008}}\n"
	"- {name: lost, namespace: app, hostname: lost, vips: [n1/10.96.0.8], ports: {80: 80}, waypoint: {destination: n1/10.9.9.8, hboneMtlsPort: 15008}}\n"
	"- {name: fronted, namespace: app, hostname: fronted, vips: [n1/10.96.0.7], ports: {80: 80}, waypoint: {destination: app/way, hboneMtlsPort: 15008}}\n";

static const struct {
	const char *name, *pod, *local, *authority, *want; /* app, dial, "src", "proxy" destination */
} rows[] = {
	{ "its own address", "plain", "10.0.0.1", "10.0.0.1:9000", "10.0.0.1:9000 10.0.0.1:9000 src" },
	{ "another address", "plain", "10.0.0.1", "10.0.0.2:9000", "400 ip mismatch: 10.0.0.1 != 10.0.0.2" },
	{ "port 0", "plain", "10.0.0.1", "10.0.0.1:0", "503 port 0 cannot be connected to" },
	{ "a port of ours", "plain", "10.0.0.1", "10.0.0.1:15006", "503 " },
	{ "a service of the pod", "plain", "10.0.0.1", "web:80", "10.0.0.1:8080 10.0.0.1:8080 src" },
	{ "a port that it does not have", "plain", "10.0.0.1", "web:81", "503 requested service web:81 found, but cannot resolve port" },
	{ "a service of others", "plain", "10.0.0.1", "far:80", "503 requested service far found, but the pod is no endpoint of it" },
	{ "a name nobody has", "plain", "10.0.0.1", "nobody:80", "503 no service or workload for hostname: nobody" },

	{ "a workload it stands in front of, by address", "plain", "10.0.0.1", "10.0.0.5:80", "10.0.0.1:80 10.0.0.1:80 src" },
	{ "a workload it stands in front of, by its hostname", "plain", "10.0.0.1", "10.0.0.8:80", "10.0.0.1:80 10.0.0.1:80 src" },
	{ "a workload it stands in front of, by name", "plain", "10.0.0.1", "10.0.0.6:80", "10.0.0.1:80 10.0.0.1:80 src" },
	{ "a service it stands in front of", "plain", "10.0.0.1", "10.96.0.3:80", "10.0.0.1:80 10.0.0.1:80 src" },
	{ "that service in another network", "plain", "10.0.0.1", "10.96.0.2:80", "400 ip mismatch: 10.0.0.1 != 10.96.0.2" },
	{ "one that another stands in front of", "plain", "10.0.0.1", "10.0.0.7:80", "400 ip mismatch: 10.0.0.1 != 10.0.0.7" },
	{ "a service that another stands in front of", "plain", "10.0.0.1", "10.96.0.7:80", "400 ip mismatch: 10.0.0.1 != 10.96.0.7" },

	{ "PROXY: its own address", "proxy", "10.0.0.2", "10.0.0.2:80", "10.0.0.2:15088 127.0.0.1:15088 proxy 10.0.0.2:80" },
	{ "PROXY: any address", "proxy", "10.0.0.2", "1.2.3.4:80", "10.0.0.2:15088 127.0.0.1:15088 proxy 1.2.3.4:80" },
	{ "PROXY: an address of the other family", "proxy", "10.0.0.2", "[fd00::9]:80", "10.0.0.2:15088 127.0.0.1:15088 proxy [fd00::9]:80" },
	{ "PROXY: a service of others, the network's IPv4", "proxy", "10.0.0.2", "far:80", "10.0.0.2:15088 127.0.0.1:15088 proxy 10.96.0.3:80" },
	{ "PROXY: the network outweighs the family", "proxy", "10.0.0.2", "six:80", "10.0.0.2:15088 127.0.0.1:15088 proxy [fd96::4]:80" },
	{ "PROXY: a service without an address", "proxy", "10.0.0.2", "bare:80", "503 service bare has no address to name in a PROXY header" },
	{ "PROXY: a port that the service does not have", "proxy", "10.0.0.2", "far:99", "503 requested service far:99 found, but cannot resolve port" },
	{ "PROXY: a port without a target", "proxy", "10.0.0.2", "far:81", "503 requested service far:81 found, but cannot resolve port" },
	{ "PROXY: a target that is ours", "proxy", "10.0.0.2", "ours:80", "503 " },
	{ "PROXY: port 0", "proxy", "10.0.0.2", "1.2.3.4:0", "503 port 0 cannot be connected to" },
	{ "PROXY without a port", "proxyany", "10.0.0.3", "10.0.0.9:80", "10.0.0.3:80 127.0.0.1:80 proxy 10.0.0.9:80" },
	{ "PROXY, at the pod's address", "proxy", "-10.0.0.2", "1.2.3.4:80", "10.0.0.2:15088 10.0.0.2:15088 src proxy 1.2.3.4:80" },
	{ "PROXY over IPv6", "proxyany", "fd00::3", "[fd00::9]:80", "[fd00::3]:80 [::1]:80 proxy [fd00::9]:80" },
	{ "NONE: any address, its port", "none", "fd00::4", "[fd00::9]:80", "[fd00::4]:7777 [fd00::4]:7777 src" },
	{ "NONE: a service without an address", "none", "fd00::4", "bare:80", "[fd00::4]:7777 [fd00::4]:7777 src" },
};
/* clang-format on */

START_TEST(leads_to)
{
	struct snapshot *s = mesh_from(mesh);
	const char *local = rows[_i].local;
	char got[512];

	target_text(s, rows[_i].pod, *local == '-' ? local + 1 : local, rows[_i].authority,
	            *local != '-', got, sizeof(got));
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *pod, *local, *authority, *missing; /* "": nothing */
} lacks[] = {
	{ "its own address", "plain", "10.0.0.1", "10.0.0.1:9000", "" },
	{ "an address that nobody has", "plain", "10.0.0.1", "10.9.9.9:80", "n1/10.9.9.9" },
	{ "of IPv6", "plain", "10.0.0.1", "[fd00::99]:80", "n1/fd00::99" },
	{ "another's", "plain", "10.0.0.1", "10.0.0.2:9000", "" },
	{ "one that another stands in front of", "plain", "10.0.0.1", "10.0.0.7:80", "" },
	{ "one that somebody unknown stands in front of", "plain", "10.0.0.1", "10.0.0.9:80", "app/unknown" },
	{ "a service that somebody unknown stands in front of", "plain", "10.0.0.1", "10.96.0.8:80", "n1/10.9.9.8" },
	{ "PROXY takes any", "proxy", "10.0.0.2", "10.9.9.9:80", "" },
	{ "a name", "plain", "10.0.0.1", "nobody:80", "" },
};
/* clang-format on */

START_TEST(missing)
{
	struct snapshot *s = mesh_from(mesh);
	struct target_query query = {
		.snapshot = s,
		.workload = snapshot_workload_by_uid(s, lacks[_i].pod),
		.network = "n1",
		.local = ip_of(lacks[_i].local),
	};
	struct hb_tunnel_authority authority;
	struct target target;

	ck_assert_int_eq(
	    hb_tunnel_authority_parse(lacks[_i].authority, strlen(lacks[_i].authority), &authority),
	    0);
	target_find(&query, &authority, &target);
	ck_assert_msg(strcmp(target.missing, lacks[_i].missing) == 0, "%s: %s", lacks[_i].name,
	              target.missing);
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("target");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, leads_to, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, missing, 0, HB_ARRAY_LEN(lacks));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
