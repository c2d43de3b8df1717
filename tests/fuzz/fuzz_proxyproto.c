/*
 * fuzz_proxyproto: a header is read wholly within its bytes, the same from any longer piece, never
 * from a shorter one; and what it says can be said again.
 */
#include <assert.h>
#include <string.h>

#include <hbone/proxyproto.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_again(const struct hb_proxy *proxy)
{
	uint8_t out[HB_PROXY_ENCODED_MAX];
	char identity[HB_PROXY_IDENTITY_MAX + 1] = "";
	struct hb_proxy again;
	int n;

	if (proxy->identity)
		memcpy(identity, proxy->identity, proxy->identity_len);
	n = hb_proxy_encode(&proxy->src, &proxy->dst, identity, out, sizeof(out));
	assert(n > 0 && hb_proxy_decode(out, (size_t)n, &again) == n);
	assert(again.identity_len == proxy->identity_len);
	if (again.has_addrs)
		assert(hb_addr_equal(&again.src, &proxy->src) &&
		       hb_addr_equal(&again.dst, &proxy->dst));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_proxy proxy, part;
	int n = hb_proxy_decode(bytes, len, &proxy);

	assert(n <= (int)len && (n >= 0 || n == -EINVAL || n == -EMSGSIZE));
	assert(n <= HB_PROXY_DECODED_MAX);
	if (n <= 0)
		return 0;
	assert(hb_proxy_decode(bytes, (size_t)n, &part) == n);
	assert(hb_proxy_decode(bytes, (size_t)n - 1, &part) == 0);
	if (proxy.identity)
		assert((const uint8_t *)proxy.identity > bytes &&
		       (const uint8_t *)proxy.identity + proxy.identity_len <= bytes + n &&
		       proxy.identity_len <= HB_PROXY_IDENTITY_MAX);
	if (proxy.has_addrs)
		check_again(&proxy);
	return 0;
}
