/*
 * csr: made of OpenSSL's pieces; the identity does not pass through its configuration syntax, which
 * has commas of its own.
 */
#include "control/csr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>
#include <hbone/tls.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/pem.h"

static GENERAL_NAMES *uri_name(const char *uri)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	if (!names || !name || !text || !ASN1_STRING_set(text, uri, -1) ||
	    !sk_GENERAL_NAME_push(names, name)) {
		ASN1_IA5STRING_free(text);
		GENERAL_NAME_free(name);
		sk_GENERAL_NAME_free(names);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, GEN_URI, text);
	return names;
}

/* RFC 5280 4.2.1.6: critical, because the subject is empty. */
static bool add_name(X509_REQ *request, const char *uri)
{
	GENERAL_NAMES *names = uri_name(uri);
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	bool ok = names && X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, 0) == 1 &&
	          X509_REQ_add_extensions(request, extensions) == 1;

	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	GENERAL_NAMES_free(names);
	return ok;
}

static char *request_pem(EVP_PKEY *key, const char *identity)
{
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	bool ok = request && bio && X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
	          X509_REQ_set_pubkey(request, key) && add_name(request, identity) &&
	          X509_REQ_sign(request, key, EVP_sha256()) > 0 &&
	          PEM_write_bio_X509_REQ(bio, request);

	X509_REQ_free(request);
	if (ok)
		return pem_take(bio);
	BIO_free(bio);
	return NULL;
}

int csr_make(const char *identity, struct csr *ret_csr, char *why, size_t why_size)
{
	struct csr csr = { 0 };
	EVP_PKEY *key;

	if (!hb_spiffe_is_valid(identity, strlen(identity))) {
		snprintf(why, why_size, "failed to create CSR: %s is not a SPIFFE identity",
		         identity);
		return -EINVAL;
	}
	key = EVP_EC_gen("P-256");
	if (key) {
		csr.pem = request_pem(key, identity);
		csr.key_pem = pem_of_key(key);
	}
	EVP_PKEY_free(key); /* wipes */
	ERR_clear_error();
	if (!csr.pem || !csr.key_pem) {
		csr_done(&csr);
		snprintf(why, why_size, "failed to create CSR: no key could be made");
		return -ENOMEM;
	}
	*ret_csr = csr;
	return 0;
}

void csr_done(struct csr *csr)
{
	pem_wipe(&csr->key_pem);
	free(hb_take(&csr->pem));
}
