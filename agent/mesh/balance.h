/*
 * balance: which endpoint of a service takes this connection (reference/datapath 2.5). Pure;
 * randomness is given.
 */
#pragma once

#include "mesh/model.h"

/* The endpoint that @random falls on, or NULL: no endpoint of @port is usable for @src. */
const struct endpoint *balance_pick(const struct service *service, const struct workload *src,
                                    uint16_t port, uint64_t random);

/*
 * How well @dst suits @src by the service's preferences.
 * @ret_matched: preferences met, without the extra weight of the network: STRICT wants all.
 */
unsigned int balance_rank(const struct service *service, const struct workload *src,
                          const struct workload *dst, unsigned int *ret_matched);
