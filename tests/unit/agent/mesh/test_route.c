/*
 * route: where a connection goes, row by row.
 */
#include "unit/agent/mesh/route_text.h"

#define W(uid, ip, more)                                                                           \
	"- {uid: " uid ", namespace: app, trustDomain: td, serviceAccount: " uid                   \
	", workloadIps: [" ip "], " more "}\n"
#define NONE "services: {}"

/* clang-format off */
static const char mesh[] =
	"workloads:\n"
	W("src", "10.0.0.1", NONE)
	"- {uid: alien, namespace: app, network: net2, workloadIps: [10.0.0.2], services: {}}\n"
	W("hbone", "10.0.0.3", "protocol: HBONE, services: {app/web: {80: 8080}, app/six: {80: 8080}}")
	W("plain", "10.0.0.4", "services: {app/old: {80: 8080}, app/sick: {80: 1}}")
	W("host", "10.0.0.5", "protocol: HBONE, networkMode: HostNetwork, services: {app/onhost: {80: 81}}")
	W("dual", "\"fd00::6\", 10.0.0.6", "protocol: HBONE, services: {app/dual: {80: 0}, app/v6: {80: 0}, app/only4: {}, app/any: {80: 9}}")
	W("way", "10.0.0.7", "protocol: HBONE, waypoint: {destination: app/wp, hboneMtlsPort: 15008}, services: {app/waybehind: {80: 80}}")
	W("wp", "10.0.0.30", "services: {app/wp.app: {15008: 0, 15009: 15443}, app/wp: {15008: 0}}")
	W("wptcp", "10.0.0.32", "protocol: TCP, services: {}")
	W("waywp", "10.0.0.31", "protocol: HBONE, waypoint: {destination: app/farwp, hboneMtlsPort: 15008}, services: {}")
	"- {uid: farwp, namespace: app, network: net2, networkGateway: {destination: app/gw, hboneMtlsPort: 15008}, workloadIps: [], services: {app/farwp: {15008: 15008}, app/farbare: {15008: 15008}}}\n"
	W("name", "", "hostname: db.example.com, services: {app/db: {80: 80}}")
	W("both", "10.96.0.20", "services: {}")
	W("bothway", "10.96.0.33", "protocol: HBONE, waypoint: {destination: app/wp, hboneMtlsPort: 15008}, services: {}")
	W("gw", "10.0.0.8", "network: net2, services: {app/gw: {15008: 15443}, app/gwvip: {15008: 0}}")
	W("namehbone", "", "hostname: far.example.com, protocol: HBONE, services: {app/dbh: {80: 8080}}")
	W("gw9", "", "hostname: gw9.example.com, services: {}")
	W("far9", "", "network: net2, networkGateway: {destination: app/gw9.example.com, hboneMtlsPort: 15008}, services: {app/far9: {80: 80}}")
	W("wpno", "10.0.0.33", "services: {app/wpno: {15008: 15008}}")
	W("gwhost", "\"fd00::9\", 10.0.0.9", "hostname: gw.example, services: {}")
	"- {uid: far1, namespace: app, network: net2, networkGateway: {destination: net2/10.0.0.8, hboneMtlsPort: 15008}, workloadIps: [], services: {app/far1: {80: 8080}}}\n"
	"- {uid: far2, namespace: app, network: net2, networkGateway: {destination: app/gw, hboneMtlsPort: 15008}, workloadIps: [10.1.1.2], services: {app/far2: {80: 8080}}}\n"
	"- {uid: far3, namespace: app, network: net2, networkGateway: {destination: app/gw.example, hboneMtlsPort: 15009}, workloadIps: [], services: {app/far3: {80: 8080}}}\n"
	"- {uid: far4, namespace: app, network: net2, networkGateway: {destination: net2/10.96.1.1, hboneMtlsPort: 15008}, workloadIps: [], services: {app/far4: {80: 8080}}}\n"
	"- {uid: far5, namespace: app, network: net2, networkGateway: {destination: app/nobody, hboneMtlsPort: 15008}, workloadIps: [], services: {app/far5: {80: 8080}}}\n"
	"- {uid: far6, namespace: app, network: net2, networkGateway: {destination: net3/10.0.0.8, hboneMtlsPort: 15008}, workloadIps: [], services: {app/far6: {80: 8080}}}\n"
	"- {uid: far7, namespace: app, network: net2, networkGateway: {destination: app/gw, hboneMtlsPort: 1}, workloadIps: [], services: {app/far7: {80: 8080}}}\n"
	"- {uid: far8, namespace: app, network: net2, networkGateway: {destination: app/gw, hboneMtlsPort: 15008}, workloadIps: [], services: {app/far8: {80: 8080}}}\n"
	"services:\n"
	"- {name: web, namespace: app, hostname: web, vips: [/10.96.0.1, \"/fd96::1\"], ports: {80: 80, 81: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/x/sa/y']}\n"
	"- {name: old, namespace: app, hostname: old, vips: [/10.96.0.2], ports: {80: 80}}\n"
	"- {name: empty, namespace: app, hostname: empty, vips: [/10.96.0.3], ports: {80: 80}}\n"
	"- {name: pass, namespace: app, hostname: pass, vips: [/10.96.0.4], ports: {80: 80}, loadBalancer: {routingPreferences: [], mode: Passthrough, healthPolicy: AllowAll}}\n"
	"- {name: wp, namespace: app, hostname: viawp, vips: [/10.96.0.5, \"/fd96::5\"], ports: {80: 80}, waypoint: {destination: app/wp.app, hboneMtlsPort: 15008}}\n"
	"- {name: wpip, namespace: app, hostname: viawpip, vips: [/10.96.0.6], ports: {80: 80}, waypoint: {destination: net/10.9.9.9, hboneMtlsPort: 15008}}\n"
	"- {name: wpw, namespace: app, hostname: viaweighted, vips: [/10.96.0.7], ports: {80: 80}, weightedWaypoints: [{destination: {destination: app/zero, hboneMtlsPort: 1}, weight: 0}, {destination: {destination: app/one, hboneMtlsPort: 1}, weight: 1}]}\n"
	"- {name: dual, namespace: app, hostname: dual, vips: [/10.96.0.8, \"/fd96::8\"], ports: {80: 8080}}\n"
	"- {name: v6, namespace: app, hostname: v6, vips: [/10.96.0.9], ports: {80: 8080}, ipFamilies: IPv6}\n"
	"- {name: six, namespace: app, hostname: six, vips: [/10.96.0.10], ports: {80: 8080}, ipFamilies: IPv6}\n"
	"- {name: db, namespace: app, hostname: db, vips: [/10.96.0.11], ports: {80: 8080}}\n"
	"- {name: dbh, namespace: app, hostname: dbh, vips: [/10.96.0.31], ports: {80: 8080}}\n"
	"- {name: wpno, namespace: app, hostname: wpno, vips: [], ports: {15008: 15008}, ipFamilies: IPv6}\n"
	"- {name: v9, namespace: app, hostname: v9, vips: [/10.96.0.32], ports: {80: 80}, waypoint: {destination: app/wpno, hboneMtlsPort: 15008}}\n"
	"- {name: far9, namespace: app, hostname: far9, vips: [/10.96.2.9], ports: {80: 0}, subjectAltNames: ['spiffe://td/ns/app/sa/far9']}\n"
	"- {name: onhost, namespace: app, hostname: onhost, vips: [/10.96.0.12], ports: {80: 0}}\n"
	"- {name: private, namespace: other, hostname: private, vips: [/10.96.0.13], ports: {80: 0}, visibility: Namespace}\n"
	"- {name: waybehind, namespace: app, hostname: waybehind, vips: [/10.96.0.14], ports: {80: 80}}\n"
	"- {name: remote, namespace: app, hostname: remote, vips: [/10.96.0.15], ports: {80: 80}, endpoints: {alien: {workloadUid: alien, port: {80: 80}, status: Healthy}}}\n"
	"- {name: sick, namespace: app, hostname: sick, vips: [/10.96.0.16], ports: {80: 80}, endpoints: {gone: {workloadUid: gone, port: {80: 80}, status: Healthy}, src: {workloadUid: src, port: {80: 80}, status: Unhealthy}, plain: {workloadUid: plain, port: {80: 80}, status: Unhealthy}}}\n"
	"- {name: passwp, namespace: app, hostname: passwp, vips: [/10.96.0.17], ports: {80: 80}, waypoint: {destination: app/wp.app, hboneMtlsPort: 15008}, loadBalancer: {routingPreferences: [], mode: Passthrough, healthPolicy: AllowAll}}\n"
	"- {name: far1, namespace: app, hostname: far1, vips: [/10.96.2.1, \"/fd96::2:1\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far1']}\n"
	"- {name: far2, namespace: app, hostname: far2, vips: [/10.96.2.2, \"/fd96::2:2\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far2']}\n"
	"- {name: far3, namespace: app, hostname: far3, vips: [/10.96.2.3, \"/fd96::2:3\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far3']}\n"
	"- {name: far4, namespace: app, hostname: far4, vips: [/10.96.2.4, \"/fd96::2:4\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far4']}\n"
	"- {name: far5, namespace: app, hostname: far5, vips: [/10.96.2.5, \"/fd96::2:5\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far5']}\n"
	"- {name: far6, namespace: app, hostname: far6, vips: [/10.96.2.6, \"/fd96::2:6\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far6']}\n"
	"- {name: far7, namespace: app, hostname: far7, vips: [/10.96.2.7, \"/fd96::2:7\"], ports: {80: 0}, subjectAltNames: [not-spiffe, 'spiffe://td/ns/app/sa/far7']}\n"
	"- {name: far8, namespace: app, hostname: far8, vips: [/10.96.2.8, \"/fd96::2:8\"], ports: {80: 0}}\n"
	"- {name: gw, namespace: app, hostname: gw, vips: [], ports: {15008: 0}, subjectAltNames: ['spiffe://td/ns/x/sa/gwsan']}\n"
	"- {name: gwvip, namespace: app, hostname: gwvip, vips: [net2/10.96.1.1], ports: {15008: 15444}}\n"
	"- {name: bothway, namespace: app, hostname: bothway, vips: [/10.96.0.33], ports: {80: 0}, endpoints: {plain: {workloadUid: plain, port: {80: 9}, status: Healthy}}}\n"
	"- {name: both, namespace: app, hostname: both, vips: [/10.96.0.20], ports: {80: 80}}\n"
	"- {name: wpsvc, namespace: app, hostname: wp.app, vips: [/10.96.0.21], ports: {15008: 15008, 15009: 15009}, subjectAltNames: ['spiffe://td/ns/app/sa/wpsan']}\n"
	"- {name: wpsvc2, namespace: app, hostname: wp, vips: [], ports: {15008: 15008}, subjectAltNames: ['spiffe://td/ns/app/sa/wpsan']}\n"
	"- {name: wpsick, namespace: app, hostname: wpsick, vips: [], ports: {15008: 15008}}\n"
	"- {name: v1, namespace: app, hostname: v1, vips: [/10.96.0.22], ports: {80: 80}, waypoint: {destination: app/wpsick, hboneMtlsPort: 15008}}\n"
	"- {name: v2, namespace: app, hostname: v2, vips: [/10.96.0.23], ports: {80: 80}, waypoint: {destination: app/wp.app, hboneMtlsPort: 15007}}\n"
	"- {name: v3, namespace: app, hostname: v3, vips: [/10.96.0.24], ports: {80: 80}, waypoint: {destination: app/db.example.com, hboneMtlsPort: 15008}}\n"
	"- {name: wpfar, namespace: app, hostname: wpfar, vips: [/10.96.0.25], ports: {80: 80}, waypoint: {destination: app/farwp, hboneMtlsPort: 15008}}\n"
	"- {name: v4, namespace: app, hostname: v4, vips: [/10.96.0.26], ports: {80: 80}, waypoint: {destination: app/farbare, hboneMtlsPort: 15008}}\n"
	"- {name: farwp, namespace: app, hostname: farwp, vips: [], ports: {15008: 15008}, subjectAltNames: ['spiffe://td/ns/app/sa/farwp']}\n"
	"- {name: farbare, namespace: app, hostname: farbare, vips: [], ports: {15008: 15008}}\n"
	"- {name: v5, namespace: app, hostname: v5, vips: [/10.96.0.27], ports: {80: 80}, waypoint: {destination: /10.96.0.21, hboneMtlsPort: 15009}}\n"
	"- {name: v6wp, namespace: app, hostname: v6wp, vips: [/10.96.0.28], ports: {80: 80}, waypoint: {destination: /10.0.0.32, hboneMtlsPort: 15008}}\n"
	"- {name: v7, namespace: app, hostname: v7, vips: [/10.96.0.29], ports: {80: 80}, waypoint: {destination: /10.0.0.32, hboneMtlsPort: 15008}, weightedWaypoints: [{destination: {destination: app/wp.app, hboneMtlsPort: 15008}, weight: 0}]}\n"
	"- {name: v8, namespace: app, hostname: v8, vips: [/10.96.0.30], ports: {80: 80}, weightedWaypoints: [{destination: {destination: app/wp.app, hboneMtlsPort: 15008}, weight: 0}], endpoints: {plain: {workloadUid: plain, port: {80: 80}, status: Healthy}}}\n"
	"- {name: range, namespace: app, hostname: range, vips: [], cidrVips: [{network: '', cidr: 10.97.0.0/16}], ports: {80: 0}, endpoints: {plain: {workloadUid: plain, port: {80: 7}, status: Healthy}}}\n";

static const struct {
	const char *name, *dst, *want; /* kind next_hop authority | error */
} rows[] = {
	{ "an unknown address passes", "1.2.3.4:443", "passthrough 1.2.3.4:443" },
	{ "a host-network workload is not known by address", "10.0.0.5:80", "passthrough 10.0.0.5:80" },
	{ "a workload of another network is not at this address", "10.0.0.2:80", "passthrough 10.0.0.2:80" },
	{ "a workload by address, on HBONE", "10.0.0.3:9000", "hbone 10.0.0.3:15008 10.0.0.3:9000 hbone" },
	{ "a workload by address, plain", "10.0.0.4:9000", "plain 10.0.0.4:9000" },
	{ "a VIP, the endpoint's own port", "10.96.0.1:80", "hbone 10.0.0.3:15008 10.0.0.3:8080 y hbone" },
	{ "an IPv6 VIP, an IPv4 endpoint", "[fd96::1]:80", "hbone 10.0.0.3:15008 10.0.0.3:8080 y hbone" },
	{ "a port that the endpoint does not map", "10.96.0.1:81", "no healthy upstream: 10.96.0.1:81" },
	{ "a port that the service does not have", "10.96.0.1:82", "no healthy upstream: 10.96.0.1:82" },
	{ "a VIP, plain endpoint", "10.96.0.2:80", "plain 10.0.0.4:8080" },
	{ "a service without endpoints", "10.96.0.3:80", "no healthy upstream: 10.96.0.3:80" },
	{ "PASSTHROUGH", "10.96.0.4:80", "passthrough 10.96.0.4:80" },
	{ "PASSTHROUGH on any port", "10.96.0.4:1", "passthrough 10.96.0.4:1" },
	{ "a service waypoint by name", "10.96.0.5:80", "hbone 10.0.0.30:15008 10.96.0.5:80 wpsan wp" },
	{ "a service waypoint by address", "10.96.0.6:80", "unknown waypoint: waypoint net/10.9.9.9 not found" },
	{ "weighted waypoints: nobody is nobody", "10.96.0.7:80", "unknown waypoint: waypoint one not found" },
	{ "PASSTHROUGH does not pass a waypoint", "10.96.0.17:80", "hbone 10.0.0.30:15008 10.96.0.17:80 wpsan wp" },
	{ "a workload waypoint", "10.0.0.7:80", "hbone 10.0.0.30:15008 10.0.0.7:80 wpsan wp" },
	{ "another port of it, the same waypoint", "10.0.0.7:9", "hbone 10.0.0.30:15008 10.0.0.7:9 wpsan wp" },
	{ "a waypoint without a healthy endpoint", "10.96.0.22:80", "no healthy waypoint: app/wpsick, port 15008" },
	{ "a port that the waypoint does not have", "10.96.0.23:80", "no healthy waypoint: app/wp.app, port 15007" },
	{ "a waypoint by host name", "10.96.0.24:80", "hbone db.example.com?15008 10.96.0.24:80 name" },
	{ "a waypoint without an address", "10.96.0.32:80", "waypoint app/wpno has no address" },
	{ "a gateway by host name", "10.96.2.9:80", "double gw9.example.com?15008 far9:80 gw9 | far9" },
	{ "a waypoint on another network, for a service", "10.96.0.25:80", "double 10.0.0.8:15443 wpfar:80 gwsan gw | farwp" },
	{ "a waypoint on another network, for a workload", "10.0.0.31:80", "a workload of network net2 is reached by the address of a service only" },
	{ "a waypoint on another network that cannot prove itself", "10.96.0.26:80", "service farbare has endpoints in network net2, but no subjectAltNames" },
	{ "a waypoint by a VIP, another port than 15008", "10.96.0.27:80", "hbone 10.0.0.30:15443 10.96.0.27:80 wpsan wp" },
	{ "a waypoint's protocol does not matter", "10.96.0.28:80", "hbone 10.0.0.32:15008 10.96.0.28:80 wptcp" },
	{ "all weights 0: the plain waypoint", "10.96.0.29:80", "hbone 10.0.0.32:15008 10.96.0.29:80 wptcp" },
	{ "all weights 0 and no plain waypoint: none", "10.96.0.30:80", "plain 10.0.0.4:80" },
	{ "the other family: the waypoint's own", "[fd96::5]:80", "hbone 10.0.0.30:15008 [fd96::5]:80 wpsan wp" },
	{ "a workload waypoint is not for service traffic", "10.96.0.14:80", "hbone 10.0.0.7:15008 10.0.0.7:80 way" },
	{ "the family that was dialled: IPv4", "10.96.0.8:80", "hbone 10.0.0.6:15008 10.0.0.6:8080 dual" },
	{ "the family that was dialled: IPv6", "[fd96::8]:80", "hbone [fd00::6]:15008 [fd00::6]:8080 dual" },
	{ "ipFamilies outweighs it", "10.96.0.9:80", "hbone [fd00::6]:15008 [fd00::6]:8080 dual" },
	{ "no address of the families", "10.96.0.10:80", "no healthy upstream: 10.96.0.10:80" },
	{ "an endpoint by host name", "10.96.0.11:80", "plain db.example.com?80" },
	{ "the same, on HBONE", "10.96.0.31:80", "hbone far.example.com?15008 [::]:8080 namehbone" },
	{ "a host-network endpoint of a service", "10.96.0.12:80", "hbone 10.0.0.5:15008 10.0.0.5:81 host" },
	{ "a private service of another namespace is not seen", "10.96.0.13:80", "passthrough 10.96.0.13:80" },
	{ "another network without a gateway", "10.96.0.15:80", "workload alien of network net2 has no gateway" },
	{ "a gateway that is a workload's address", "10.96.2.1:80", "double 10.0.0.8:15008 far1:80 gw | far1" },
	{ "a gateway that is a service's name", "10.96.2.2:80", "double 10.0.0.8:15443 far2:80 gwsan gw | far2" },
	{ "a gateway that is a workload's name, IPv4 dialled", "10.96.2.3:80", "double 10.0.0.9:15009 far3:80 gwhost | far3" },
	{ "a gateway that is a workload's name, IPv6 dialled", "[fd96::2:3]:80", "double [fd00::9]:15009 far3:80 gwhost | far3" },
	{ "a gateway that is a VIP of its network", "10.96.2.4:80", "double 10.0.0.8:15444 far4:80 gw | far4" },
	{ "a gateway that nobody knows", "10.96.2.5:80", "unknown network gateway: network gateway nobody not found" },
	{ "a gateway's address in another network", "10.96.2.6:80", "unknown network gateway: network gateway net3/10.0.0.8 not found" },
	{ "a port that the gateway does not have", "10.96.2.7:80", "no healthy gateway to network net2: app/gw" },
	{ "nobody could prove to be the far end", "10.96.2.8:80", "service far8 has endpoints in network net2, but no subjectAltNames" },
	{ "unhealthy and unknown endpoints; the workload's word counts", "10.96.0.16:80", "plain 10.0.0.4:1" },
	{ "both a workload and a VIP: the service, and never the address", "10.96.0.20:80", "no healthy upstream: 10.96.0.20:80" },
	{ "both a workload with a waypoint and a VIP: the service's word counts", "10.96.0.33:80", "plain 10.0.0.4:9" },
	{ "a CIDR VIP", "10.97.3.4:80", "plain 10.0.0.4:7" },
};
/* clang-format on */

START_TEST(decide)
{
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, "src"),
		.network = "",
		.dst = addr_of(rows[_i].dst),
		.random = 7,
	};
	struct route route;
	char got[256];

	route_decide(s, &query, &route);
	route_format(&route, got, sizeof(got));
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *dst, *missing; /* "": nothing */
} lacks[] = {
	{ "an address that nobody has", "1.2.3.4:443", "/1.2.3.4" },
	{ "of IPv6", "[2001:db8::1]:443", "/2001:db8::1" },
	{ "host-network workloads have none", "10.0.0.5:80", "/10.0.0.5" },
	{ "a workload is known", "10.0.0.3:9000", "" },
	{ "a service is known, whose endpoints are sick", "10.96.0.16:80", "" },
	{ "a service without a choice among endpoints", "10.96.0.4:80", "" },
	{ "a port that it has not", "10.96.0.1:81", "" },
	{ "a waypoint by name, known", "10.96.0.5:80", "" },
	{ "by address, unknown", "10.96.0.6:80", "net/10.9.9.9" },
	{ "drawn by weight, unknown", "10.96.0.7:80", "app/one" },
	{ "known, but nobody behind it", "10.96.0.22:80", "" },
	{ "a gateway by name, known", "10.96.2.2:80", "" },
	{ "a gateway by name, unknown", "10.96.2.5:80", "app/nobody" },
	{ "a gateway by address, unknown", "10.96.2.6:80", "net3/10.0.0.8" },
	{ "known, but not at that port", "10.96.2.7:80", "" },
};
/* clang-format on */

START_TEST(missing)
{
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, "src"),
		.network = "",
		.dst = addr_of(lacks[_i].dst),
		.random = 7,
	};
	char got[ROUTE_MISSING_SIZE] = "";
	struct route route;

	route_decide(s, &query, &route);
	ck_assert_msg(route_missing(&route, &query, got) == (*lacks[_i].missing != 0), "%s: %s",
	              lacks[_i].name, got);
	ck_assert_msg(strcmp(got, lacks[_i].missing) == 0, "%s: %s", lacks[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* What the node does not know as a service has no name to ask a gateway for. */
START_TEST(a_gateway_needs_a_service)
{
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = {
		.src = snapshot_workload_by_uid(s, "src"),
		.network = "another",
		.dst = addr_of("10.96.2.1:80"),
	};
	struct route route;

	route_decide(s, &query, &route);
	ck_assert_int_eq(route.kind, ROUTE_REFUSE);
	ck_assert_str_eq(route.error,
	                 "a workload of network net2 is reached by the address of a service only");
	snapshot_unref(s);
}
END_TEST

/* More names than fit: the workload's own is never the one left out. */
START_TEST(identities_are_bounded)
{
	static const char head[] = "workloads:\n" W("src", "10.0.0.1", NONE)
	    W("dst", "10.0.0.2", "protocol: HBONE, services: {app/s: {80: 80}}");
	char *yaml = NULL;
	size_t size;
	FILE *out = open_memstream(&yaml, &size);
	struct route_query query = { .network = "", .dst = addr_of("10.96.0.1:80") };
	struct snapshot *s;
	struct route route;

	fprintf(out,
	        "%sservices:\n- {name: s, namespace: app, hostname: s, vips: [/10.96.0.1], "
	        "ports: {80: 80}, subjectAltNames: [spiffe://a/ns/b/sa/0",
	        head);
	for (int i = 1; i < ROUTE_IDENTITIES_MAX; i++)
		fprintf(out, ", spiffe://a/ns/b/sa/%d", i);
	fputs("]}\n", out);
	fclose(out);
	s = mesh_from(yaml);
	query.src = snapshot_workload_by_uid(s, "src");
	route_decide(s, &query, &route);
	ck_assert_uint_eq(route.identities_count, ROUTE_IDENTITIES_MAX);
	ck_assert_str_eq(route.identities[0], "spiffe://a/ns/b/sa/0");
	ck_assert_str_eq(route.identities[ROUTE_IDENTITIES_MAX - 1], "spiffe://td/ns/app/sa/dst");
	snapshot_unref(s);
	free(yaml);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, decide, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, missing, 0, HB_ARRAY_LEN(lacks));
	tcase_add_test(tc, a_gateway_needs_a_service);
	tcase_add_test(tc, identities_are_bounded);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
