/*
 * outbound_route: where one dialled connection goes now, and what the log and the counters will say
 * of it.
 * Thread: the worker's own.
 */
#pragma once

#include <hbone/headers.h>

#include "mesh/route.h"
#include "metrics.h"
#include "proxy/pod.h"

/* The caller has set @query's random and view.tried; the rest is filled in. */
void outbound_ask(struct pod *pod, const struct flow *flow, struct route_query *query);
/*
 * The same, and decides. @route refers to the worker's snapshot. 0; or a code, with words for the
 * log in @words ("": the code's own).
 */
int outbound_decide(struct pod *pod, const struct flow *flow, struct route_query *query,
                    struct route *route, char *words, size_t size);

bool outbound_is_tunnel(const struct route *route);

/* The texts of both ends. Identities only where they are proven: by mutual TLS. */
void outbound_describe(struct flow *flow, const struct pod *pod, const struct route *route);

/* One more time that a name of @route's was looked up: ztunnel's istio_on_demand_dns_total. */
void outbound_count_lookup(struct metrics *metrics, const struct workload *src,
                           const struct route *route);
/* It ended with @code: if that is a limit of the pool's, we have refused it. */
void outbound_count_limit(struct metrics *metrics, int code);
/* It counts at the next hop now, and nowhere else: for the choice of the less busy of two. */
void outbound_count_flow(struct worker *worker, struct flow *flow, const struct route *route);
/* Random for each connection of an app. */
void outbound_traceparent(struct worker *worker, char out[HB_TRACEPARENT_LEN + 1]);
