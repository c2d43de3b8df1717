/*
 * settings: everything that can be set, from one table {key, ztunnel's variable, type, range,
 * default, help}, which also writes docs/settings.md. Later wins: default, settings file (--config,
 * or without one Istio's mesh config), PROXY_CONFIG, environment. Immutable after start. Strings
 * are never NULL; "" is absent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct setting_pod {                             /* standalone: a pod by its namespace's path */
	const char *name, *ns, *service_account; /* joins the workload; service_account may be "" */
	const char *netns;                       /* path */
	int line;                                /* in the settings file */
};

#define SETTING_HEADERS_MAX 32

struct setting_header {
	const char *name, *value; /* the name in lower case */
};

struct setting_headers { /* XDS_HEADER_<name>, CA_HEADER_<name> */
	struct setting_header list[SETTING_HEADERS_MAX];
	size_t count;
};

struct setting_pair {
	const char *key, *value;
};

/* ZTUNNEL_WORKER_THREADS: "4", "0" (all), "50%". AUTO when it was not set. */
struct setting_threads {
	enum { THREADS_AUTO, THREADS_COUNT, THREADS_PERCENT } kind;
	uint32_t n; /* COUNT: 0 is all cores; PERCENT: thousandths of a percent */
};

/* Whose pods: AUTO is STANDALONE with a settings file and SHARED, as ztunnel starts, without. */
enum settings_mode { MODE_AUTO, MODE_STANDALONE, MODE_SHARED, MODE_DEDICATED };
enum settings_orig_src { ORIG_SRC_AUTO, ORIG_SRC_TRUE, ORIG_SRC_FALSE };

struct settings {
	/* who and where */
	uint8_t mode; /* enum settings_mode, not AUTO */
	const char *node_name, *network, *cluster_id, *istio_version;
	/* mesh and trust */
	const char *mesh_file; /* meshFile, LOCAL_XDS_PATH */
	const char *mesh_text; /* LOCAL_XDS */
	/* istiod */
	const char *xds_address, *ca_address; /* as written; "": there is none */
	const char *xds_root_ca, *ca_root_ca; /* a file, SYSTEM, or PEM */
	bool xds_on_demand;
	const char *alt_xds_hostname, *alt_ca_hostname;
	const char *auth_token; /* a file, or the token itself: never to be shown */
	struct setting_headers xds_headers, ca_headers;
	const char *instance_ip;
	const struct setting_pair *metadata; /* proxyMetadata, in order; a later one wins */
	size_t metadata_count;
	bool fake_ca;
	const char *fake_ca_cert, *fake_ca_key;
	uint64_t secret_ttl_ms;
	uint64_t cert_wait_ms;                                   /* of a connection */
	const char *cert_file, *cert_key_file, *cert_roots_file; /* all or none */
	const char *crl_file;
	const char *trust_domain_aliases; /* comma-separated */
	bool tls12, pqc;
	/* host */
	const char *state_dir, *bpf_dir, *cgroup_dir, *admin_socket;
	uint32_t admin_port, readiness_port, stats_port; /* 0: off */
	/* data path */
	struct setting_threads threads;
	uint32_t cpu_cores; /* ZTUNNEL_CPU_LIMIT: stands for the machine's cores; 0: not set */
	uint32_t cpu_limit, cpu_request; /* ZTUNNEL_RESOURCE_CPU_*, rounded up; 0: not set */
	uint32_t workers;                /* settings_workers(), at least 1 */
	uint8_t loop_backend;            /* enum hb_loop_choice */
	bool ipv6;
	uint32_t stream_window, connection_window;
	uint32_t pool_streams_max;
	uint64_t pool_idle_ms;
	bool localhost_app_tunnel; /* PROXY headers go to loopback */
	bool least_flows;          /* the less busy of two endpoints */
	bool waypoint_strict;
	const char *waypoint_strict_except; /* comma-separated identities */
	bool response_baggage;              /* workloads introduce themselves on answers */
	bool keepalive;
	uint64_t keepalive_idle_ms, keepalive_interval_ms;
	uint32_t keepalive_probes;
	bool user_timeout;
	uint64_t idle_ms, half_closed_ms; /* of a flow; 0: no limit */
	bool unpaced_local;               /* unpaced congestion control on legs to apps */
	uint64_t drain_ms;
	uint64_t handshake_ms; /* of peers on 15008 */
	/* pods by rules of others: shared and dedicated */
	const char *inpod_uds;
	const char *pod_name, *pod_namespace, *service_account; /* the agent's own */
	bool log_policy_decisions;
	bool inpod_port_reuse;
	uint32_t packet_mark; /* 0: none */
	uint8_t orig_src;     /* enum settings_orig_src */
	bool socks5;
	const char *workload_info;
	/* logging */
	const char *log; /* RUST_LOG */
	bool log_json;
	/* standalone pods; dedicated: the one of workload_info */
	const struct setting_pod *pods;
	size_t pods_count;
};

/*
 * @path NULL: no file. 0; or -EINVAL and so on with "<file>:<line>: <key>: <what>, expected <what>"
 * or "<VARIABLE>: ..." in @why.
 */
int settings_load(const char *path, char *const *environ_, struct settings **ret_settings,
                  char *why, size_t why_size);
void settings_free(struct settings *settings); /* takes NULL */
/* How many workers to start: what was set, else ztunnel's automatic rule. At least 1. */
unsigned settings_workers(const struct settings *settings);
/* The same for a machine of @cores. Pure. */
unsigned settings_workers_on(const struct settings *settings, unsigned cores);
/*
 * Variables of ztunnel that ask for something we do not serve: one callback each. Those set to what
 * we do anyway (XDS_ADDRESS empty, ENABLE_PROXY true) are not told.
 */
void settings_unknown_each(char *const *environ_, void (*each)(const char *name, void *arg),
                           void *arg);
/* The reference page, Markdown. */
void settings_write_reference(FILE *out);
/*
 * The value of each setting and where it came from, as JSON text (the caller frees it; NULL: no
 * memory). @settings must come from settings_load().
 */
char *settings_dump(const struct settings *settings);
