/*
 * hash: eight bytes at a time, then one good mix.
 */
#include "mesh/hash.h"

#include <string.h>

uint64_t hash_mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ (b << 32 | b >> 32)) * 0x9e3779b97f4a7c15u + b;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

uint64_t hash_bytes(const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325u ^ len, word;

	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&word, at, 8);
		hash = (hash ^ word) * 0x9fb21c651e98df25u;
		hash ^= hash >> 29;
	}
	for (word = 0; len; len--)
		word = word << 8 | at[len - 1];
	return hash_mix(hash, word);
}

uint64_t hash_text(const char *text)
{
	return hash_bytes(text, strlen(text));
}
