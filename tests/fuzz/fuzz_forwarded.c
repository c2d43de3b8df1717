/*
 * fuzz_forwarded: the host of any forwarded header lies inside of it; any name that we are given to
 * say makes one header with one host, which is the name, or none.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <hbone/headers.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_said(const char *name)
{
	struct hb_addr src = { .ip = { { [15] = 1 } }, .port = 80 };
	static const char start[] = "for=\"[::1]:80\"";
	char out[HB_FORWARDED_SIZE];
	struct hb_span host;

	hb_forwarded_format(&src, name, out);
	assert(strncmp(out, start, strlen(start)) == 0);
	for (const char *c = out; *c; c++)
		assert(*c > ' ' && *c < 0x7f);
	host = hb_forwarded_host(out, strlen(out));
	if (out[strlen(start)])
		assert(host.len == strlen(name) && memcmp(host.text, name, host.len) == 0);
	else
		assert(host.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *text = (const char *)bytes;
	struct hb_span host = hb_forwarded_host(text, len);
	char *name = strndup(text, len);

	if (host.len) {
		assert(host.len <= HB_HOST_MAX && host.text > text);
		assert(host.text + host.len <= text + len && !memchr(host.text, ';', host.len));
	}
	assert(name);
	check_said(name);
	/* A network's name is compared with itself and with ours. */
	assert(!hb_network_differs(text, len, name) || memchr(text, 0, len));
	(void)hb_network_differs(text, len, "net-1");
	free(name);
	return 0;
}
