/*
 * fuzz_certificate: whatever names a certificate of a trusted authority carries, a peer is let in
 * only by one that the rules allow, and is then called by a proper SPIFFE name.
 *
 * The first byte chooses: a whole certificate, or the names' extension alone put into an empty
 * certificate; our role; whether we have an identity ourselves. The signature is not looked at.
 */
#include <assert.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls_ctx.h"
#include "tls_peer.h"

enum { WHOLE = 1, SERVER = 2, NAMELESS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static X509 *with_names(const uint8_t *bytes, size_t len)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension = NULL;
	X509 *cert = X509_new();

	assert(value && cert && ASN1_OCTET_STRING_set(value, bytes, (int)len));
	extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
	assert(extension && X509_add_ext(cert, extension, -1));
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	return cert;
}

/* Its first name, if it can be read. */
static void check_first(const X509 *cert)
{
	char *uri = NULL;
	int err = hb_tls_first_spiffe(cert, &uri);

	assert(err == 0 || err == -EINVAL);
	assert((err == 0) == (uri != NULL));
	if (uri && *uri)
		assert(hb_spiffe_is_valid(uri, strlen(uri)));
	free(uri);
}

static void check_peer(const X509 *cert, enum hb_tls_role role, bool nameless)
{
	static char ours[] = "spiffe://td/ns/a/sa/b";
	static const char *const expected[] = { "spiffe://td/ns/demo/sa/web",
		                                "spiffe://other/ns//sa/" };
	struct hb_tls_ctx ctx = {
		.identity = nameless ? ours + strlen(ours) : ours,
		.trust_domain = ours + 9,
		.trust_domain_len = 2,
	};
	struct hb_tls_options options = {
		.role = role,
		.ctx = &ctx,
		.identities = expected,
		.identities_count = role == HB_TLS_CLIENT ? HB_ARRAY_LEN(expected) : 0,
	};
	struct hb_tls_peer peer = { 0 };
	int err;

	assert(hb_tls_peer_init(&peer, &options));
	err = hb_tls_peer_check(&peer, cert);
	assert(err <= 0 && (err == 0) == (peer.identity != NULL));
	if (peer.identity && *peer.identity)
		assert(hb_spiffe_is_valid(peer.identity, strlen(peer.identity)));
	/* Without a name it comes in only where no name is asked for. */
	if (peer.identity && !*peer.identity)
		assert(role == HB_TLS_SERVER && nameless);
	hb_tls_peer_done(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const uint8_t *der = bytes + 1;
	X509 *cert;

	if (len == 0)
		return 0;
	cert = bytes[0] & WHOLE ? d2i_X509(NULL, &der, (long)len - 1) : with_names(der, len - 1);
	if (cert) {
		check_first(cert);
		check_peer(cert, bytes[0] & SERVER ? HB_TLS_SERVER : HB_TLS_CLIENT,
		           bytes[0] & NAMELESS);
	}
	X509_free(cert);
	ERR_clear_error();
	return 0;
}
