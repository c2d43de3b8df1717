/*
 * fuzz_socks5: whatever a client says, in whatever pieces: it ends with one of the three, and takes
 * no byte that it did not want.
 */
#include <assert.h>
#include <string.h>

#include "fuzz/input.h"
#include "proxy/socks5.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { bytes, len };
	enum socks5_next next = SOCKS5_MORE;
	struct socks5 socks;
	size_t taken = 0;

	socks5_init(&socks);
	while (in.left > 1 && socks5_wants(&socks)) {
		size_t piece = 1 + input_byte(&in) % 16u;
		size_t n = hb_min_size(hb_min_size(piece, socks5_wants(&socks)), in.left);

		next = socks5_take(&socks, in.at, n);
		in.at += n;
		in.left -= n;
		taken += n;
		assert((next == SOCKS5_CONNECT || next == SOCKS5_REFUSED) ==
		       (socks5_wants(&socks) == 0));
	}
	assert(taken <= 2 + 255 + 5 + 257);
	assert(strlen(socks.name) <= SOCKS5_NAME_MAX);
	if (next == SOCKS5_REFUSED)
		assert(socks.reply != SOCKS5_SUCCEEDED);
	return 0;
}
