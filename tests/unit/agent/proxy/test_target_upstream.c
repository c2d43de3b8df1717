/*
 * target: ztunnel's own matrix of what a CONNECT to 15008 leads to, by its names:
 * src/proxy/inbound.rs, test_find_inbound_upstream (now test_resolve_inbound_target) and
 * test_build_inbound_request, which share their rows (reference/datapath 7.4).
 */
#include "unit/agent/proxy/target_text.h"

#define SERVER_POD   "10.0.0.2"
#define SERVER_VIP   "10.10.0.1"
#define WAYPOINT_POD "10.0.0.3"
#define WAYPOINT_VIP "10.10.0.2"
#define CLIENT_POD   "10.0.0.1"
#define NO_WAYPOINT  NULL

#define POD(name, ip)                                                                              \
	"- {uid: " name ", namespace: default, network: n1, workloadIps: [" ip "], services: "     \
	"{default/" name ".default: {}}"
#define SERVICE(name, vip)                                                                         \
	"- {name: " name ", namespace: default, hostname: " name ".default, vips: [n1/" vip "], "  \
	"ports: {80: 8080}"

enum attached { TO_NOTHING, TO_WORKLOAD, TO_SERVICE };

/* clang-format off */
static const struct {
	const char *name;
	enum attached attached;
	const char *waypoint; /* address by which it is referred to */
	bool app_tunnel;      /* PROXY, 15088 */
	const char *local, *authority, *want;
} rows[] = {
	{ "to workload no waypoint", TO_NOTHING, NO_WAYPOINT, false, SERVER_POD, SERVER_POD ":8080", "10.0.0.2:8080 10.0.0.2:8080 src" },
	{ "svc hostname to workload no waypoint", TO_NOTHING, NO_WAYPOINT, false, SERVER_POD, "server.default:80", "10.0.0.2:8080 10.0.0.2:8080 src" },
	{ "to workload with waypoint referenced by pod", TO_WORKLOAD, WAYPOINT_POD, false, WAYPOINT_POD, SERVER_POD ":8080", "10.0.0.3:8080 10.0.0.3:8080 src" },
	{ "to workload with waypoint referenced by vip", TO_WORKLOAD, WAYPOINT_VIP, false, WAYPOINT_POD, SERVER_POD ":8080", "10.0.0.3:8080 10.0.0.3:8080 src" },
	{ "to workload with app tunnel", TO_WORKLOAD, WAYPOINT_VIP, true, WAYPOINT_POD, SERVER_POD ":8080", "10.0.0.3:15088 10.0.0.3:15088 src proxy 10.0.0.2:8080" },
	{ "to service with waypoint referenced by pod", TO_SERVICE, WAYPOINT_POD, false, WAYPOINT_POD, SERVER_VIP ":8080", "10.0.0.3:8080 10.0.0.3:8080 src" },
	{ "to service with waypoint referenced by vip", TO_SERVICE, WAYPOINT_VIP, false, WAYPOINT_POD, SERVER_VIP ":8080", "10.0.0.3:8080 10.0.0.3:8080 src" },
	{ "to service with app tunnel", TO_SERVICE, WAYPOINT_VIP, true, WAYPOINT_POD, SERVER_VIP ":8080", "10.0.0.3:15088 10.0.0.3:15088 src proxy 10.10.0.1:8080" },
	{ "to server ip mismatch", TO_NOTHING, NO_WAYPOINT, false, SERVER_POD, CLIENT_POD ":8080", "400 ip mismatch: 10.0.0.2 != 10.0.0.1" },
	{ "to waypoint without attachment", TO_NOTHING, NO_WAYPOINT, false, WAYPOINT_POD, CLIENT_POD ":8080", "400 ip mismatch: 10.0.0.3 != 10.0.0.1" },
	{ "to workload via waypoint with wrong attachment", TO_SERVICE, WAYPOINT_POD, false, WAYPOINT_POD, SERVER_POD ":8080", "400 ip mismatch: 10.0.0.3 != 10.0.0.2" },
	{ "to service via waypoint with wrong attachment", TO_WORKLOAD, WAYPOINT_POD, false, WAYPOINT_POD, SERVER_VIP ":8080", "400 ip mismatch: 10.0.0.3 != 10.10.0.1" },
};
/* clang-format on */

static struct snapshot *mesh_of(size_t row)
{
	const char *tunnel = "", *to_workload = "", *to_service = "";
	char waypoint[128] = "", mesh[1024];

	if (rows[row].waypoint)
		snprintf(waypoint, sizeof(waypoint),
		         ", waypoint: {destination: n1/%s, hboneMtlsPort: 15008}",
		         rows[row].waypoint);
	if (rows[row].attached == TO_WORKLOAD)
		to_workload = waypoint;
	if (rows[row].attached == TO_SERVICE)
		to_service = waypoint;
	if (rows[row].app_tunnel)
		tunnel = ", applicationTunnel: {protocol: PROXY, port: 15088}";
	snprintf(
	    mesh, sizeof(mesh),
	    "workloads:\n" POD("client", CLIENT_POD) "}\n" POD(
		"waypoint",
		WAYPOINT_POD) "%s}\n" POD("server",
	                                  SERVER_POD) "%s}\nservices:\n" SERVICE("client",
	                                                                         "10.10.0.9") "}"
											      "\n" SERVICE("waypoint", WAYPOINT_VIP) "}\n" SERVICE(
												  "server",
												  SERVER_VIP) "%s}\n",
	    tunnel, to_workload, to_service);
	return mesh_from(mesh);
}

START_TEST(test_build_inbound_request)
{
	struct snapshot *s = mesh_of((size_t)_i);
	const char *local = rows[_i].local;
	char got[512];

	/* Upstream's rows look at the address before loopback takes its place. */
	target_text(s, strcmp(local, SERVER_POD) == 0 ? "server" : "waypoint", local,
	            rows[_i].authority, false, got, sizeof(got));
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("target_upstream");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, test_build_inbound_request, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
