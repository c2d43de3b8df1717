/*
 * route_hop: references by address and by name.
 */
#include "mesh/route_hop.h"

#include <stdio.h>
#include <string.h>

#include "mesh/hash.h"

#define DRAW_ADDRESS 3 /* beside route.c's */

static bool is_family_allowed(const struct service *service, const struct hb_ip *ip)
{
	if (!service || service->families == FAMILIES_AUTO || service->families == FAMILIES_DUAL)
		return true;
	return hb_ip_is_v4(ip) == (service->families == FAMILIES_IPV4);
}

static bool has_ip(const struct workload *workload, const struct hb_ip *ip)
{
	for (size_t i = 0; i < workload->ips_count; i++)
		if (hb_ip_equal(&workload->ips[i], ip))
			return true;
	return false;
}

const struct hb_ip *hop_ip(const struct service *service, const struct workload *workload,
                           const struct hb_ip *dialled)
{
	const struct hb_ip *first = NULL;

	for (size_t i = 0; i < workload->ips_count; i++)
		if (hb_ip_equal(&workload->ips[i], dialled))
			return &workload->ips[i];
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

bool hop_dial(struct route *route, const struct service *service, const struct workload *workload,
              const struct hb_ip *dialled, uint16_t port)
{
	const struct hb_ip *ip = hop_ip(service, workload, dialled);

	if (!ip && !*workload->hostname)
		return false;
	route->next_hop = (struct hb_addr){ .port = port };
	if (ip) {
		route->next_hop.ip = *ip;
	} else {
		route->lookup = workload->hostname;
		route->prefers_v6 = !hb_ip_is_v4(dialled);
	}
	return true;
}

/* ---- what a name means ---- */

static uint64_t address_key(const struct route *route, const struct hb_ip *ip)
{
	return hash_mix(route->key, hash_bytes(ip->b, sizeof(ip->b)));
}

/* How gladly it is taken; -1: not again. */
static int liking(const struct route *route, const struct balance_view *view,
                  const struct hb_ip *ip)
{
	uint64_t key = address_key(route, ip);

	if (balance_is_tried(view, key))
		return -1;
	return (balance_is_avoided(view->memory, key, view->now_ms) ? 0 : 2) +
	       (hb_ip_is_v4(ip) != route->prefers_v6);
}

bool route_resolve(struct route *route, const struct route_query *query, const struct hb_ip *ips,
                   size_t count)
{
	const struct balance_view *view = &query->view;
	size_t liked = 0, untried = 0, at;
	int best = -1;

	for (size_t i = 0; i < count; i++) {
		int much = liking(route, view, &ips[i]);

		untried += much >= 0;
		if (much > best) {
			best = much;
			liked = 0;
		}
		liked += much == best;
	}
	if (best < 0)
		return false;
	/* Another draw than the one that chose the endpoint. */
	at = hash_mix(query->random, DRAW_ADDRESS) % liked;
	for (size_t i = 0; i < count; i++) {
		if (liking(route, view, &ips[i]) != best || at-- > 0)
			continue;
		route->next_hop.ip = ips[i];
		break;
	}
	if (route->kind == ROUTE_HBONE && !route->via)
		route->authority.ip = route->next_hop.ip;
	route->address_key = address_key(route, &route->next_hop.ip);
	route->other_addresses = untried > 1;
	return true;
}

/* ---- whom a reference means ---- */

const char *hop_text(const struct mesh_ref *ref, char out[HOP_TEXT_SIZE])
{
	char ip[HB_IP_STRLEN];

	if (ref->kind == REF_ADDRESS)
		snprintf(out, HOP_TEXT_SIZE, "%s/%s", ref->network,
		         hb_ip_format(&ref->ip, ip, sizeof(ip)));
	else
		snprintf(out, HOP_TEXT_SIZE, "%s/%s", ref->ns, ref->hostname);
	return out;
}

void hop_lookup(const struct snapshot *s, const struct mesh_ref *ref,
                const struct service **ret_service, const struct workload **ret_workload)
{
	bool by_ip = ref->kind == REF_ADDRESS;

	*ret_workload = NULL;
	*ret_service = by_ip ? snapshot_service_at(s, ref->network, &ref->ip, NULL)
	                     : snapshot_service_by_name(s, ref->ns, ref->hostname);
	if (!*ret_service)
		*ret_workload = by_ip ? snapshot_workload_at(s, ref->network, &ref->ip)
		                      : snapshot_workload_by_host(s, ref->ns, ref->hostname);
}

enum hop_fault hop_find(const struct snapshot *s, const struct route_query *query,
                        const struct mesh_ref *ref, enum balance_mode mode, uint64_t random,
                        struct hop *ret_hop)
{
	struct hop hop = { .port = ref->port };
	struct balance_choice choice;
	struct balance_query pick = {
		.src = query->src,
		.port = ref->port,
		.mode = mode,
		.random = random,
		.view = &query->view,
	};

	hop_lookup(s, ref, &hop.service, &hop.workload);
	if (hop.service) {
		pick.service = hop.service;
		if (!balance_pick(&pick, &choice))
			return HOP_UNHEALTHY;
		hop.workload = choice.endpoint->workload;
		hop.port = choice.port;
		hop.key = choice.key;
		hop.others = choice.others;
	} else if (!hop.workload) {
		return HOP_UNKNOWN;
	} else {
		hop.key = balance_key(query->view.scope, query->src, hop.workload, hop.port);
	}
	*ret_hop = hop;
	return HOP_FOUND;
}

static bool is_source(const struct route_query *query, const struct workload *workload)
{
	return workload && strcmp(workload->identity, query->src->identity) == 0 &&
	       has_ip(workload, &query->src_ip);
}

bool hop_is_source(const struct snapshot *s, const struct route_query *query,
                   const struct mesh_ref *ref)
{
	const struct endpoint *endpoint;
	const struct workload *workload;
	const struct service *service;

	hop_lookup(s, ref, &service, &workload);
	if (!service)
		return is_source(query, workload);
	service_for_each_endpoint(endpoint,
	                          service) if (is_source(query, endpoint->workload)) return true;
	return false;
}
