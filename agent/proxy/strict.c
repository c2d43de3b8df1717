/*
 * strict: each waypoint of the port is asked for; the first that the peer is lets it in.
 */
#include "proxy/strict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mesh/hash.h"
#include "mesh/identity.h"
#include "mesh/route_hop.h"

struct search {
	const struct snapshot *s;
	const struct strict_query *query;
	const struct mesh_ref *first; /* a waypoint of the port; NULL: it has none */
	bool free;                    /* the peer is one, or the workload is */
	bool empty;                   /* one of them is not known, or nobody is behind it */
};

/* ---- exceptions ---- */

/* The next of a comma-separated list, without blanks around it; false: no more. */
static bool next_name(const char **rest, const char **ret_name, size_t *ret_len)
{
	const char *name = *rest;
	size_t len;

	if (!*name)
		return false;
	len = strcspn(name, ",");
	*rest = name + len + (name[len] == ',');
	while (len && *name == ' ') {
		name++;
		len--;
	}
	while (len && name[len - 1] == ' ')
		len--;
	*ret_name = name;
	*ret_len = len;
	return true;
}

static bool is_exception(const char *except, const char *identity)
{
	const char *name;
	size_t len;

	while (next_name(&except, &name, &len))
		if (len == strlen(identity) && memcmp(name, identity, len) == 0)
			return true;
	return false;
}

int strict_except_check(const char *except, char *why, size_t why_size)
{
	struct identity_view view;
	const char *name;
	char text[256];
	size_t len;

	while (next_name(&except, &name, &len)) {
		snprintf(text, sizeof(text), "%.*s", (int)len, name);
		if (len < sizeof(text) && identity_parse(text, &view) == 0)
			continue;
		snprintf(why, why_size,
		         "'%.100s' is no identity, expected spiffe://<trust domain>/ns/<namespace>"
		         "/sa/<account>",
		         text);
		return -EINVAL;
	}
	return 0;
}

/* ---- waypoints ---- */

typedef void see_fn(void *ctx, const struct workload *workload);

/* False: nobody is behind @ref, or it is not known. */
static bool see_behind(const struct snapshot *s, const struct mesh_ref *ref, see_fn *see, void *ctx)
{
	const struct workload *workload;
	const struct service *service;
	const struct endpoint *endpoint;
	bool any = false;

	hop_lookup(s, ref, &service, &workload);
	if (workload)
		see(ctx, workload);
	if (!service)
		return workload;
	service_for_each_endpoint(endpoint, service)
	{
		if (!endpoint->workload)
			continue;
		see(ctx, endpoint->workload);
		any = true;
	}
	return any;
}

static void look_at_workload(void *ctx, const struct workload *workload)
{
	struct search *search = ctx;
	const char *identity = search->query->identity;

	if (workload == search->query->workload ||
	    (identity && *identity && strcmp(workload->identity, identity) == 0))
		search->free = true;
}

static void look_at(struct search *search, const struct mesh_ref *ref)
{
	if (ref->kind == REF_NONE)
		return;
	if (!search->first)
		search->first = ref;
	if (!see_behind(search->s, ref, look_at_workload, search))
		search->empty = true;
}

static void look_at_all(struct search *search)
{
	const struct workload *workload = search->query->workload;
	const struct service *service;
	const struct endpoint *endpoint;
	struct services_iter iter;

	look_at(search, &workload->waypoint);
	snapshot_services_of(search->s, workload, &iter);
	while ((service = services_next(&iter, &endpoint))) {
		if (!service_has_target(service, endpoint, search->query->port))
			continue;
		look_at(search, &service->waypoint);
		for (size_t i = 0; i < service->weighted_waypoints_count; i++)
			look_at(search, &service->weighted_waypoints[i].destination);
	}
}

static void explain(const struct strict_query *query, const struct mesh_ref *waypoint, char *words,
                    size_t size)
{
	bool plain = !query->identity || !*query->identity;
	char text[HOP_TEXT_SIZE];

	snprintf(words, size, "port %u of %.50s/%.50s is reached through waypoint %.100s only, %s",
	         query->port, query->workload->ns, query->workload->name, hop_text(waypoint, text),
	         plain ? "not in plaintext" : "not directly");
}

bool strict_allows(const struct snapshot *s, const struct strict_query *query, char *words,
                   size_t size)
{
	bool plain = !query->identity || !*query->identity;
	struct search search = { .s = s, .query = query };

	look_at_all(&search);
	if (!search.first || search.free)
		return true;
	if (!plain && is_exception(query->except, query->identity))
		return true;
	/* In plaintext nothing comes from a waypoint. */
	if (!plain && query->stands && search.empty)
		return true;
	explain(query, search.first, words, size);
	return false;
}

/* ---- changes ---- */

/* A sum, as the order of the workloads says nothing. */
static void add_identity(void *ctx, const struct workload *workload)
{
	*(uint64_t *)ctx += hash_text(workload->identity);
}

static uint64_t print_ref(const struct snapshot *s, const struct mesh_ref *ref)
{
	char text[HOP_TEXT_SIZE];
	uint64_t behind = 1;

	if (ref->kind == REF_NONE)
		return 0;
	(void)see_behind(s, ref, add_identity, &behind);
	return hash_mix(hash_text(hop_text(ref, text)), behind);
}

static uint64_t print_ports(const struct mesh_port *ports, size_t count)
{
	uint64_t print = count;

	for (size_t i = 0; i < count; i++)
		print = hash_mix(print, (uint64_t)ports[i].port << 16 | ports[i].target);
	return print;
}

static uint64_t print_service(const struct snapshot *s, const struct service *service,
                              const struct endpoint *endpoint)
{
	uint64_t print = print_ref(s, &service->waypoint);

	for (size_t i = 0; i < service->weighted_waypoints_count; i++)
		print = hash_mix(print, print_ref(s, &service->weighted_waypoints[i].destination));
	if (!print)
		return 0;
	print = hash_mix(print, print_ports(service->ports, service->ports_count));
	return hash_mix(print, print_ports(endpoint->ports, endpoint->ports_count));
}

uint64_t strict_print(const struct snapshot *s, const struct workload *workload)
{
	uint64_t print = print_ref(s, &workload->waypoint);
	const struct service *service;
	const struct endpoint *endpoint;
	struct services_iter iter;

	snapshot_services_of(s, workload, &iter);
	while ((service = services_next(&iter, &endpoint)))
		print += print_service(s, service, endpoint); /* they come in any order */
	return hash_mix(print, workload->app_tunnel_port);
}
