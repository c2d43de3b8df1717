/*
 * outbound_route: what a pod and its worker know, given to route; what route says, given to the
 * log.
 */
#include "proxy/outbound_route.h"

#include <stdio.h>

#include "config/settings.h"
#include "proxy/ends.h"
#include "proxy/worker.h"

int outbound_decide(struct pod *pod, const struct flow *flow, struct route_query *query,
                    struct route *route, char *words, size_t size)
{
	struct worker *worker = pod->worker;

	query->src = pod->workload;
	query->src_ip = flow->src.ip;
	query->network = worker->options.settings->network;
	query->dst = flow->orig_dst;
	query->view.memory = &worker->balance;
	query->view.now_ms = hb_loop_now_ms(worker->loop);
	query->view.scope = pod->spec->index;
	query->view.least_flows = worker->options.settings->least_flows;
	words[0] = 0;
	if (hb_ip_is_loopback(&flow->orig_dst.ip) &&
	    pod_port_is_ours(flow->orig_dst.port, pod->spec->net->socks5))
		return HB_E_RECURSIVE;
	if (!pod->workload) {
		pod_unknown_text(pod, words, size);
		return HB_E_UNKNOWN_WORKLOAD;
	}
	route_decide(worker->snapshot, query, route);
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
	flow->dst = route->next_hop;
	(void)flow_set_texts(flow, texts); /* without memory the line lacks words */
}
