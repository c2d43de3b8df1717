/*
 * settings: everything that can be set, from one table {key, ztunnel's variable, type, range,
 * default, help}, which also writes docs/settings.md. Later wins: default, settings file
 * (--config), environment. Immutable after start.
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

struct settings {
	/* who and where */
	const char *node_name, *network, *cluster_id;
	/* mesh and trust */
	const char *mesh_file; /* meshFile, LOCAL_XDS_PATH */
	const char *mesh_text; /* LOCAL_XDS */
	bool fake_ca;
	const char *fake_ca_cert, *fake_ca_key;
	uint64_t secret_ttl_ms;
	/* host */
	const char *state_dir, *bpf_dir, *cgroup_dir, *admin_socket;
	uint32_t admin_port, readiness_port; /* 0: off. 15000, 15021 in drop-in start */
	/* data path */
	uint32_t workers; /* 0: by ztunnel's rule */
	bool ipv6;
	uint32_t stream_window, connection_window;
	uint32_t pool_streams_max;
	uint64_t pool_idle_ms;
	bool keepalive;
	uint64_t keepalive_idle_ms, keepalive_interval_ms;
	uint32_t keepalive_probes;
	bool user_timeout;
	bool unpaced_local; /* unpaced congestion control on legs to apps */
	uint64_t drain_ms;
	/* logging */
	const char *log; /* RUST_LOG */
	bool log_json;
	/* standalone pods */
	const struct setting_pod *pods;
	size_t pods_count;
};

/* @path NULL: no file. 0; or -EINVAL and so on with "<file>:<line>: ..." or "<VARIABLE>: ...". */
int settings_load(const char *path, char *const *environ_, struct settings **ret_settings,
                  char *why, size_t why_size);
void settings_free(struct settings *settings); /* takes NULL */
/* Variables of ztunnel that are set and that we do not know: one callback each. */
void settings_unknown_each(char *const *environ_, void (*each)(const char *name, void *arg),
                           void *arg);
/* The reference page, Markdown. */
void settings_write_reference(FILE *out);
/* The value of each setting and where it came from, as JSON text (the caller frees it). */
char *settings_dump(const struct settings *settings);
