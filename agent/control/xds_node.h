/*
 * xds_node: who we are, as the first request of each type says it: Node of
 * envoy.service.discovery.v3, made once from the settings and the environment (reference/
 * controlplane 2.4).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define XDS_NODE_MAX (256u << 10) /* bytes; what does not fit into it is left out, and said */

struct setting_pair;

struct xds_node_options { /* texts may be "" or NULL: absent */
	const char *instance_ip, *pod_name, *pod_namespace, *node_name;
	/* proxyMetadata of the proxy config; ISTIO_META_ before a key falls away. */
	const struct setting_pair *metadata;
	size_t metadata_count;
	/* Over it: ISTIO_META_X becomes X, ISTIO_METAJSON_X becomes X as what its JSON says. The
	 * four above are over all. */
	char *const *environ_;
	/* An entry that is left out, with a sentence. May be NULL. */
	void (*on_skipped)(void *owner, const char *key, const char *why);
	void *owner;
};

/* malloc'd bytes; NULL: no memory. */
uint8_t *xds_node_new(const struct xds_node_options *options, size_t *ret_size);
