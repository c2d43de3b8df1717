/*
 * proxyproto: encodes and decodes the PROXY protocol, version 2 (haproxy, doc/proxy-protocol.txt,
 * 2.2).
 *
 *   | 12 signature | 1 version, command | 1 family, transport | 2 length | addresses | TLVs |
 */
#include <hbone/proxyproto.h>

#include <string.h>

#include <hbone/tls.h>

#define FIXED        16
#define TLV_HEADER   3
#define TLV_IDENTITY 0xd0

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { UNSPEC = 0x00, UNSPEC_TCP = 0x01, IPV4_TCP = 0x11, IPV6_TCP = 0x21 };

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static uint8_t *put_u16(uint8_t *at, size_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
	return at + 2;
}

static size_t get_u16(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

/* Bytes of an address; of both and their ports. 0 for families without. */
static size_t ip_bytes(uint8_t family)
{
	return family == IPV4_TCP ? 4 : family == IPV6_TCP ? 16 : 0;
}

static size_t addrs_bytes(uint8_t family)
{
	return ip_bytes(family) ? 2 * (ip_bytes(family) + 2) : 0;
}

static uint8_t family_of(const struct hb_addr *src, const struct hb_addr *dst)
{
	if (hb_ip_is_v4(&src->ip) != hb_ip_is_v4(&dst->ip))
		return UNSPEC_TCP;
	return hb_ip_is_v4(&src->ip) ? IPV4_TCP : IPV6_TCP;
}

static uint8_t *put_ip(uint8_t *at, const struct hb_addr *addr, size_t n)
{
	memcpy(at, addr->ip.b + sizeof(addr->ip.b) - n, n);
	return at + n;
}

int hb_proxy_encode(const struct hb_addr *src, const struct hb_addr *dst, const char *identity,
                    uint8_t *out, size_t size)
{
	uint8_t family = family_of(src, dst), *at = out;
	size_t ip = ip_bytes(family), said = identity ? strlen(identity) : 0;
	size_t rest = addrs_bytes(family) + (said ? TLV_HEADER + said : 0);

	if (said > HB_PROXY_IDENTITY_MAX || size < FIXED + rest)
		return -EMSGSIZE;
	memcpy(at, signature, sizeof(signature));
	at += sizeof(signature);
	*at++ = COMMAND_PROXY;
	*at++ = family;
	at = put_u16(at, rest);
	if (ip) {
		at = put_ip(at, src, ip);
		at = put_ip(at, dst, ip);
		at = put_u16(at, src->port);
		at = put_u16(at, dst->port);
	}
	if (said) {
		*at++ = TLV_IDENTITY;
		at = put_u16(at, said);
		memcpy(at, identity, said);
		at += said;
	}
	return (int)(at - out);
}

static void get_addr(const uint8_t *ip, size_t n, const uint8_t *port, struct hb_addr *ret_addr)
{
	memcpy(ret_addr->ip.b, mapped, sizeof(mapped));
	memcpy(ret_addr->ip.b + sizeof(ret_addr->ip.b) - n, ip, n);
	ret_addr->port = (uint16_t)get_u16(port);
}

/* The first identity counts; TLVs of other types are passed over. */
static int read_tlvs(const uint8_t *at, const uint8_t *end, struct hb_proxy *proxy)
{
	while (at < end) {
		const uint8_t *value;
		size_t len;

		if (end - at < TLV_HEADER)
			return -EINVAL;
		value = at + TLV_HEADER;
		len = get_u16(at + 1);
		if ((size_t)(end - value) < len)
			return -EINVAL;
		if (*at == TLV_IDENTITY && !proxy->identity) {
			if (len > HB_PROXY_IDENTITY_MAX ||
			    !hb_spiffe_is_valid((const char *)value, len))
				return -EINVAL;
			proxy->identity = (const char *)value;
			proxy->identity_len = len;
		}
		at = value + len;
	}
	return 0;
}

/* What the fixed part says cannot be served, as far as it has come. */
static int check_fixed(const uint8_t *bytes, size_t len)
{
	if (memcmp(bytes, signature, hb_min_size(len, sizeof(signature))) != 0)
		return -EINVAL;
	if (len > 12 && bytes[12] != COMMAND_PROXY && bytes[12] != COMMAND_LOCAL)
		return -EINVAL;
	if (len > 13 && bytes[12] == COMMAND_PROXY && bytes[13] != UNSPEC &&
	    bytes[13] != UNSPEC_TCP && !ip_bytes(bytes[13]))
		return -EINVAL;
	return 0;
}

int hb_proxy_decode(const uint8_t *bytes, size_t len, struct hb_proxy *ret_proxy)
{
	struct hb_proxy proxy = { 0 };
	const uint8_t *at;
	size_t ip, rest;
	int err;

	err = len ? check_fixed(bytes, len) : 0;
	if (err < 0 || len < FIXED)
		return err;
	rest = get_u16(bytes + 14);
	if (FIXED + rest > HB_PROXY_DECODED_MAX)
		return -EMSGSIZE;
	if (bytes[12] == COMMAND_PROXY && rest < addrs_bytes(bytes[13]))
		return -EINVAL;
	if (len < FIXED + rest)
		return 0;
	at = bytes + FIXED;
	/* A health check of the sender's own: whatever it says of addresses counts for nothing. */
	if (bytes[12] == COMMAND_PROXY) {
		ip = ip_bytes(bytes[13]);
		if (ip) {
			proxy.has_addrs = true;
			get_addr(at, ip, at + 2 * ip, &proxy.src);
			get_addr(at + ip, ip, at + 2 * ip + 2, &proxy.dst);
		}
		err = read_tlvs(at + addrs_bytes(bytes[13]), at + rest, &proxy);
		if (err < 0)
			return err;
	}
	*ret_proxy = proxy;
	return (int)(FIXED + rest);
}
