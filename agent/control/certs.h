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
	uint32_t ttl_s; /* certificate lifetime; 0: 86400 */
	/* A (new) credential for @identity: one reference is given away. */
	void (*on_credential)(void *owner, const char *identity, struct hb_tls_ctx *ctx);
	void *owner;
};

/* 0 or -errno with one sentence in @why that names the file. */
int certs_new(struct hb_loop *loop, const struct certs_options *options, struct certs **ret_certs,
              char *why, size_t why_size);
void certs_free(struct certs *certs); /* takes NULL */
/* Wants @identity from now on: on_credential follows, and again at each renewal (half-life). */
int certs_want(struct certs *certs, const char *identity);
void certs_forget(struct certs *certs, const char *identity);

/* For the config dump: one row per credential. */
struct certs_row {
	const char *identity, *state; /* "Available", "Initializing", "Unavailable: ..." */
	const char *chain_pem, *roots_pem;
	const char *serial;                /* decimal */
	int64_t not_before_s, not_after_s; /* Unix time */
};
void certs_each(const struct certs *certs, void (*each)(const struct certs_row *row, void *arg),
                void *arg);
