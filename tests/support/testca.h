/*
 * testca: certificates of every kind for tests: roots, and leaves that are right or wrong in one
 * chosen way. Everything is PEM text that the caller frees. Aborts when it cannot.
 */
#pragma once

#include <stdbool.h>

struct testca;

struct testca *testca_new(const char *name);
/* One that ends @seconds from now. */
struct testca *testca_new_short(const char *name, int seconds);
void testca_free(struct testca *ca);             /* takes NULL */
const char *testca_pem(const struct testca *ca); /* the root; lives as long as @ca */
const char *testca_key_pem(const struct testca *ca);

enum testca_eku { TESTCA_EKU_BOTH, TESTCA_EKU_SERVER, TESTCA_EKU_CLIENT, TESTCA_EKU_NONE };

struct testca_leaf { /* zero: a good leaf without names */
	/* As OpenSSL's configuration says it: "URI:spiffe://a/ns/b/sa/c,DNS:x"; NULL: none. */
	const char *san;
	int not_before_s, not_after_s; /* from now; both 0: from an hour ago to an hour ahead */
	enum testca_eku eku;
	bool is_ca;
};

struct testca_pem {
	char *chain, *key;
};
struct testca_pem testca_leaf(const struct testca *ca, const struct testca_leaf *leaf);
void testca_pem_done(struct testca_pem *pem);
/* What a CA makes of a request (PKCS#10, PEM): its key and @leaf; the chain, to be freed. */
char *testca_sign(const struct testca *ca, const char *csr_pem, const struct testca_leaf *leaf);
/*
 * A revocation list of @ca's, PEM, to be freed: with the serial number of @revoked (PEM; NULL:
 * nobody), of an hour ago, good until @next_s from now.
 */
char *testca_crl(const struct testca *ca, const char *revoked, int next_s);
/* An intermediate: leaves made from it have it in their chain. */
struct testca *testca_intermediate(const struct testca *ca, const char *name);
