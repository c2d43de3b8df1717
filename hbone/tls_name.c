/*
 * tls_name: servers outside of the mesh, by host name.
 */
#include "tls_name.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls_ctx.h"
#include "tls_wire.h"

/* ---- the context ---- */

static const char *trust(SSL_CTX *ctx, const char *roots)
{
	X509_STORE *store = NULL;
	const char *why;

	if (!roots)
		return SSL_CTX_set_default_verify_paths(ctx) ? NULL : "the machine has no roots";
	why = hb_tls_ctx_roots(roots, &store);
	if (why)
		X509_STORE_free(store);
	else
		SSL_CTX_set_cert_store(ctx, store); /* takes it */
	return why;
}

static int build(struct hb_tls_ctx *ctx, const char *roots, const struct hb_tls_profile *profile,
                 const char **ret_why)
{
	int err = hb_tls_profile_check(profile, ret_why);

	if (err < 0)
		return err;
	ctx->identity = strdup("");
	ctx->wire = hb_tls_wire_method_new();
	ctx->roles[HB_TLS_CLIENT] = hb_tls_ctx_profiled(HB_TLS_CLIENT, profile);
	if (!ctx->identity || !ctx->wire || !ctx->roles[HB_TLS_CLIENT]) {
		*ret_why = "no memory";
		return -ENOMEM;
	}
	*ret_why = trust(ctx->roles[HB_TLS_CLIENT], roots);
	return *ret_why ? -EINVAL : 0;
}

int hb_tls_ctx_new_client(const char *roots, const struct hb_tls_profile *profile,
                          struct hb_tls_ctx **ret_ctx, const char **ret_why)
{
	static const struct hb_tls_profile standard;
	struct hb_tls_ctx *ctx = hb_tls_ctx_alloc();
	int err;

	if (!ctx) {
		*ret_why = "no memory";
		return -ENOMEM;
	}
	ERR_clear_error();
	err = build(ctx, roots, profile ? profile : &standard, ret_why);
	ERR_clear_error();
	if (err < 0) {
		hb_tls_ctx_unref(ctx);
		return err;
	}
	*ret_ctx = ctx;
	return 0;
}

/* ---- one connection ---- */

static bool is_address(const char *host)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);

	ASN1_OCTET_STRING_free(ip);
	ERR_clear_error();
	return ip != NULL;
}

bool hb_tls_name_init(struct hb_tls_peer *peer, const struct hb_tls_options *options)
{
	peer->host = strdup(options->host);
	peer->alt_host = options->alt_host ? strdup(options->alt_host) : NULL;
	return peer->host && (peer->alt_host || !options->alt_host);
}

bool hb_tls_name_tell(const struct hb_tls_peer *peer, SSL *ssl)
{
	if (!peer->host || is_address(peer->host))
		return true;
	return SSL_set_tlsext_host_name(ssl, peer->host) == 1;
}

static bool names(X509 *cert, const char *host)
{
	const unsigned flags =
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

	if (!host)
		return false;
	return is_address(host) ? X509_check_ip_asc(cert, host, 0) == 1
	                        : X509_check_host(cert, host, 0, flags, NULL) == 1;
}

int hb_tls_name_check(struct hb_tls_peer *peer, const SSL *ssl, X509 *cert)
{
	const unsigned char *alpn;
	unsigned len;

	if (!names(cert, peer->host) && !names(cert, peer->alt_host))
		return HB_E_PEER_IDENTITY;
	/* Both versions of TLS say it before the certificate comes. */
	SSL_get0_alpn_selected(ssl, &alpn, &len);
	if (len != 2 || memcmp(alpn, "h2", 2) != 0)
		return HB_E_TLS_NO_ALPN;
	return hb_tls_first_spiffe(cert, &peer->identity);
}
