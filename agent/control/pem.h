/*
 * pem: certificates and keys as PEM text (RFC 7468), for the files that make, sign and read them.
 * Pure. Any thread.
 */
#pragma once

#include <openssl/bio.h>
#include <openssl/x509.h>
#include <stdbool.h>

/* Takes @bio, whose text becomes a string, the caller's to free(); NULL: it is NULL, or no memory.
 */
char *pem_take(BIO *bio);
char *pem_of_cert(X509 *cert);   /* NULL: no memory */
char *pem_of_key(EVP_PKEY *key); /* PKCS#8, not encrypted; pem_wipe() it. NULL: no memory */
void pem_wipe(char **text);      /* frees it, and what it was is gone; takes NULL in it */
/* OpenSSL's callback for encrypted keys: it must never ask the terminal. */
int pem_no_password(char *buf, int size, int writing, void *arg);

/*
 * The next block of @at, from its "-----BEGIN" to the end of its "-----END" line, which @at is set
 * behind; one that has no end goes to the next beginning. False: there is none.
 */
bool pem_next(const char **at, const char **ret_block, size_t *ret_len);
/* The certificate of one block; NULL: it is none, or cannot be read. */
X509 *pem_cert(const char *block, size_t len);
