/*
 * pool_peers: keys to entries, by hash and then by every part.
 */
#include "pool_peers.h"

#include <assert.h>
#include <string.h>

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) /* FNV-1a */
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

static uint64_t hash_key(const struct hb_pool_key *key)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, &key->scope, sizeof(key->scope));
	hash = hash_bytes(hash, &key->dst.ip, sizeof(key->dst.ip));
	hash = hash_bytes(hash, &key->dst.port, sizeof(key->dst.port));
	hash = hash_bytes(hash, key->identity, strlen(key->identity));
	for (size_t i = 0; i < key->peers_count; i++)
		hash = hash_bytes(hash, key->peers[i], strlen(key->peers[i]) + 1);
	return hash;
}

static bool key_matches(const struct pool_peer *peer, uint64_t hash, const struct hb_pool_key *key)
{
	if (peer->hash != hash || peer->scope != key->scope ||
	    peer->peers_count != key->peers_count || !hb_addr_equal(&peer->dst, &key->dst) ||
	    strcmp(peer->identity, key->identity) != 0)
		return false;
	for (size_t i = 0; i < key->peers_count; i++)
		if (strcmp(peer->peers[i], key->peers[i]) != 0)
			return false;
	return true;
}

static const char *copy_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*at, text, size);

	*at += size;
	return copy;
}

static struct pool_peer *peer_new(struct pool_peers *peers, uint64_t hash,
                                  const struct hb_pool_key *key)
{
	size_t size = sizeof(struct pool_peer) + key->peers_count * sizeof(char *);
	size_t text = strlen(key->identity) + 1;
	struct pool_peer *peer;
	char *at;

	for (size_t i = 0; i < key->peers_count; i++)
		text += strlen(key->peers[i]) + 1;
	peer = calloc(1, size + text);
	if (!peer)
		return NULL;
	at = (char *)peer + size;
	peer->hash = hash;
	peer->scope = key->scope;
	peer->dst = key->dst;
	peer->peers_count = key->peers_count;
	peer->identity = copy_text(&at, key->identity);
	for (size_t i = 0; i < key->peers_count; i++)
		peer->peers[i] = copy_text(&at, key->peers[i]);
	hb_list_init(&peer->conns);
	hb_list_init(&peer->waits);
	hb_list_init(&peer->serve.node);
	peer->next = peers->buckets[hash % POOL_BUCKETS];
	peers->buckets[hash % POOL_BUCKETS] = peer;
	peers->count++;
	return peer;
}

struct pool_peer *pool_peers_get(struct pool_peers *peers, const struct hb_pool_key *key)
{
	uint64_t hash = hash_key(key);

	for (struct pool_peer *peer = peers->buckets[hash % POOL_BUCKETS]; peer; peer = peer->next)
		if (key_matches(peer, hash, key))
			return peer;
	return peer_new(peers, hash, key);
}

void pool_peers_remove(struct pool_peers *peers, struct pool_peer *peer)
{
	struct pool_peer **at = &peers->buckets[peer->hash % POOL_BUCKETS];

	assert(hb_list_is_empty(&peer->conns) && hb_list_is_empty(&peer->waits));
	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	peers->count--;
	hb_loop_undefer(&peer->serve);
	hb_tls_ctx_unref(peer->ctx);
	free(peer);
}
