/*
 * ca_codec: what is asked of the CA and what it answers, as bytes (reference/controlplane 3.7).
 * Pure. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CA_CREATE_CERTIFICATE "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define CA_RESPONSE_MAX       (4u << 20) /* bytes of an answer */
#define CA_ELEMENTS_MAX       64u        /* of cert_chain */

/*
 * IstioCertificateRequest. @csr_pem: PKCS#10. @impersonate: the identity that is asked for on its
 * behalf, or NULL: the caller's own. The bytes are the caller's to free(). 0 or -ENOMEM.
 */
int ca_encode_request(const char *csr_pem, int64_t validity_s, const char *impersonate,
                      uint8_t **ret_bytes, size_t *ret_size);

struct ca_response { /* cert_chain: PEM texts, the leaf first, the roots last */
	const char *const *elements;
	size_t count;
	void *message; /* the codec's */
};
/* 0; -EBADMSG: it is no such message; -E2BIG: more than CA_ELEMENTS_MAX, or CA_RESPONSE_MAX. */
int ca_decode_response(const uint8_t *bytes, size_t size, struct ca_response *ret_response);
void ca_response_done(struct ca_response *response); /* takes one that is all 0 */
