/*
 * settings: each mistake gives one sentence that names the place, and what was expected.
 */
#include <errno.h>

#include <hbone/base.h>

#include "unit/agent/config/settings_fixture.h"

/* clang-format off */
static const struct {
	const char *name, *file;
	const char *variables[3];
	const char *why;
} rows[] = {
	{ "a mode that is none", NULL, { "PROXY_MODE=sidecar" },
	  "PROXY_MODE: \"sidecar\" is not a known word, expected auto, standalone, shared or dedicated" },
	{ "PROXY_CONFIG: a port that is none", NULL, { "PROXY_CONFIG=proxyAdminPort: http" },
	  "PROXY_CONFIG:1: proxyAdminPort: \"http\" is not a whole number, expected 0 to 65535" },
	{ "PROXY_CONFIG: a list for a number", NULL, { "PROXY_CONFIG=concurrency: [1]" },
	  "PROXY_CONFIG:1: concurrency: is no plain value" },
	{ "dedicated without a workload", NULL, { "PROXY_MODE=dedicated" },
	  "proxyWorkloadInfo: \"\" does not name the workload of dedicated mode, expected namespace/name/service-account" },
	{ "a workload with a part too many", NULL, { "PROXY_MODE=dedicated", "PROXY_WORKLOAD_INFO=a/b/c/d" },
	  "PROXY_WORKLOAD_INFO: \"a/b/c/d\" does not name the workload of dedicated mode, expected namespace/name/service-account" },
	{ "a workload with an empty part", NULL, { "PROXY_MODE=dedicated", "PROXY_WORKLOAD_INFO=a//c" },
	  "PROXY_WORKLOAD_INFO: \"a//c\" does not name the workload of dedicated mode, expected namespace/name/service-account" },
	{ "pods beside istio-cni's", "pods:\n- {name: a, namespace: b, netns: /c}\n", { "PROXY_MODE=shared" },
	  "PROXY_MODE: is not standalone, but there is a list of pods (line 2), expected one of the two" },
	{ "no word for the source", NULL, { "ENABLE_ORIG_SRC=yes" },
	  "ENABLE_ORIG_SRC: \"yes\" is not a known word, expected auto, true or false" },
	{ "boolean in the file", "nodeName: n\nipv6Enabled: yes\n", { 0 },
	  "settings.yaml:2: ipv6Enabled: \"yes\" is not a boolean, expected true or false" },
	{ "boolean in quotes", "ipv6Enabled: \"true\"\n", { 0 },
	  "settings.yaml:1: ipv6Enabled: is a quoted string, expected true or false without quotes" },
	{ "boolean of another case", NULL, { "IPV6_ENABLED=TRUE" },
	  "IPV6_ENABLED: \"TRUE\" is not a boolean, expected true or false" },
	{ "empty boolean", NULL, { "FAKE_CA=" }, "FAKE_CA: is empty, expected true or false" },
	{ "boolean as number", NULL, { "KEEPALIVE_ENABLED=1" },
	  "KEEPALIVE_ENABLED: \"1\" is not a boolean, expected true or false" },
	{ "user timeout", NULL, { "USER_TIMEOUT_ENABLED=on" },
	  "USER_TIMEOUT_ENABLED: \"on\" is not a boolean, expected true or false" },
	{ "number that is a word", "adminPort: http\n", { 0 },
	  "settings.yaml:1: adminPort: \"http\" is not a whole number, expected 0 to 65535" },
	{ "port too large", "adminPort: 65536\n", { 0 },
	  "settings.yaml:1: adminPort: \"65536\" is out of range, expected 0 to 65535" },
	{ "number in quotes", "readinessPort: '15021'\n", { 0 },
	  "settings.yaml:1: readinessPort: is a quoted string, expected 0 to 65535 without quotes" },
	{ "negative number", NULL, { "KEEPALIVE_RETRIES=-1" },
	  "KEEPALIVE_RETRIES: \"-1\" is not a whole number, expected 1 to 127" },
	{ "number below its range", NULL, { "KEEPALIVE_RETRIES=0" },
	  "KEEPALIVE_RETRIES: \"0\" is out of range, expected 1 to 127" },
	{ "number beyond all ranges", NULL, { "POOL_MAX_STREAMS_PER_CONNECTION=99999999999999999999999" },
	  "POOL_MAX_STREAMS_PER_CONNECTION: \"99999999999999999999999\" is out of range, expected 1 to 65535" },
	{ "duration with a strange unit", "keepaliveTime: 180q\n", { 0 },
	  "settings.yaml:1: keepaliveTime: \"180q\" is not a duration, expected 1s to 9h6m7s, in ms, s, m, h, d, such as 1h30m" },
	{ "duration out of range", NULL, { "KEEPALIVE_INTERVAL=999ms" },
	  "KEEPALIVE_INTERVAL: \"999ms\" is out of range, expected 1s to 9h6m7s, in ms, s, m, h, d, such as 1h30m" },
	{ "empty duration", NULL, { "POOL_UNUSED_RELEASE_TIMEOUT=" },
	  "POOL_UNUSED_RELEASE_TIMEOUT: is empty, expected 0s to 1d, in ms, s, m, h, d, such as 1h30m" },
	{ "secret without a life", NULL, { "SECRET_TTL=0s" },
	  "SECRET_TTL: \"0s\" is out of range, expected 1s to 3650d, in ms, s, m, h, d, such as 1h30m" },
	{ "drain that never ends", NULL, { "CONNECTION_TERMINATION_DEADLINE=25h" },
	  "CONNECTION_TERMINATION_DEADLINE: \"25h\" is out of range, expected 0s to 1d, in ms, s, m, h, d, such as 1h30m" },
	{ "grace with a unit", NULL, { "TERMINATION_GRACE_PERIOD_SECONDS=30s" },
	  "TERMINATION_GRACE_PERIOD_SECONDS: \"30s\" is not a whole number, expected 0 to 86400" },
	{ "window too small", NULL, { "HTTP2_STREAM_WINDOW_SIZE=100" },
	  "HTTP2_STREAM_WINDOW_SIZE: \"100\" is out of range, expected 65535 to 2147483647 bytes, such as 65536, 256Ki or 4Mi" },
	{ "window of a wrong unit", "http2ConnectionWindowSize: 4MB\n", { 0 },
	  "settings.yaml:1: http2ConnectionWindowSize: \"4MB\" is not a size, expected 65535 to 2147483647 bytes, such as 65536, 256Ki or 4Mi" },
	{ "threads", NULL, { "ZTUNNEL_WORKER_THREADS=0%" },
	  "ZTUNNEL_WORKER_THREADS: \"0%\" is out of range, expected 0 to 1024, or above 0% to 100%" },
	{ "threads as a word", "workerThreads: auto\n", { 0 },
	  "settings.yaml:1: workerThreads: \"auto\" is not a number of threads, expected 0 to 1024, or above 0% to 100%" },
	{ "cores", NULL, { "ZTUNNEL_CPU_LIMIT=1.5" },
	  "ZTUNNEL_CPU_LIMIT: \"1.5\" is not a whole number, expected 0 to 65535" },
	{ "CPU limit", NULL, { "ZTUNNEL_RESOURCE_CPU_LIMIT=lots" },
	  "ZTUNNEL_RESOURCE_CPU_LIMIT: \"lots\" is not a CPU quantity, expected 0 to 65535 cores, such as 2, 1.5 or 250m" },
	{ "CPU request", NULL, { "ZTUNNEL_RESOURCE_CPU_REQUEST=99999" },
	  "ZTUNNEL_RESOURCE_CPU_REQUEST: \"99999\" is out of range, expected 0 to 65535 cores, such as 2, 1.5 or 250m" },
	{ "log format", NULL, { "LOG_FORMAT=xml" },
	  "LOG_FORMAT: \"xml\" is not a known word, expected plain or json" },
	{ "choice of three", "loopBackend: kqueue\n", { 0 },
	  "settings.yaml:1: loopBackend: \"kqueue\" is not a known word, expected auto, io_uring or epoll" },
	{ "empty path", NULL, { "LOCAL_XDS_PATH=" }, "LOCAL_XDS_PATH: is empty, expected 1 to 4095 bytes" },
	{ "empty cluster", "clusterId: ''\n", { 0 }, "settings.yaml:1: clusterId: is empty, expected 1 to 253 bytes" },
	{ "control characters", NULL, { "IPV6_ENABLED=a\nb\x1b" },
	  "IPV6_ENABLED: \"a?b?\" is not a boolean, expected true or false" },
	{ "socket path too long",
	  "adminSocket: /0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/012345678\n", { 0 },
	  "settings.yaml:1: adminSocket: \"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/012345...\" is too long, expected 1 to 107 bytes" },
	{ "state directory too long for the socket",
	  "stateDir: /0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789\n", { 0 },
	  "settings.yaml:1: stateDir: is too long for a socket in it, expected adminSocket or at most 96 bytes" },
	{ "mesh twice", NULL, { "LOCAL_XDS_PATH=/m.yaml", "LOCAL_XDS=workloads: []" },
	  "LOCAL_XDS: is given beside the file /m.yaml, expected one of the two" },
	{ "mesh twice, on two lines", NULL, { "LOCAL_XDS_PATH=/m\n", "LOCAL_XDS=workloads: []" },
	  "LOCAL_XDS: is given beside the file /m?, expected one of the two" },
	{ "a netns on two lines, twice",
	  "pods:\n- {name: a, namespace: b, netns: \"/n\\n\"}\n- {name: c, namespace: b, netns: \"/n\\n\"}\n", { 0 },
	  "settings.yaml:3: pods: netns /n? is given again, expected one pod for each (line 2)" },
	{ "certificate without a key", "\nfakeCaCert: /c.pem\n", { 0 },
	  "settings.yaml:2: fakeCaCert: is given without a key, expected fakeCaKey (FAKE_CA_KEY) too" },
	{ "key without a certificate", NULL, { "FAKE_CA_KEY=/k.pem" },
	  "FAKE_CA_KEY: is given without a certificate, expected fakeCaCert (FAKE_CA_CERT) too" },
	{ "a certificate file alone", "\ncertFile: /c.pem\n", { 0 },
	  "settings.yaml:2: certFile: is not enough, expected certFile, certKeyFile and certRootsFile" },
	{ "certificate files and the built-in CA", "certFile: /c\ncertKeyFile: /k\ncertRootsFile: /r\nfakeCa: true\n", { 0 },
	  "settings.yaml:3: certRootsFile: is given beside fakeCa, expected one of the two" },
	{ "the second variable", NULL, { "CLUSTER_ID=a", "ISTIO_META_CLUSTER_ID=" },
	  "ISTIO_META_CLUSTER_ID: is empty, expected 1 to 253 bytes" },

	{ "unknown key", "nodeName: n\ncolour: red\n", { 0 },
	  "settings.yaml:2: \"colour\" is unknown, expected one of the keys in docs/settings.md" },
	{ "key of another case", "nodename: n\n", { 0 }, "settings.yaml:1: \"nodename\" is unknown, expected nodeName" },
	{ "key with a letter missing", "nodeNam: n\n", { 0 }, "settings.yaml:1: \"nodeNam\" is unknown, expected nodeName" },
	{ "a variable as key", "NODE_NAME: n\n", { 0 }, "settings.yaml:1: \"NODE_NAME\" is unknown, expected nodeName" },
	{ "pod, not pods", "pod: []\n", { 0 }, "settings.yaml:1: \"pod\" is unknown, expected pods" },
	{ "a list for a value", "nodeName: [a]\n", { 0 }, "settings.yaml:1: nodeName: is a list, expected at most 253 bytes" },
	{ "a map for a value", "ipv6Enabled: {a: b}\n", { 0 }, "settings.yaml:1: ipv6Enabled: is a map, expected true or false" },
	{ "nothing for a value", "adminPort:\n", { 0 }, "settings.yaml:1: adminPort: is empty, expected 0 to 65535" },
	{ "a tag", "nodeName: !Exact n\n", { 0 }, "settings.yaml:1: nodeName: carries the tag !Exact, expected a plain value" },
	{ "empty file", "", { 0 }, "settings.yaml:1: the file is empty, expected settings such as nodeName: n1" },
	{ "only a comment", "# nothing\n", { 0 }, "settings.yaml:1: the file is empty, expected settings such as nodeName: n1" },
	{ "a list for a file", "- a\n", { 0 }, "settings.yaml:1: the file is a list, expected settings such as nodeName: n1" },
	{ "a word for a file", "hello\n", { 0 }, "settings.yaml:1: the file is a value, expected settings such as nodeName: n1" },

	{ "pods that are no list", "pods: {name: a}\n", { 0 }, "settings.yaml:1: pods: is a map, expected a list of pods" },
	{ "pods of words", "pods:\n- a\n", { 0 },
	  "settings.yaml:2: pods: is a list of values, expected of maps with name, namespace and netns" },
	{ "pod without a name", "pods:\n- {namespace: a, netns: /n}\n", { 0 },
	  "settings.yaml:2: pods: name is missing, expected a pod's name" },
	{ "pod without a namespace", "pods:\n- {name: a, netns: /n}\n", { 0 },
	  "settings.yaml:2: pods: namespace is missing, expected a namespace" },
	{ "pod without a netns", "pods:\n- {name: a, namespace: b}\n", { 0 },
	  "settings.yaml:2: pods: netns is missing, expected an absolute path to a network namespace" },
	{ "relative netns", "pods:\n- name: a\n  namespace: b\n  netns: run/netns/a\n", { 0 },
	  "settings.yaml:4: pods: netns \"run/netns/a\" does not fit, expected an absolute path to a network namespace of 1 to 4095 bytes" },
	{ "unknown key of a pod", "pods:\n- {name: a, node: b}\n", { 0 },
	  "settings.yaml:2: pods: \"node\" is unknown, expected name, namespace, serviceAccount or netns" },
	{ "empty name of a pod", "pods:\n- {name: '', namespace: b, netns: /n}\n", { 0 },
	  "settings.yaml:2: pods: name \"\" does not fit, expected a pod's name of 1 to 253 bytes" },
	{ "null name of a pod", "pods:\n- {name: , namespace: b, netns: /n}\n", { 0 },
	  "settings.yaml:2: pods: name is empty, expected a pod's name" },
	{ "a list for a pod's name", "pods:\n- {name: [], namespace: b, netns: /n}\n", { 0 },
	  "settings.yaml:2: pods: name is a list, expected a pod's name" },
	{ "pod twice", "pods:\n- {name: a, namespace: b, netns: /n}\n- {name: a, namespace: b, netns: /m}\n", { 0 },
	  "settings.yaml:3: pods: b/a is given again, expected once (line 2)" },
	{ "netns twice", "pods:\n- {name: a, namespace: b, netns: /n}\n- {name: c, namespace: b, netns: /n}\n", { 0 },
	  "settings.yaml:3: pods: netns /n is given again, expected one pod for each (line 2)" },
};
/* clang-format on */

START_TEST(sentences)
{
	struct settings *settings = NULL;
	char why[1024];
	int err = load_text(rows[_i].file, rows[_i].variables, &settings, why, sizeof(why));

	ck_assert_msg(err == -EINVAL, "%s: got %d", rows[_i].name, err);
	ck_assert_ptr_null(settings);
	ck_assert_msg(strcmp(why, rows[_i].why) == 0, "%s:\n said %s\n want %s", rows[_i].name, why,
	              rows[_i].why);
}
END_TEST

/* What the YAML reader says is passed on; its words are its own test's. */
START_TEST(from_the_reader)
{
	static const char *const files[] = { "a: b\n c: d\n", "nodeName: a\nnodeName: b\n",
		                             "nodeName: \"a\n", "a: &x b\n" };
	struct settings *settings = NULL;
	char why[1024];

	ck_assert_int_lt(load_text(files[_i], NULL, &settings, why, sizeof(why)), 0);
	ck_assert_msg(strncmp(why, "settings.yaml:", 14) == 0, "said %s", why);
}
END_TEST

START_TEST(missing_file)
{
	struct settings *settings = NULL;
	char why[1024] = "";

	ck_assert_int_eq(settings_load("/nonexistent/s.yaml", NULL, &settings, why, sizeof(why)),
	                 -ENOENT);
	ck_assert_msg(strncmp(why, "/nonexistent/s.yaml", 19) == 0, "said %s", why);
}
END_TEST

START_TEST(too_many_pods)
{
	struct settings *settings = NULL;
	char why[1024], *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("pods:\n", out);
	for (int i = 0; i <= 4096; i++)
		fprintf(out, "- {name: p%d, namespace: n, netns: /n%d}\n", i, i);
	fclose(out);
	ck_assert_int_eq(load_text(text, NULL, &settings, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "settings.yaml:2: pods: has 4097 items, expected at most 4096");
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings_bad");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, sentences, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, from_the_reader, 0, 4);
	tcase_add_test(tc, missing_file);
	tcase_add_test(tc, too_many_pods);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
