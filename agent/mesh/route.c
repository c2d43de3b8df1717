/*
 * route: the decision procedure of reference/datapath 2.3, step by step.
 */
#include "mesh/route.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mesh/balance.h"
#include "mesh/identity.h"

#define HBONE_PORT   15008
#define HOSTNAME_MAX 253 /* RFC 1035 2.3.4, as text */

static void __attribute__((format(printf, 2, 3)))
refuse(struct route *route, const char *format, ...)
{
	va_list args;

	route->kind = ROUTE_REFUSE;
	va_start(args, format);
	vsnprintf(route->error, sizeof(route->error), format, args);
	va_end(args);
}

static void refuse_unhealthy(struct route *route, const struct hb_addr *dst)
{
	char text[HB_ADDR_STRLEN];

	refuse(route, "no healthy upstream: %s", hb_addr_format(dst, text, sizeof(text)));
}

/* Fail closed: whoever asked for a waypoint asked for what it enforces. */
static void refuse_waypoint(struct route *route, const struct mesh_ref *ref)
{
	char ip[HB_IP_STRLEN];

	if (ref->kind == REF_ADDRESS)
		refuse(route, "waypoint not supported yet: %s/%s", ref->network,
		       hb_ip_format(&ref->ip, ip, sizeof(ip)));
	else
		refuse(route, "waypoint not supported yet: %s/%s", ref->ns, ref->hostname);
}

/* The waypoint that would be asked first, or NULL. */
static const struct mesh_ref *service_waypoint(const struct service *service)
{
	for (size_t i = 0; i < service->weighted_waypoints_count; i++) {
		if (service->weighted_waypoints[i].weight)
			return &service->weighted_waypoints[i].destination;
	}
	return service->waypoint.kind == REF_NONE ? NULL : &service->waypoint;
}

static bool is_family_allowed(const struct service *service, const struct hb_ip *ip)
{
	if (!service || service->families == FAMILIES_AUTO || service->families == FAMILIES_DUAL)
		return true;
	return hb_ip_is_v4(ip) == (service->families == FAMILIES_IPV4);
}

/* reference/datapath 2.7; NULL: none. */
static const struct hb_ip *choose_ip(const struct service *service, const struct workload *workload,
                                     const struct hb_ip *dialled)
{
	const struct hb_ip *first = NULL;

	for (size_t i = 0; i < workload->ips_count; i++) {
		if (hb_ip_equal(&workload->ips[i], dialled))
			return &workload->ips[i];
	}
	for (size_t i = 0; i < workload->ips_count; i++) {
		const struct hb_ip *ip = &workload->ips[i];

		if (!is_family_allowed(service, ip))
			continue;
		if (hb_ip_is_v4(ip) == hb_ip_is_v4(dialled))
			return ip;
		if (!first)
			first = ip;
	}
	return first;
}

/* The service's own names; what is no SPIFFE name cannot match and is left out. */
static size_t expect_sans(const struct service *service, const char **identities, size_t max)
{
	struct identity_view view;
	size_t count = 0;

	for (size_t i = 0; service && i < service->sans_count && count < max; i++)
		if (identity_parse(service->sans[i], &view) == 0)
			identities[count++] = service->sans[i];
	return count;
}

/* The next hop is @workload, reached as @service, which may be NULL. */
static void expect_identities(struct route *route, const struct service *service,
                              const struct workload *workload)
{
	route->identities_count = expect_sans(service, route->identities, ROUTE_IDENTITIES_MAX - 1);
	route->identities[route->identities_count++] = workload->identity;
}

/* ---- another network: reference/datapath 1.14 ---- */

struct gateway {
	const struct service *service; /* it was named by; or NULL */
	const struct workload *workload;
	const struct hb_ip *ip;
	uint16_t port;
};

/* Service first, then workload. Its address follows the caller's family where it goes by name. */
static bool find_gateway(const struct snapshot *s, const struct route_query *query,
                         const struct mesh_ref *ref, struct gateway *ret_gateway)
{
	bool by_ip = ref->kind == REF_ADDRESS;
	struct gateway gateway = { .port = ref->port };
	const struct endpoint *endpoint;

	gateway.service = by_ip ? snapshot_service_at(s, ref->network, &ref->ip, NULL)
	                        : snapshot_service_by_name(s, ref->ns, ref->hostname);
	if (gateway.service) {
		/* Another draw than the one that has chosen the workload behind it. */
		endpoint = balance_pick(gateway.service, query->src, ref->port,
		                        query->random >> 32 ^ query->random << 32);
		if (!endpoint)
			return false;
		gateway.workload = endpoint->workload;
		gateway.port = endpoint_target(gateway.service, endpoint, ref->port);
	} else {
		gateway.workload = by_ip ? snapshot_workload_at(s, ref->network, &ref->ip)
		                         : snapshot_workload_by_host(s, ref->ns, ref->hostname);
	}
	if (gateway.workload)
		gateway.ip =
		    choose_ip(gateway.service, gateway.workload, by_ip ? &ref->ip : &query->dst.ip);
	*ret_gateway = gateway;
	return gateway.ip != NULL;
}

static void refuse_gateway(struct route *route, const struct mesh_ref *ref)
{
	char ip[HB_IP_STRLEN];

	if (ref->kind == REF_ADDRESS)
		refuse(route, "no healthy gateway to network %s: %s/%s", route->workload->network,
		       ref->network, hb_ip_format(&ref->ip, ip, sizeof(ip)));
	else
		refuse(route, "no healthy gateway to network %s: %s/%s", route->workload->network,
		       ref->ns, ref->hostname);
}

/* @asked: what is dialled is this service's, also as the node sees it. */
static void go_through_gateway(const struct snapshot *s, struct route *route,
                               const struct route_query *query, const struct service *asked)
{
	const struct workload *workload = route->workload;
	struct gateway gateway;

	if (!asked) {
		refuse(route,
		       "a workload of network %s is reached by the address of a service only",
		       workload->network);
		return;
	}
	if (workload->gateway.kind == REF_NONE) {
		refuse(route, "workload %s of network %s has no gateway", workload->uid,
		       workload->network);
		return;
	}
	route->inner_identities_count =
	    expect_sans(route->service, route->inner_identities, ROUTE_IDENTITIES_MAX);
	if (route->inner_identities_count == 0) {
		/* Nobody could prove to be it: the gateway, not we, chooses the workload. */
		refuse(route, "service %s has endpoints in network %s, but no subjectAltNames",
		       route->service->hostname, workload->network);
		return;
	}
	if (strlen(asked->hostname) > HOSTNAME_MAX) {
		refuse(route, "the name of service %.64s... is too long", asked->hostname);
		return;
	}
	if (!find_gateway(s, query, &workload->gateway, &gateway)) {
		refuse_gateway(route, &workload->gateway);
		return;
	}
	route->kind = ROUTE_DOUBLE;
	route->next_hop = (struct hb_addr){ .ip = *gateway.ip, .port = gateway.port };
	route->host = asked->hostname;
	route->authority.port = query->dst.port;
	expect_identities(route, gateway.service, gateway.workload);
}

/* ---- our own ---- */

/* Straight to the workload, in a tunnel if it speaks HBONE. */
static void go_direct(struct route *route, const struct route_query *query, uint16_t port)
{
	const struct workload *workload = route->workload;
	const struct hb_ip *ip = choose_ip(route->service, workload, &query->dst.ip);

	if (!ip) {
		if (*workload->hostname && workload->ips_count == 0)
			refuse(route, "endpoint by hostname not supported yet: %s",
			       workload->hostname);
		else
			refuse_unhealthy(route, &query->dst);
		return;
	}
	route->next_hop = (struct hb_addr){ .ip = *ip, .port = port };
	if (workload->protocol != PROTOCOL_HBONE) {
		route->kind = ROUTE_PLAIN;
		return;
	}
	route->kind = ROUTE_HBONE;
	route->authority = route->next_hop;
	route->next_hop.port = HBONE_PORT;
	expect_identities(route, route->service, workload);
}

static void go_by_service(const struct snapshot *s, struct route *route,
                          const struct route_query *query, const struct service *asked)
{
	const struct service *service = route->service;
	const struct endpoint *endpoint;

	if (service->has_lb && service->lb_mode == LB_PASSTHROUGH)
		return;
	endpoint = balance_pick(service, query->src, query->dst.port, query->random);
	if (!endpoint) {
		refuse_unhealthy(route, &query->dst);
		return;
	}
	route->workload = endpoint->workload;
	if (strcmp(route->workload->network, query->src->network) != 0)
		go_through_gateway(s, route, query, asked);
	else
		go_direct(route, query, endpoint_target(service, endpoint, query->dst.port));
}

static void go_by_workload(struct route *route, const struct route_query *query)
{
	if (route->workload->waypoint.kind != REF_NONE)
		refuse_waypoint(route, &route->workload->waypoint);
	else
		go_direct(route, query, query->dst.port);
}

void route_decide(const struct snapshot *s, const struct route_query *query,
                  struct route *ret_route)
{
	struct route route = { .kind = ROUTE_PASSTHROUGH, .next_hop = query->dst };
	const struct service *asked = NULL;
	const char *ns;

	assert(query->src);
	ns = query->src->ns;

	/* "What is this": in the node's network, workloads first. Only this finds service
	 * waypoints. */
	if (!snapshot_workload_at(s, query->network, &query->dst.ip))
		asked = snapshot_service_at(s, query->network, &query->dst.ip, ns);
	/* "Where does it go": in the source's network, services first. */
	route.service = snapshot_service_at(s, query->src->network, &query->dst.ip, ns);
	if (!route.service)
		route.workload = snapshot_workload_at(s, query->src->network, &query->dst.ip);

	if (asked && service_waypoint(asked)) {
		route.service = asked;
		refuse_waypoint(&route, service_waypoint(asked));
	} else if (route.service) {
		go_by_service(s, &route, query, asked);
	} else if (route.workload) {
		go_by_workload(&route, query);
	} else if (asked && !(asked->has_lb && asked->lb_mode == LB_PASSTHROUGH)) {
		route.service = asked;
		refuse_unhealthy(&route, &query->dst);
	}
	*ret_route = route;
}

const char *route_authority(const struct route *route, char out[ROUTE_AUTHORITY_SIZE])
{
	if (route->kind == ROUTE_DOUBLE)
		snprintf(out, ROUTE_AUTHORITY_SIZE, "%s:%u", route->host, route->authority.port);
	else
		hb_addr_format(&route->authority, out, ROUTE_AUTHORITY_SIZE);
	return out;
}
