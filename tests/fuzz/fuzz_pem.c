/*
 * fuzz_pem: any text as chain, key and roots at once makes a context, or is refused in one
 * sentence.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <hbone/tls.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = strndup((const char *)bytes, len);
	struct hb_tls_material material = { .chain = text, .key = text, .roots = text };
	struct hb_tls_ctx *ctx = NULL;
	const char *why = NULL, *identity;
	int err = hb_tls_ctx_new(&material, &ctx, &why);

	assert((err == 0) == (ctx != NULL));
	if (err) {
		assert(err == -EINVAL && why && *why && !strchr(why, '\n'));
	} else {
		identity = hb_tls_ctx_identity(ctx);
		assert(!*identity || hb_spiffe_is_valid(identity, strlen(identity)));
	}
	hb_tls_ctx_unref(ctx);
	free(text);
	return 0;
}
