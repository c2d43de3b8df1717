/*
 * balance: filter, rank, then a weighted draw.
 */
#include "mesh/balance.h"

#include <string.h>

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

static bool has_port(const struct service *service, uint16_t port)
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

static bool is_usable(const struct service *service, const struct endpoint *endpoint,
                      const struct workload *src, uint16_t port)
{
	return endpoint->workload &&
	       (endpoint->status == HEALTH_HEALTHY || service->allow_all_health) &&
	       is_reachable(src, endpoint->workload) && endpoint_target(service, endpoint, port);
}

/* -1: not a candidate. */
static int candidate_rank(const struct service *service, const struct endpoint *endpoint,
                          const struct workload *src, uint16_t port)
{
	unsigned int matched, rank;

	if (!is_usable(service, endpoint, src, port))
		return -1;
	if (!service->has_lb || service->lb_mode == LB_UNSPECIFIED)
		return 0;
	rank = balance_rank(service, src, endpoint->workload, &matched);
	if (service->lb_mode == LB_STRICT && matched < service->lb_scopes_count)
		return -1;
	return (int)rank;
}

const struct endpoint *balance_pick(const struct service *service, const struct workload *src,
                                    uint16_t port, uint64_t random)
{
	const struct endpoint *endpoint;
	uint64_t total = 0, at;
	int best = -1;

	if (!has_port(service, port))
		return NULL;
	service_for_each_endpoint(endpoint, service)
	{
		int rank = candidate_rank(service, endpoint, src, port);

		if (rank > best) {
			best = rank;
			total = 0;
		}
		if (rank >= 0 && rank == best)
			total += endpoint->workload->capacity;
	}
	if (total == 0)
		return NULL;
	at = random % total;
	service_for_each_endpoint(endpoint, service)
	{
		if (candidate_rank(service, endpoint, src, port) != best)
			continue;
		if (at < endpoint->workload->capacity)
			return endpoint;
		at -= endpoint->workload->capacity;
	}
	return NULL;
}
