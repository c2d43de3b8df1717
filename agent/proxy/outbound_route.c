/*
 * outbound_route: what a pod and its worker know, given to route; what route says, given to the
 * log.
 */
#include "proxy/outbound_route.h"

#include <stdio.h>
#include <string.h>

#include "config/settings.h"
#include "proxy/ends.h"
#include "proxy/worker.h"

void outbound_ask(struct pod *pod, const struct flow *flow, struct route_query *query)
{
	const struct worker *worker = pod->worker;

	query->src = pod->workload;
	query->src_ip = flow->path->src;
	query->network = worker->options.settings->network;
	query->dst = *flow_orig_dst(flow);
	query->view.memory = &worker->balance;
	query->view.now_ms = hb_loop_now_ms(worker->loop);
	query->view.scope = pod->spec->index;
	query->view.least_flows = worker->options.settings->least_flows;
}

int outbound_decide(struct pod *pod, const struct flow *flow, struct route_query *query,
                    struct route *route, char *words, size_t size)
{
	outbound_ask(pod, flow, query);
	words[0] = 0;
	if (hb_ip_is_loopback(&flow_orig_dst(flow)->ip) &&
	    pod_port_is_ours(flow_orig_dst(flow)->port, pod->spec->net->socks5))
		return HB_E_RECURSIVE;
	if (!pod->workload) {
		pod_unknown_text(pod, words, size);
		return HB_E_UNKNOWN_WORKLOAD;
	}
	route_decide(pod->worker->snapshot, query, route);
	if (route->kind != ROUTE_REFUSE)
		return 0;
	snprintf(words, size, "%s", route->error);
	return HB_E_NO_ROUTE;
}

bool outbound_is_tunnel(const struct route *route)
{
	return route->kind == ROUTE_HBONE || route->kind == ROUTE_DOUBLE;
}

void outbound_describe(struct flow *flow, const struct pod *pod, const struct route *route)
{
	/* Behind a gateway nobody knows yet whom it will choose. */
	const struct workload *dst = route->kind == ROUTE_DOUBLE ? NULL : route->workload;
	const char *texts[FLOW_TEXTS] = { NULL };
	char authority[ROUTE_AUTHORITY_SIZE];

	/* What is absent is said too: another endpoint may have been tried, and described, before.
	 */
	texts[FLOW_DST_SERVICE] = route->service ? route->service->hostname : "";
	texts[FLOW_DST_WORKLOAD] = texts[FLOW_DST_NS] = texts[FLOW_DST_CLUSTER] = "";
	texts[FLOW_SRC_IDENTITY] = texts[FLOW_DST_IDENTITY] = texts[FLOW_AUTHORITY] = "";
	ends_describe(pod->workload, dst, texts);
	if (outbound_is_tunnel(route)) {
		texts[FLOW_SRC_IDENTITY] = pod->workload->identity;
		texts[FLOW_DST_IDENTITY] = dst ? dst->identity : "";
		texts[FLOW_AUTHORITY] = route_authority(route, authority);
	}
	/* Without memory the line lacks words, or says what was dialled. */
	(void)flow_set_path(flow, NULL, &route->next_hop, NULL);
	(void)flow_set_texts(flow, texts);
}

static const char *or_unknown(const char *text)
{
	return *text ? text : "unknown";
}

void outbound_count_lookup(struct metrics *metrics, const struct workload *src,
                           const struct route *route)
{
	/* In the table's order. */
	const char *values[] = {
		or_unknown(src->workload_name),
		or_unknown(src->canonical_name),
		or_unknown(src->canonical_revision),
		or_unknown(src->ns),
		or_unknown(src->identity),
		or_unknown(src->canonical_name),
		or_unknown(src->canonical_revision),
		or_unknown(src->cluster_id),
		route->lookup,
	};

	(*metrics_at(metrics, METRIC_ON_DEMAND_DNS, values))++;
}

void outbound_count_limit(struct metrics *metrics, int code)
{
	static const struct {
		int code;
		const char *reason;
	} limits[] = {
		{ HB_E_POOL_CONNECTIONS, "pool-connections" },
		{ HB_E_KEY_CONNECTIONS, "key-connections" },
		{ HB_E_POOL_WAITERS, "pool-waiters" },
		{ HB_E_KEY_WAITERS, "key-waiters" },
	};

	for (size_t i = 0; i < HB_ARRAY_LEN(limits); i++)
		if (limits[i].code == code)
			metrics_count(metrics, METRIC_CONNECTIONS_REFUSED, limits[i].reason);
}

void outbound_count_flow(struct worker *worker, struct flow *flow, const struct route *route)
{
	struct balance_memory *memory = &worker->balance;

	if (flow->balance_slot)
		memory->flows[flow->balance_slot]--;
	flow->balance_slot = 0;
	if (!route->workload || !worker->options.settings->least_flows)
		return;
	flow->balance_slot = balance_slot(route->workload);
	memory->flows[flow->balance_slot]++;
}

void outbound_traceparent(struct worker *worker, char out[HB_TRACEPARENT_LEN + 1])
{
	uint64_t id[3] = { worker_random(worker), worker_random(worker), worker_random(worker) };
	struct hb_traceparent parent = { .flags = 0 };

	memcpy(parent.trace_id, id, sizeof(parent.trace_id));
	memcpy(parent.parent_id, id + 2, sizeof(parent.parent_id));
	hb_traceparent_format(&parent, out);
}
