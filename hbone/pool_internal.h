/*
 * pool_internal: what pool.c (connections and those who wait) and pool_peer.c (keys) share.
 */
#pragma once

#include <hbone/pool.h>

#define POOL_BUCKETS 512u

struct pool_peer { /* one key */
	struct hb_pool *pool;
	struct pool_peer *next; /* in its bucket */
	struct hb_list conns, waits;
	struct hb_task serve;
	struct hb_tls_ctx *ctx; /* the newest that a caller gave */
	bool dialling;
	uint64_t hash, scope;
	struct hb_addr dst;
	size_t peers_count;
	const char *identity;
	const char *peers[]; /* and behind it the text of all strings */
};

struct hb_pool {
	struct hb_loop *loop;
	struct hb_pool_options options;
	struct hb_tcp_options tcp;
	struct pool_peer *buckets[POOL_BUCKETS];
	size_t conns, peers;
	struct hb_task empty; /* draining, and no peer is left */
	bool draining;
	void (*on_empty)(void *owner);
	void *on_empty_owner;
};

/* pool_peer.c */
/* NULL: no memory. */
struct pool_peer *pool_peer_of(struct hb_pool *pool, const struct hb_pool_key *key);
/* Frees one without connections and waits; the last one to go ends a drain. */
void pool_peer_free_if_unused(struct pool_peer *peer);

/* pool.c: brings a peer's waits and connections together. */
void pool_serve(struct hb_task *task);
