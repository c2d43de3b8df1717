/*
 * tls_peer: the verification of one connection's peer. Private to tls.c and tls_ctx.c.
 * Thread: the loop's own.
 */
#pragma once

#include <openssl/ssl.h>

#include <hbone/tls.h>

/* One connection's rules and what came of them. It is its SSL's app data. */
struct hb_tls_peer {
	const struct hb_tls_ctx *ctx; /* borrowed */
	struct hb_tls_crls *crls;     /* counted; NULL: none */
	enum hb_tls_role role;        /* ours */
	char **identities;            /* client: what the peer may be */
	size_t identities_count;
	char *host, *alt_host; /* client: in their place; NULL: none */
	char *identity;        /* once verified: its first SPIFFE URI, or "" */
	char *shown;           /* refused for its names: its first SPIFFE URI; else NULL */
	int code;              /* why it was refused, an enum hb_error; 0: it was not */
};

/* False: no memory; done() it all the same. @peer is zeroed by the caller. */
bool hb_tls_peer_init(struct hb_tls_peer *peer, const struct hb_tls_options *options);
void hb_tls_peer_done(struct hb_tls_peer *peer);

/*
 * OpenSSL's certificate verification callback: the chain, then the SPIFFE rules. It runs inside the
 * handshake, so that a peer with a good chain and a wrong name fails the handshake itself and is
 * told by an alert.
 */
int hb_tls_peer_verify(X509_STORE_CTX *store, void *arg);
/*
 * The SPIFFE rules alone, of a certificate whose chain is good. The peer is who its first SPIFFE
 * URI says; but any of them lets it in (reference/datapath 1.4, "Multi-SAN note"). A server without
 * an identity of its own has no trust domain to ask for. 0 with peer->identity, or why not.
 */
int hb_tls_peer_check(struct hb_tls_peer *peer, const X509 *cert);
/* hb_tls_recheck(). */
int hb_tls_peer_recheck(struct hb_tls_peer *peer, const SSL *ssl, struct hb_tls_crls *crls,
                        int64_t now_s);
/* After an OpenSSL call has failed for good: why. Empties OpenSSL's error queue. */
struct hb_end hb_tls_peer_why(const struct hb_tls_peer *peer);

/* The certificate's first SPIFFE URI, "" when it has none, to be freed. 0, -ENOMEM, or -EINVAL:
 * its names cannot be read. */
int hb_tls_first_spiffe(const X509 *cert, char **ret_uri);
