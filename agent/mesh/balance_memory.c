/*
 * balance_memory: two tables with one place for each hash.
 */
#include "mesh/balance_memory.h"

#include <string.h>

#include "mesh/hash.h"

uint64_t balance_key(uint64_t scope, const struct workload *src, const struct workload *dst,
                     uint16_t port)
{
	const struct mesh_ref *gateway = &dst->gateway;
	uint64_t whom;

	if (gateway->kind == REF_NONE || strcmp(dst->network, src->network) == 0)
		whom = hash_mix(hash_text(dst->uid), port);
	else if (gateway->kind == REF_ADDRESS)
		whom = hash_mix(hash_ip(gateway->network, &gateway->ip), gateway->port);
	else
		whom = hash_mix(hash_pair(gateway->ns, gateway->hostname), gateway->port);
	return hash_mix(scope, whom);
}

void balance_failed(struct balance_memory *memory, uint64_t key, uint64_t now_ms)
{
	struct balance_failure *failure = &memory->failures[key % BALANCE_FAILURES];
	uint64_t avoid_ms = BALANCE_AVOID_MS;

	/* Others that were dialled before the first of them failed tell nothing new. */
	if (failure->key == key && failure->strikes && now_ms < failure->until_ms)
		return;
	if (failure->key != key || now_ms >= failure->until_ms + BALANCE_AVOID_MAX_MS)
		failure->strikes = 0;
	for (unsigned i = 0; i < failure->strikes && avoid_ms < BALANCE_AVOID_MAX_MS; i++)
		avoid_ms *= 2;
	if (failure->strikes < UINT8_MAX)
		failure->strikes++;
	failure->key = key;
	failure->until_ms = now_ms + avoid_ms;
	if (memory->quiet_ms < failure->until_ms)
		memory->quiet_ms = failure->until_ms;
}

void balance_worked(struct balance_memory *memory, uint64_t key, uint64_t now_ms)
{
	struct balance_failure *failure = &memory->failures[key % BALANCE_FAILURES];

	if (now_ms < memory->quiet_ms + BALANCE_AVOID_MAX_MS && failure->key == key)
		*failure = (struct balance_failure){ 0 };
}

bool balance_is_avoided(const struct balance_memory *memory, uint64_t key, uint64_t now_ms)
{
	const struct balance_failure *failure;

	if (!memory || now_ms >= memory->quiet_ms)
		return false;
	failure = &memory->failures[key % BALANCE_FAILURES];
	return failure->strikes && failure->key == key && now_ms < failure->until_ms;
}

uint16_t balance_slot(const struct workload *workload)
{
	return (uint16_t)(1 + hash_text(workload->uid) % (BALANCE_FLOWS - 1));
}
