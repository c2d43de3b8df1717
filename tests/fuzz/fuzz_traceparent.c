/*
 * fuzz_traceparent: only 55 characters in four pieces are read, and are written as the same ids.
 */
#include <assert.h>
#include <string.h>

#include <hbone/headers.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_traceparent parent, again;
	char out[HB_TRACEPARENT_LEN + 1];

	if (hb_traceparent_parse((const char *)bytes, len, &parent) < 0)
		return 0;
	assert(len == HB_TRACEPARENT_LEN);
	hb_traceparent_format(&parent, out);
	assert(strlen(out) == HB_TRACEPARENT_LEN);
	assert(hb_traceparent_parse(out, strlen(out), &again) == 0);
	assert(memcmp(&parent, &again, sizeof(parent)) == 0);
	return 0;
}
