/*
 * pool_peers: the table of a pool: one entry for each key, with the key's own copy of all its
 * texts.
 *
 * Thread: the pool's.
 */
#pragma once

#include <hbone/pool.h>

#define POOL_BUCKETS 512u

struct pool_peer { /* one key */
	struct hb_pool *pool;
	struct pool_peer *next; /* in its bucket */
	struct hb_list conns, waits;
	size_t conns_count, waits_count;
	struct hb_task serve;
	struct hb_tls_ctx *ctx; /* the newest that a caller gave; counted */
	bool dialling;
	uint64_t hash, scope;
	struct hb_addr dst;
	size_t peers_count, inner_count;
	const char *identity;
	const char *authority; /* behind the gateway dst; NULL: there is no gateway */
	const char *peers[];   /* then those of the inner end; and behind it all text */
};

struct pool_peers {
	struct pool_peer *buckets[POOL_BUCKETS];
	size_t count;
};

/* The entry of @key, made if there is none: with empty lists, no context, and a task that is not
 * set up (its run is NULL). NULL: no memory. */
struct pool_peer *pool_peers_get(struct pool_peers *peers, const struct hb_pool_key *key);
/* Takes it out and frees it. Its lists must be empty. */
void pool_peers_remove(struct pool_peers *peers, struct pool_peer *peer);
