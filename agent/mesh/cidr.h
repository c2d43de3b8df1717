/*
 * cidr: is an address inside a prefix.
 */
#pragma once

#include <hbone/addr.h>
#include <string.h>

/*
 * @prefix counts bits of the family of @net. The families never match each other. A mapped IPv4
 * @net with more than 32 bits was written as IPv6 (::ffff:10.0.0.0/104): no address matches it,
 * because addresses of connections are IPv4 by then (seen at ztunnel, kept).
 */
static inline bool cidr_contains(const struct hb_ip *net, uint8_t prefix, const struct hb_ip *ip)
{
	bool v4 = hb_ip_is_v4(net);
	unsigned int bits = v4 ? 96u + prefix : prefix;
	uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));

	if (v4 != hb_ip_is_v4(ip) || bits > 128 || memcmp(net->b, ip->b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((net->b[bits / 8] ^ ip->b[bits / 8]) & mask) == 0;
}
