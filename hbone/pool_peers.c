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

static uint64_t hash_texts(uint64_t hash, const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hash = hash_bytes(hash, texts[i], strlen(texts[i]) + 1);
	return hash;
}

static uint64_t hash_key(const struct hb_pool_key *key)
{
	uint64_t hash = 0xcbf29ce484222325u;

	hash = hash_bytes(hash, &key->scope, sizeof(key->scope));
	hash = hash_bytes(hash, &key->dst.ip, sizeof(key->dst.ip));
	hash = hash_bytes(hash, &key->dst.port, sizeof(key->dst.port));
	hash = hash_bytes(hash, key->identity, strlen(key->identity));
	hash = hash_texts(hash, key->peers, key->peers_count);
	if (!key->inner)
		return hash;
	hash = hash_texts(hash, &key->inner->authority, 1);
	return hash_texts(hash, key->inner->peers, key->inner->peers_count);
}

static bool same_texts(const char *const *a, const char *const *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

static bool inner_matches(const struct pool_peer *peer, const struct hb_pool_inner *inner)
{
	if (!inner || !peer->authority)
		return !inner && !peer->authority;
	return peer->inner_count == inner->peers_count &&
	       strcmp(peer->authority, inner->authority) == 0 &&
	       same_texts(peer->peers + peer->peers_count, inner->peers, inner->peers_count);
}

static bool key_matches(const struct pool_peer *peer, uint64_t hash, const struct hb_pool_key *key)
{
	return peer->hash == hash && peer->scope == key->scope &&
	       peer->peers_count == key->peers_count && hb_addr_equal(&peer->dst, &key->dst) &&
	       strcmp(peer->identity, key->identity) == 0 &&
	       same_texts(peer->peers, key->peers, key->peers_count) &&
	       inner_matches(peer, key->inner);
}

static const char *copy_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*at, text, size);

	*at += size;
	return copy;
}

static size_t texts_size(const char *const *texts, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += strlen(texts[i]) + 1;
	return size;
}

static struct pool_peer *peer_new(struct pool_peers *peers, uint64_t hash,
                                  const struct hb_pool_key *key)
{
	static const struct hb_pool_inner none = { 0 };
	const struct hb_pool_inner *inner = key->inner ? key->inner : &none;
	size_t size =
	    sizeof(struct pool_peer) + (key->peers_count + inner->peers_count) * sizeof(char *);
	size_t text = strlen(key->identity) + 1 + texts_size(key->peers, key->peers_count) +
	              texts_size(inner->peers, inner->peers_count);
	struct pool_peer *peer;
	char *at;

	if (key->inner)
		text += strlen(inner->authority) + 1;
	peer = calloc(1, size + text);
	if (!peer)
		return NULL;
	at = (char *)peer + size;
	peer->hash = hash;
	peer->scope = key->scope;
	peer->dst = key->dst;
	peer->peers_count = key->peers_count;
	peer->inner_count = inner->peers_count;
	peer->identity = copy_text(&at, key->identity);
	for (size_t i = 0; i < key->peers_count; i++)
		peer->peers[i] = copy_text(&at, key->peers[i]);
	for (size_t i = 0; i < inner->peers_count; i++)
		peer->peers[key->peers_count + i] = copy_text(&at, inner->peers[i]);
	if (key->inner)
		peer->authority = copy_text(&at, inner->authority);
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
