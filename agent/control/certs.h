/*
 * certs: one credential per identity: ask, hold, renew, hand out. Today the issuer is the built-in
 * CA (fakeca), which is not for production and says so.
 * Thread: the control loop's. Contexts handed out are counted and may go to any thread.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/tls.h>

struct certs;

struct certs_options {
	const char *ca_cert; /* PEM files of the built-in CA; "" both: state_dir/fake-ca-*.pem, */
	const char *ca_key;  /* made on first use, shared by all agents of the machine */
	const char *state_dir;
	uint32_t ttl_s;                /* certificate lifetime; 0: 86400 */
	struct hb_tls_profile profile; /* of the contexts; trust_domains is borrowed */
	/* A (new) credential for @identity: one reference is given away. Never from inside
	 * certs_want(); may call certs_want() and certs_forget(), but not certs_free(). */
	void (*on_credential)(void *owner, const char *identity, struct hb_tls_ctx *ctx);
	void *owner;
};

/* 0 or -errno with one sentence in @why that names the file. */
int certs_new(struct hb_loop *loop, const struct certs_options *options, struct certs **ret_certs,
              char *why, size_t why_size);
void certs_free(struct certs *certs); /* takes NULL */
/*
 * Wants @identity from now on: on_credential follows, and again at each renewal (about half of its
 * life; after a failure in 1 to 150 s). Wanting it twice is wanting it once. 0, -EINVAL: not a
 * SPIFFE URI, or -ENOMEM.
 */
int certs_want(struct certs *certs, const char *identity);
/* No on_credential from here on; contexts already given stay good. */
void certs_forget(struct certs *certs, const char *identity);

/*
 * Pure: milliseconds from @now_ms (Unix time) until a certificate should be renewed: half of its
 * life, moved by up to a twentieth of it either way by @random, so that credentials asked for
 * together do not stay together. 0: at once.
 */
uint64_t certs_renew_after_ms(int64_t not_before_s, int64_t not_after_s, int64_t now_ms,
                              uint32_t random);

/* For the config dump: one row per credential. */
struct certs_row {
	const char *identity, *state; /* "Available", "Initializing", "Unavailable: ..." */
	const char *chain_pem, *roots_pem;
	const char *serial;                /* decimal */
	int64_t not_before_s, not_after_s; /* Unix time */
};
void certs_each(const struct certs *certs, void (*each)(const struct certs_row *row, void *arg),
                void *arg);
