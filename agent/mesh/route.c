/*
 * route: the decision procedure of reference/datapath 2.3, step by step.
 *
 * A service with a waypoint goes there, whatever its mode; a service is balanced; a workload's own
 * waypoint counts only where the workload itself was dialled, and not for that waypoint.
 */
#include "mesh/route.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mesh/hash.h"
#include "mesh/identity.h"
#include "mesh/route_hop.h"

#define HBONE_PORT   15008
#define HOSTNAME_MAX 253 /* RFC 1035 2.3.4, as text */

enum { DRAW_WAYPOINT = 1, DRAW_GATEWAY }; /* several independent draws out of one number */

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

/* As ztunnel writes it: what the reference says, without a namespace. */
static const char *ref_text(const struct mesh_ref *ref, char out[HOP_TEXT_SIZE])
{
	const char *text = hop_text(ref, out), *slash = strchr(text, '/');

	return ref->kind == REF_HOSTNAME && slash ? slash + 1 : text;
}

/* Fail closed: whoever asked for a waypoint asked for what it enforces. */
static void refuse_waypoint(struct route *route, const struct mesh_ref *ref, enum hop_fault fault)
{
	char text[HOP_TEXT_SIZE];

	if (fault == HOP_UNKNOWN)
		refuse(route, "unknown waypoint: waypoint %.200s not found", ref_text(ref, text));
	else
		refuse(route, "no healthy waypoint: %.200s, port %u", hop_text(ref, text),
		       ref->port);
}

/* One of the weighted ones by @random; the other one where none has a weight. NULL: none. */
static const struct mesh_ref *service_waypoint(const struct service *service, uint64_t random)
{
	uint64_t total = 0, at;

	for (size_t i = 0; i < service->weighted_waypoints_count; i++)
		total += service->weighted_waypoints[i].weight;
	if (total == 0)
		return service->waypoint.kind == REF_NONE ? NULL : &service->waypoint;
	/* Another draw than the one among its endpoints. */
	at = hash_mix(random, DRAW_WAYPOINT) % total;
	for (size_t i = 0; i < service->weighted_waypoints_count; i++) {
		if (at < service->weighted_waypoints[i].weight)
			return &service->weighted_waypoints[i].destination;
		at -= service->weighted_waypoints[i].weight;
	}
	return NULL;
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

static void refuse_gateway(struct route *route, const struct mesh_ref *ref, enum hop_fault fault)
{
	char text[HOP_TEXT_SIZE];

	if (fault == HOP_UNKNOWN)
		refuse(route, "unknown network gateway: network gateway %.200s not found",
		       ref_text(ref, text));
	else
		refuse(route, "no healthy gateway to network %.64s: %.160s",
		       route->workload->network, hop_text(ref, text));
}

/*
 * @asked: what is dialled is this service's, also as the node sees it. @picked: the workload is
 * behind this one: the same, or its waypoint's.
 */
static void go_through_gateway(const struct snapshot *s, struct route *route,
                               const struct route_query *query, const struct service *asked,
                               const struct service *picked)
{
	const struct workload *workload = route->workload;
	const struct mesh_ref *ref = &workload->gateway;
	enum hop_fault fault;
	struct hop gateway;

	if (!asked) {
		refuse(route,
		       "a workload of network %s is reached by the address of a service only",
		       workload->network);
		return;
	}
	if (ref->kind == REF_NONE) {
		refuse(route, "workload %s of network %s has no gateway", workload->uid,
		       workload->network);
		return;
	}
	route->inner_identities_count =
	    expect_sans(picked, route->inner_identities, ROUTE_IDENTITIES_MAX);
	if (route->inner_identities_count == 0) {
		/* Nobody could prove to be it: the gateway, not we, chooses the workload. */
		refuse(route, "service %s has endpoints in network %s, but no subjectAltNames",
		       picked ? picked->hostname : workload->hostname, workload->network);
		return;
	}
	if (strlen(asked->hostname) > HOSTNAME_MAX) {
		refuse(route, "the name of service %.64s... is too long", asked->hostname);
		return;
	}
	/* Another draw than the one that has chosen the workload behind it. */
	fault = hop_find(s, query, ref, BALANCE_STANDARD, hash_mix(query->random, DRAW_GATEWAY),
	                 &gateway);
	if (fault != HOP_FOUND ||
	    !hop_dial(route, gateway.service, gateway.workload,
	              ref->kind == REF_ADDRESS ? &ref->ip : &query->dst.ip, gateway.port)) {
		refuse_gateway(route, ref, fault);
		route->missing = fault == HOP_UNKNOWN ? ref : NULL;
		return;
	}
	route->via = true;
	if (gateway.others) {
		/* Else route->key stands for all that lies behind this gateway. */
		route->key = gateway.key;
		route->others = true;
	}
	route->kind = ROUTE_DOUBLE;
	route->host = asked->hostname;
	route->authority.port = query->dst.port;
	expect_identities(route, gateway.service, gateway.workload);
}

/* ---- a waypoint: reference/datapath 2.8 ---- */

static void go_by_waypoint(const struct snapshot *s, struct route *route,
                           const struct route_query *query, const struct mesh_ref *ref,
                           const struct service *asked)
{
	bool by_ip = ref->kind == REF_ADDRESS;
	char text[HOP_TEXT_SIZE];
	enum hop_fault fault;
	struct hop hop;

	fault = hop_find(s, query, ref, BALANCE_WAYPOINT, query->random, &hop);
	if (fault != HOP_FOUND) {
		route->workload = NULL;
		route->missing = fault == HOP_UNKNOWN ? ref : NULL;
		refuse_waypoint(route, ref, fault);
		return;
	}
	route->workload = hop.workload;
	route->via = true;
	route->key = hop.key;
	route->others = hop.others;
	if (strcmp(hop.workload->network, query->src->network) != 0) {
		go_through_gateway(s, route, query, asked, hop.service);
		return;
	}
	if (!hop_dial(route, hop.service, hop.workload, by_ip ? &ref->ip : &query->dst.ip,
	              hop.port)) {
		refuse(route, "waypoint %.200s has no address", hop_text(ref, text));
		return;
	}
	/* Whatever protocol it says that it speaks: a waypoint is asked over HBONE. */
	route->kind = ROUTE_HBONE;
	route->authority = query->dst;
	expect_identities(route, hop.service, hop.workload);
}

/* ---- our own ---- */

/* Straight to the workload, in a tunnel if it speaks HBONE. */
static void go_direct(struct route *route, const struct route_query *query, uint16_t port)
{
	const struct workload *workload = route->workload;

	if (!hop_dial(route, route->service, workload, &query->dst.ip, port)) {
		refuse_unhealthy(route, &query->dst);
		return;
	}
	if (workload->protocol != PROTOCOL_HBONE) {
		route->kind = ROUTE_PLAIN;
		return;
	}
	route->kind = ROUTE_HBONE;
	route->authority = route->next_hop;
	route->next_hop.port = HBONE_PORT;
	expect_identities(route, route->service, workload);
}

static bool is_passthrough(const struct service *service)
{
	return service->has_lb && service->lb_mode == LB_PASSTHROUGH;
}

static void go_by_service(const struct snapshot *s, struct route *route,
                          const struct route_query *query, const struct service *asked)
{
	struct balance_query pick = {
		.service = route->service,
		.src = query->src,
		.port = query->dst.port,
		.random = query->random,
		.view = &query->view,
	};
	struct balance_choice choice;

	if (!balance_pick(&pick, &choice)) {
		refuse_unhealthy(route, &query->dst);
		return;
	}
	route->workload = choice.endpoint->workload;
	route->key = choice.key;
	route->others = choice.others;
	if (strcmp(route->workload->network, query->src->network) != 0)
		go_through_gateway(s, route, query, asked, route->service);
	else
		go_direct(route, query, choice.port);
}

static void go_by_workload(const struct snapshot *s, struct route *route,
                           const struct route_query *query)
{
	const struct mesh_ref *waypoint = &route->workload->waypoint;

	if (waypoint->kind != REF_NONE && !hop_is_source(s, query, waypoint))
		go_by_waypoint(s, route, query, waypoint, NULL);
	else
		go_direct(route, query, query->dst.port);
}

void route_decide(const struct snapshot *s, const struct route_query *query,
                  struct route *ret_route)
{
	struct route route = { .kind = ROUTE_PASSTHROUGH, .next_hop = query->dst };
	const struct mesh_ref *waypoint = NULL;
	const struct service *asked = NULL;
	bool is_workload;
	const char *ns;

	assert(query->src);
	ns = query->src->ns;

	/* "What is this": in the node's network, workloads first. Only this finds service
	 * waypoints. */
	is_workload = snapshot_workload_at(s, query->network, &query->dst.ip) != NULL;
	if (!is_workload)
		asked = snapshot_service_at(s, query->network, &query->dst.ip, ns);
	if (asked)
		waypoint = service_waypoint(asked, query->random);
	/* "Where does it go": in the source's network, services first. */
	route.service = snapshot_service_at(s, query->src->network, &query->dst.ip, ns);
	if (!route.service)
		route.workload = snapshot_workload_at(s, query->src->network, &query->dst.ip);

	if (waypoint) {
		route.service = asked;
		go_by_waypoint(s, &route, query, waypoint, asked);
	} else if (route.service && !is_passthrough(route.service)) {
		go_by_service(s, &route, query, asked);
	} else if (route.workload) {
		go_by_workload(s, &route, query);
	} else if (asked && !is_passthrough(asked)) {
		route.service = asked;
		refuse_unhealthy(&route, &query->dst);
	} else {
		route.unknown = !is_workload && !asked && !route.service;
	}
	*ret_route = route;
}

bool route_missing(const struct route *route, const struct route_query *query,
                   char out[ROUTE_MISSING_SIZE])
{
	char ip[HB_IP_STRLEN];

	if (route->missing)
		hop_text(route->missing, out);
	else if (route->unknown)
		snprintf(out, ROUTE_MISSING_SIZE, "%s/%s", query->network,
		         hb_ip_format(&query->dst.ip, ip, sizeof(ip)));
	return route->missing || route->unknown;
}

const char *route_authority(const struct route *route, char out[ROUTE_AUTHORITY_SIZE])
{
	if (route->kind == ROUTE_DOUBLE)
		snprintf(out, ROUTE_AUTHORITY_SIZE, "%s:%u", route->host, route->authority.port);
	else
		hb_addr_format(&route->authority, out, ROUTE_AUTHORITY_SIZE);
	return out;
}
