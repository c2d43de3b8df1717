/*
 * balance_memory: what one worker has met with endpoints: whom it could not connect to just now,
 * and how many flows each carries. Both only shift preferences, so both are small tables that may
 * forget and may take one endpoint for another. Pure: time is given. Thread: the worker's own.
 */
#pragma once

#include "mesh/model.h"

#define BALANCE_FAILURES 512u
#define BALANCE_FLOWS    4096u
/* An endpoint that failed is avoided for so long, doubled for each failure that follows. */
#define BALANCE_AVOID_MS     2000u
#define BALANCE_AVOID_MAX_MS 8000u

struct balance_failure {
	uint64_t key;
	uint64_t until_ms;
	uint8_t strikes; /* failures in a row; 0: the slot is empty */
};

struct balance_memory { /* zeroed is empty */
	struct balance_failure failures[BALANCE_FAILURES];
	uint64_t quiet_ms; /* nobody is avoided from then on */
	uint32_t flows[BALANCE_FLOWS];
};

/*
 * What @src meets at @port of @dst: of a workload in another network, at the gateway to it.
 * @scope: the pod; what one pod meets is not held against the endpoint for another.
 */
uint64_t balance_key(uint64_t scope, const struct workload *src, const struct workload *dst,
                     uint16_t port);

void balance_failed(struct balance_memory *memory, uint64_t key, uint64_t now_ms);
void balance_worked(struct balance_memory *memory, uint64_t key, uint64_t now_ms);
/* @memory may be NULL. */
bool balance_is_avoided(const struct balance_memory *memory, uint64_t key, uint64_t now_ms);

/* Where flows to @workload are counted; never 0. */
uint16_t balance_slot(const struct workload *workload);
