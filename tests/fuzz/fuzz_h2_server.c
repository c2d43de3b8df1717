/* fuzz_h2_server: any bytes to a server of tunnels. */
#include "h2_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	h2_bytes_run(HB_H2_SERVER, bytes, len);
	return 0;
}
