/*
 * route_text: a decision as one line: kind, next hop (name?port: to be looked up), authority,
 * accounts of the identities expected there, and after a bar of those behind a gateway; or why not.
 */
#pragma once

#include <stdio.h>

#include "mesh/route.h"
#include "unit/agent/mesh/mesh_text.h"

static inline void route_format(const struct route *route, char *out, size_t size)
{
	static const char *const kinds[] = { "passthrough", "plain", "hbone", "double" };
	char hop[HB_ADDR_STRLEN], authority[ROUTE_AUTHORITY_SIZE];
	size_t used;

	if (route->kind == ROUTE_REFUSE) {
		snprintf(out, size, "%s", route->error);
		return;
	}
	if (route->lookup && !route->address_key)
		used = (size_t)snprintf(out, size, "%s %s?%u", kinds[route->kind], route->lookup,
		                        route->next_hop.port);
	else
		used = (size_t)snprintf(out, size, "%s %s", kinds[route->kind],
		                        hb_addr_format(&route->next_hop, hop, sizeof(hop)));
	if (route->kind == ROUTE_HBONE || route->kind == ROUTE_DOUBLE)
		used += (size_t)snprintf(out + used, size - used, " %s",
		                         route_authority(route, authority));
	for (size_t i = 0; i < route->identities_count; i++)
		used += (size_t)snprintf(out + used, size - used, " %s",
		                         strrchr(route->identities[i], '/') + 1);
	for (size_t i = 0; i < route->inner_identities_count; i++)
		used += (size_t)snprintf(out + used, size - used, "%s %s", i ? "" : " |",
		                         strrchr(route->inner_identities[i], '/') + 1);
}
