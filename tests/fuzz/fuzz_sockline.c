/*
 * fuzz_sockline: no line of a socket table makes its reader do anything but understand or refuse
 * it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/sockline.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = strndup((const char *)bytes, len), out[HB_ADDR_STRLEN];
	struct sockline line;

	assert(text);
	if (sockline_parse(text, &line) == 0) {
		assert(line.state <= 0xff);
		assert(*hb_addr_format(&line.local, out, sizeof(out)));
		assert(*hb_addr_format(&line.peer, out, sizeof(out)));
	}
	free(text);
	return 0;
}
