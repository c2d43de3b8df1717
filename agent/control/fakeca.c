/*
 * fakeca: a root, found or made, and the leaves that it signs.
 */
#include "control/fakeca.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <hbone/base.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "control/pem.h"

#define FILE_MAX     (256 * 1024)
#define ROOT_DAYS    3650
#define BACKDATE_S   60 /* clocks of two nodes differ */
#define SERIAL_BITS  127
#define ROOT_SUBJECT "culvert built-in CA, not for production"

struct fakeca {
	X509 *cert;
	EVP_PKEY *key;
	char *roots_pem;
};

/* Where a sentence for the operator goes. */
struct complaint {
	char *text;
	size_t size;
};

__attribute__((format(printf, 3, 4))) static int complain(const struct complaint *why, int err,
                                                          const char *form, ...)
{
	va_list args;

	va_start(args, form);
	vsnprintf(why->text, why->size, form, args);
	va_end(args);
	ERR_clear_error();
	return err;
}

/* ---- certificates ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

/* The identity does not pass through OpenSSL's configuration syntax, which has commas of its own.
 */
static bool add_uri(X509 *cert, const char *uri)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	bool ok = names && name && text && ASN1_STRING_set(text, uri, -1);

	if (!ok || !sk_GENERAL_NAME_push(names, name)) {
		ASN1_IA5STRING_free(text);
		GENERAL_NAME_free(name);
		sk_GENERAL_NAME_free(names);
		return false;
	}
	GENERAL_NAME_set0_value(name, GEN_URI, text);
	/* RFC 5280 4.2.1.6: critical, because the subject is empty. */
	ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, 0) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

static bool set_serial(X509 *cert)
{
	BIGNUM *bn = BN_new();
	bool ok = bn && BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
	          BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));

	BN_free(bn);
	return ok;
}

static X509 *cert_new(EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
	    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before_s) &&
	    ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after_s) &&
	    X509_set_pubkey(cert, key))
		return cert;
	X509_free(cert);
	return NULL;
}

/* Keys of the Edwards curves bring their own digest. */
static bool sign(X509 *cert, EVP_PKEY *key)
{
	bool edwards = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448");

	return X509_sign(cert, key, edwards ? NULL : EVP_sha256()) > 0;
}

static X509 *root_new(EVP_PKEY *key, int64_t now_s)
{
	X509 *cert = cert_new(key, now_s - BACKDATE_S, now_s + (int64_t)ROOT_DAYS * 86400);
	X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;

	if (name &&
	    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)ROOT_SUBJECT,
	                               -1, -1, 0) &&
	    X509_set_issuer_name(cert, name) &&
	    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") && sign(cert, key))
		return cert;
	X509_free(cert);
	return NULL;
}

/* ---- the root's files ---- */

/* The whole of a small file as a string. */
static int read_text(const char *path, char **ret_text, const struct complaint *why)
{
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	hb_cleanup(pem_wipe) char *text = NULL;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return complain(why, -errno, "%s: %s", path, strerror(errno));
	text = calloc(1, FILE_MAX + 1);
	if (!text)
		return complain(why, -ENOMEM, "%s: no memory", path);
	while ((n = read(fd, text + len, FILE_MAX - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return complain(why, -errno, "%s: %s", path, strerror(errno));
	if (len == FILE_MAX)
		return complain(why, -EFBIG, "%s: larger than %d bytes", path, FILE_MAX);
	*ret_text = hb_take(&text);
	return 0;
}

/* Every certificate of @pem as PEM, without what stands between; the first is the CA's own. */
static char *all_certs(const char *pem, X509 **ret_first)
{
	BIO *in = BIO_new_mem_buf(pem, -1), *out = BIO_new(BIO_s_mem());
	X509 *cert, *first = NULL;
	bool ok = in && out;

	while (ok && (cert = PEM_read_bio_X509(in, NULL, pem_no_password, NULL)) != NULL) {
		ok = PEM_write_bio_X509(out, cert);
		if (first)
			X509_free(cert);
		else
			first = cert;
	}
	ERR_clear_error();
	BIO_free(in);
	if (!ok || !first) {
		BIO_free(out);
		X509_free(first);
		return NULL;
	}
	*ret_first = first;
	return pem_take(out);
}

static int64_t unix_time(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

static int check_root(const struct fakeca *ca, const char *cert_path, const char *key_path,
                      int64_t now_s, const struct complaint *why)
{
	if (!X509_check_ca(ca->cert))
		return complain(why, -EINVAL, "%s: the certificate is not one of a CA", cert_path);
	if (X509_check_private_key(ca->cert, ca->key) != 1)
		return complain(why, -EINVAL,
		                "%s: the key does not belong to the certificate in %s", key_path,
		                cert_path);
	if (unix_time(X509_get0_notAfter(ca->cert)) <= now_s)
		return complain(why, -EKEYEXPIRED, "%s: the certificate has expired", cert_path);
	return 0;
}

static int load(struct fakeca *ca, const char *cert_path, const char *key_path, int64_t now_s,
                const struct complaint *why)
{
	hb_cleanup(hb_free_ptr) char *certs = NULL;
	hb_cleanup(pem_wipe) char *key = NULL;
	BIO *bio;
	int err;

	if ((err = read_text(cert_path, &certs, why)) < 0 ||
	    (err = read_text(key_path, &key, why)) < 0)
		return err;
	ca->roots_pem = all_certs(certs, &ca->cert);
	if (!ca->roots_pem)
		return complain(why, -EINVAL, "%s: no PEM certificate in it", cert_path);
	bio = BIO_new_mem_buf(key, -1);
	ca->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, pem_no_password, NULL) : NULL;
	BIO_free(bio);
	if (!ca->key)
		return complain(why, -EINVAL, "%s: no PEM private key in it, or it is encrypted",
		                key_path);
	return check_root(ca, cert_path, key_path, now_s, why);
}

/*
 * Writes a new file beside @path and gives it that name at once and as a whole. Who comes second
 * gets -EEXIST and the first one's file stays.
 */
static int write_once(const char *path, const char *text, mode_t mode, const struct complaint *why)
{
	hb_cleanup(hb_free_ptr) char *temp = NULL;
	hb_cleanup(hb_close_fd) int fd = -1;
	size_t len = strlen(text), done = 0;
	ssize_t n = 0;
	int err = 0;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return complain(why, -ENOMEM, "%s: no memory", path);
	}
	fd = mkostemp(temp, O_CLOEXEC); /* made with 0600 */
	if (fd < 0)
		return complain(why, -errno, "%s: %s", path, strerror(errno));
	while (done < len && (n = write(fd, text + done, len - done)) > 0)
		done += (size_t)n;
	if (done < len || fchmod(fd, mode) < 0 || fsync(fd) < 0 || link(temp, path) < 0)
		err = n == 0 && done < len ? -EIO : -errno;
	unlink(temp);
	if (err < 0 && err != -EEXIST)
		return complain(why, err, "%s: %s", path, strerror(-err));
	return err;
}

static char *concat(char *first, char *second)
{
	char *both;

	if (!first || !second || asprintf(&both, "%s%s", first, second) < 0)
		return NULL;
	return both;
}

/* The text of a new root: its key, then its certificate. */
static char *root_text(int64_t now_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? root_new(key, now_s) : NULL;
	hb_cleanup(pem_wipe) char *key_text = key ? pem_of_key(key) : NULL;
	hb_cleanup(hb_free_ptr) char *cert_text = cert ? pem_of_cert(cert) : NULL;

	X509_free(cert);
	EVP_PKEY_free(key);
	return concat(key_text, cert_text);
}

/*
 * Many agents may start at once, and any may be killed at any point. So the key's file holds key
 * and certificate, and one link() decides whose root it is; the certificate's own file is only a
 * copy, which whoever misses it makes from the first.
 */
static int make_root(const char *cert_path, const char *key_path, int64_t now_s,
                     const struct complaint *why)
{
	hb_cleanup(pem_wipe) char *text = NULL;
	hb_cleanup(hb_free_ptr) char *certs = NULL;
	X509 *cert;
	int err;

	if (access(cert_path, F_OK) == 0)
		return 0; /* someone's root: loading it tells if it is good */
	if (access(key_path, F_OK) < 0) {
		text = root_text(now_s);
		if (!text)
			return complain(why, -ENOMEM, "%s: no key could be made", key_path);
		err = write_once(key_path, text, 0600, why);
		if (err < 0 && err != -EEXIST)
			return err;
		pem_wipe(&text);
	}
	err = read_text(key_path, &text, why);
	if (err < 0)
		return err;
	certs = all_certs(text, &cert);
	if (!certs)
		return complain(why, -ENOENT, "%s: it is missing, and %s holds no copy", cert_path,
		                key_path);
	X509_free(cert);
	err = write_once(cert_path, certs, 0644, why);
	return err == -EEXIST ? 0 : err;
}

static bool is_set(const char *path)
{
	return path && path[0] != '\0';
}

static int open_in_state_dir(struct fakeca *ca, const char *state_dir, int64_t now_s,
                             const struct complaint *why)
{
	hb_cleanup(hb_free_ptr) char *cert_path = NULL;
	hb_cleanup(hb_free_ptr) char *key_path = NULL;
	int err;

	if (!is_set(state_dir))
		return complain(why, -EINVAL,
		                "the built-in CA has neither files nor a state directory");
	if (asprintf(&cert_path, "%s/fake-ca-cert.pem", state_dir) < 0)
		cert_path = NULL;
	if (asprintf(&key_path, "%s/fake-ca-key.pem", state_dir) < 0)
		key_path = NULL;
	if (!cert_path || !key_path)
		return complain(why, -ENOMEM, "%s: no memory", state_dir);
	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return complain(why, -errno, "%s: %s", state_dir, strerror(errno));
	err = make_root(cert_path, key_path, now_s, why);
	return err < 0 ? err : load(ca, cert_path, key_path, now_s, why);
}

int fakeca_open(const char *cert_path, const char *key_path, const char *state_dir, int64_t now_s,
                struct fakeca **ret_ca, char *why, size_t why_size)
{
	struct complaint complaint = { why, why_size };
	struct fakeca *ca = calloc(1, sizeof(*ca));
	int err;

	if (!ca)
		err = complain(&complaint, -ENOMEM, "no memory");
	else if (!is_set(cert_path) && !is_set(key_path))
		err = open_in_state_dir(ca, state_dir, now_s, &complaint);
	else if (!is_set(key_path))
		err =
		    complain(&complaint, -EINVAL, "%s: the CA's key file is not given", cert_path);
	else if (!is_set(cert_path))
		err = complain(&complaint, -EINVAL, "%s: the CA's certificate file is not given",
		               key_path);
	else
		err = load(ca, cert_path, key_path, now_s, &complaint);
	if (err < 0) {
		fakeca_close(ca);
		return err;
	}
	*ret_ca = ca;
	return 0;
}

void fakeca_close(struct fakeca *ca)
{
	if (!ca)
		return;
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key); /* wipes */
	free(ca->roots_pem);
	free(ca);
}

const char *fakeca_roots_pem(const struct fakeca *ca)
{
	return ca->roots_pem;
}

/* ---- leaves ---- */

static char *serial_text(X509 *cert)
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *decimal = bn ? BN_bn2dec(bn) : NULL;
	char *text = decimal ? strdup(decimal) : NULL;

	OPENSSL_free(decimal);
	BN_free(bn);
	return text;
}

static X509 *leaf_new(const struct fakeca *ca, EVP_PKEY *key, const char *identity,
                      const struct fakeca_leaf *dates)
{
	X509 *cert = cert_new(key, dates->not_before_s, dates->not_after_s);

	/* By the key's id a verifier tells our root from another machine's of the same name. A
	 * root of the operator's making may have none. */
	bool has_id = X509_get0_subject_key_id(ca->cert) != NULL;

	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
	    (!has_id ||
	     add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid:always")) &&
	    add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, ca->cert, NID_key_usage,
	                  "critical,digitalSignature,keyEncipherment") &&
	    add_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_uri(cert, identity) && sign(cert, ca->key))
		return cert;
	X509_free(cert);
	return NULL;
}

int fakeca_sign(const struct fakeca *ca, const char *identity, uint32_t ttl_s, int64_t now_s,
                struct fakeca_leaf *ret_leaf, char *why, size_t why_size)
{
	struct complaint complaint = { why, why_size };
	int64_t root_end_s = unix_time(X509_get0_notAfter(ca->cert));
	struct fakeca_leaf leaf = {
		.not_before_s = now_s - (ttl_s / 2 < BACKDATE_S ? ttl_s / 2 : BACKDATE_S),
		.not_after_s = now_s + ttl_s < root_end_s ? now_s + ttl_s : root_end_s,
	};
	EVP_PKEY *key;
	X509 *cert;

	if (root_end_s <= now_s)
		return complain(&complaint, -EKEYEXPIRED,
		                "the built-in CA's certificate has expired");
	key = EVP_EC_gen("P-256");
	cert = key ? leaf_new(ca, key, identity, &leaf) : NULL;
	if (cert) {
		leaf.chain_pem = pem_of_cert(cert);
		leaf.key_pem = pem_of_key(key);
		leaf.serial = serial_text(cert);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	if (!leaf.chain_pem || !leaf.key_pem || !leaf.serial) {
		fakeca_leaf_done(&leaf);
		return complain(&complaint, -ENOMEM, "no certificate could be made for %s",
		                identity);
	}
	*ret_leaf = leaf;
	return 0;
}

void fakeca_leaf_done(struct fakeca_leaf *leaf)
{
	pem_wipe(&leaf->key_pem);
	free(leaf->chain_pem);
	free(leaf->serial);
	*leaf = (struct fakeca_leaf){ 0 };
}
