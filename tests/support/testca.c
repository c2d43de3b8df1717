/*
 * testca: a certificate authority for tests.
 */
#include "testca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct testca {
	X509 *cert;
	EVP_PKEY *key;
	char *pem, *key_pem;
	bool is_intermediate;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "testca: %s failed\n", what);
	abort();
}

static char *pem_of(X509 *cert, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long len;

	must(bio && (cert ? PEM_write_bio_X509(bio, cert)
	                  : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)),
	     "PEM");
	len = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)len);
	must(text != NULL, "strndup");
	BIO_free(bio);
	return text;
}

static void add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	must(ext && X509_add_ext(cert, ext, -1), value);
	X509_EXTENSION_free(ext);
}

static X509 *cert_new(EVP_PKEY *key, const char *name, long not_before_s, long not_after_s)
{
	static unsigned serial = 1000;
	X509 *cert = X509_new();

	must(cert && X509_set_version(cert, X509_VERSION_3), "X509_new");
	must(ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial), "serial");
	must(X509_gmtime_adj(X509_getm_notBefore(cert), not_before_s) &&
	         X509_gmtime_adj(X509_getm_notAfter(cert), not_after_s) &&
	         X509_set_pubkey(cert, key),
	     "fields");
	if (name)
		must(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "O", MBSTRING_ASC,
		                                (const unsigned char *)name, -1, -1, 0),
		     "name");
	return cert;
}

static struct testca *ca_new(const struct testca *parent, const char *name, int seconds)
{
	struct testca *ca = calloc(1, sizeof(*ca));

	must(ca && (ca->key = EVP_EC_gen("P-256")) != NULL, "key");
	ca->cert = cert_new(ca->key, name, -7200, seconds);
	must(X509_set_issuer_name(ca->cert, parent ? X509_get_subject_name(parent->cert)
	                                           : X509_get_subject_name(ca->cert)),
	     "issuer");
	add(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	add(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	add(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
	must(X509_sign(ca->cert, parent ? parent->key : ca->key, EVP_sha256()) > 0, "sign");
	ca->pem = pem_of(ca->cert, NULL);
	ca->key_pem = pem_of(NULL, ca->key);
	ca->is_intermediate = parent != NULL;
	return ca;
}

struct testca *testca_new(const char *name)
{
	return ca_new(NULL, name, 7200);
}

struct testca *testca_new_short(const char *name, int seconds)
{
	return ca_new(NULL, name, seconds);
}

struct testca *testca_intermediate(const struct testca *ca, const char *name)
{
	return ca_new(ca, name, 7200);
}

void testca_free(struct testca *ca)
{
	if (!ca)
		return;
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	free(ca->pem);
	free(ca->key_pem);
	free(ca);
}

const char *testca_pem(const struct testca *ca)
{
	return ca->pem;
}

const char *testca_key_pem(const struct testca *ca)
{
	return ca->key_pem;
}

static char *leaf_chain(const struct testca *ca, EVP_PKEY *key, const struct testca_leaf *leaf)
{
	static const char *const ekus[] = { "serverAuth,clientAuth", "serverAuth", "clientAuth" };
	bool dated = leaf->not_before_s || leaf->not_after_s;
	char *own, *chain;
	X509 *cert;

	must(key != NULL, "key");
	cert = cert_new(key, NULL, dated ? leaf->not_before_s : -3600,
	                dated ? leaf->not_after_s : 3600);
	must(X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)), "issuer");
	add(cert, ca->cert, NID_basic_constraints,
	    leaf->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add(cert, ca->cert, NID_key_usage, "critical,digitalSignature,keyEncipherment");
	if (leaf->eku != TESTCA_EKU_NONE)
		add(cert, ca->cert, NID_ext_key_usage, ekus[leaf->eku]);
	if (leaf->san)
		add(cert, ca->cert, NID_subject_alt_name, leaf->san);
	must(X509_sign(cert, ca->key, EVP_sha256()) > 0, "sign");

	own = pem_of(cert, NULL);
	must(asprintf(&chain, "%s%s", own, ca->is_intermediate ? ca->pem : "") > 0, "chain");
	free(own);
	X509_free(cert);
	return chain;
}

struct testca_pem testca_leaf(const struct testca *ca, const struct testca_leaf *leaf)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct testca_pem pem = { .chain = leaf_chain(ca, key, leaf), .key = pem_of(NULL, key) };

	EVP_PKEY_free(key);
	return pem;
}

char *testca_sign(const struct testca *ca, const char *csr_pem, const struct testca_leaf *leaf)
{
	BIO *in = BIO_new_mem_buf(csr_pem, -1);
	X509_REQ *request = in ? PEM_read_bio_X509_REQ(in, NULL, NULL, NULL) : NULL;
	char *chain;

	must(request && X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) == 1, "request");
	chain = leaf_chain(ca, X509_REQ_get0_pubkey(request), leaf);
	X509_REQ_free(request);
	BIO_free(in);
	return chain;
}

void testca_pem_done(struct testca_pem *pem)
{
	free(pem->chain);
	free(pem->key);
	*pem = (struct testca_pem){ 0 };
}

char *testca_crl(const struct testca *ca, const char *revoked, int next_s)
{
	X509_CRL *crl = X509_CRL_new();
	BIO *in = BIO_new_mem_buf(revoked ? revoked : "", -1), *out = BIO_new(BIO_s_mem());
	X509 *cert = revoked ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	ASN1_TIME *then = X509_gmtime_adj(NULL, -3600), *next = X509_gmtime_adj(NULL, next_s);
	char *data, *text;
	long len;

	must(crl && in && out && then && next && (cert || !revoked), "CRL");
	must(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
	         X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert)) &&
	         X509_CRL_set1_lastUpdate(crl, then) && X509_CRL_set1_nextUpdate(crl, next),
	     "CRL fields");
	if (cert) {
		X509_REVOKED *entry = X509_REVOKED_new();

		must(entry && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert)) &&
		         X509_REVOKED_set_revocationDate(entry, then) &&
		         X509_CRL_add0_revoked(crl, entry),
		     "CRL entry");
	}
	must(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0 && PEM_write_bio_X509_CRL(out, crl),
	     "CRL sign");
	len = BIO_get_mem_data(out, &data);
	text = strndup(data, (size_t)len);
	must(text != NULL, "strndup");
	BIO_free(in);
	BIO_free(out);
	ASN1_TIME_free(then);
	ASN1_TIME_free(next);
	X509_free(cert);
	X509_CRL_free(crl);
	return text;
}
