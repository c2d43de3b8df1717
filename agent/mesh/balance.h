/*
 * balance: which endpoint of a service takes this connection (reference/datapath 2.5). Pure;
 * randomness and time are given.
 */
#pragma once

#include "mesh/balance_memory.h"
#include "mesh/model.h"

/* What is known beyond the mesh. All 0: nothing, and endpoints are drawn as ztunnel draws them. */
struct balance_view {
	const struct balance_memory *memory; /* NULL: there is none */
	uint64_t now_ms;
	uint64_t scope;        /* of balance_key() */
	const uint64_t *tried; /* keys that failed for this very connection: not again */
	size_t tried_count;
	bool least_flows; /* of two that are drawn the one with fewer flows */
};

/* WAYPOINT: an application tunnel stands for a port that the service lacks. */
enum balance_mode { BALANCE_STANDARD, BALANCE_WAYPOINT };

struct balance_query {
	const struct service *service;
	const struct workload *src;
	uint16_t port; /* of the service */
	enum balance_mode mode;
	uint64_t random;
	const struct balance_view *view;
};

struct balance_choice {
	const struct endpoint *endpoint;
	uint16_t port; /* of the endpoint; never 0 */
	uint64_t key;  /* what to remember if it fails */
	bool others;   /* and then there is another one to try */
};

/*
 * The endpoint that the draw falls on. Those that failed just now are left out as long as another
 * one is usable, if need be one that suits less well; STRICT never leaves what suits. False: none
 * is usable for @src.
 */
bool balance_pick(const struct balance_query *query, struct balance_choice *ret_choice);

bool balance_is_tried(const struct balance_view *view, uint64_t key);

/*
 * How well @dst suits @src by the service's preferences.
 * @ret_matched: preferences met, without the extra weight of the network: STRICT wants all.
 */
unsigned int balance_rank(const struct service *service, const struct workload *src,
                          const struct workload *dst, unsigned int *ret_matched);
