/*
 * settings_table: every setting, one row each.
 */
#include "config/settings_table.h"

#include <string.h>
#include <strings.h>

#include <hbone/loop.h>

#define AT(field)  offsetof(struct settings, field)
#define PATH_BYTES 4095 /* PATH_MAX without the final NUL */
#define NAME_BYTES 253  /* the longest name of Kubernetes */
#define UNIX_BYTES 107  /* sockaddr_un without the final NUL */
#define SECOND     1000u
#define HOUR       (3600u * 1000u)
#define DAY        (24u * HOUR)

_Static_assert(HB_LOOP_AUTO == 0 && HB_LOOP_IO_URING == 1 && HB_LOOP_EPOLL == 2,
               "the choices of loopBackend are in this order");

/* clang-format off */
const struct setting_row setting_rows[] = {
	{ .group = "Who and where", .key = "proxyMode", .variables = { "PROXY_MODE" },
	  .type = SETTING_CHOICE, .offset = AT(mode), .initial = "auto", .choices = "auto|standalone|shared|dedicated",
	  .help = "standalone: `pods` lists the pods, BPF captures them. shared: istio-cni hands pods over and redirects "
		  "their traffic (see `inpodUds`). dedicated: one workload, in the agent's own network namespace "
		  "(see `proxyWorkloadInfo`). auto: standalone with `--config`, else shared." },
	{ .key = "nodeName", .variables = { "NODE_NAME" },
	  .type = SETTING_STRING, .offset = AT(node_name), .max = NAME_BYTES,
	  .help = "Name of this node. Workloads of the mesh that carry it live here; set it always." },
	{ .key = "network", .variables = { "NETWORK" },
	  .type = SETTING_STRING, .offset = AT(network), .max = NAME_BYTES,
	  .help = "Network of this node, as workloads and service addresses name it." },
	{ .key = "clusterId", .variables = { "CLUSTER_ID", "ISTIO_META_CLUSTER_ID" },
	  .type = SETTING_STRING, .offset = AT(cluster_id), .min = 1, .max = NAME_BYTES,
	  .initial = "Kubernetes",
	  .help = "Cluster of this node. Where both variables are set, `ISTIO_META_CLUSTER_ID` wins." },
	{ .key = "istioVersion", .variables = { "ISTIO_META_ISTIO_VERSION" },
	  .type = SETTING_STRING, .offset = AT(istio_version), .min = 1, .max = NAME_BYTES,
	  .initial = "unknown",
	  .help = "Version of Istio that this agent is deployed with: the tag of the metric `istio_build`." },

	{ .group = "Mesh and trust", .key = "meshFile", .variables = { "LOCAL_XDS_PATH" },
	  .type = SETTING_PATH, .offset = AT(mesh_file), .min = 1, .max = PATH_BYTES,
	  .help = "YAML file with workloads, services and policies, in ztunnel's local format. "
	          "Read again whenever it changes; a broken one changes nothing." },
	{ .variables = { "LOCAL_XDS" },
	  .type = SETTING_TEXT, .offset = AT(mesh_text), .max = 16u << 20,
	  .help = "The same as text. It is an error to give both." },
	{ .key = "xdsAddress", .variables = { "XDS_ADDRESS" },
	  .type = SETTING_STRING, .offset = AT(xds_address), .max = 512,
	  .help = "xDS server: `https://host:port`, or without the scheme; its certificate has to have the host as "
		  "written. Empty: none. Absent: with `KUBERNETES_SERVICE_HOST` `https://istiod.istio-system.svc:15012`, "
		  "else `https://localhost:15012`; but none in standalone mode, nor outside of a cluster with a mesh file." },
	{ .key = "xdsRootCa", .variables = { "XDS_ROOT_CA" },
	  .type = SETTING_STRING, .offset = AT(xds_root_ca), .min = 1, .max = 1u << 20,
	  .initial = "./var/run/secrets/istio/root-cert.pem",
	  .help = "Roots of its certificate: a PEM file, read for each connection; `SYSTEM`; or PEM itself." },
	{ .key = "altXdsHostname", .variables = { "ALT_XDS_HOSTNAME" },
	  .type = SETTING_STRING, .offset = AT(alt_xds_hostname), .max = NAME_BYTES,
	  .help = "Another name that the certificate may have. What the server is told stays the host." },
	{ .key = "xdsOnDemand", .variables = { "XDS_ON_DEMAND" },
	  .type = SETTING_BOOL, .offset = AT(xds_on_demand), .initial = "false",
	  .help = "Ask for workloads and services when a connection needs them, and for all of this node's, instead of "
		  "having all. Such a connection waits 5 s at most. Not with `waypointStrict`." },
	{ .key = "caAddress", .variables = { "CA_ADDRESS" },
	  .type = SETTING_STRING, .offset = AT(ca_address), .max = 512,
	  .help = "CA server, as `xdsAddress`, and with the same default. Not asked with `fakeCa`." },
	{ .key = "caRootCa", .variables = { "CA_ROOT_CA" },
	  .type = SETTING_STRING, .offset = AT(ca_root_ca), .min = 1, .max = 1u << 20,
	  .initial = "./var/run/secrets/istio/root-cert.pem",
	  .help = "Roots of its certificate, as `xdsRootCa`." },
	{ .key = "altCaHostname", .variables = { "ALT_CA_HOSTNAME" },
	  .type = SETTING_STRING, .offset = AT(alt_ca_hostname), .max = NAME_BYTES,
	  .help = "As `altXdsHostname`." },
	{ .key = "authToken", .variables = { "AUTH_TOKEN" },
	  .type = SETTING_SECRET, .offset = AT(auth_token), .max = 65536,
	  .help = "Bearer token for both servers: a file, read for each request, or the token itself. Empty: none. "
		  "Absent: `./var/run/secrets/tokens/istio-token` if that is there at the start, else none." },
	{ .key = "instanceIp", .variables = { "INSTANCE_IP" },
	  .type = SETTING_STRING, .offset = AT(instance_ip), .max = 255, .initial = "1.1.1.1",
	  .help = "The agent's own address, as istiod is told. Its metadata is told, too: `proxyMetadata` of the proxy "
		  "config, `ISTIO_META_*`, and as JSON `ISTIO_METAJSON_*`; `XDS_HEADER_*` are headers of the requests." },
	{ .key = "fakeCa", .variables = { "FAKE_CA" },
	  .type = SETTING_BOOL, .offset = AT(fake_ca), .initial = "false",
	  .help = "Sign workload certificates with the built-in CA. Not for production." },
	{ .key = "fakeCaCert", .variables = { "FAKE_CA_CERT" },
	  .type = SETTING_PATH, .offset = AT(fake_ca_cert), .min = 1, .max = PATH_BYTES,
	  .help = "PEM file with the built-in CA's certificate, so that several agents share one root. "
		  "Absent: made on first use in `stateDir`." },
	{ .key = "fakeCaKey", .variables = { "FAKE_CA_KEY" },
	  .type = SETTING_PATH, .offset = AT(fake_ca_key), .min = 1, .max = PATH_BYTES,
	  .help = "PEM file with its key. Goes with `fakeCaCert`." },
	{ .key = "secretTtl", .variables = { "SECRET_TTL" },
	  .type = SETTING_DURATION, .offset = AT(secret_ttl_ms), .min = SECOND, .max = 3650ull * DAY,
	  .initial = "24h", .help = "Requested lifetime of workload certificates." },
	{ .key = "certificateTimeout",
	  .type = SETTING_DURATION, .offset = AT(cert_wait_ms), .min = 100, .max = 60 * SECOND,
	  .initial = "10s", .help = "Time that a connection waits for the certificate of its pod while it is asked for. "
		  "Where the CA has just refused it, a connection fails at once." },
	{ .key = "certFile",
	  .type = SETTING_PATH, .offset = AT(cert_file), .min = 1, .max = PATH_BYTES,
	  .help = "PEM file with a workload certificate that somebody else renews, and its intermediates. It serves the "
		  "pods of the identity that it names, and no other. Read again within a second of a change." },
	{ .key = "certKeyFile",
	  .type = SETTING_PATH, .offset = AT(cert_key_file), .min = 1, .max = PATH_BYTES,
	  .help = "PEM file with its key. Goes with `certFile`." },
	{ .key = "certRootsFile",
	  .type = SETTING_PATH, .offset = AT(cert_roots_file), .min = 1, .max = PATH_BYTES,
	  .help = "PEM file with the root certificates that peers are held to. Goes with `certFile`." },
	{ .key = "crlFile", .variables = { "CRL_PATH" },
	  .type = SETTING_PATH, .offset = AT(crl_file), .max = PATH_BYTES,
	  .help = "Certificate revocation lists of any number of issuers, as PEM, or one as DER. Read again within a "
		  "second of a change; then connections with peers that are revoked now are ended. "
		  "A file that cannot be read is said in the log, and what was read before stays. Empty: none." },
	{ .key = "trustDomainAliases",
	  .type = SETTING_STRING, .offset = AT(trust_domain_aliases), .max = 1024,
	  .help = "Trust domains, separated by commas, whose peers are let in beside those of a pod's own." },
	{ .key = "tls12Enabled", .variables = { "TLS12_ENABLED" },
	  .type = SETTING_BOOL, .offset = AT(tls12), .initial = "false",
	  .help = "Speak TLS 1.2, too, with peers that know no better; with ECDHE and AES-GCM alone." },
	{ .key = "compliancePolicy", .variables = { "COMPLIANCE_POLICY" },
	  .type = SETTING_CHOICE, .offset = AT(pqc), .choices = "|pqc",
	  .help = "pqc: exchange keys by X25519MLKEM768 and nothing else, and so speak TLS 1.3 alone. It takes "
		  "OpenSSL 3.5; without it there is no start. Else it is offered first where it is to be had." },

	{ .group = "Host", .key = "stateDir",
	  .type = SETTING_PATH, .offset = AT(state_dir), .min = 1, .max = PATH_BYTES,
	  .initial = "/run/culvert", .help = "Directory for what the agent keeps on this machine." },
	{ .key = "bpfDir",
	  .type = SETTING_PATH, .offset = AT(bpf_dir), .min = 1, .max = PATH_BYTES,
	  .initial = "/sys/fs/bpf/culvert", .help = "Directory, on a BPF file system, for pinned maps and links." },
	{ .key = "cgroupDir",
	  .type = SETTING_PATH, .offset = AT(cgroup_dir), .min = 1, .max = PATH_BYTES,
	  .help = "The cgroup (version 2) that holds the pods; programs are attached to it. "
		  "Absent: the root of the first cgroup2 hierarchy that is mounted." },
	{ .key = "adminSocket",
	  .type = SETTING_PATH, .offset = AT(admin_socket), .min = 1, .max = UNIX_BYTES,
	  .help = "Unix socket that `culvertctl` speaks to. Absent: `admin.sock` in `stateDir`." },
	{ .key = "adminPort",
	  .type = SETTING_U32, .offset = AT(admin_port), .max = 65535, .initial = "0",
	  .help = "The same on a port of 127.0.0.1 and ::1, without authentication; 0: off. "
		  "Absent: 15000 in shared and dedicated mode." },
	{ .key = "readinessPort",
	  .type = SETTING_U32, .offset = AT(readiness_port), .max = 65535, .initial = "0",
	  .help = "Port for `GET /healthz/ready`; 0: off. Absent: 15021 in shared and dedicated mode." },

	{ .key = "statsPort",
	  .type = SETTING_U32, .offset = AT(stats_port), .max = 65535, .initial = "0",
	  .help = "Port for `GET /metrics`; 0: off. Absent: 15020 in shared and dedicated mode." },

	{ .group = "Threads", .key = "workerThreads", .variables = { "ZTUNNEL_WORKER_THREADS" },
	  .type = SETTING_THREADS, .offset = AT(threads),
	  .help = "Worker threads: a number, 0 for one per core, or a percentage of the cores, rounded up. "
		  "Absent: the CPU limit but at least the CPU request where there is a limit, "
		  "else the largest of a quarter of the cores, the CPU request, and 2." },
	{ .variables = { "ZTUNNEL_CPU_LIMIT" },
	  .type = SETTING_U32, .offset = AT(cpu_cores), .max = 65535, .initial = "0",
	  .help = "Stands for the number of cores of the machine; 0: count them." },
	{ .variables = { "ZTUNNEL_RESOURCE_CPU_LIMIT" },
	  .type = SETTING_CPUS, .offset = AT(cpu_limit), .max = 65535,
	  .help = "CPU limit of the container, a Kubernetes quantity, rounded up." },
	{ .variables = { "ZTUNNEL_RESOURCE_CPU_REQUEST" },
	  .type = SETTING_CPUS, .offset = AT(cpu_request), .max = 65535,
	  .help = "CPU request of the container, a Kubernetes quantity, rounded up." },
	{ .key = "loopBackend",
	  .type = SETTING_CHOICE, .offset = AT(loop_backend), .initial = "auto", .choices = "auto|io_uring|epoll",
	  .help = "What drives the threads. auto: io_uring where the kernel (Linux 6.1) and the container's "
		  "seccomp profile have it, else epoll, and the log says why. io_uring: that or no start." },

	{ .group = "Data path", .key = "ipv6Enabled", .variables = { "IPV6_ENABLED" },
	  .type = SETTING_BOOL, .offset = AT(ipv6), .initial = "true",
	  .help = "Off: listeners are bound to IPv4 only." },
	{ .key = "http2StreamWindowSize", .variables = { "HTTP2_STREAM_WINDOW_SIZE" },
	  .type = SETTING_BYTES, .offset = AT(stream_window), .min = 65535, .max = INT32_MAX,
	  .initial = "4Mi", .help = "Bytes that may be on their way in one tunnel (RFC 9113 6.9)." },
	{ .key = "http2ConnectionWindowSize", .variables = { "HTTP2_CONNECTION_WINDOW_SIZE" },
	  .type = SETTING_BYTES, .offset = AT(connection_window), .min = 65535, .max = INT32_MAX,
	  .initial = "16Mi", .help = "The same for all tunnels of one connection together." },
	{ .key = "poolMaxStreamsPerConnection", .variables = { "POOL_MAX_STREAMS_PER_CONNECTION" },
	  .type = SETTING_U32, .offset = AT(pool_streams_max), .min = 1, .max = 65535,
	  .initial = "750", .help = "Tunnels on one HBONE connection before another is opened." },
	{ .key = "poolUnusedReleaseTimeout", .variables = { "POOL_UNUSED_RELEASE_TIMEOUT" },
	  .type = SETTING_DURATION, .offset = AT(pool_idle_ms), .max = DAY,
	  .initial = "5m", .help = "An HBONE connection without tunnels is closed after this time." },
	{ .key = "leastFlows",
	  .type = SETTING_BOOL, .offset = AT(least_flows), .initial = "false",
	  .help = "Of two endpoints that are drawn take the one with fewer open flows for its capacity, "
		  "as the worker thread counts its own. Off: the first." },
	{ .key = "localhostAppTunnel", .variables = { "LOCALHOST_APP_TUNNEL" },
	  .type = SETTING_BOOL, .offset = AT(localhost_app_tunnel), .initial = "true",
	  .help = "Waypoints that read PROXY headers are connected to at loopback, not at the pod's address." },
	{ .key = "waypointStrict",
	  .type = SETTING_BOOL, .offset = AT(waypoint_strict), .initial = "false",
	  .help = "Refuse what did not come from a waypoint where a pod's port has one: its own, or that of a service "
		  "that leads there. On the node of the pod; what that means: docs/compatibility.md." },
	{ .key = "waypointStrictExcept",
	  .type = SETTING_STRING, .offset = AT(waypoint_strict_except), .max = 4096,
	  .help = "Identities that may come directly nevertheless, as ingress gateways do: spiffe://..., separated by commas." },
	{ .key = "enableResponseBaggage", .variables = { "ENABLE_RESPONSE_BAGGAGE" },
	  .type = SETTING_BOOL, .offset = AT(response_baggage), .initial = "true",
	  .help = "Tell peers which workload has answered, and log what they say of themselves where it is not known." },
	{ .key = "keepaliveEnabled", .variables = { "KEEPALIVE_ENABLED" },
	  .type = SETTING_BOOL, .offset = AT(keepalive), .initial = "true",
	  .help = "TCP keepalive on app and tunnel sockets." },
	{ .key = "keepaliveTime", .variables = { "KEEPALIVE_TIME" },
	  .type = SETTING_DURATION, .offset = AT(keepalive_idle_ms), .min = SECOND, .max = 32767u * SECOND,
	  .initial = "180s", .help = "Silence before the first probe." },
	{ .key = "keepaliveInterval", .variables = { "KEEPALIVE_INTERVAL" },
	  .type = SETTING_DURATION, .offset = AT(keepalive_interval_ms), .min = SECOND, .max = 32767u * SECOND,
	  .initial = "180s", .help = "Time between probes." },
	{ .key = "keepaliveRetries", .variables = { "KEEPALIVE_RETRIES" },
	  .type = SETTING_U32, .offset = AT(keepalive_probes), .min = 1, .max = 127,
	  .initial = "9", .help = "Probes without an answer before the connection is given up." },
	{ .key = "userTimeoutEnabled", .variables = { "USER_TIMEOUT_ENABLED" },
	  .type = SETTING_BOOL, .offset = AT(user_timeout), .initial = "false",
	  .help = "Give up a connection when sent bytes stay unanswered for the keepalive time plus all probes." },
	{ .key = "idleTimeout",
	  .type = SETTING_DURATION, .offset = AT(idle_ms), .max = 30 * DAY, .initial = "0s",
	  .help = "Reset a connection that has been silent both ways for once to twice this time; 0s: never." },
	{ .key = "halfCloseTimeout",
	  .type = SETTING_DURATION, .offset = AT(half_closed_ms), .max = 30 * DAY, .initial = "0s",
	  .help = "The same where one side has finished, if shorter: the other may go on as long as it sends; 0s: as `idleTimeout`." },
	{ .key = "unpacedLocal",
	  .type = SETTING_BOOL, .offset = AT(unpaced_local), .initial = "true",
	  .help = "Use a congestion control without pacing between the agent and apps of this node." },
	{ .key = "handshakeTimeout",
	  .type = SETTING_DURATION, .offset = AT(handshake_ms), .min = 100, .max = 60 * 1000,
	  .initial = "10s", .help = "Time that a peer gets for its TLS handshake, from its connection on." },
	{ .variables = { "TERMINATION_GRACE_PERIOD_SECONDS" },
	  .type = SETTING_GRACE, .offset = AT(drain_ms), .max = 86400,
	  .help = "Sets `drainTimeout` to 5 s less than this when above 10, else to 1 s less, at least 1 s." },
	{ .key = "drainTimeout", .variables = { "CONNECTION_TERMINATION_DEADLINE" },
	  .type = SETTING_DURATION, .offset = AT(drain_ms), .max = DAY,
	  .initial = "5s", .help = "Time that open connections get to end after SIGTERM." },

	{ .group = "Pods that others redirect", .key = "inpodUds", .variables = { "INPOD_UDS" },
	  .type = SETTING_PATH, .offset = AT(inpod_uds), .min = 1, .max = UNIX_BYTES,
	  .initial = "/var/run/ztunnel/ztunnel.sock",
	  .help = "shared: the Unix socket on which istio-cni hands pods over." },
	{ .key = "inpodPortReuse", .variables = { "INPOD_PORT_REUSE" },
	  .type = SETTING_BOOL, .offset = AT(inpod_port_reuse), .initial = "true",
	  .help = "SO_REUSEPORT on the listeners in pods, so that a successor can open its own before we go. "
		  "Off: the worker threads share one socket." },
	{ .key = "packetMark", .variables = { "PACKET_MARK" },
	  .type = SETTING_U32, .offset = AT(packet_mark), .max = UINT32_MAX, .initial = "0",
	  .help = "SO_MARK of the agent's sockets in pods, by which the rules there know them; 0: none. "
		  "Absent: 1337 in shared mode." },
	{ .key = "enableOrigSrc", .variables = { "ENABLE_ORIG_SRC" },
	  .type = SETTING_CHOICE, .offset = AT(orig_src), .initial = "auto", .choices = "auto|true|false",
	  .help = "Whether the app sees its client's address (IP_TRANSPARENT): as far as the agent may, "
		  "true: a pod where it may not is refused, false: never." },
	{ .key = "enableSocks5", .variables = { "UNSTABLE_ENABLE_SOCKS5" },
	  .type = SETTING_BOOL, .offset = AT(socks5), .initial = "false",
	  .help = "A SOCKS5 listener on 127.0.0.1:15080 of each pod. For tests." },
	{ .key = "proxyWorkloadInfo", .variables = { "PROXY_WORKLOAD_INFO" },
	  .type = SETTING_STRING, .offset = AT(workload_info), .max = 3 * NAME_BYTES,
	  .help = "dedicated: the workload, as `namespace/name/service-account`." },

	{ .key = "podName", .variables = { "POD_NAME" },
	  .type = SETTING_STRING, .offset = AT(pod_name), .max = NAME_BYTES,
	  .help = "shared: the agent's own pod. With `podNamespace` and `serviceAccount` it is in the mesh "
		  "too: peers reach its metrics over HBONE, under policy." },
	{ .key = "podNamespace", .variables = { "POD_NAMESPACE" },
	  .type = SETTING_STRING, .offset = AT(pod_namespace), .max = NAME_BYTES,
	  .help = "Its namespace." },
	{ .key = "serviceAccount", .variables = { "SERVICE_ACCOUNT" },
	  .type = SETTING_STRING, .offset = AT(service_account), .max = NAME_BYTES,
	  .help = "Its service account." },

	{ .group = "Logging", .key = "log", .variables = { "RUST_LOG" },
	  .type = SETTING_STRING, .offset = AT(log), .max = 1024, .initial = "info",
	  .help = "Comma-separated `level` or `target=level`; levels are off, error, warn, info, debug, trace. "
		  "A target names all scopes that begin with it; the longest that fits wins; "
		  "what no directive names is logged at info. Example: `info,access=off`." },
	{ .key = "logFormat", .variables = { "LOG_FORMAT" },
	  .type = SETTING_CHOICE, .offset = AT(log_json), .initial = "plain", .choices = "plain|json",
	  .help = "One event per line: tab-separated, or one JSON object." },
	{ .key = "logPolicyDecisions", .variables = { "AUTHZ_POLICY_INFO_LOGGING" },
	  .type = SETTING_BOOL, .offset = AT(log_policy_decisions), .initial = "false",
	  .help = "Log each decision of policy at info rather than debug." },
};
const size_t setting_rows_count = sizeof(setting_rows) / sizeof(setting_rows[0]);

const struct setting_unserved setting_unserved[] = {
	{ "CLUSTER_DOMAIN", false, NULL, "domain of the DNS proxy" },
	{ "TRUST_DOMAIN", false, NULL, "trust domain of the agent's own identity" },
	{ "ENABLE_PROXY", false, "true", "run the proxy" },
	{ "ISTIO_META_DNS_CAPTURE", false, "false", "DNS proxy" },
	{ "ISTIO_META_DNS_PROXY_ADDR", false, NULL, "address of the DNS proxy" },
	{ "PREFERED_SERVICE_NAMESPACE", false, NULL, "which of two services with one name" },
	{ "HTTP2_FRAME_SIZE", false, NULL, "largest HTTP/2 frame" },
};
/* clang-format on */
const size_t setting_unserved_count = sizeof(setting_unserved) / sizeof(setting_unserved[0]);

const char *setting_name(const struct setting_row *row)
{
	return row->key ? row->key : row->variables[0];
}

const struct setting_row *setting_lookup(const char *key)
{
	for (size_t i = 0; i < setting_rows_count; i++)
		if (setting_rows[i].key && strcmp(setting_rows[i].key, key) == 0)
			return &setting_rows[i];
	return NULL;
}

/* True when one letter more, less or other makes @a from @b; case does not count. */
static bool is_one_off(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);

	while (*a && strncasecmp(a, b, 1) == 0)
		a++, b++, a_len--, b_len--;
	if (a_len == b_len)
		return a_len == 0 || strcasecmp(a + 1, b + 1) == 0;
	if (a_len + 1 == b_len)
		return strcasecmp(a, b + 1) == 0;
	return a_len == b_len + 1 && strcasecmp(a + 1, b) == 0;
}

const char *setting_suggest(const char *key)
{
	for (size_t i = 0; i < setting_rows_count; i++) {
		const struct setting_row *row = &setting_rows[i];

		if (row->key && is_one_off(key, row->key))
			return row->key;
		/* Somebody wrote the variable's name into the file. */
		for (size_t v = 0; v < SETTING_VARIABLES && row->variables[v]; v++)
			if (row->key && strcmp(row->variables[v], key) == 0)
				return row->key;
	}
	return is_one_off(key, "pods") ? "pods" : NULL;
}
