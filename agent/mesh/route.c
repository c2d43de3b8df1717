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

#define HBONE_PORT 15008

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

/* The service's own names first; what is no SPIFFE name cannot match and is left out. */
static void expect_identities(struct route *route)
{
	struct identity_view view;

	for (size_t i = 0; route->service && i < route->service->sans_count; i++) {
		if (route->identities_count < ROUTE_IDENTITIES_MAX - 1 &&
		    identity_parse(route->service->sans[i], &view) == 0)
			route->identities[route->identities_count++] = route->service->sans[i];
	}
	route->identities[route->identities_count++] = route->workload->identity;
}

/* Straight to the workload, in a tunnel if it speaks HBONE. */
static void go_direct(struct route *route, const struct route_query *query, uint16_t port)
{
	const struct workload *workload = route->workload;
	const struct hb_ip *ip;

	if (strcmp(workload->network, query->src->network) != 0) {
		refuse(route, "network not supported yet: %s", workload->network);
		return;
	}
	ip = choose_ip(route->service, workload, &query->dst.ip);
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
	expect_identities(route);
}

static void go_by_service(struct route *route, const struct route_query *query)
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
		go_by_service(&route, query);
	} else if (route.workload) {
		go_by_workload(&route, query);
	} else if (asked && !(asked->has_lb && asked->lb_mode == LB_PASSTHROUGH)) {
		route.service = asked;
		refuse_unhealthy(&route, &query->dst);
	}
	*ret_route = route;
}
