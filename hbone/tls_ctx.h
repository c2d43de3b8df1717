/*
 * tls_ctx: what the tls files share behind <hbone/tls.h>: a certificate generation as OpenSSL sees
 * it. Immutable once made.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include <hbone/tls.h>

struct hb_tls_ctx {
	atomic_uint refs;
	SSL_CTX *roles[2]; /* by enum hb_tls_role */
	BIO_METHOD *wire;
	char *identity;           /* the leaf's first SPIFFE URI; "" when it has none */
	const char *trust_domain; /* inside identity */
	size_t trust_domain_len;
	char *trust_domains; /* others that are let in, separated by commas; NULL: none */
};
