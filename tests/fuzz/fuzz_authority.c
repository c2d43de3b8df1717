/*
 * fuzz_authority: an authority is an address with a port, or a host and a port, or refused; what
 * was understood lies inside of the text and says what the text says.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tunnel.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_host(const struct hb_tunnel_authority *authority, const char *text, size_t len)
{
	char port[8];

	assert(authority->host == text && authority->host_len > 0 && authority->host_len < len);
	assert(!memchr(authority->host, ':', authority->host_len));
	assert(text[authority->host_len] == ':');
	/* Leading zeros apart, the port is what stands behind. */
	snprintf(port, sizeof(port), "%u", authority->port);
	assert(len - authority->host_len - 1 >= strlen(port));
	assert(memcmp(text + len - strlen(port), port, strlen(port)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *text = (const char *)bytes;
	struct hb_tunnel_authority authority, again;
	char out[HB_ADDR_STRLEN];
	int err = hb_tunnel_authority_parse(text, len, &authority);

	assert(err == 0 || err == -EINVAL);
	if (err)
		return 0;
	if (!authority.is_ip) {
		check_host(&authority, text, len);
		return 0;
	}
	assert(authority.port == authority.addr.port);
	hb_addr_format(&authority.addr, out, sizeof(out));
	assert(hb_tunnel_authority_parse(out, strlen(out), &again) == 0 && again.is_ip);
	assert(hb_addr_equal(&authority.addr, &again.addr));
	return 0;
}
