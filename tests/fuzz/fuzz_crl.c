/*
 * fuzz_crl: any bytes are revocation lists, or one clause that says why not; and what was read can
 * be asked about a chain. Its middle CA has the name of the seeds, so that entries are looked at.
 */
#include <assert.h>
#include <string.h>

#include <openssl/pem.h>

#include "support/testca.h"
#include "tls_crl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A leaf, its CA "fuzz", and a root. */
static STACK_OF(X509) * chain_of_three(void)
{
	static STACK_OF(X509) * chain;
	struct testca *root, *middle;
	struct testca_pem leaf;
	BIO *bio;

	if (chain)
		return chain;
	root = testca_new("root");
	middle = testca_intermediate(root, "fuzz");
	leaf = testca_leaf(middle, &(struct testca_leaf){ .san = "URI:spiffe://a/ns/b/sa/c" });
	bio = BIO_new(BIO_s_mem());
	BIO_puts(bio, leaf.chain);
	BIO_puts(bio, testca_pem(root));
	chain = sk_X509_new_null();
	for (int i = 0; i < 3; i++)
		sk_X509_push(chain, PEM_read_bio_X509(bio, NULL, NULL, NULL));
	assert(sk_X509_num(chain) == 3);
	BIO_free(bio);
	testca_pem_done(&leaf);
	testca_free(middle);
	testca_free(root);
	return chain;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_tls_crls *crls = NULL;
	char why[128] = "";
	int err = hb_tls_crls_parse(bytes, len, &crls, why, sizeof(why));

	assert((err == 0) == (crls != NULL) && (err == 0) == (why[0] == '\0'));
	assert(err == 0 || (err == -EINVAL && !strchr(why, '\n')));
	assert(!crls || hb_tls_crls_count(crls) <= len);
	/* Nobody can forge the signature of a key that was made a moment ago. */
	assert(!hb_tls_crls_revoke(crls, chain_of_three()));
	hb_tls_crls_unref(crls);
	return 0;
}
