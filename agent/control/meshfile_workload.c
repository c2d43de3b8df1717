/*
 * meshfile_workload: one item of "workloads" (reference/controlplane 10.1).
 */
#include <stdio.h>
#include <string.h>

#include "control/meshfile_parts.h"

struct item {                     /* a workload while it is read */
	struct workload workload; /* first: a field without a member of its own gets all */
	const struct yaml_node *services;
};

static int ips_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct workload *w = member;
	int err = reader_list(r, node, "a list of IP addresses");
	struct hb_ip *ips;

	if (err)
		return err;
	ips = reader_array(r, node, node->count, sizeof(*ips));
	if (!ips)
		return -ENOMEM;
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *item = node->items[i];

		err = reader_scalar(r, item, "an IP address");
		if (err)
			return err;
		if (hb_ip_parse(item->text, strlen(item->text), &ips[i]) < 0)
			return reader_expect(r, item, "an IP address");
	}
	w->ips = ips;
	w->ips_count = (uint32_t)node->count;
	return 0;
}

static int locality_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct field fields[] = {
		{ "region", FIELD_TEXT, FIELD_AT(struct workload, region), REQUIRED },
		{ "zone", FIELD_TEXT, FIELD_AT(struct workload, zone), REQUIRED },
		{ "subzone", FIELD_TEXT, FIELD_AT(struct workload, subzone), REQUIRED },
	};

	return fields_read(r, node, "a locality", fields, HB_ARRAY_LEN(fields), member);
}

static int app_tunnel_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct word words[] = { { "NONE", false }, { "PROXY", true }, { NULL, 0 } };
	static const struct field fields[] = {
		{ "protocol", FIELD_WORD, FIELD_AT(struct workload, app_tunnel_proxy), REQUIRED,
		  words },
		{ "port", FIELD_PORT, FIELD_AT(struct workload, app_tunnel_port), NULLABLE },
	};
	struct workload *w = member;

	w->has_app_tunnel = true;
	return fields_read(r, node, "an application tunnel", fields, HB_ARRAY_LEN(fields), w);
}

static int policies_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct workload *w = member;
	size_t count = 0;
	int err = texts_read(r, node, "a list of \"namespace/name\"", &w->policies, &count);

	w->policies_count = (uint32_t)count;
	return err;
}

static const struct word protocols[] = {
	{ "TCP", PROTOCOL_TCP },
	{ "HBONE", PROTOCOL_HBONE },
	{ NULL, 0 },
};

static const struct word network_modes[] = {
	{ "Standard", false },
	{ "HostNetwork", true },
	{ NULL, 0 },
};

/* clang-format off: a table. */
#define AT(member) FIELD_AT(struct item, workload.member)
static const struct field fields[] = {
	{ "uid", FIELD_TEXT, AT(uid) },
	{ "name", FIELD_NAME, AT(name) },
	{ "namespace", FIELD_NAME, AT(ns), REQUIRED },
	{ "serviceAccount", FIELD_NAME, AT(service_account) },
	{ "trustDomain", FIELD_NAME, AT(trust_domain) },
	{ "clusterId", FIELD_TEXT, AT(cluster_id) },
	{ "network", FIELD_TEXT, AT(network) },
	{ "node", FIELD_TEXT, AT(node) },
	{ "hostname", FIELD_TEXT, AT(hostname) },
	{ "protocol", FIELD_WORD, AT(protocol), OPTIONAL, protocols },
	{ "networkMode", FIELD_WORD, AT(host_network), OPTIONAL, network_modes },
	{ "workloadIps", FIELD_OTHER, .need = REQUIRED, .read = ips_read },
	{ "services", FIELD_NODE, FIELD_AT(struct item, services), REQUIRED },
	{ "workloadName", FIELD_TEXT, AT(workload_name) },
	{ "workloadType", FIELD_TEXT, AT(workload_type) },
	{ "canonicalName", FIELD_TEXT, AT(canonical_name) },
	{ "canonicalRevision", FIELD_TEXT, AT(canonical_revision) },
	{ "nativeTunnel", FIELD_BOOL, AT(native_tunnel) },
	{ "applicationTunnel", FIELD_OTHER, .need = NULLABLE, .read = app_tunnel_read },
	{ "waypoint", FIELD_OTHER, AT(waypoint), NULLABLE, .read = ref_read },
	{ "networkGateway", FIELD_OTHER, AT(gateway), NULLABLE, .read = ref_read },
	{ "authorizationPolicies", FIELD_OTHER, .read = policies_read },
	{ "status", FIELD_WORD, AT(status), OPTIONAL, health_words },
	{ "locality", FIELD_OTHER, .read = locality_read },
	{ "capacity", FIELD_NUMBER, AT(capacity) },
};
#undef AT
/* clang-format on */

/* ztunnel can do without a uid; here it is the key, so one is made of what must differ anyway. */
static int uid_make(struct reader *r, const struct yaml_node *node, struct workload *w)
{
	char ip[HB_IP_STRLEN] = "";
	const char *name = w->name ? w->name : "";
	size_t size = strlen(w->ns) + strlen(name) + sizeof(ip) + 2;
	char *uid = reader_array(r, node, size, 1);

	if (!uid)
		return -ENOMEM;
	if (w->ips_count)
		hb_ip_format(&w->ips[0], ip, sizeof(ip));
	snprintf(uid, size, "%s/%s/%s", w->ns, name, ip);
	w->uid = uid;
	return 0;
}

static int services_read(struct reader *r, struct item *item)
{
	static const char expected[] = "a map from \"namespace/hostname\" to ports";
	const struct yaml_node *node = item->services;
	struct membership *services;
	int err;

	r->key = "services";
	err = reader_map(r, node, expected);
	if (err)
		return err;
	services = reader_array(r, node, node->count, sizeof(*services));
	if (!services)
		return -ENOMEM;
	for (size_t i = 0; i < node->count && !err; i++) {
		const struct yaml_node *ports = node->items[i];
		struct endpoint *endpoint = &services[i].endpoint;
		size_t count = 0;

		if (!strchr(ports->key, '/'))
			return reader_fail(r, ports->key_line,
			                   "\"services\" has the key \"%.64s\", expected "
			                   "\"namespace/hostname\"",
			                   ports->key);
		services[i].service = ports->key;
		err = ports_read(r, ports, &endpoint->ports, &count);
		endpoint->ports_count = (uint16_t)count;
	}
	item->workload.services = services;
	item->workload.services_count = (uint32_t)node->count;
	return err;
}

int meshfile_workload(struct reader *r, const struct yaml_node *node)
{
	struct item item = { .workload.capacity = 1 };
	int err = fields_read(r, node, "a workload", fields, HB_ARRAY_LEN(fields), &item);

	if (!err)
		err = services_read(r, &item);
	if (!err && (!item.workload.uid || !*item.workload.uid))
		err = uid_make(r, node, &item.workload);
	r->uid = item.workload.uid;
	return err ? err : store_put_workload(r->store, &item.workload);
}
