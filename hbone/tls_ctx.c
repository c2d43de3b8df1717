/*
 * tls_ctx: one identity's certificate generation as two SSL_CTX, with the mesh's TLS profile
 * (reference/datapath 1.2 and 1.3).
 */
#include "tls_ctx.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls_peer.h"
#include "tls_wire.h"

/* AES-128 first: it is the faster one, and servers follow the client's order. ChaCha20 is never
 * offered: peers do not know it. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
#define SUITES_12                                                                                  \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                             \
	"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
#define PQC "X25519MLKEM768"
/* The first list that the library knows. With stars (OpenSSL 3.5) the client sends a share for
 * both, so that a peer that has only one of them needs no second round. */
static const char *const groups[] = { "*" PQC ":*X25519:P-256:P-384", "X25519:P-256:P-384" };

static const unsigned char alpn_h2[] = { 2, 'h', '2' };

/* Called only for clients that offer ALPN at all; those that do not are let in. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *ret_len,
                   const unsigned char *offered, unsigned int offered_len, void *arg)
{
	for (unsigned int i = 0; i < offered_len; i += 1u + offered[i])
		if (offered[i] == 2 && i + 2 < offered_len &&
		    memcmp(&offered[i + 1], "h2", 2) == 0) {
			*out = &offered[i + 1];
			*ret_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- material ---- */

/* What is read from PEM before it is known to be good. */
struct parsed {
	X509 *leaf;
	STACK_OF(X509) * chain; /* the intermediates */
	EVP_PKEY *key;
	X509_STORE *roots;
};

static void parsed_done(struct parsed *parsed)
{
	X509_free(parsed->leaf);
	sk_X509_pop_free(parsed->chain, X509_free);
	EVP_PKEY_free(parsed->key);
	X509_STORE_free(parsed->roots);
}

/* An encrypted key must not make OpenSSL ask the terminal. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	return -1;
}

static const char *parse_chain(struct parsed *parsed, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert;
	bool ended;

	parsed->chain = sk_X509_new_null();
	if (!bio || !parsed->chain) {
		BIO_free(bio);
		return "no memory";
	}
	while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		if (!parsed->leaf)
			parsed->leaf = cert;
		else if (!sk_X509_push(parsed->chain, cert))
			X509_free(cert);
	}
	ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	BIO_free(bio);
	if (!parsed->leaf)
		return "the certificate chain holds no PEM certificate";
	return ended ? NULL : "a certificate of the chain cannot be read";
}

static const char *parse_key(struct parsed *parsed, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);

	parsed->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	BIO_free(bio);
	if (!parsed->key)
		return "the private key is not PEM, or it is encrypted";
	if (X509_check_private_key(parsed->leaf, parsed->key) != 1)
		return "the private key does not belong to the certificate";
	return NULL;
}

/*
 * A bundle may hold anchors that we cannot use; the others must work all the same
 * (reference/datapath 1.3). So each block is decoded by itself.
 */
const char *hb_tls_ctx_roots(const char *pem, X509_STORE **ret_roots)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	char *name, *header;
	unsigned char *der;
	long len;
	int usable = 0;

	*ret_roots = X509_STORE_new();
	while (bio && *ret_roots && PEM_read_bio(bio, &name, &header, &der, &len)) {
		const unsigned char *at = der;
		X509 *cert = strstr(name, "CERTIFICATE") ? d2i_X509(NULL, &at, len) : NULL;

		if (cert && X509_check_ca(cert) && X509_STORE_add_cert(*ret_roots, cert))
			usable++;
		X509_free(cert);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(bio);
	return usable ? NULL : "none of the root certificates can be used";
}

static const char *parse(struct parsed *parsed, const struct hb_tls_material *material)
{
	const char *why = parse_chain(parsed, material->chain);

	if (!why)
		why = parse_key(parsed, material->key);
	if (!why)
		why = hb_tls_ctx_roots(material->roots, &parsed->roots);
	return why;
}

/* ---- contexts ---- */

static bool set_groups(SSL_CTX *ctx, const struct hb_tls_profile *profile)
{
	if (profile->pqc)
		return SSL_CTX_set1_groups_list(ctx, PQC);
	for (size_t i = 0; i < HB_ARRAY_LEN(groups); i++)
		if (SSL_CTX_set1_groups_list(ctx, groups[i]))
			return true;
	return false;
}

SSL_CTX *hb_tls_ctx_profiled(enum hb_tls_role role, const struct hb_tls_profile *profile)
{
	int oldest = profile->tls12 && !profile->pqc ? TLS1_2_VERSION : TLS1_3_VERSION;
	SSL_CTX *ctx =
	    SSL_CTX_new(role == HB_TLS_SERVER ? TLS_server_method() : TLS_client_method());

	if (!ctx)
		return NULL;
	/* All of it is set here, so that the machine's openssl.cnf has no say. Without
	 * NO_AUTO_CHAIN OpenSSL would send the root along; with PARTIAL_CHAIN each root is an
	 * anchor, self-signed or not. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_clear_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 0);
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, hb_tls_peer_verify, NULL);
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);

	bool ok = SSL_CTX_set_min_proto_version(ctx, oldest) &&
	          SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
	          SSL_CTX_set_ciphersuites(ctx, SUITES) &&
	          SSL_CTX_set_cipher_list(ctx, SUITES_12) && set_groups(ctx, profile) &&
	          SSL_CTX_set_num_tickets(ctx, 0);

	if (role == HB_TLS_SERVER)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	else /* 0 is success here */
		ok = ok && SSL_CTX_set_alpn_protos(ctx, alpn_h2, sizeof(alpn_h2)) == 0;
	if (!ok) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

int hb_tls_profile_check(const struct hb_tls_profile *profile, const char **ret_why)
{
	static _Thread_local char why[160];
	SSL_CTX *ctx = hb_tls_ctx_profiled(HB_TLS_CLIENT, profile);

	SSL_CTX_free(ctx);
	ERR_clear_error();
	if (ctx)
		return 0;
	snprintf(why, sizeof(why), "%s has no key exchange %s, which takes OpenSSL 3.5",
	         OpenSSL_version(OPENSSL_VERSION), profile->pqc ? PQC : "of ours");
	*ret_why = why;
	return -ENOTSUP;
}

static SSL_CTX *role_new(enum hb_tls_role role, const struct hb_tls_profile *profile,
                         const struct parsed *parsed)
{
	SSL_CTX *ctx = hb_tls_ctx_profiled(role, profile);

	if (!ctx)
		return NULL;
	SSL_CTX_set1_cert_store(ctx, parsed->roots);
	if (SSL_CTX_use_certificate(ctx, parsed->leaf) && SSL_CTX_set1_chain(ctx, parsed->chain) &&
	    SSL_CTX_use_PrivateKey(ctx, parsed->key))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static int build(struct hb_tls_ctx *ctx, const struct parsed *parsed,
                 const struct hb_tls_profile *profile, const char **ret_why)
{
	int err = hb_tls_first_spiffe(parsed->leaf, &ctx->identity);

	if (err < 0) {
		*ret_why = err == -ENOMEM ? "no memory" : "the certificate's names cannot be read";
		return err;
	}
	if (ctx->identity[0] != '\0')
		ctx->trust_domain_len = hb_spiffe_trust_domain(ctx->identity, &ctx->trust_domain);
	if (profile->trust_domains)
		ctx->trust_domains = strdup(profile->trust_domains);
	ctx->wire = hb_tls_wire_method_new();
	if (!ctx->wire || (profile->trust_domains && !ctx->trust_domains)) {
		*ret_why = "no memory";
		return -ENOMEM;
	}
	err = hb_tls_profile_check(profile, ret_why);
	if (err < 0)
		return err;
	for (int role = HB_TLS_CLIENT; role <= HB_TLS_SERVER; role++) {
		ctx->roles[role] = role_new((enum hb_tls_role)role, profile, parsed);
		if (!ctx->roles[role]) {
			*ret_why = "OpenSSL does not take the certificate (is its key too short?)";
			return -EINVAL;
		}
	}
	return 0;
}

static void ctx_free(struct hb_tls_ctx *ctx)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(ctx->roles); i++)
		SSL_CTX_free(ctx->roles[i]);
	BIO_meth_free(ctx->wire);
	free(ctx->identity);
	free(ctx->trust_domains);
	free(ctx);
}

struct hb_tls_ctx *hb_tls_ctx_alloc(void)
{
	struct hb_tls_ctx *ctx = calloc(1, sizeof(*ctx));

	if (ctx)
		atomic_init(&ctx->refs, 1);
	return ctx;
}

int hb_tls_ctx_new(const struct hb_tls_material *material, struct hb_tls_ctx **ret_ctx,
                   const char **ret_why)
{
	static const struct hb_tls_profile standard;
	const struct hb_tls_profile *profile = material->profile ? material->profile : &standard;
	struct hb_tls_ctx *ctx = hb_tls_ctx_alloc();
	struct parsed parsed = { 0 };
	int err;

	if (!ctx) {
		*ret_why = "no memory";
		return -ENOMEM;
	}
	ERR_clear_error();
	*ret_why = parse(&parsed, material);
	err = *ret_why ? -EINVAL : build(ctx, &parsed, profile, ret_why);
	parsed_done(&parsed);
	ERR_clear_error(); /* the end of each PEM text has left a note there */
	if (err < 0) {
		ctx_free(ctx);
		return err;
	}
	*ret_ctx = ctx;
	return 0;
}

struct hb_tls_ctx *hb_tls_ctx_ref(struct hb_tls_ctx *ctx)
{
	unsigned before = atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);

	assert(before > 0);
	return ctx;
}

void hb_tls_ctx_unref(struct hb_tls_ctx *ctx)
{
	if (ctx && atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1)
		ctx_free(ctx);
}

const char *hb_tls_ctx_identity(const struct hb_tls_ctx *ctx)
{
	return ctx->identity;
}
