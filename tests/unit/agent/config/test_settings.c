/*
 * settings: defaults, then the file, then the environment; what is derived; what is reported.
 */
#include <sys/stat.h>

#include <jansson.h>

#include <hbone/base.h>

#include "config/settings_table.h"
#include "unit/agent/config/settings_fixture.h"

/* clang-format off */
static const struct {
	const char *name, *file;
	const char *variables[3];
	const char *setting, *want; /* as setting_format() shows it */
} rows[] = {
	{ "default string", NULL, { 0 }, "nodeName", "" },
	{ "default with a value", NULL, { 0 }, "clusterId", "Kubernetes" },
	{ "default state", NULL, { 0 }, "stateDir", "/run/culvert" },
	{ "default pins", NULL, { 0 }, "bpfDir", "/sys/fs/bpf/culvert" },
	{ "no cgroup: the first root found", NULL, { 0 }, "cgroupDir", "" },
	{ "default socket", NULL, { 0 }, "adminSocket", "/run/culvert/admin.sock" },
	{ "socket follows the state", "stateDir: /var/lib/c\n", { 0 }, "adminSocket", "/var/lib/c/admin.sock" },
	{ "socket by itself", "stateDir: /var/lib/c\nadminSocket: /a.sock\n", { 0 }, "adminSocket", "/a.sock" },
	{ "ports are off", "nodeName: n\n", { 0 }, "adminPort", "0" },
	/* ztunnel's config_from_proxyconfig */
	{ "PROXY_CONFIG: admin port", NULL, { "PROXY_CONFIG=proxyAdminPort: 16000" }, "adminPort", "16000" },
	{ "PROXY_CONFIG: as JSON", NULL, { "PROXY_CONFIG={\"proxyAdminPort\": 16000, \"statsPort\": 1}" }, "adminPort", "16000" },
	{ "PROXY_CONFIG: metrics port", NULL, { "PROXY_CONFIG=statsPort: 16020" }, "statsPort", "16020" },
	{ "PROXY_CONFIG: threads", NULL, { "PROXY_CONFIG=concurrency: 3" }, "workerThreads", "3" },
	{ "PROXY_CONFIG: a variable over it", NULL, { "PROXY_CONFIG=concurrency: 3", "ZTUNNEL_WORKER_THREADS=4" }, "workerThreads", "4" },
	{ "PROXY_CONFIG: over the file", "workerThreads: 2\n", { "PROXY_CONFIG=concurrency: 3" }, "workerThreads", "3" },
	{ "PROXY_CONFIG: metadata", NULL, { "PROXY_CONFIG=proxyMetadata: {ISTIO_META_CLUSTER_ID: c}" }, "clusterId", "c" },
	{ "PROXY_CONFIG: metadata without its prefix", NULL, { "PROXY_CONFIG=proxyMetadata: {CLUSTER_ID: c, FOO: {}}" }, "clusterId", "c" },
	{ "PROXY_CONFIG: istiod's address", NULL, { "PROXY_CONFIG=discoveryAddress: d:1" }, "xdsAddress", "d:1" },
	{ "PROXY_CONFIG: another in the variable", NULL, { "PROXY_CONFIG=discoveryAddress: d:1", "XDS_ADDRESS=x:1" }, "xdsAddress", "x:1" },
	{ "istiod: in a cluster", NULL, { "KUBERNETES_SERVICE_HOST=10.0.0.1" }, "xdsAddress", "https://istiod.istio-system.svc:15012" },
	{ "istiod: elsewhere", NULL, { 0 }, "xdsAddress", "https://localhost:15012" },
	{ "istiod: none", NULL, { "XDS_ADDRESS=", "KUBERNETES_SERVICE_HOST=10.0.0.1" }, "xdsAddress", "" },
	{ "istiod: standalone there need be none", "nodeName: n\n", { "KUBERNETES_SERVICE_HOST=10.0.0.1" }, "xdsAddress", "" },
	{ "istiod: standalone, named", "xdsAddress: https://i:1\n", { 0 }, "xdsAddress", "https://i:1" },
	{ "our address", NULL, { 0 }, "instanceIp", "1.1.1.1" },
	{ "PROXY_CONFIG: empty", NULL, { "PROXY_CONFIG=" }, "adminPort", "15000" },
	{ "without a file it is as ztunnel starts", NULL, { 0 }, "proxyMode", "shared" },
	{ "with a file it is standalone", "nodeName: n\n", { 0 }, "proxyMode", "standalone" },
	{ "a mode over the file", "nodeName: n\n", { "PROXY_MODE=shared" }, "proxyMode", "shared" },
	{ "shared: admin port", NULL, { 0 }, "adminPort", "15000" },
	{ "shared: metrics port", NULL, { 0 }, "statsPort", "15020" },
	{ "shared: readiness port", NULL, { 0 }, "readinessPort", "15021" },
	{ "shared: a port that is set", "proxyMode: shared\nadminPort: 0\n", { 0 }, "adminPort", "0" },
	{ "shared: mark", NULL, { 0 }, "packetMark", "1337" },
	{ "shared: a mark that is set", NULL, { "PACKET_MARK=7" }, "packetMark", "7" },
	{ "dedicated: no mark", NULL, { "PROXY_MODE=dedicated", "PROXY_WORKLOAD_INFO=a/b/c" }, "packetMark", "0" },
	{ "dedicated: admin port", NULL, { "PROXY_MODE=dedicated", "PROXY_WORKLOAD_INFO=a/b/c" }, "adminPort", "15000" },
	{ "socket of istio-cni", NULL, { 0 }, "inpodUds", "/var/run/ztunnel/ztunnel.sock" },
	{ "socket of istio-cni, set", NULL, { "INPOD_UDS=/x" }, "inpodUds", "/x" },
	{ "port reuse", NULL, { "INPOD_PORT_REUSE=false" }, "inpodPortReuse", "false" },
	{ "source as far as may be", NULL, { 0 }, "enableOrigSrc", "auto" },
	{ "source always", NULL, { "ENABLE_ORIG_SRC=true" }, "enableOrigSrc", "true" },
	{ "source never", NULL, { "ENABLE_ORIG_SRC=false" }, "enableOrigSrc", "false" },
	{ "SOCKS5", NULL, { "UNSTABLE_ENABLE_SOCKS5=true" }, "enableSocks5", "true" },
	{ "default lifetime", NULL, { 0 }, "secretTtl", "1d" },
	{ "default window", NULL, { 0 }, "http2StreamWindowSize", "4194304" },
	{ "default connection window", NULL, { 0 }, "http2ConnectionWindowSize", "16777216" },
	{ "default pool", NULL, { 0 }, "poolMaxStreamsPerConnection", "750" },
	{ "default idle", NULL, { 0 }, "poolUnusedReleaseTimeout", "5m" },
	{ "default keepalive", NULL, { 0 }, "keepaliveTime", "3m" },
	{ "default probes", NULL, { 0 }, "keepaliveRetries", "9" },
	{ "default drain", NULL, { 0 }, "drainTimeout", "5s" },
	{ "default log", NULL, { 0 }, "log", "info" },
	{ "default format", NULL, { 0 }, "logFormat", "plain" },
	{ "file", "nodeName: n1\n", { 0 }, "nodeName", "n1" },
	{ "number-like string", "network: 5\n", { 0 }, "network", "5" },
	{ "quoted string", "network: \"\"\n", { 0 }, "network", "" },
	{ "environment", NULL, { "NODE_NAME=n2" }, "nodeName", "n2" },
	{ "environment over file", "nodeName: n1\n", { "NODE_NAME=n2" }, "nodeName", "n2" },
	{ "empty is a value", "nodeName: n1\n", { "NODE_NAME=" }, "nodeName", "" },
	{ "first variable", NULL, { "CLUSTER_ID=a" }, "clusterId", "a" },
	{ "second variable wins", NULL, { "ISTIO_META_CLUSTER_ID=b", "CLUSTER_ID=a" }, "clusterId", "b" },
	{ "a name that only begins alike", NULL, { "NODE_NAMES=x" }, "nodeName", "" },
	{ "mesh file", NULL, { "LOCAL_XDS_PATH=./m.yaml" }, "meshFile", "./m.yaml" },
	{ "built-in CA", NULL, { "FAKE_CA=true" }, "fakeCa", "true" },
	{ "lifetime", NULL, { "SECRET_TTL=1h30m" }, "secretTtl", "1h30m" },
	{ "no IPv6", NULL, { "IPV6_ENABLED=false" }, "ipv6Enabled", "false" },
	{ "window", NULL, { "HTTP2_STREAM_WINDOW_SIZE=65535" }, "http2StreamWindowSize", "65535" },
	{ "window with a unit", "http2StreamWindowSize: 1Mi\n", { 0 }, "http2StreamWindowSize", "1048576" },
	{ "no keepalive", "keepaliveEnabled: false\n", { 0 }, "keepaliveEnabled", "false" },
	{ "deadline", NULL, { "CONNECTION_TERMINATION_DEADLINE=1m" }, "drainTimeout", "1m" },
	{ "grace", NULL, { "TERMINATION_GRACE_PERIOD_SECONDS=30" }, "drainTimeout", "25s" },
	{ "short grace", NULL, { "TERMINATION_GRACE_PERIOD_SECONDS=10" }, "drainTimeout", "9s" },
	{ "shortest grace", NULL, { "TERMINATION_GRACE_PERIOD_SECONDS=0" }, "drainTimeout", "1s" },
	{ "grace over the file", "drainTimeout: 1h\n", { "TERMINATION_GRACE_PERIOD_SECONDS=30" }, "drainTimeout", "25s" },
	{ "deadline over grace", NULL, { "CONNECTION_TERMINATION_DEADLINE=7s", "TERMINATION_GRACE_PERIOD_SECONDS=30" }, "drainTimeout", "7s" },
	{ "JSON log", NULL, { "LOG_FORMAT=json" }, "logFormat", "json" },
	{ "log directives", NULL, { "RUST_LOG=info,access=off" }, "log", "info,access=off" },
	{ "threads", "workerThreads: 50%\n", { 0 }, "workerThreads", "50%" },
	{ "threads in quotes", "workerThreads: '12.5%'\n", { 0 }, "workerThreads", "12.500%" },
	{ "no threads set", NULL, { 0 }, "workerThreads", "" },
	{ "default loop", NULL, { 0 }, "loopBackend", "auto" },
	{ "loop, second choice", "loopBackend: io_uring\n", { 0 }, "loopBackend", "io_uring" },
	{ "loop, third choice", "loopBackend: epoll\n", { 0 }, "loopBackend", "epoll" },
	{ "no pods", "pods:\n", { 0 }, "nodeName", "" },
};

static const struct {
	const char *name;
	const char *variables[4];
	unsigned cores, want;
} worker_rows[] = {
	{ "a quarter", { 0 }, 16, 4 },
	{ "a quarter, rounded up", { 0 }, 17, 5 },
	{ "at least two", { 0 }, 1, 2 },
	{ "at least the request", { "ZTUNNEL_RESOURCE_CPU_REQUEST=5500m" }, 16, 6 },
	{ "the limit", { "ZTUNNEL_RESOURCE_CPU_LIMIT=3" }, 16, 3 },
	{ "a limit of one", { "ZTUNNEL_RESOURCE_CPU_LIMIT=500m" }, 16, 1 },
	{ "a limit below the request", { "ZTUNNEL_RESOURCE_CPU_LIMIT=1", "ZTUNNEL_RESOURCE_CPU_REQUEST=2" }, 16, 2 },
	{ "cores as told", { "ZTUNNEL_CPU_LIMIT=32" }, 4, 8 },
	{ "a number", { "ZTUNNEL_WORKER_THREADS=7", "ZTUNNEL_RESOURCE_CPU_LIMIT=1" }, 4, 7 },
	{ "one", { "ZTUNNEL_WORKER_THREADS=1" }, 4, 1 },
	{ "all", { "ZTUNNEL_WORKER_THREADS=0" }, 12, 12 },
	{ "all as told", { "ZTUNNEL_WORKER_THREADS=0", "ZTUNNEL_CPU_LIMIT=3" }, 12, 3 },
	{ "half", { "ZTUNNEL_WORKER_THREADS=50%" }, 5, 3 },
	{ "hardly any", { "ZTUNNEL_WORKER_THREADS=1%" }, 4, 1 },
};

static const struct {
	const char *variable, *told;
} unknown_rows[] = {
	{ "XDS_ADDRESS=istiod:15012", NULL },
	{ "CA_ADDRESS=https://istiod", NULL },
	{ "ISTIO_META_DNS_CAPTURE=false", NULL },
	{ "ISTIO_META_DNS_CAPTURE=true", "ISTIO_META_DNS_CAPTURE" },
	{ "INPOD_UDS=/var/run/ztunnel/ztunnel.sock", NULL },
	{ "PROXY_MODE=shared", NULL },
	{ "ENABLE_PROXY=true", NULL },
	{ "ENABLE_PROXY=false", "ENABLE_PROXY" },
	{ "TLS12_ENABLED=true", NULL },
	{ "CRL_PATH=/x", NULL },
	{ "COMPLIANCE_POLICY=pqc", NULL },
	{ "XDS_HEADER_x=y", NULL },
	{ "CA_HEADER_x=y", NULL },
	{ "ISTIO_META_FOO=bar", NULL },
	{ "ISTIO_META_CLUSTER_ID=served", NULL },
	{ "ISTIO_META_DNS_CAPTURE=false", NULL },
	{ "ISTIO_META_DNS_CAPTURE=true", "ISTIO_META_DNS_CAPTURE" },
	{ "NODE_NAME=n", NULL },
	{ "PATH=/bin", NULL },
	{ "INPOD_ENABLED=true", NULL },
	{ "TRUST_DOMAIN", "TRUST_DOMAIN" }, /* no '=': not a variable, but said rather than hidden */
};
/* clang-format on */

static struct settings *load(const char *name, const char *file, const char *const *variables)
{
	struct settings *settings = NULL;
	char why[1024];
	int err = load_text(file, variables, &settings, why, sizeof(why));

	ck_assert_msg(err == 0, "%s: %s", name, why);
	ck_assert_str_eq(why, "");
	return settings;
}

/* istiod hears of all, whether we know what it means or not. */
START_TEST(metadata_is_kept)
{
	static const char *const variables[] = {
		"PROXY_CONFIG=proxyMetadata: {ISTIO_META_CLUSTER_ID: c, FOO: {}, B: b}", NULL
	};
	struct settings *settings = load("metadata", NULL, variables);

	ck_assert_uint_eq(settings->metadata_count, 2);
	ck_assert_str_eq(settings->metadata[0].key, "ISTIO_META_CLUSTER_ID");
	ck_assert_str_eq(settings->metadata[0].value, "c");
	ck_assert_str_eq(settings->metadata[1].key, "B");
	ck_assert_str_eq(settings->metadata[1].value, "b");
	settings_free(settings);
}
END_TEST

/* It may be the token itself. */
START_TEST(token_is_not_shown)
{
	static const char *const variables[] = { "AUTH_TOKEN=secret-of-mine", NULL };
	struct settings *settings = load("token", NULL, variables);
	char *dump = settings_dump(settings);

	ck_assert_str_eq(settings->auth_token, "secret-of-mine");
	ck_assert_ptr_null(strstr(dump, "secret-of-mine"));
	free(dump);
	settings_free(settings);
}
END_TEST

START_TEST(values)
{
	struct settings *settings = load(rows[_i].name, rows[_i].file, rows[_i].variables);
	const struct setting_row *row = setting_lookup(rows[_i].setting);
	char text[64];
	const char *got;

	ck_assert_msg(row, "%s: no such setting", rows[_i].name);
	got = setting_format(row, settings, text, sizeof(text));
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: got %s, want %s", rows[_i].name, got,
	              rows[_i].want);
	ck_assert_uint_ge(settings->workers, 1);
	settings_free(settings);
}
END_TEST

START_TEST(workers)
{
	struct settings *settings = load(worker_rows[_i].name, NULL, worker_rows[_i].variables);
	unsigned got = settings_workers_on(settings, worker_rows[_i].cores);

	ck_assert_msg(got == worker_rows[_i].want, "%s: got %u, want %u", worker_rows[_i].name, got,
	              worker_rows[_i].want);
	settings_free(settings);
}
END_TEST

static void on_unknown(const char *name, void *arg)
{
	*(char **)arg = strdup(name);
}

START_TEST(unknown)
{
	char variable[64], *environment[] = { variable, NULL }, *told = NULL;
	const char *want = unknown_rows[_i].told;

	snprintf(variable, sizeof(variable), "%s", unknown_rows[_i].variable);
	settings_unknown_each(environment, on_unknown, &told);
	ck_assert_msg(want ? told && strcmp(told, want) == 0 : !told, "%s: told %s", variable,
	              told ? told : "nothing");
	free(told);
}
END_TEST

/* The chart mounts it below the working directory. */
START_TEST(mesh_config)
{
	static const char *const variables[] = { NULL, NULL, NULL };
	static const char *const over[] = { "PROXY_CONFIG=concurrency: 3", NULL, NULL };
	char dir[] = "/tmp/culvert-mesh-XXXXXX";
	struct settings *settings;
	FILE *out;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(
	    mkdir("etc", 0700) | mkdir("etc/istio", 0700) | mkdir("etc/istio/config", 0700), 0);
	out = fopen("etc/istio/config/mesh", "w");
	ck_assert_ptr_nonnull(out);
	fputs(
	    "rootNamespace: istio-system\ndefaultConfig: {concurrency: 7, proxyAdminPort: 16001}\n",
	    out);
	fclose(out);
	settings = load("the mesh config", NULL, variables);
	ck_assert_uint_eq(settings->threads.n, 7);
	ck_assert_uint_eq(settings->admin_port, 16001);
	settings_free(settings);
	settings = load("PROXY_CONFIG over it", NULL, over);
	ck_assert_uint_eq(settings->threads.n, 3);
	ck_assert_uint_eq(settings->admin_port, 16001);
	settings_free(settings);
	settings = load("a file of ours instead", "nodeName: n\n", variables);
	ck_assert_int_eq(settings->threads.kind, THREADS_AUTO);
	settings_free(settings);
	ck_assert_int_eq(unlink("etc/istio/config/mesh") | rmdir("etc/istio/config") |
	                     rmdir("etc/istio") | rmdir("etc") | chdir("/") | rmdir(dir),
	                 0);
}
END_TEST

START_TEST(dedicated_workload)
{
	static const char *const variables[] = { "PROXY_MODE=dedicated",
		                                 "PROXY_WORKLOAD_INFO=ns/pod/account", NULL };
	struct settings *settings = load("dedicated", NULL, variables);

	ck_assert_uint_eq(settings->pods_count, 1);
	ck_assert_str_eq(settings->pods[0].ns, "ns");
	ck_assert_str_eq(settings->pods[0].name, "pod");
	ck_assert_str_eq(settings->pods[0].service_account, "account");
	settings_free(settings);
}
END_TEST

START_TEST(pods)
{
	struct settings *settings = load("pods",
	                                 "pods:\n"
	                                 "- name: a\n"
	                                 "  namespace: x\n"
	                                 "  netns: /run/netns/a\n"
	                                 "- {name: b, namespace: x, netns: /proc/7/ns/net, "
	                                 "serviceAccount: s}\n",
	                                 NULL);

	ck_assert_uint_eq(settings->pods_count, 2);
	ck_assert_str_eq(settings->pods[0].name, "a");
	ck_assert_str_eq(settings->pods[0].ns, "x");
	ck_assert_str_eq(settings->pods[0].service_account, "");
	ck_assert_str_eq(settings->pods[0].netns, "/run/netns/a");
	ck_assert_int_eq(settings->pods[0].line, 2);
	ck_assert_str_eq(settings->pods[1].service_account, "s");
	ck_assert_int_eq(settings->pods[1].line, 5);
	settings_free(settings);
}
END_TEST

START_TEST(dump)
{
	struct settings *settings =
	    load("dump", "nodeName: n1\npods: [{name: a, namespace: b, netns: /n}]\n",
	         (const char *[]){ "IPV6_ENABLED=false", "LOCAL_XDS=workloads: []", NULL });
	char *text = settings_dump(settings);
	json_t *root = json_loads(text, 0, NULL), *pod;
	const char *value, *from;
	int boolean;

	ck_assert_ptr_nonnull(root);
	ck_assert_int_eq(
	    json_unpack(root, "{s:{s:s, s:s}}", "nodeName", "value", &value, "from", &from), 0);
	ck_assert_str_eq(value, "n1");
	ck_assert_str_eq(from, "line 1");
	ck_assert_int_eq(
	    json_unpack(root, "{s:{s:b, s:s}}", "ipv6Enabled", "value", &boolean, "from", &from),
	    0);
	ck_assert_int_eq(boolean, 0);
	ck_assert_str_eq(from, "IPV6_ENABLED");
	ck_assert_int_eq(
	    json_unpack(root, "{s:{s:s, s:s}}", "keepaliveTime", "value", &value, "from", &from),
	    0);
	ck_assert_str_eq(value, "3m");
	ck_assert_str_eq(from, "default");
	ck_assert_int_eq(json_unpack(root, "{s:{s:s}}", "LOCAL_XDS", "value", &value), 0);
	ck_assert_str_eq(value, "(13 bytes)");
	pod = json_array_get(json_object_get(root, "pods"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(pod, "netns")), "/n");
	json_decref(root);
	free(text);
	settings_free(settings);
}
END_TEST

/* A row that no value fits, or that shares its key, is a mistake of ours. */
START_TEST(table_is_sound)
{
	for (size_t i = 0; i < setting_rows_count; i++) {
		const struct setting_row *row = &setting_rows[i];

		ck_assert_ptr_nonnull(setting_name(row));
		ck_assert_ptr_nonnull(row->help);
		ck_assert_msg(row->min <= row->max, "%s", setting_name(row));
		ck_assert_msg(!row->key || setting_lookup(row->key) == row, "%s twice", row->key);
		ck_assert_msg(!strchr(row->help, '|'), "%s: would end the table's cell",
		              setting_name(row));
	}
	settings_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, metadata_is_kept);
	tcase_add_test(tc, token_is_not_shown);
	tcase_add_loop_test(tc, values, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, workers, 0, HB_ARRAY_LEN(worker_rows));
	tcase_add_loop_test(tc, unknown, 0, HB_ARRAY_LEN(unknown_rows));
	tcase_add_test(tc, pods);
	tcase_add_test(tc, mesh_config);
	tcase_add_test(tc, dedicated_workload);
	tcase_add_test(tc, dump);
	tcase_add_test(tc, table_is_sound);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
