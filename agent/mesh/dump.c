/*
 * dump: one JSON object after the other, so that a large mesh needs memory for its text only.
 */
#include "mesh/dump.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#define INDENT 2

struct text { /* grows; NULL bytes and full: no memory */
	char *bytes;
	size_t len, room;
	bool full;
};

static int text_add(struct text *text, const char *bytes, size_t len)
{
	if (!text->full && text->room - text->len <= len) {
		size_t room = (text->room + len + 1) * 2;
		char *more = realloc(text->bytes, room);

		text->full = !more;
		if (more) {
			text->bytes = more;
			text->room = room;
		}
	}
	if (text->full)
		return -1;
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
	text->bytes[text->len] = 0;
	return 0;
}

/* jansson starts each object at column 0; inside the document it stands deeper. */
static int on_json(const char *bytes, size_t len, void *arg)
{
	struct text *text = arg;

	for (size_t i = 0, start = 0; i < len; i++) {
		if (bytes[i] != '\n' && i + 1 < len)
			continue;
		if (text_add(text, bytes + start, i + 1 - start) < 0 ||
		    (bytes[i] == '\n' && text_add(text, "    ", 4) < 0))
			return -1;
		start = i + 1;
	}
	return 0;
}

/* Takes @json. */
static void text_add_json(struct text *text, json_t *json)
{
	if (!json || json_dump_callback(json, on_json, text, JSON_INDENT(INDENT)) < 0)
		text->full = true;
	json_decref(json);
}

static void set_text(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, json_string(value));
}

static void set_unless_empty(json_t *object, const char *key, const char *value)
{
	if (*value)
		set_text(object, key, value);
}

static json_t *texts_json(const char *const *texts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(texts[i]));
	return list;
}

static json_t *services_json(const struct workload *w)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->services_count; i++)
		json_array_append_new(list, json_string(w->services[i].service));
	return list;
}

static json_t *ports_json(const struct mesh_port *ports, size_t count)
{
	json_t *object = json_object();
	char key[8];

	for (size_t i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%u", ports[i].port);
		json_object_set_new(object, key, json_integer(ports[i].target));
	}
	return object;
}

static json_t *ref_json(const struct mesh_ref *ref)
{
	char ip[HB_IP_STRLEN];
	json_t *destination;

	if (ref->kind == REF_ADDRESS)
		destination =
		    json_sprintf("%s/%s", ref->network, hb_ip_format(&ref->ip, ip, sizeof(ip)));
	else
		destination = json_sprintf("%s/%s", ref->ns, ref->hostname);
	return json_pack("{s:o, s:i}", "destination", destination, "hboneMtlsPort", ref->port);
}

static json_t *app_tunnel_json(const struct workload *w)
{
	return json_pack("{s:s, s:o}", "protocol", w->app_tunnel_proxy ? "PROXY" : "NONE", "port",
	                 w->app_tunnel_port ? json_integer(w->app_tunnel_port) : json_null());
}

static json_t *workload_json(const struct workload *w)
{
	json_t *object = json_object(), *ips = json_array();
	char ip[HB_IP_STRLEN];

	for (size_t i = 0; i < w->ips_count; i++)
		json_array_append_new(ips, json_string(hb_ip_format(&w->ips[i], ip, sizeof(ip))));
	json_object_set_new(object, "workloadIps", ips);
	if (w->waypoint.kind != REF_NONE)
		json_object_set_new(object, "waypoint", ref_json(&w->waypoint));
	if (w->gateway.kind != REF_NONE)
		json_object_set_new(object, "networkGateway", ref_json(&w->gateway));
	set_text(object, "protocol", w->protocol == PROTOCOL_HBONE ? "HBONE" : "TCP");
	set_text(object, "networkMode", w->host_network ? "HostNetwork" : "Standard");
	set_unless_empty(object, "uid", w->uid);
	set_text(object, "name", w->name);
	set_text(object, "namespace", w->ns);
	set_unless_empty(object, "trustDomain", w->trust_domain);
	set_unless_empty(object, "serviceAccount", w->service_account);
	set_unless_empty(object, "network", w->network);
	set_unless_empty(object, "workloadName", w->workload_name);
	set_unless_empty(object, "workloadType", w->workload_type);
	set_unless_empty(object, "canonicalName", w->canonical_name);
	set_unless_empty(object, "canonicalRevision", w->canonical_revision);
	set_unless_empty(object, "hostname", w->hostname);
	set_unless_empty(object, "node", w->node);
	if (w->native_tunnel)
		json_object_set_new(object, "nativeTunnel", json_true());
	if (w->has_app_tunnel)
		json_object_set_new(object, "applicationTunnel", app_tunnel_json(w));
	if (w->policies_count)
		json_object_set_new(object, "authorizationPolicies",
		                    texts_json(w->policies, w->policies_count));
	set_text(object, "status", w->status == HEALTH_HEALTHY ? "Healthy" : "Unhealthy");
	set_text(object, "clusterId", w->cluster_id);
	if (*w->region || *w->zone || *w->subzone)
		json_object_set_new(object, "locality",
		                    json_pack("{s:s, s:s, s:s}", "region", w->region, "zone",
		                              w->zone, "subzone", w->subzone));
	json_object_set_new(object, "capacity", json_integer(w->capacity));
	if (w->services_count)
		json_object_set_new(object, "services", services_json(w));
	return object;
}

static json_t *endpoint_json(const struct endpoint *endpoint)
{
	return json_pack("{s:s, s:o, s:s}", "workloadUid", endpoint->workload_uid, "port",
	                 ports_json(endpoint->ports, endpoint->ports_count), "status",
	                 endpoint->status == HEALTH_HEALTHY ? "Healthy" : "Unhealthy");
}

static json_t *cidr_json(const struct hb_ip *ip, uint8_t prefix)
{
	char text[HB_IP_STRLEN];
	bool mapped = hb_ip_is_v4(ip) && prefix > 32; /* written as IPv6: see mesh/cidr.h */

	return json_sprintf("%s%s/%u", mapped ? "::ffff:" : "",
	                    hb_ip_format(ip, text, sizeof(text)), prefix);
}

static void set_vips(json_t *object, const struct service *service)
{
	json_t *vips = json_array(), *cidrs = json_array();
	char ip[HB_IP_STRLEN];

	for (size_t i = 0; i < service->vips_count; i++) {
		const struct mesh_vip *vip = &service->vips[i];

		if (vip->prefix == (hb_ip_is_v4(&vip->ip) ? 32 : 128))
			json_array_append_new(vips,
			                      json_sprintf("%s/%s", vip->network,
			                                   hb_ip_format(&vip->ip, ip, sizeof(ip))));
		else
			json_array_append_new(cidrs,
			                      json_pack("{s:s, s:o}", "network", vip->network,
			                                "cidr", cidr_json(&vip->ip, vip->prefix)));
	}
	json_object_set_new(object, "vips", vips);
	if (json_array_size(cidrs))
		json_object_set(object, "cidrVips", cidrs);
	json_decref(cidrs);
}

static json_t *balancer_json(const struct service *service)
{
	static const char *const scopes[] = {
		[LB_REGION] = "Region", [LB_ZONE] = "Zone",       [LB_SUBZONE] = "Subzone",
		[LB_NODE] = "Node",     [LB_CLUSTER] = "Cluster", [LB_NETWORK] = "Network",
	};
	static const char *const modes[] = {
		[LB_UNSPECIFIED] = "Standard",
		[LB_STRICT] = "Strict",
		[LB_FAILOVER] = "Failover",
		[LB_PASSTHROUGH] = "Passthrough",
	};
	json_t *preferences = json_array();

	for (size_t i = 0; i < service->lb_scopes_count; i++)
		json_array_append_new(preferences, json_string(scopes[service->lb_scopes[i]]));
	return json_pack("{s:o, s:s, s:s}", "routingPreferences", preferences, "mode",
	                 modes[service->lb_mode], "healthPolicy",
	                 service->allow_all_health ? "AllowAll" : "OnlyHealthy");
}

static void set_waypoints(json_t *object, const struct service *service)
{
	json_t *list;

	if (service->waypoint.kind != REF_NONE)
		json_object_set_new(object, "waypoint", ref_json(&service->waypoint));
	if (!service->weighted_waypoints_count)
		return;
	list = json_array();
	for (size_t i = 0; i < service->weighted_waypoints_count; i++) {
		const struct weighted_waypoint *waypoint = &service->weighted_waypoints[i];

		json_array_append_new(list, json_pack("{s:o, s:I}", "destination",
		                                      ref_json(&waypoint->destination), "weight",
		                                      (json_int_t)waypoint->weight));
	}
	json_object_set_new(object, "weightedWaypoints", list);
}

static json_t *service_json(const struct service *service)
{
	static const char *const families[] = {
		[FAMILIES_IPV4] = "IPv4",
		[FAMILIES_IPV6] = "IPv6",
		[FAMILIES_DUAL] = "Dual",
	};
	json_t *object = json_object(), *endpoints = json_object();
	hb_cleanup(hb_free_ptr) const struct endpoint **sorted = NULL;
	size_t count;

	set_text(object, "name", service->name);
	set_text(object, "namespace", service->ns);
	set_text(object, "hostname", service->hostname);
	set_vips(object, service);
	json_object_set_new(object, "ports", ports_json(service->ports, service->ports_count));
	count = service_endpoints(service, &sorted);
	for (size_t i = 0; i < count; i++)
		json_object_set_new(endpoints, sorted[i]->workload_uid, endpoint_json(sorted[i]));
	json_object_set_new(object, "endpoints", endpoints);
	json_object_set_new(object, "subjectAltNames",
	                    texts_json(service->sans, service->sans_count));
	set_waypoints(object, service);
	if (service->has_lb)
		json_object_set_new(object, "loadBalancer", balancer_json(service));
	if (service->families != FAMILIES_AUTO)
		set_text(object, "ipFamilies", families[service->families]);
	json_object_set_new(object, "canonical", json_boolean(service->canonical));
	set_text(object, "visibility", service->namespace_only ? "Namespace" : "Public");
	return object;
}

static json_t *string_match_json(const void *item)
{
	static const char *const kinds[] = {
		[MATCH_EXACT] = "Exact",
		[MATCH_PREFIX] = "Prefix",
		[MATCH_SUFFIX] = "Suffix",
	};
	const struct string_match *match = item;

	if (match->kind == MATCH_PRESENCE)
		return json_pack("{s:[]}", "Presence");
	return json_pack("{s:s}", kinds[match->kind], match->text);
}

static json_t *account_match_json(const void *item)
{
	const struct account_match *match = item;

	return json_pack("{s:s, s:s}", "namespace", match->ns, "serviceAccount", match->sa);
}

static json_t *cidr_match_json(const void *item)
{
	const struct cidr_match *match = item;

	return cidr_json(&match->ip, match->prefix);
}

static json_t *port_json(const void *item)
{
	return json_integer(*(const uint16_t *)item);
}

static json_t *match_json(const struct policy_match *m)
{
	/* clang-format off: a table. */
#define LIST(key, name, json)                                                                      \
	{                                                                                          \
		key, m->name.items, m->name.count, sizeof(*m->name.items), json                    \
	}
	const struct {
		const char *key;
		const void *items;
		size_t count, size;
		json_t *(*json)(const void *item);
	} lists[] = {
		LIST("namespaces", namespaces, string_match_json),
		LIST("notNamespaces", not_namespaces, string_match_json),
		LIST("serviceAccounts", service_accounts, account_match_json),
		LIST("notServiceAccounts", not_service_accounts, account_match_json),
		LIST("principals", principals, string_match_json),
		LIST("notPrincipals", not_principals, string_match_json),
		LIST("sourceIps", source_ips, cidr_match_json),
		LIST("notSourceIps", not_source_ips, cidr_match_json),
		LIST("destinationIps", destination_ips, cidr_match_json),
		LIST("notDestinationIps", not_destination_ips, cidr_match_json),
		LIST("destinationPorts", destination_ports, port_json),
		LIST("notDestinationPorts", not_destination_ports, port_json),
	};
#undef LIST
	/* clang-format on */
	json_t *object = json_object();

	for (size_t i = 0; i < HB_ARRAY_LEN(lists); i++) {
		json_t *list;

		if (!lists[i].count)
			continue;
		list = json_array();
		for (size_t j = 0; j < lists[i].count; j++)
			json_array_append_new(
			    list, lists[i].json((const char *)lists[i].items + j * lists[i].size));
		json_object_set_new(object, lists[i].key, list);
	}
	return object;
}

static json_t *rule_json(const struct policy_rule *rule)
{
	json_t *clauses = json_array();

	for (size_t i = 0; i < rule->count; i++) {
		json_t *matches = json_array();

		for (size_t j = 0; j < rule->clauses[i].count; j++)
			json_array_append_new(matches, match_json(&rule->clauses[i].matches[j]));
		json_array_append_new(clauses, matches);
	}
	return clauses;
}

static json_t *policy_json(const struct policy *policy)
{
	static const char *const scopes[] = {
		[SCOPE_GLOBAL] = "Global",
		[SCOPE_NAMESPACE] = "Namespace",
		[SCOPE_WORKLOAD] = "WorkloadSelector",
	};
	json_t *rules = json_array();

	for (size_t i = 0; i < policy->rules_count; i++)
		json_array_append_new(rules, rule_json(&policy->rules[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b}", "name", policy->name, "namespace",
	                 policy->ns, "scope", scopes[policy->scope], "action",
	                 policy->action == ACTION_DENY ? "Deny" : "Allow", "rules", rules, "dryRun",
	                 policy->dry_run);
}

/* The section's objects, sorted; the caller's to free(). */
static size_t section_list(const struct snapshot *s, enum dump_section section, void ***ret_list)
{
	switch (section) {
	case DUMP_WORKLOADS:
		return snapshot_workloads(s, (const struct workload ***)ret_list);
	case DUMP_SERVICES:
		return snapshot_services(s, (const struct service ***)ret_list);
	case DUMP_POLICIES:
		return snapshot_policies(s, (const struct policy ***)ret_list);
	case DUMP_STAGED:
		break;
	}
	return 0;
}

static json_t *item_json(enum dump_section section, const void *item)
{
	switch (section) {
	case DUMP_WORKLOADS:
		return workload_json(item);
	case DUMP_SERVICES:
		return service_json(item);
	case DUMP_POLICIES:
		return policy_json(item);
	case DUMP_STAGED:
		break;
	}
	return NULL;
}

static void dump_list(struct text *text, const struct snapshot *s, enum dump_section section)
{
	hb_cleanup(hb_free_ptr) void **list = NULL;
	size_t count = section_list(s, section, &list);

	text->full = text->full || !list;
	text_add(text, "[", 1);
	for (size_t i = 0; i < count && !text->full; i++) {
		text_add(text, i ? ",\n    " : "\n    ", i ? 6 : 5);
		text_add_json(text, item_json(section, list[i]));
	}
	if (count)
		text_add(text, "\n  ", 3);
	text_add(text, "]", 1);
}

static void dump_staged(struct text *text, const struct snapshot *s)
{
	hb_cleanup(hb_free_ptr) struct staged_endpoint *staged = NULL;
	size_t count = snapshot_staged(s, &staged);
	json_t *services = json_object();

	text->full = text->full || !staged;
	for (size_t i = 0; i < count; i++) {
		json_t *service = json_object_get(services, staged[i].service);

		if (!service) {
			service = json_object();
			json_object_set_new(services, staged[i].service, service);
		}
		json_object_set_new(service, staged[i].endpoint->workload_uid,
		                    endpoint_json(staged[i].endpoint));
	}
	text_add_json(text, services);
}

char *mesh_dump(const struct snapshot *s, enum dump_section section)
{
	struct text text = { 0 };

	if (section == DUMP_STAGED)
		dump_staged(&text, s);
	else
		dump_list(&text, s, section);
	if (text.full)
		free(text.bytes);
	return text.full ? NULL : text.bytes;
}
