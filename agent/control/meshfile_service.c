/*
 * meshfile_service: one item of "services" (reference/controlplane 10.2).
 */
#include <string.h>

#include "control/meshfile_parts.h"

struct item {                   /* a service while it is read */
	struct service service; /* first: a field without a member of its own gets all */
	const struct yaml_node *vips, *cidr_vips, *endpoints;
};

static int service_ports_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct service *service = member;

	return ports_read(r, node, &service->ports, &service->ports_count);
}

static int sans_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct service *service = member;

	return texts_read(r, node, "a list of SPIFFE names", &service->sans, &service->sans_count);
}

static int weighted_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct field fields[] = {
		{ "destination", FIELD_OTHER, FIELD_AT(struct weighted_waypoint, destination),
		  REQUIRED, .read = ref_read },
		{ "weight", FIELD_NUMBER, FIELD_AT(struct weighted_waypoint, weight), REQUIRED },
	};
	struct service *service = member;
	struct weighted_waypoint *waypoints;
	int err = reader_list(r, node, "a list of waypoints with weights");

	if (err)
		return err;
	waypoints = reader_array(r, node, node->count, sizeof(*waypoints));
	if (!waypoints)
		return -ENOMEM;
	for (size_t i = 0; i < node->count && !err; i++)
		err = fields_read(r, node->items[i], "a weighted waypoint", fields,
		                  HB_ARRAY_LEN(fields), &waypoints[i]);
	service->weighted_waypoints = waypoints;
	service->weighted_waypoints_count = node->count;
	return err;
}

static int scopes_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct word words[] = {
		{ "Region", LB_REGION },
		{ "Zone", LB_ZONE },
		{ "Subzone", LB_SUBZONE },
		{ "Node", LB_NODE },
		{ "Cluster", LB_CLUSTER },
		{ "Network", LB_NETWORK },
		{ NULL, 0 },
	};
	struct service *service = member;
	int err = reader_list(r, node, "a list of scopes");

	if (!err && node->count > HB_ARRAY_LEN(service->lb_scopes))
		return reader_fail(r, node->line, "\"%s\" has %zu scopes, expected at most %zu",
		                   r->key, node->count, HB_ARRAY_LEN(service->lb_scopes));
	for (size_t i = 0; i < node->count && !err; i++) {
		unsigned int scope = 0;

		err = reader_word(r, node->items[i], words, &scope);
		service->lb_scopes[i] = (enum lb_scope)scope;
	}
	service->lb_scopes_count = node->count;
	return err;
}

static int balancer_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct word modes[] = {
		{ "Standard", LB_UNSPECIFIED },
		{ "Strict", LB_STRICT },
		{ "Failover", LB_FAILOVER },
		{ "Passthrough", LB_PASSTHROUGH },
		{ NULL, 0 },
	};
	static const struct word healths[] = {
		{ "OnlyHealthy", false },
		{ "AllowAll", true },
		{ NULL, 0 },
	};
	static const struct field fields[] = {
		{ "routingPreferences", FIELD_OTHER, .need = REQUIRED, .read = scopes_read },
		{ "mode", FIELD_WORD, FIELD_AT(struct service, lb_mode), REQUIRED, modes },
		{ "healthPolicy", FIELD_WORD, FIELD_AT(struct service, allow_all_health), REQUIRED,
		  healths },
	};
	struct service *service = member;

	service->has_lb = true;
	return fields_read(r, node, "a load balancer", fields, HB_ARRAY_LEN(fields), service);
}

static const struct word families[] = {
	{ "Dual", FAMILIES_DUAL },
	{ "IPv4", FAMILIES_IPV4 },
	{ "IPv6", FAMILIES_IPV6 },
	{ NULL, 0 },
};

static const struct word visibilities[] = {
	{ "Public", false },
	{ "Namespace", true },
	{ NULL, 0 },
};

/* clang-format off: a table. */
#define AT(member) FIELD_AT(struct item, service.member)
static const struct field fields[] = {
	{ "name", FIELD_TEXT, AT(name), REQUIRED },
	{ "namespace", FIELD_NAME, AT(ns), REQUIRED },
	{ "hostname", FIELD_TEXT, AT(hostname), REQUIRED },
	{ "vips", FIELD_NODE, FIELD_AT(struct item, vips), REQUIRED },
	{ "ports", FIELD_OTHER, .need = REQUIRED, .read = service_ports_read },
	{ "cidrVips", FIELD_NODE, FIELD_AT(struct item, cidr_vips) },
	{ "endpoints", FIELD_NODE, FIELD_AT(struct item, endpoints) },
	{ "subjectAltNames", FIELD_OTHER, .read = sans_read },
	{ "waypoint", FIELD_OTHER, AT(waypoint), NULLABLE, .read = ref_read },
	{ "weightedWaypoints", FIELD_OTHER, .read = weighted_read },
	{ "loadBalancer", FIELD_OTHER, .need = NULLABLE, .read = balancer_read },
	{ "ipFamilies", FIELD_WORD, AT(families), NULLABLE, families },
	{ "canonical", FIELD_BOOL, AT(canonical) },
	{ "visibility", FIELD_WORD, AT(namespace_only), OPTIONAL, visibilities },
};
#undef AT
/* clang-format on */

static int vip_read(struct reader *r, const struct yaml_node *node, struct mesh_vip *vip)
{
	static const char expected[] = "\"network/ip\" (\"/10.0.0.1\" without a network)";
	int err = reader_scalar(r, node, expected);

	if (!err)
		err = net_ip_parse(r, node->text, &vip->network, &vip->ip);
	if (err)
		return err == -ENOMEM ? reader_no_memory(r, node->line)
		                      : reader_expect(r, node, expected);
	vip->prefix = hb_ip_is_v4(&vip->ip) ? 32 : 128;
	return 0;
}

static int cidr_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const char expected[] = "\"ip/prefix\"";
	struct mesh_vip *vip = member;
	int err = reader_scalar(r, node, expected);

	if (err)
		return err;
	if (cidr_parse(node->text, &vip->ip, &vip->prefix) < 0)
		return reader_expect(r, node, expected);
	return 0;
}

static int cidr_vip_read(struct reader *r, const struct yaml_node *node, struct mesh_vip *vip)
{
	static const struct field cidr_fields[] = {
		{ "network", FIELD_TEXT, FIELD_AT(struct mesh_vip, network), REQUIRED },
		{ "cidr", FIELD_OTHER, .need = REQUIRED, .read = cidr_read },
	};

	return fields_read(r, node, "a CIDR VIP", cidr_fields, HB_ARRAY_LEN(cidr_fields), vip);
}

static int vips_read(struct reader *r, struct item *item)
{
	size_t cidrs_count = item->cidr_vips ? item->cidr_vips->count : 0;
	struct mesh_vip *vips;
	size_t count = 0;
	int err;

	r->key = "vips";
	err = reader_list(r, item->vips, "a list of \"network/ip\"");
	if (err)
		return err;
	vips = reader_array(r, item->vips, item->vips->count + cidrs_count, sizeof(*vips));
	if (!vips)
		return -ENOMEM;
	for (size_t i = 0; i < item->vips->count && !err; i++)
		err = vip_read(r, item->vips->items[i], &vips[count++]);
	r->key = "cidrVips";
	if (!err && item->cidr_vips)
		err = reader_list(r, item->cidr_vips, "a list of {network, cidr}");
	for (size_t i = 0; i < cidrs_count && !err; i++)
		err = cidr_vip_read(r, item->cidr_vips->items[i], &vips[count++]);
	item->service.vips = vips;
	item->service.vips_count = count;
	return err;
}

static int endpoint_ports_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct endpoint *endpoint = member;

	size_t count = 0;
	int err = ports_read(r, node, &endpoint->ports, &count);

	endpoint->ports_count = (uint16_t)count;
	return err;
}

static int endpoints_read(struct reader *r, const struct yaml_node *node,
                          struct endpoint **ret_given)
{
	static const struct field endpoint_fields[] = {
		{ "workloadUid", FIELD_TEXT, FIELD_AT(struct endpoint, workload_uid), REQUIRED },
		{ "port", FIELD_OTHER, .need = REQUIRED, .read = endpoint_ports_read },
		{ "status", FIELD_WORD, FIELD_AT(struct endpoint, status), REQUIRED, health_words },
	};
	int err;

	r->key = "endpoints";
	err = reader_map(r, node, "a map from uid to endpoint");
	if (err)
		return err;
	*ret_given = reader_array(r, node, node->count, sizeof(**ret_given));
	if (!*ret_given)
		return -ENOMEM;
	for (size_t i = 0; i < node->count && !err; i++)
		err = fields_read(r, node->items[i], "an endpoint", endpoint_fields,
		                  HB_ARRAY_LEN(endpoint_fields), &(*ret_given)[i]);
	return err;
}

int meshfile_service(struct reader *r, const struct yaml_node *node)
{
	struct item item = { 0 };
	struct endpoint *given = NULL;
	int err = fields_read(r, node, "a service", fields, HB_ARRAY_LEN(fields), &item);

	if (!err)
		err = vips_read(r, &item);
	if (!err && item.endpoints)
		err = endpoints_read(r, item.endpoints, &given);
	return err ? err
	           : store_put_service(r->store, &item.service, given,
	                               given ? item.endpoints->count : 0);
}
