/*
 * hash: numbers for texts and bytes, for tables in memory only: they differ between versions. Not
 * secret: whoever chooses the texts can make collisions, which cost time and never a wrong answer.
 */
#pragma once

#include <hbone/addr.h>

uint64_t hash_bytes(const void *bytes, size_t len);
uint64_t hash_text(const char *text);
uint64_t hash_mix(uint64_t a, uint64_t b); /* the hash of a pair; (a, b) is not (b, a) */

static inline uint64_t hash_pair(const char *a, const char *b)
{
	return hash_mix(hash_text(a), hash_text(b));
}

static inline uint64_t hash_ip(const char *network, const struct hb_ip *ip)
{
	return hash_mix(hash_text(network), hash_bytes(ip->b, sizeof(ip->b)));
}
