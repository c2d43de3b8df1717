/*
 * pem: text in and out, and blocks one by one, so that one that is broken spoils no other.
 */
#include "control/pem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define BEGIN "-----BEGIN "
#define END   "-----END "

int pem_no_password(char *buf, int size, int writing, void *arg)
{
	return -1;
}

char *pem_take(BIO *bio)
{
	char *data, *text;
	long len;

	if (!bio)
		return NULL;
	len = BIO_get_mem_data(bio, &data);
	text = strndup(data ? data : "", (size_t)len);
	BIO_free(bio); /* wipes */
	return text;
}

char *pem_of_cert(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert)) {
		BIO_free(bio);
		return NULL;
	}
	return pem_take(bio);
}

char *pem_of_key(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		BIO_free(bio);
		return NULL;
	}
	return pem_take(bio);
}

void pem_wipe(char **text)
{
	if (*text)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

bool pem_next(const char **at, const char **ret_block, size_t *ret_len)
{
	const char *begin = strstr(*at, BEGIN);
	const char *next, *end;

	if (!begin)
		return false;
	next = strstr(begin + strlen(BEGIN), BEGIN);
	end = strstr(begin, END);
	if (end && (!next || end < next))
		end += strcspn(end, "\n");
	else
		end = next ? next : begin + strlen(begin);
	*ret_block = begin;
	*ret_len = (size_t)(end - begin);
	*at = end;
	return true;
}

X509 *pem_cert(const char *block, size_t len)
{
	BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(block, (int)len) : NULL;
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, pem_no_password, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return cert;
}
