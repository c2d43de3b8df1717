/*
 * issued: blocks become certificates one by one; what fails is said and nothing is kept.
 */
#include "control/issued.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <hbone/base.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/pem.h"

/* While it is read. */
struct reading {
	struct issued *issued;
	size_t room;            /* of issued->certs */
	X509 *leaf;             /* borrowed from chain */
	STACK_OF(X509) * chain; /* the leaf and the intermediates */
	X509_STORE *roots;
	size_t roots_passed_over;
	char *why;
	size_t why_size;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct reading *reading, int err,
                                                        const char *form, ...)
{
	va_list args;

	va_start(args, form);
	vsnprintf(reading->why, reading->why_size, form, args);
	va_end(args);
	return err;
}

static int no_memory(const struct reading *reading)
{
	return refuse(reading, -ENOMEM, "no memory for the certificate");
}

static char *serial_of(const X509 *cert)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *decimal = number ? BN_bn2dec(number) : NULL;
	char *text = decimal ? strdup(decimal) : NULL;

	OPENSSL_free(decimal);
	BN_free(number);
	return text;
}

static int64_t unix_time(const ASN1_TIME *time)
{
	struct tm parts;

	return ASN1_TIME_to_tm(time, &parts) ? (int64_t)timegm(&parts) : 0;
}

/* Writes down what is known of @cert, whose text is @block. */
static int note_down(struct reading *reading, const X509 *cert, const char *block, size_t len)
{
	struct issued *issued = reading->issued;
	size_t count = issued->chain_count + issued->roots_count;
	struct issued_cert *one;

	if (count == ISSUED_CERTS_MAX)
		return refuse(reading, -EINVAL, "there are more than %u certificates",
		              ISSUED_CERTS_MAX);
	if (count == reading->room) {
		size_t room = reading->room ? reading->room * 2 : 8;
		struct issued_cert *more = reallocarray(issued->certs, room, sizeof(*more));

		if (!more)
			return no_memory(reading);
		issued->certs = more;
		reading->room = room;
	}
	one = &issued->certs[count];
	*one = (struct issued_cert){
		.serial = serial_of(cert),
		.not_before_s = unix_time(X509_get0_notBefore(cert)),
		.not_after_s = unix_time(X509_get0_notAfter(cert)),
	};
	if (asprintf(&one->pem, "%.*s\n", (int)len, block) < 0)
		one->pem = NULL;
	if (one->pem && one->serial)
		return 0;
	free(one->pem);
	free(one->serial);
	return no_memory(reading);
}

static int add_link(struct reading *reading, const char *block, size_t len)
{
	X509 *cert = pem_cert(block, len);
	int err;

	if (!cert)
		return refuse(reading, -EINVAL, "%s cannot be read",
		              reading->leaf ? "an intermediate certificate" : "the certificate");
	err = note_down(reading, cert, block, len);
	if (err == 0)
		reading->issued->chain_count++;
	if (err == 0 && !sk_X509_push(reading->chain, cert))
		err = no_memory(reading);
	if (err < 0) {
		X509_free(cert);
		return err;
	}
	if (!reading->leaf)
		reading->leaf = cert;
	return 0;
}

/* Anchors that we cannot use must not keep the others from being used. */
static int add_root(struct reading *reading, const char *block, size_t len)
{
	X509 *cert = pem_cert(block, len);
	int err = 0;

	if (!cert || !X509_check_ca(cert) || !X509_STORE_add_cert(reading->roots, cert)) {
		reading->roots_passed_over++;
	} else {
		err = note_down(reading, cert, block, len);
		if (err == 0)
			reading->issued->roots_count++;
	}
	X509_free(cert);
	ERR_clear_error();
	return err;
}

static int read_element(struct reading *reading, const char *text,
                        int (*add)(struct reading *reading, const char *block, size_t len))
{
	const char *block;
	size_t len;
	int err = 0;

	while (err == 0 && pem_next(&text, &block, &len))
		err = add(reading, block, len);
	return err;
}

static int read_elements(struct reading *reading, const struct issued_material *material)
{
	int err = 0;

	for (size_t i = 0; i + 1 < material->count && err == 0; i++) {
		err = read_element(reading, material->elements[i], add_link);
		if (err == 0 && !reading->leaf)
			err = refuse(reading, -EINVAL, "the first element is no certificate");
	}
	if (err == 0)
		err = read_element(reading, material->elements[material->count - 1], add_root);
	if (err == 0 && reading->issued->roots_count == 0)
		err = refuse(reading, -EINVAL, "none of the root certificates can be used");
	return err;
}

static void first_uri(const X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *uri;
		size_t len;

		if (name->type != GEN_URI)
			continue;
		uri = name->d.uniformResourceIdentifier;
		len = (size_t)ASN1_STRING_length(uri);
		/* What a log or a comparison would cut short is no name. */
		if (len < size && !memchr(ASN1_STRING_get0_data(uri), 0, len)) {
			memcpy(out, ASN1_STRING_get0_data(uri), len);
			out[len] = '\0';
		}
		break;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
}

static int check_key(const struct reading *reading, const char *key_pem)
{
	BIO *bio = BIO_new_mem_buf(key_pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, pem_no_password, NULL) : NULL;
	bool fits = key && X509_check_private_key(reading->leaf, key) == 1;

	BIO_free(bio);
	ERR_clear_error();
	if (!key)
		return refuse(reading, -EINVAL, "the private key is not PEM, or it is encrypted");
	EVP_PKEY_free(key);
	return fits ? 0
	            : refuse(reading, -EINVAL,
	                     "the certificate is for another key than the one it was asked for");
}

static int check_identity(const struct reading *reading, const char *identity)
{
	char uri[2048];

	first_uri(reading->leaf, uri, sizeof(uri));
	if (!identity || strcmp(uri, identity) == 0)
		return 0;
	for (char *at = uri; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return refuse(reading, -EINVAL, "did not find expected SAN: %s, the certificate has %.200s",
	              identity, *uri ? uri : "none");
}

/* A leaf that leads nowhere is taken, as ztunnel takes it: peers may have other roots. */
static bool leads_to_a_root(const struct reading *reading)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok = ctx && X509_STORE_CTX_init(ctx, reading->roots, reading->leaf, reading->chain);

	if (ok) {
		X509_STORE_CTX_set_flags(ctx,
		                         X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
		ok = X509_verify_cert(ctx) == 1;
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

static char *join(const struct issued_cert *certs, size_t count)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t i = 0; i < count; i++)
		fputs(certs[i].pem, out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int finish(struct reading *reading, const char *key_pem)
{
	struct issued *issued = reading->issued;

	issued->chain_pem = join(issued->certs, issued->chain_count);
	issued->roots_pem = join(issued->certs + issued->chain_count, issued->roots_count);
	issued->key_pem = strdup(key_pem);
	if (!issued->chain_pem || !issued->roots_pem || !issued->key_pem)
		return no_memory(reading);
	if (!leads_to_a_root(reading))
		snprintf(issued->note, sizeof(issued->note),
		         "the certificate does not lead to any of the roots that came with it");
	else if (reading->roots_passed_over)
		snprintf(issued->note, sizeof(issued->note),
		         "%zu of the %zu root certificates cannot be used",
		         reading->roots_passed_over,
		         reading->roots_passed_over + issued->roots_count);
	return 0;
}

static int read_all(struct reading *reading, const struct issued_material *material)
{
	int err;

	reading->issued = calloc(1, sizeof(*reading->issued));
	reading->chain = sk_X509_new_null();
	reading->roots = X509_STORE_new();
	if (!reading->issued || !reading->chain || !reading->roots)
		return no_memory(reading);
	if (material->count == 0)
		return refuse(reading, -EINVAL, "chain returned from CA is empty");
	if (material->count == 1)
		return refuse(reading, -EINVAL,
		              "no root certificate present: one element came, and two are needed");
	err = read_elements(reading, material);
	if (err == 0)
		err = check_key(reading, material->key_pem);
	if (err == 0)
		err = check_identity(reading, material->identity);
	return err < 0 ? err : finish(reading, material->key_pem);
}

int issued_read(const struct issued_material *material, struct issued **ret_issued, char *why,
                size_t why_size)
{
	struct reading reading = { .why = why, .why_size = why_size };
	int err = read_all(&reading, material);

	sk_X509_pop_free(reading.chain, X509_free);
	X509_STORE_free(reading.roots);
	ERR_clear_error();
	if (err < 0)
		issued_free(reading.issued);
	else
		*ret_issued = reading.issued;
	return err;
}

void issued_free(struct issued *issued)
{
	if (!issued)
		return;
	for (size_t i = 0; i < issued->chain_count + issued->roots_count; i++) {
		free(issued->certs[i].pem);
		free(issued->certs[i].serial);
	}
	free(issued->certs);
	free(issued->chain_pem);
	free(issued->roots_pem);
	pem_wipe(&issued->key_pem);
	free(issued);
}

void issued_identity(const char *leaf_pem, char *out, size_t size)
{
	const char *block;
	size_t len;
	X509 *cert = pem_next(&leaf_pem, &block, &len) ? pem_cert(block, len) : NULL;

	out[0] = '\0';
	if (cert)
		first_uri(cert, out, size);
	X509_free(cert);
}
