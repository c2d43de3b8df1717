/*
 * model: what the mesh configuration is made of: workloads, services, policies. Plain, immutable
 * data that belongs to a snapshot; strings are never NULL, absent is "" (reference/controlplane
 * 10).
 */
#pragma once

#include <hbone/addr.h>

#include "mesh/hamt.h"

#define MESH_SMALL __attribute__((packed)) /* an enum in one byte: there are 100,000 workloads */

enum MESH_SMALL protocol { PROTOCOL_TCP, PROTOCOL_HBONE };
enum MESH_SMALL health { HEALTH_HEALTHY, HEALTH_UNHEALTHY };
enum MESH_SMALL ref_kind { REF_NONE, REF_ADDRESS, REF_HOSTNAME };

struct mesh_port { /* service port -> target port; target 0: see the endpoint */
	uint16_t port, target;
};

struct mesh_ref { /* waypoint or gateway; kind NONE: absent, and nothing else is valid */
	union {
		const char *network; /* ADDRESS */
		const char *ns;      /* HOSTNAME */
	};
	union {
		struct hb_ip ip;      /* ADDRESS */
		const char *hostname; /* HOSTNAME */
	};
	uint16_t port;
	enum ref_kind kind;
};

struct workload;

struct endpoint {
	const struct workload *workload; /* NULL: its workload is not known */
	const char *workload_uid;
	const struct mesh_port *ports;
	uint16_t ports_count;
	enum health status;
};

struct membership {          /* a service that a workload says it is an endpoint of */
	const char *service; /* "ns/hostname"; it may be unknown */
	struct endpoint endpoint;
};

struct workload {
	const char *uid, *name, *ns, *service_account, *trust_domain;
	const char *cluster_id, *network, *node, *hostname;
	const char *workload_name, *workload_type, *canonical_name, *canonical_revision;
	const char *region, *zone, *subzone;
	const char *identity; /* spiffe:// text made of the above */
	const struct hb_ip *ips;
	const char *const *policies; /* "ns/name" */
	const struct membership *services;
	struct mesh_ref waypoint, gateway;
	/* The generation (snapshot_generation) that brought its namespace or list of policies. */
	uint64_t policies_changed;
	uint32_t ips_count, policies_count, services_count;
	uint32_t capacity;
	enum protocol protocol;
	enum health status;
	bool host_network, native_tunnel;
	bool has_app_tunnel,
	    app_tunnel_proxy;     /* applicationTunnel: present; PROXY rather than NONE */
	uint16_t app_tunnel_port; /* 0: none */
};

struct mesh_vip {
	const char *network;
	struct hb_ip ip;
	uint8_t prefix; /* bits of the family; the full width is an exact VIP */
};

enum lb_mode { LB_UNSPECIFIED, LB_STRICT, LB_FAILOVER, LB_PASSTHROUGH };
enum lb_scope { LB_REGION = 1, LB_ZONE, LB_SUBZONE, LB_NODE, LB_CLUSTER, LB_NETWORK };
enum ip_families { FAMILIES_AUTO, FAMILIES_IPV4, FAMILIES_IPV6, FAMILIES_DUAL };

struct weighted_waypoint { /* one of several, sampled per connection */
	struct mesh_ref destination;
	uint32_t weight; /* 0: never */
};

struct service {
	const char *name, *ns, *hostname;
	const struct mesh_vip *vips; /* exact ones first */
	size_t vips_count;
	const struct mesh_port *ports;
	size_t ports_count;
	const char *const *sans; /* subjectAltNames */
	size_t sans_count;
	struct mesh_ref waypoint; /* when no weighted one has a weight */
	const struct weighted_waypoint *weighted_waypoints;
	size_t weighted_waypoints_count;
	bool has_lb, allow_all_health; /* healthPolicy AllowAll */
	enum lb_mode lb_mode;
	enum lb_scope lb_scopes[6];
	size_t lb_scopes_count;
	enum ip_families families;
	bool canonical, namespace_only; /* visibility Namespace */
	/* Its endpoints, healthy or not: service_for_each_endpoint(), service_endpoint_of(). */
	size_t endpoints_count;
	struct hamt endpoints;
};

enum match_kind { MATCH_EXACT, MATCH_PREFIX, MATCH_SUFFIX, MATCH_PRESENCE };
struct string_match {
	enum match_kind kind;
	const char *text;
};
struct account_match {
	const char *ns, *sa;
};
struct cidr_match {
	struct hb_ip ip;
	uint8_t prefix; /* bits of its own family */
};

#define MATCH_LIST(type, name)                                                                     \
	struct {                                                                                   \
		const type *items;                                                                 \
		size_t count;                                                                      \
	} name, not_##name

struct policy_match {
	MATCH_LIST(struct string_match, namespaces);
	MATCH_LIST(struct string_match, principals);
	MATCH_LIST(struct account_match, service_accounts);
	MATCH_LIST(struct cidr_match, source_ips);
	MATCH_LIST(struct cidr_match, destination_ips);
	MATCH_LIST(uint16_t, destination_ports);
};
struct policy_clause { /* OR */
	const struct policy_match *matches;
	size_t count;
};
struct policy_rule { /* AND */
	const struct policy_clause *clauses;
	size_t count;
};
enum policy_scope { SCOPE_GLOBAL, SCOPE_NAMESPACE, SCOPE_WORKLOAD };
enum policy_action { ACTION_ALLOW, ACTION_DENY };

struct policy {
	const char *name, *ns, *key; /* key: "ns/name" */
	enum policy_scope scope;
	enum policy_action action;
	bool dry_run;
	const struct policy_rule *rules; /* OR */
	size_t rules_count;
};
