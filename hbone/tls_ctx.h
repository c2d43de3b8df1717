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

/* tls_ctx.c, for tls_name.c */
struct hb_tls_ctx *hb_tls_ctx_alloc(void); /* counted once, else empty; NULL: no memory */
/* Without a certificate yet. NULL: the library does not have what the profile says. */
SSL_CTX *hb_tls_ctx_profiled(enum hb_tls_role role, const struct hb_tls_profile *profile);
/* A store of the roots in @pem that can be used. NULL on success, or what is wrong. */
const char *hb_tls_ctx_roots(const char *pem, X509_STORE **ret_roots);
