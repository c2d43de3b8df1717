/*
 * outbound_route: where one dialled connection goes now, and what the log will say of it.
 * Thread: the worker's own.
 */
#pragma once

#include "mesh/route.h"
#include "proxy/pod.h"

/*
 * The caller has set @query's random and view.tried; the rest is filled in. @route refers to the
 * worker's snapshot. 0; or a code, with words for the log in @words ("": the code's own).
 */
int outbound_decide(struct pod *pod, const struct flow *flow, struct route_query *query,
                    struct route *route, char *words, size_t size);

bool outbound_is_tunnel(const struct route *route);

/* The texts of both ends. Identities only where they are proven: by mutual TLS. */
void outbound_describe(struct flow *flow, const struct pod *pod, const struct route *route);
