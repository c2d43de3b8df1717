/*
 * xds_codec_workload: Address: a workload or a service (reference/controlplane 3.2).
 */
#include <stdio.h>
#include <string.h>

#include <hbone/tls.h>

#include "control/xds_codec_parts.h"
#include "workload.pb-c.h"

#define LIST_MAX 65535u /* what counts of the model hold */

struct text { /* a field onto a text of the model */
	const char *field;
	const ProtobufCBinaryData *from;
	const char **to;
};

static int texts_read(struct xds_reader *r, const struct text *texts, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = xds_text(r, texts[i].field, texts[i].from->data, texts[i].from->len,
		               texts[i].to);
	return err;
}

static int list_check(struct xds_reader *r, const char *field, size_t count)
{
	return count > LIST_MAX
	           ? xds_fail(r, "%s has %zu items, expected at most %u", field, count, LIST_MAX)
	           : 0;
}

static int by_port(const void *a, const void *b)
{
	const struct mesh_port *x = a, *y = b;

	return (int)x->port - (int)y->port;
}

/*
 * Of several for one service port the last counts, as in a map: it is found by going backwards, and
 * a list that names each port once, which all do, keeps its order.
 */
static size_t ports_unite(struct mesh_port *ports, size_t count)
{
	uint8_t seen[65536 / 8] = { 0 };
	bool twice = false;
	size_t kept = count;

	for (size_t i = 0; i < count && !twice; i++) {
		twice = seen[ports[i].port / 8] & (1u << (ports[i].port % 8));
		seen[ports[i].port / 8] |= (uint8_t)(1u << (ports[i].port % 8));
	}
	if (!twice)
		return count;
	memset(seen, 0, sizeof(seen));
	for (size_t i = count; i-- > 0;) {
		uint8_t bit = (uint8_t)(1u << (ports[i].port % 8));

		if (!(seen[ports[i].port / 8] & bit))
			ports[--kept] = ports[i];
		seen[ports[i].port / 8] |= bit;
	}
	memmove(ports, ports + kept, (count - kept) * sizeof(*ports));
	qsort(ports, count - kept, sizeof(*ports), by_port);
	return count - kept;
}

static int ports_read(struct xds_reader *r, const char *field, Istio__Workload__Port *const *in,
                      size_t count, const struct mesh_port **ret_ports, size_t *ret_count)
{
	struct mesh_port *ports = xds_array(r, count, sizeof(*ports));
	int err = list_check(r, field, count);

	if (!err && !ports)
		err = -ENOMEM;
	for (size_t i = 0; i < count && !err; i++) {
		err = xds_port(r, "service_port", in[i]->service_port, &ports[i].port);
		if (!err)
			err = xds_port(r, "target_port", in[i]->target_port, &ports[i].target);
	}
	if (err)
		return err;
	*ret_count = count > 1 ? ports_unite(ports, count) : count;
	*ret_ports = ports;
	return 0;
}

static int ref_address_read(struct xds_reader *r, const char *field,
                            const Istio__Workload__NetworkAddress *in, struct mesh_ref *ref)
{
	int err = xds_text(r, field, in->network.data, in->network.len, &ref->network);

	if (!err)
		err = xds_ip(r, field, in->address.data, in->address.len, &ref->ip);
	ref->kind = REF_ADDRESS;
	return err;
}

static int ref_hostname_read(struct xds_reader *r, const char *field,
                             const Istio__Workload__NamespacedHostname *in, struct mesh_ref *ref)
{
	const struct text texts[] = {
		{ field, &in->namespace_, &ref->ns },
		{ field, &in->hostname, &ref->hostname },
	};

	ref->kind = REF_HOSTNAME;
	return texts_read(r, texts, HB_ARRAY_LEN(texts));
}

/* @in NULL: absent, REF_NONE. */
static int ref_read(struct xds_reader *r, const char *field,
                    const Istio__Workload__GatewayAddress *in, struct mesh_ref *ref)
{
	int err;

	if (!in)
		return 0;
	if (in->destination_case == ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME)
		err = ref_hostname_read(r, field, in->hostname, ref);
	else if (in->destination_case == ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS)
		err = ref_address_read(r, field, in->address, ref);
	else
		err =
		    xds_fail(r, "%s has no destination, expected a hostname or an address", field);
	return err ? err : xds_port(r, "hbone_mtls_port", in->hbone_mtls_port, &ref->port);
}

/*
 * Workloads.
 */
static int workload_texts(struct xds_reader *r, const Istio__Workload__Workload *in,
                          struct workload *w)
{
	const struct text texts[] = {
		{ "uid", &in->uid, &w->uid },
		{ "name", &in->name, &w->name },
		{ "namespace", &in->namespace_, &w->ns },
		{ "network", &in->network, &w->network },
		{ "trust_domain", &in->trust_domain, &w->trust_domain },
		{ "service_account", &in->service_account, &w->service_account },
		{ "node", &in->node, &w->node },
		{ "canonical_name", &in->canonical_name, &w->canonical_name },
		{ "canonical_revision", &in->canonical_revision, &w->canonical_revision },
		{ "workload_name", &in->workload_name, &w->workload_name },
		{ "cluster_id", &in->cluster_id, &w->cluster_id },
		{ "hostname", &in->hostname, &w->hostname },
	};
	int err = texts_read(r, texts, HB_ARRAY_LEN(texts));

	if (err)
		return err;
	if (!*w->trust_domain)
		w->trust_domain = "cluster.local";
	if (!*w->service_account)
		w->service_account = "default";
	if (!*w->cluster_id)
		w->cluster_id = "Kubernetes";
	return 0;
}

static int ips_read(struct xds_reader *r, const Istio__Workload__Workload *in, struct workload *w)
{
	struct hb_ip *ips = xds_array(r, in->n_addresses, sizeof(*ips));
	int err = list_check(r, "addresses", in->n_addresses);

	if (!err && !ips)
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_addresses && !err; i++)
		err = xds_ip(r, "addresses", in->addresses[i].data, in->addresses[i].len, &ips[i]);
	w->ips = ips;
	w->ips_count = (uint32_t)in->n_addresses;
	return err;
}

static int policies_read(struct xds_reader *r, const Istio__Workload__Workload *in,
                         struct workload *w)
{
	const char **policies = xds_array(r, in->n_authorization_policies, sizeof(*policies));
	int err = list_check(r, "authorization_policies", in->n_authorization_policies);

	if (!err && !policies)
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_authorization_policies && !err; i++)
		err = xds_text(r, "authorization_policies", in->authorization_policies[i].data,
		               in->authorization_policies[i].len, &policies[i]);
	w->policies = policies;
	w->policies_count = (uint32_t)in->n_authorization_policies;
	return err;
}

static int service_read(struct xds_reader *r, const Istio__Workload__ServicesEntry *in,
                        struct membership *membership)
{
	size_t count = 0;
	int err = xds_text(r, "services", in->key.data, in->key.len, &membership->service);

	if (!err && !strchr(membership->service, '/'))
		err = xds_fail(r, "services has the key \"%.64s\", expected \"namespace/hostname\"",
		               membership->service);
	if (!err && in->value)
		err = ports_read(r, "services", in->value->ports, in->value->n_ports,
		                 &membership->endpoint.ports, &count);
	membership->endpoint.ports_count = (uint16_t)count;
	return err;
}

static int by_service(const void *a, const void *b)
{
	const struct membership *x = a, *y = b;
	int order = strcmp(x->service, y->service);

	/* Of equal ones in the order in which they came: what came later lies behind in texts. */
	return order ? order
	             : (x->endpoint.workload_uid > y->endpoint.workload_uid) -
	                   (x->endpoint.workload_uid < y->endpoint.workload_uid);
}

/* A map: sorted by key, which makes equal workloads look equal whatever order istiod's map had;
 * of two with one key the last counts. */
static size_t services_unite(struct membership *services, size_t count, const char *numbers)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		services[i].endpoint.workload_uid = numbers + i; /* while they are sorted */
	qsort(services, count, sizeof(*services), by_service);
	for (size_t i = 0; i < count; i++) {
		bool again = kept && strcmp(services[kept - 1].service, services[i].service) == 0;

		services[again ? kept - 1 : kept++] = services[i];
	}
	for (size_t i = 0; i < kept; i++)
		services[i].endpoint.workload_uid = NULL;
	return kept;
}

static int services_read(struct xds_reader *r, const Istio__Workload__Workload *in,
                         struct workload *w)
{
	struct membership *services = xds_array(r, in->n_services, sizeof(*services));
	const char *numbers = xds_array(r, in->n_services, 1);
	int err = list_check(r, "services", in->n_services);

	if (!err && (!services || !numbers))
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_services && !err; i++)
		err = service_read(r, in->services[i], &services[i]);
	if (err)
		return err;
	w->services = services;
	w->services_count = (uint32_t)services_unite(services, in->n_services, numbers);
	return 0;
}

static int locality_read(struct xds_reader *r, const Istio__Workload__Locality *in,
                         struct workload *w)
{
	if (!in)
		return 0;
	const struct text texts[] = {
		{ "locality.region", &in->region, &w->region },
		{ "locality.zone", &in->zone, &w->zone },
		{ "locality.subzone", &in->subzone, &w->subzone },
	};

	return texts_read(r, texts, HB_ARRAY_LEN(texts));
}

static int app_tunnel_read(struct xds_reader *r, const Istio__Workload__ApplicationTunnel *in,
                           struct workload *w)
{
	int err;

	if (!in)
		return 0;
	err = xds_enum(r, "application_tunnel.protocol", in->protocol, 2);
	w->has_app_tunnel = true;
	w->app_tunnel_proxy = in->protocol == 1;
	return err ? err : xds_port(r, "application_tunnel.port", in->port, &w->app_tunnel_port);
}

static int workload_enums(struct xds_reader *r, const Istio__Workload__Workload *in,
                          struct workload *w)
{
	static const char *const types[] = { "deployment", "cronjob", "pod", "job" };
	bool known = in->workload_type >= 0 && in->workload_type < (int)HB_ARRAY_LEN(types);
	/* 2 is LEGACY_ISTIO_MTLS, which nobody speaks any more. */
	int err = xds_enum(r, "tunnel_protocol", in->tunnel_protocol, 2);

	if (!err)
		err = xds_enum(r, "status", in->status, 2);
	if (!err)
		err = xds_enum(r, "network_mode", in->network_mode, 2);
	w->protocol = in->tunnel_protocol == 1 ? PROTOCOL_HBONE : PROTOCOL_TCP;
	w->status = in->status == 1 ? HEALTH_UNHEALTHY : HEALTH_HEALTHY;
	w->host_network = in->network_mode == 1;
	w->workload_type = types[known ? in->workload_type : 0];
	return err;
}

static int workload_put(struct xds_reader *r, const Istio__Workload__Workload *in)
{
	struct workload w = {
		.capacity = in->capacity ? in->capacity->value : 1,
		.native_tunnel = in->native_tunnel,
	};
	int err = workload_texts(r, in, &w);

	if (!err)
		err = workload_enums(r, in, &w);
	if (!err)
		err = ips_read(r, in, &w);
	if (!err)
		err = policies_read(r, in, &w);
	if (!err)
		err = services_read(r, in, &w);
	if (!err)
		err = locality_read(r, in->locality, &w);
	if (!err)
		err = app_tunnel_read(r, in->application_tunnel, &w);
	if (!err)
		err = ref_read(r, "waypoint", in->waypoint, &w.waypoint);
	if (!err)
		err = ref_read(r, "network_gateway", in->network_gateway, &w.gateway);
	return err ? err : xds_told(r, store_put_workload(r->store, &w));
}

/*
 * Services.
 */
static int vip_read(struct xds_reader *r, const Istio__Workload__NetworkAddress *in,
                    struct mesh_vip *vip)
{
	size_t len = in->address.len;
	int err = xds_text(r, "addresses", in->network.data, in->network.len, &vip->network);

	if (!err)
		err = xds_ip(r, "addresses", in->address.data, len, &vip->ip);
	if (err)
		return err;
	vip->prefix = hb_ip_is_v4(&vip->ip) ? 32 : 128;
	if (in->prefix_case != ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH ||
	    in->length == len * 8)
		return 0;
	if (xds_cidr(&vip->ip, len, in->length, &vip->prefix) < 0)
		return xds_fail(r, "addresses has a length of %u bits, expected at most %zu",
		                in->length, len * 8);
	return 0;
}

static int vips_read(struct xds_reader *r, const Istio__Workload__Service *in, struct service *s)
{
	struct mesh_vip *vips = xds_array(r, in->n_addresses, sizeof(*vips));
	int err = list_check(r, "addresses", in->n_addresses);

	if (!err && !vips)
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_addresses && !err; i++)
		err = vip_read(r, in->addresses[i], &vips[i]);
	s->vips = vips;
	s->vips_count = in->n_addresses;
	return err;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A set: sorted, each once. istiod gives those that it gathers from other networks in another order
 * each time, and what only changed its order must look the same, here and to the pool of
 * connections. */
static size_t sans_unite(const char **sans, size_t count)
{
	size_t kept = 0;

	qsort(sans, count, sizeof(*sans), by_text);
	for (size_t i = 0; i < count; i++)
		if (!kept || strcmp(sans[kept - 1], sans[i]) != 0)
			sans[kept++] = sans[i];
	return kept;
}

/* What is no SPIFFE name can be nobody's, and does not make a service unknown. */
static int sans_read(struct xds_reader *r, const Istio__Workload__Service *in, struct service *s)
{
	const char **sans = xds_array(r, in->n_subject_alt_names, sizeof(*sans));
	int err = list_check(r, "subject_alt_names", in->n_subject_alt_names);
	size_t count = 0;

	if (!err && !sans)
		err = -ENOMEM;
	for (size_t i = 0; i < in->n_subject_alt_names && !err; i++) {
		const ProtobufCBinaryData *san = &in->subject_alt_names[i];

		if (san->len && hb_spiffe_is_valid((const char *)san->data, san->len))
			err = xds_text(r, "subject_alt_names", san->data, san->len, &sans[count++]);
		else
			r->skipped++;
	}
	if (err)
		return err;
	s->sans = sans;
	s->sans_count = sans_unite(sans, count);
	return 0;
}

static int balancer_read(struct xds_reader *r, const Istio__Workload__LoadBalancing *in,
                         struct service *s)
{
	/* The numbers of LoadBalancing.Mode and Scope are the model's. */
	_Static_assert(LB_UNSPECIFIED == 0 && LB_STRICT == 1 && LB_FAILOVER == 2 &&
	                   LB_PASSTHROUGH == 3 && LB_REGION == 1 && LB_NETWORK == 6,
	               "as on the wire");
	size_t max = HB_ARRAY_LEN(s->lb_scopes), count;
	int err;

	if (!in)
		return 0;
	count = in->n_routing_preference;
	err = xds_enum(r, "load_balancing.mode", in->mode, 4);
	if (!err)
		err = xds_enum(r, "load_balancing.health_policy", in->health_policy, 2);
	if (!err && count > max)
		err = xds_fail(r,
		               "load_balancing.routing_preference has %zu scopes, expected at "
		               "most %zu",
		               count, max);
	for (size_t i = 0; i < count && !err; i++) {
		int scope = in->routing_preference[i];

		if (scope < LB_REGION || scope > LB_NETWORK)
			err = xds_fail(r,
			               "load_balancing.routing_preference has %d, expected 1 "
			               "to 6",
			               scope);
		else
			s->lb_scopes[s->lb_scopes_count++] = (enum lb_scope)scope;
	}
	s->has_lb = true;
	s->lb_mode = (enum lb_mode)in->mode;
	s->allow_all_health = in->health_policy == 1;
	return err;
}

static int weighted_read(struct xds_reader *r, const Istio__Workload__Service *in,
                         struct service *s)
{
	size_t count = in->n_weighted_waypoints;
	struct weighted_waypoint *waypoints = xds_array(r, count, sizeof(*waypoints));
	int err = list_check(r, "weighted_waypoints", count);

	if (!err && !waypoints)
		err = -ENOMEM;
	for (size_t i = 0; i < count && !err; i++) {
		const Istio__Workload__WeightedWaypoint *from = in->weighted_waypoints[i];

		if (!from->destination)
			err = xds_fail(r, "weighted_waypoints has one without a destination, "
			                  "expected one each");
		else
			err = ref_read(r, "weighted_waypoints", from->destination,
			               &waypoints[i].destination);
		waypoints[i].weight = from->weight;
	}
	s->weighted_waypoints = waypoints;
	s->weighted_waypoints_count = count;
	return err;
}

static int service_put(struct xds_reader *r, const Istio__Workload__Service *in)
{
	static const enum ip_families families[] = { FAMILIES_AUTO, FAMILIES_IPV4, FAMILIES_IPV6,
		                                     FAMILIES_DUAL };
	struct service s = {
		.canonical = in->canonical,
		.namespace_only = in->visibility == 1, /* what is unknown is public */
	};
	const struct text texts[] = {
		{ "name", &in->name, &s.name },
		{ "namespace", &in->namespace_, &s.ns },
		{ "hostname", &in->hostname, &s.hostname },
	};
	int err = texts_read(r, texts, HB_ARRAY_LEN(texts));

	if (!err)
		err = xds_enum(r, "ip_families", in->ip_families, (int)HB_ARRAY_LEN(families));
	if (!err) {
		s.families = families[in->ip_families];
		err = vips_read(r, in, &s);
	}
	if (!err)
		err = ports_read(r, "ports", in->ports, in->n_ports, &s.ports, &s.ports_count);
	if (!err)
		err = sans_read(r, in, &s);
	if (!err)
		err = ref_read(r, "waypoint", in->waypoint, &s.waypoint);
	if (!err)
		err = balancer_read(r, in->load_balancing, &s);
	if (!err)
		err = weighted_read(r, in, &s);
	return err ? err : xds_told(r, store_put_service(r->store, &s, NULL, 0));
}

int xds_put_address(struct xds_reader *r, const uint8_t *bytes, size_t size)
{
	ProtobufCAllocator allocator = { xds_alloc, xds_alloc_free, r };
	Istio__Workload__Address *address;

	r->no_memory = false;
	address = istio__workload__address__unpack(&allocator, size, bytes);
	if (!address)
		return r->no_memory ? -ENOMEM : xds_fail(r, "the value is no Address");
	if (address->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD)
		return workload_put(r, address->workload);
	if (address->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE)
		return service_put(r, address->service);
	return xds_fail(r, "the value is neither a workload nor a service");
}
