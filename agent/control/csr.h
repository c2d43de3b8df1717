/*
 * csr: a fresh key, and the request that a CA sign it for an identity (RFC 2986; reference/
 * controlplane 5.1). Any thread.
 */
#pragma once

#include <stddef.h>

struct csr {
	char *pem;     /* PKCS#10: empty subject, one extension: a critical URI name */
	char *key_pem; /* P-256, PKCS#8; never used for another request */
};

/* 0; -EINVAL or -ENOMEM with one sentence in @why. */
int csr_make(const char *identity, struct csr *ret_csr, char *why, size_t why_size);
void csr_done(struct csr *csr); /* wipes the key; takes one that is all 0 */
