/*
 * proxyproto: the PROXY protocol header, version 2, by which a sandwiched waypoint learns on the
 * first bytes of a connection who speaks (reference/datapath 1.16). Pure; bounded.
 */
#pragma once

#include <hbone/addr.h>

#define HB_PROXY_IDENTITY_MAX 2048 /* bytes of a SPIFFE URI, SPIFFE-ID 2.3 */
/* Fixed part, two IPv6 addresses with ports, one TLV. */
#define HB_PROXY_ENCODED_MAX (16 + 36 + 3 + HB_PROXY_IDENTITY_MAX)
#define HB_PROXY_DECODED_MAX 4096 /* the longest header that is read */

/*
 * For TCP from @src to @dst; of two families no address is said. @identity (NULL or "": not known)
 * goes along as TLV 0xD0. The bytes written; or -EMSGSIZE: the identity is too long, or @size is
 * too small for it all. HB_PROXY_ENCODED_MAX is enough always.
 */
int hb_proxy_encode(const struct hb_addr *src, const struct hb_addr *dst, const char *identity,
                    uint8_t *out, size_t size);

struct hb_proxy {
	bool has_addrs; /* false: of two families, or the sender speaks for itself (LOCAL) */
	struct hb_addr src, dst;
	const char *identity; /* inside the bytes, not ended by NUL; NULL: not said */
	size_t identity_len;
};

/*
 * The header's bytes, which the app's follow; 0: more bytes are needed; -EINVAL: this is no header
 * of TCP, or its TLVs do not add up, or the identity is none (hb_spiffe_is_valid); -EMSGSIZE: it is
 * longer than HB_PROXY_DECODED_MAX. It fails as early as the bytes allow.
 */
int hb_proxy_decode(const uint8_t *bytes, size_t len, struct hb_proxy *ret_proxy);
