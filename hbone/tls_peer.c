/*
 * tls_peer: who the other end is, and the words for why it was refused (reference/datapath 1.4).
 */
#include "tls_peer.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls_crl.h"
#include "tls_ctx.h"
#include "tls_name.h"

bool hb_tls_peer_init(struct hb_tls_peer *peer, const struct hb_tls_options *options)
{
	peer->ctx = options->ctx;
	peer->role = options->role;
	peer->crls = hb_tls_crls_ref(options->crls);
	if (options->host && !hb_tls_name_init(peer, options))
		return false;
	if (options->identities_count == 0)
		return true;
	peer->identities = calloc(options->identities_count, sizeof(*peer->identities));
	if (!peer->identities)
		return false;
	for (; peer->identities_count < options->identities_count; peer->identities_count++) {
		char *copy = strdup(options->identities[peer->identities_count]);

		if (!copy)
			return false;
		peer->identities[peer->identities_count] = copy;
	}
	return true;
}

void hb_tls_peer_done(struct hb_tls_peer *peer)
{
	for (size_t i = 0; i < peer->identities_count; i++)
		free(peer->identities[i]);
	free(peer->identities);
	free(peer->identity);
	free(peer->shown);
	free(peer->host);
	free(peer->alt_host);
	hb_tls_crls_unref(peer->crls);
}

/* Whether the comma-separated @list has the word. */
static bool is_listed(const char *list, const char *word, size_t len)
{
	while (list) {
		if (strcspn(list, ",") == len && memcmp(list, word, len) == 0)
			return true;
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	return false;
}

static bool is_our_trust_domain(const struct hb_tls_ctx *ctx, const char *uri)
{
	const char *start;
	size_t len = hb_spiffe_trust_domain(uri, &start);

	if (len == ctx->trust_domain_len && memcmp(start, ctx->trust_domain, len) == 0)
		return true;
	return len > 0 && is_listed(ctx->trust_domains, start, len);
}

static bool is_acceptable(const struct hb_tls_peer *peer, const char *uri, size_t len)
{
	if (peer->role == HB_TLS_SERVER)
		return is_our_trust_domain(peer->ctx, uri);
	for (size_t i = 0; i < peer->identities_count; i++)
		if (strlen(peer->identities[i]) == len &&
		    memcmp(peer->identities[i], uri, len) == 0)
			return true;
	return false;
}

/* The next SPIFFE URI from *@pos on, inside @names; NULL: none is left. Others are passed over. */
static const char *spiffe_next(const GENERAL_NAMES *names, int *pos, size_t *ret_len)
{
	while (*pos < sk_GENERAL_NAME_num(names)) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, (*pos)++);
		const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
		const char *text;

		if (name->type != GEN_URI)
			continue;
		text = (const char *)ASN1_STRING_get0_data(uri);
		*ret_len = (size_t)ASN1_STRING_length(uri);
		if (hb_spiffe_is_valid(text, *ret_len))
			return text;
	}
	return NULL;
}

int hb_tls_first_spiffe(const X509 *cert, char **ret_uri)
{
	int critical, pos = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	const char *uri;
	size_t len;
	char *copy;

	if (!names && critical != -1)
		return -EINVAL; /* it is there, and cannot be read: that is not "no identity" */
	uri = spiffe_next(names, &pos, &len);
	copy = uri ? strndup(uri, len) : strdup("");
	GENERAL_NAMES_free(names);
	if (!copy)
		return -ENOMEM;
	*ret_uri = copy;
	return 0;
}

int hb_tls_peer_check(struct hb_tls_peer *peer, const X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool any = false;
	bool ok = peer->role == HB_TLS_SERVER && peer->ctx->identity[0] == '\0';
	const char *uri;
	size_t len;
	int pos = 0;

	while (!ok && (uri = spiffe_next(names, &pos, &len)) != NULL) {
		ok = is_acceptable(peer, uri, len);
		any = true;
	}
	GENERAL_NAMES_free(names);
	if (ok)
		return hb_tls_first_spiffe(cert, &peer->identity);
	if (any && !peer->shown)
		(void)hb_tls_first_spiffe(cert, &peer->shown); /* without memory it is not told */
	return any && peer->role == HB_TLS_SERVER ? HB_E_TRUST_DOMAIN : HB_E_PEER_IDENTITY;
}

int hb_tls_peer_verify(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct hb_tls_peer *peer = SSL_get_app_data(ssl);

	if (X509_verify_cert(store) <= 0) {
		int error = X509_STORE_CTX_get_error(store);

		if (error == X509_V_OK)
			error = X509_V_ERR_UNSPECIFIED;
		peer->code = HB_E_CERT(error);
		/* Peers of the mesh say certificate_expired also when it is too early
		 * (reference/datapath 10); OpenSSL would say bad_certificate. */
		if (error == X509_V_ERR_CERT_NOT_YET_VALID)
			error = X509_V_ERR_CERT_HAS_EXPIRED;
		X509_STORE_CTX_set_error(store, error);
		return 0;
	}
	if (hb_tls_crls_revoke(peer->crls, X509_STORE_CTX_get0_chain(store))) {
		peer->code = HB_TLS_REVOKED;
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
		return 0;
	}

	peer->code = peer->host ? hb_tls_name_check(peer, ssl, X509_STORE_CTX_get0_cert(store))
	                        : hb_tls_peer_check(peer, X509_STORE_CTX_get0_cert(store));
	if (peer->code != 0) {
		/* Becomes the alert bad_certificate. */
		X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
		return 0;
	}
	return 1;
}

/* The last of the chain is a root, and stands for itself. */
static bool has_expired(const STACK_OF(X509) * chain, int64_t now_s)
{
	time_t now = now_s;

	for (int i = 0; i == 0 || i + 1 < sk_X509_num(chain); i++)
		if (X509_cmp_time(X509_get0_notAfter(sk_X509_value(chain, i)), &now) < 0)
			return true;
	return false;
}

int hb_tls_peer_recheck(struct hb_tls_peer *peer, const SSL *ssl, struct hb_tls_crls *crls,
                        int64_t now_s)
{
	const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	struct hb_tls_crls *old = peer->crls;

	peer->crls = hb_tls_crls_ref(crls);
	hb_tls_crls_unref(old);
	if (!chain)
		return 0;
	if (hb_tls_crls_revoke(crls, chain))
		return HB_TLS_REVOKED;
	return has_expired(chain, now_s) ? HB_TLS_EXPIRED : 0;
}

/* Which of our words fits an error of OpenSSL's queue; 0: none. */
static struct hb_end end_of_error(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return HB_END_CLEAN;
	if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255)
		return hb_end(HB_LAYER_TLS, HB_SIDE_PEER,
		              HB_E_ALERT(reason - SSL_AD_REASON_OFFSET));
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_NO_CERT);
	if (reason == SSL_R_NO_APPLICATION_PROTOCOL)
		return hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_TLS_NO_ALPN);
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_TLS_VERSION);
	if (reason == SSL_R_NO_SHARED_CIPHER)
		return hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_TLS_SUITE);
	return HB_END_CLEAN;
}

struct hb_end hb_tls_peer_why(const struct hb_tls_peer *peer)
{
	struct hb_end why = HB_END_CLEAN;
	unsigned long error;

	if (peer->code != 0)
		why = hb_end(HB_LAYER_TLS, HB_SIDE_US, peer->code);
	while (why.code == 0 && (error = ERR_get_error()) != 0)
		why = end_of_error(error);
	ERR_clear_error();
	return why.code != 0 ? why : hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_TLS);
}
