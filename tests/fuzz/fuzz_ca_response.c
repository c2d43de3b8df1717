/*
 * fuzz_ca_response: what a CA answers, decoded, taken apart and checked: whatever is taken has a
 * leaf of our key and a root that can be used, and can be made a context of.
 */
#include <assert.h>
#include <string.h>

#include <hbone/tls.h>

#include "control/ca_codec.h"
#include "control/issued.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Of the seeds' leaf; made for them, and good for nothing else. */
static const char key[] = "-----BEGIN PRIVATE KEY-----\n"
			  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaV0isUKaI0/YgMoC\n"
			  "vqIMntXggYXrK7PV0TcCoA984pahRANCAASAiVCjiMe5i5aWGn77Cvc02JlvZ6sy\n"
			  "qkQrPtSOZ78IOGkl+edbWu/az1fCw508biPAB7c2ahtJx/KAhJuxmYE+\n"
			  "-----END PRIVATE KEY-----\n";

static void check(const struct issued *issued)
{
	struct hb_tls_material material = {
		.chain = issued->chain_pem,
		.key = issued->key_pem,
		.roots = issued->roots_pem,
	};
	struct hb_tls_ctx *ctx;
	const char *why;

	assert(issued->chain_count >= 1 && issued->roots_count >= 1);
	assert(issued->chain_count + issued->roots_count <= ISSUED_CERTS_MAX);
	for (size_t i = 0; i < issued->chain_count + issued->roots_count; i++) {
		assert(strstr(issued->certs[i].pem, "-----BEGIN CERTIFICATE-----") ||
		       strstr(issued->certs[i].pem, "-----BEGIN X509 CERTIFICATE-----"));
		assert(strspn(issued->certs[i].serial, "-0123456789") ==
		       strlen(issued->certs[i].serial));
	}
	if (hb_tls_ctx_new(&material, &ctx, &why) == 0)
		hb_tls_ctx_unref(ctx);
}

/* The first byte says if a name was asked for; the rest is the message. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct ca_response response = { 0 };
	struct issued_material material = { .key_pem = key };
	struct issued *issued;
	char why[256];

	if (len == 0 || ca_decode_response(bytes + 1, len - 1, &response) < 0)
		return 0;
	material.elements = response.elements;
	material.count = response.count;
	material.identity = bytes[0] & 1 ? "spiffe://td/ns/a/sa/b" : NULL;
	if (issued_read(&material, &issued, why, sizeof(why)) == 0) {
		check(issued);
		issued_free(issued);
	} else {
		assert(why[0] && strlen(why) < sizeof(why));
	}
	ca_response_done(&response);
	return 0;
}
