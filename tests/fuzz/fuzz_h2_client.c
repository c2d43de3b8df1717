/* fuzz_h2_client: any bytes to a client that has asked for tunnels. */
#include "h2_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	h2_bytes_run(HB_H2_CLIENT, bytes, len);
	return 0;
}
