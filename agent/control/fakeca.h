/*
 * fakeca: a certificate authority inside the process: for the quick start and for tests, not for
 * production, because whoever reads its key file can be anyone.
 *
 * Its root comes from two PEM files, or is made on first use in the state directory, where all
 * agents of the machine share it: however many start at once, one root wins.
 * Thread: any one at a time. Knows no loop; the time is given.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fakeca;

/*
 * @cert_path, @key_path: PEM files, both or (NULL or "") none; then @state_dir/fake-ca-cert.pem and
 * fake-ca-key.pem are used, and made if they are not there.
 * 0 or -errno with one sentence in @why that names the file.
 */
int fakeca_open(const char *cert_path, const char *key_path, const char *state_dir, int64_t now_s,
                struct fakeca **ret_ca, char *why, size_t why_size);
void fakeca_close(struct fakeca *ca);                  /* takes NULL */
const char *fakeca_roots_pem(const struct fakeca *ca); /* lives as long as @ca */

struct fakeca_leaf {
	char *chain_pem, *key_pem;
	char *serial;                      /* decimal */
	int64_t not_before_s, not_after_s; /* Unix time */
};

/*
 * A certificate with a fresh P-256 key for @identity, a SPIFFE URI. It is valid from a minute
 * before @now_s (less for very short ones) for @ttl_s, but never longer than the root.
 * 0 or -errno with one sentence in @why.
 */
int fakeca_sign(const struct fakeca *ca, const char *identity, uint32_t ttl_s, int64_t now_s,
                struct fakeca_leaf *ret_leaf, char *why, size_t why_size);
void fakeca_leaf_done(struct fakeca_leaf *leaf); /* wipes the key */
