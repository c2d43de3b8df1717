/*
 * fuzz_addr: an address that was read is written and read as the same, as text and as the kernel's
 * socket address; and formatting keeps to the room it was given.
 */
#include <assert.h>
#include <string.h>

#include <hbone/addr.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_ip(const char *text, size_t len)
{
	struct hb_ip ip, again;
	char out[HB_IP_STRLEN];

	if (hb_ip_parse(text, len, &ip) < 0)
		return;
	hb_ip_format(&ip, out, sizeof(out));
	assert(hb_ip_parse(out, strlen(out), &again) == 0 && hb_ip_equal(&ip, &again));
}

static void check_addr(const struct hb_addr *addr)
{
	struct sockaddr_storage sa;
	struct hb_addr again;
	char out[HB_ADDR_STRLEN], shorter[HB_ADDR_STRLEN];

	hb_addr_format(addr, out, sizeof(out));
	assert(hb_addr_parse(out, strlen(out), &again) == 0 && hb_addr_equal(addr, &again));
	for (size_t size = 1; size <= strlen(out); size++) {
		hb_addr_format(addr, shorter, size);
		assert(strlen(shorter) < size && strncmp(out, shorter, strlen(shorter)) == 0);
	}
	(void)hb_addr_to_sockaddr(addr, &sa);
	assert(hb_addr_from_sockaddr((struct sockaddr *)&sa, &again) == 0);
	assert(hb_addr_equal(addr, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_addr addr;

	check_ip((const char *)bytes, len);
	if (hb_addr_parse((const char *)bytes, len, &addr) == 0)
		check_addr(&addr);
	return 0;
}
