/*
 * balance: filter, rank, leave out who failed, then a weighted draw.
 */
#include "mesh/balance.h"

#include <string.h>

#include "mesh/hash.h"
#include "mesh/store.h"

static bool is_same_scope(enum lb_scope scope, const struct workload *a, const struct workload *b)
{
	switch (scope) {
	case LB_REGION:
		return strcmp(a->region, b->region) == 0;
	case LB_ZONE:
		return strcmp(a->zone, b->zone) == 0;
	case LB_SUBZONE:
		return strcmp(a->subzone, b->subzone) == 0;
	case LB_NODE:
		return strcmp(a->node, b->node) == 0;
	case LB_CLUSTER:
		return strcmp(a->cluster_id, b->cluster_id) == 0;
	case LB_NETWORK:
		return strcmp(a->network, b->network) == 0;
	}
	return false;
}

unsigned int balance_rank(const struct service *service, const struct workload *src,
                          const struct workload *dst, unsigned int *ret_matched)
{
	unsigned int matched = 0, bonus = 0;

	for (size_t i = 0; i < service->lb_scopes_count; i++) {
		/* The network, when it comes first, outweighs all the rest together. */
		bool leading_network = i == 0 && service->lb_scopes[i] == LB_NETWORK;

		if (is_same_scope(service->lb_scopes[i], src, dst)) {
			matched++;
			if (leading_network)
				bonus = (unsigned int)service->lb_scopes_count - 1;
		} else if (!leading_network) {
			break;
		}
	}
	*ret_matched = matched;
	return matched + bonus;
}

static bool lists_port(const struct service *service, uint16_t port)
{
	for (size_t i = 0; i < service->ports_count; i++) {
		if (service->ports[i].port == port)
			return true;
	}
	return false;
}

static bool is_reachable(const struct workload *src, const struct workload *dst)
{
	return dst->ips_count || *dst->hostname ||
	       (dst->gateway.kind != REF_NONE && strcmp(dst->network, src->network) != 0);
}

/* reference/datapath 2.6. 0: none. */
static uint16_t target_port(const struct balance_query *query, const struct endpoint *endpoint)
{
	uint16_t port = endpoint_target(query->service, endpoint, query->port);

	if (port == 0 && query->mode == BALANCE_WAYPOINT && endpoint->workload->app_tunnel_port)
		port = query->port;
	return port;
}

/* Whether the service has the port is asked once, as @has_port. */
static bool is_usable(const struct balance_query *query, const struct endpoint *endpoint,
                      bool has_port)
{
	const struct workload *workload = endpoint->workload;

	return workload &&
	       (endpoint->status == HEALTH_HEALTHY || query->service->allow_all_health) &&
	       is_reachable(query->src, workload) &&
	       (has_port || (query->mode == BALANCE_WAYPOINT && workload->has_app_tunnel)) &&
	       target_port(query, endpoint);
}

/* -1: not a candidate. */
static int candidate_rank(const struct balance_query *query, const struct endpoint *endpoint,
                          bool has_port)
{
	const struct service *service = query->service;
	unsigned int matched, rank;

	if (!is_usable(query, endpoint, has_port))
		return -1;
	if (!service->has_lb || service->lb_mode == LB_UNSPECIFIED)
		return 0;
	rank = balance_rank(service, query->src, endpoint->workload, &matched);
	if (service->lb_mode == LB_STRICT && matched < service->lb_scopes_count)
		return -1;
	return (int)rank;
}

bool balance_is_tried(const struct balance_view *view, uint64_t key)
{
	for (size_t i = 0; i < view->tried_count; i++)
		if (view->tried[i] == key)
			return true;
	return false;
}

/* One look at the endpoints. */
struct draw {
	const struct balance_query *query;
	bool has_port;
	bool watch; /* somebody may have failed */
	/* Who may be drawn: */
	bool avoided_too, weighty_only;
	const struct endpoint *not_this;
	uint64_t not_key; /* 0: any */
	/* Who can be: */
	int best;
	uint64_t total; /* weight of the best */
	size_t untried; /* those of any rank with a weight */
	bool left_out;  /* one that failed */
};

static uint64_t key_of(const struct balance_query *query, const struct endpoint *endpoint)
{
	return balance_key(query->view->scope, query->src, endpoint->workload,
	                   target_port(query, endpoint));
}

static bool is_failed(const struct draw *draw, const struct endpoint *endpoint, bool *ret_tried)
{
	const struct balance_view *view = draw->query->view;
	uint64_t key;

	*ret_tried = false;
	if (!draw->watch)
		return false;
	key = key_of(draw->query, endpoint);
	*ret_tried = key == draw->not_key || balance_is_tried(view, key);
	return *ret_tried || balance_is_avoided(view->memory, key, view->now_ms);
}

/* Its rank if it may be drawn, else -1. */
static int drawable(const struct draw *draw, const struct endpoint *endpoint)
{
	int rank = candidate_rank(draw->query, endpoint, draw->has_port);
	bool tried;

	if (rank < 0 || (draw->weighty_only && endpoint->workload->capacity == 0))
		return -1;
	if (is_failed(draw, endpoint, &tried) && (tried || !draw->avoided_too))
		return -1;
	return rank;
}

/* Counts @endpoint as one that there is. True: it is also one to avoid for now. */
static bool note(struct draw *draw, const struct endpoint *endpoint)
{
	bool tried, failed = is_failed(draw, endpoint, &tried);

	draw->left_out |= failed;
	draw->untried += !tried && endpoint->workload->capacity;
	return failed && (tried || !draw->avoided_too);
}

static void survey(struct draw *draw)
{
	const struct endpoint *endpoint;

	draw->best = -1;
	draw->total = 0;
	draw->untried = 0;
	draw->left_out = false;
	service_for_each_endpoint(endpoint, draw->query->service)
	{
		int rank = candidate_rank(draw->query, endpoint, draw->has_port);

		if (rank < 0 || (draw->weighty_only && endpoint->workload->capacity == 0))
			continue;
		if (note(draw, endpoint))
			continue;
		if (rank > draw->best) {
			draw->best = rank;
			draw->total = 0;
		}
		if (rank == draw->best)
			draw->total += endpoint->workload->capacity;
	}
}

/* The one at @at of the total weight. */
static const struct endpoint *take(const struct draw *draw, uint64_t at)
{
	const struct endpoint *endpoint;

	service_for_each_endpoint(endpoint, draw->query->service)
	{
		if (endpoint == draw->not_this || drawable(draw, endpoint) != draw->best)
			continue;
		if (at < endpoint->workload->capacity)
			return endpoint;
		at -= endpoint->workload->capacity;
	}
	return NULL;
}

static uint64_t flows_of(const struct balance_memory *memory, const struct endpoint *endpoint)
{
	return memory->flows[balance_slot(endpoint->workload)];
}

/* The power of two choices: a second draw among the others, and the less busy of both. */
static const struct endpoint *less_busy(struct draw *draw, const struct endpoint *first)
{
	const struct balance_memory *memory = draw->query->view->memory;
	uint64_t weight = first->workload->capacity;
	const struct endpoint *second;

	if (draw->total == weight)
		return first;
	draw->not_this = first;
	second = take(draw, hash_mix(draw->query->random, 1) % (draw->total - weight));
	draw->not_this = NULL;
	return flows_of(memory, first) * second->workload->capacity <=
	               flows_of(memory, second) * weight
	           ? first
	           : second;
}

/* First without those that failed just now, then with them. Whoever weighs nothing is no reason to
 * stop while another was left out: it would never have been drawn. */
static bool find_group(struct draw *draw)
{
	for (int pass = 0; pass < 4; pass++) {
		draw->avoided_too = pass >= 2;
		draw->weighty_only = pass & 1;
		survey(draw);
		if (draw->total)
			return true;
		if (!draw->left_out)
			return false;
	}
	return false;
}

/* Is there another one, not behind the same gateway? */
static bool has_others(struct draw *draw, const struct endpoint *endpoint, uint64_t key)
{
	if (draw->untried < 2 ||
	    strcmp(endpoint->workload->network, draw->query->src->network) == 0)
		return draw->untried > 1;
	draw->not_key = key;
	draw->watch = true;
	survey(draw);
	return draw->untried;
}

bool balance_pick(const struct balance_query *query, struct balance_choice *ret_choice)
{
	const struct balance_view *view = query->view;
	struct draw draw = {
		.query = query,
		.has_port = lists_port(query->service, query->port),
		.watch =
		    view->tried_count || (view->memory && view->now_ms < view->memory->quiet_ms),
	};
	const struct endpoint *endpoint;
	uint64_t key;

	if (!find_group(&draw))
		return false;
	endpoint = take(&draw, query->random % draw.total);
	if (view->least_flows && view->memory)
		endpoint = less_busy(&draw, endpoint);
	key = key_of(query, endpoint);
	*ret_choice = (struct balance_choice){
		.endpoint = endpoint,
		.port = target_port(query, endpoint),
		.key = key,
		.others = has_others(&draw, endpoint, key),
	};
	return true;
}
