/*
 * tls_crl: certificate revocation lists: from bytes to a set, and who is in it.
 *
 * OpenSSL's own check (X509_V_FLAG_CRL_CHECK) is not used: it demands a list for every issuer and a
 * date that is good, chooses one list where several fit, and cannot be asked again about a
 * connection that lives.
 */
#include "tls_crl.h"

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct hb_tls_crls {
	atomic_uint refs;
	STACK_OF(X509_CRL) * all;
};

/* ---- reading ---- */

__attribute__((format(printf, 3, 4))) static int complain(char *why, size_t why_size,
                                                          const char *form, ...)
{
	va_list args;

	va_start(args, form);
	vsnprintf(why, why_size, form, args);
	va_end(args);
	return -EINVAL;
}

/* 0; -EINVAL: it is none; -ENOMEM. */
static int add_der(struct hb_tls_crls *crls, const unsigned char *der, size_t len)
{
	const unsigned char *at = der;
	ASN1_INTEGER *zero = ASN1_INTEGER_new();
	X509_CRL *crl = len <= LONG_MAX ? d2i_X509_CRL(NULL, &at, (long)len) : NULL;
	X509_REVOKED *entry;
	int err = 0;

	if (!zero)
		err = -ENOMEM;
	else if (!crl || at != der + len)
		err = -EINVAL;
	/* The first lookup sorts the entries; later ones, from any thread, only read. */
	else if (X509_CRL_get0_by_serial(crl, &entry, zero) >= 0 &&
	         !sk_X509_CRL_push(crls->all, crl))
		err = -ENOMEM;
	if (err < 0)
		X509_CRL_free(crl);
	ASN1_INTEGER_free(zero);
	return err;
}

static size_t count_of(const char *word, const char *bytes, size_t len)
{
	const char *at = bytes;
	size_t count = 0;

	while ((at = memmem(at, len - (size_t)(at - bytes), word, strlen(word)))) {
		at += strlen(word);
		count++;
	}
	return count;
}

/* Every block that begins must be read: a file that is half written is no file yet. */
static int add_pem(struct hb_tls_crls *crls, BIO *bio, size_t blocks, char *why, size_t why_size)
{
	char *name, *header;
	unsigned char *der;
	size_t done = 0;
	long len;
	int err = 0;

	while (err == 0 && PEM_read_bio(bio, &name, &header, &der, &len)) {
		done++;
		if (strcmp(name, PEM_STRING_X509_CRL) == 0)
			err = add_der(crls, der, (size_t)len);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(der, (size_t)len); /* a key may have got into the file */
	}
	if (err == -EINVAL)
		return complain(why, why_size, "block %zu is not a revocation list", done);
	if (err == 0 && done < blocks)
		return complain(why, why_size, "block %zu is not whole", done + 1);
	return err;
}

static bool is_blank(const unsigned char *bytes, size_t len)
{
	while (len > 0 && isspace(*bytes))
		bytes++, len--;
	return len == 0;
}

static int add_all(struct hb_tls_crls *crls, const void *bytes, size_t len, char *why,
                   size_t why_size)
{
	size_t blocks;
	BIO *bio;
	int err;

	if (is_blank(bytes, len))
		return 0;
	if (len > INT_MAX)
		return complain(why, why_size, "it is too large");
	blocks = count_of("-----BEGIN ", bytes, len);
	if (blocks == 0) {
		err = add_der(crls, bytes, len);
		return err == -EINVAL
		           ? complain(why, why_size, "it is neither PEM nor a revocation list")
		           : err;
	}
	bio = BIO_new_mem_buf(bytes, (int)len);
	err = bio ? add_pem(crls, bio, blocks, why, why_size) : -ENOMEM;
	BIO_free(bio);
	return err;
}

int hb_tls_crls_parse(const void *bytes, size_t len, struct hb_tls_crls **ret_crls, char *why,
                      size_t why_size)
{
	struct hb_tls_crls *crls = calloc(1, sizeof(*crls));
	int err = -ENOMEM;

	ERR_clear_error();
	if (crls) {
		atomic_init(&crls->refs, 1);
		crls->all = sk_X509_CRL_new_null();
	}
	if (crls && crls->all)
		err = add_all(crls, bytes, len, why, why_size);
	ERR_clear_error();
	if (err == -ENOMEM)
		snprintf(why, why_size, "no memory");
	if (err < 0)
		hb_tls_crls_unref(crls);
	else
		*ret_crls = crls;
	return err;
}

struct hb_tls_crls *hb_tls_crls_ref(struct hb_tls_crls *crls)
{
	if (crls) {
		unsigned before = atomic_fetch_add_explicit(&crls->refs, 1, memory_order_relaxed);

		assert(before > 0);
	}
	return crls;
}

void hb_tls_crls_unref(struct hb_tls_crls *crls)
{
	if (!crls || atomic_fetch_sub_explicit(&crls->refs, 1, memory_order_acq_rel) != 1)
		return;
	sk_X509_CRL_pop_free(crls->all, X509_CRL_free);
	free(crls);
}

size_t hb_tls_crls_count(const struct hb_tls_crls *crls)
{
	return crls ? (size_t)sk_X509_CRL_num(crls->all) : 0;
}

/* ---- asking ---- */

/*
 * A list of the issuer's name that the issuer did not sign is that of another CA with this name, as
 * those of a mesh whose root was replaced are. An issuer that may not sign lists by its key usage
 * is believed all the same: Istio's plugged-in CAs are made without that bit.
 */
static bool is_revoked(X509_CRL *crl, X509 *cert, X509 *issuer)
{
	X509_REVOKED *entry;

	return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert)) == 0 &&
	       X509_CRL_get0_by_cert(crl, &entry, cert) == 1 &&
	       X509_CRL_verify(crl, X509_get0_pubkey(issuer)) == 1;
}

bool hb_tls_crls_revoke(const struct hb_tls_crls *crls, const STACK_OF(X509) * chain)
{
	bool revoked = false;

	for (size_t k = 0; !revoked && k < hb_tls_crls_count(crls); k++)
		for (int i = 0; !revoked && i + 1 < sk_X509_num(chain); i++)
			revoked = is_revoked(sk_X509_CRL_value(crls->all, (int)k),
			                     sk_X509_value(chain, i), sk_X509_value(chain, i + 1));
	ERR_clear_error();
	return revoked;
}
