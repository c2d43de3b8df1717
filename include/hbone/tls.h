/*
 * tls: TLS 1.3 over a stream, as a stream (RFC 8446; profile: reference/datapath 1.2).
 *
 * A context is one identity's certificate generation: leaf, key, roots. It is immutable, counted,
 * and shared by all threads and connections. Peers are verified against the context's roots, then
 * against the revocation lists and the rules given per connection (reference/datapath 1.4, 1.5).
 * Nothing is ever resumed, and a server demands a certificate.
 *
 * on_open comes when the handshake is done and the peer accepted. A client is open before the
 * server has looked at its certificate (RFC 8446 4.4.2.4): a refusal comes later, as an alert.
 *
 * Ends it reports: layer tls, or the lower stream's end unchanged.
 *   we refuse (side us):   HB_E_CERT(n) the chain (HB_TLS_REVOKED), HB_E_NO_CERT,
 * HB_E_PEER_IDENTITY (or host), HB_E_TRUST_DOMAIN, HB_E_TLS_NO_ALPN, HB_E_HANDSHAKE_TIME, HB_E_TLS
 * any other breach of the protocol the peer (side peer):  HB_E_ALERT(n) it sent an alert,
 * HB_E_TRUNCATED no close_notify came
 *
 * finish() is close_notify; the lower stream stays open for what the peer has to say. Before the
 * alert of a refusal the lower stream is closed cleanly, so on_closed may take its linger time.
 *
 * Buffers written are sealed in place, each as one record, when they own their slot alone and have
 * HB_TLS_HEADER and HB_TLS_TRAILER of room; else they are copied. full and drained are the lower
 * stream's.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/pace.h>
#include <hbone/stream.h>

struct hb_tls_ctx;

/* What is spoken, beside what always is; zero is the default (reference/datapath 1.2). */
struct hb_tls_profile {
	bool tls12; /* TLS 1.2 too, with ECDHE and AES-GCM alone (RFC 9113 9.2) */
	/* Key exchange by X25519MLKEM768 and no other, and so TLS 1.3 alone. It needs OpenSSL 3.5;
	 * where the library has it it is offered first anyway. */
	bool pqc;
	/* Server: trust domains whose peers are let in beside the own leaf's, separated by commas.
	 * NULL: none. */
	const char *trust_domains;
};

struct hb_tls_material {   /* PEM text */
	const char *chain; /* leaf first, then intermediates */
	const char *key;
	const char *roots;                    /* one or more */
	const struct hb_tls_profile *profile; /* copied; NULL: the default */
};

/* 0; -EINVAL or, for the profile, -ENOTSUP with a sentence in @ret_why (static or thread-local
 * text); -ENOMEM. */
int hb_tls_ctx_new(const struct hb_tls_material *material, struct hb_tls_ctx **ret_ctx,
                   const char **ret_why);
/* The same from three PEM files of at most 1 MiB, with the default profile. 0; -errno or -EINVAL
 * with
 * "<path>: <what is wrong>" in @why. */
int hb_tls_ctx_load(const char *chain, const char *key, const char *roots,
                    struct hb_tls_ctx **ret_ctx, char *why, size_t why_size);
/*
 * For a client of servers that are known by their host name, as control planes are: it shows no
 * certificate. @roots: PEM; NULL: those that the machine trusts. Errors as of hb_tls_ctx_new().
 */
int hb_tls_ctx_new_client(const char *roots, const struct hb_tls_profile *profile,
                          struct hb_tls_ctx **ret_ctx, const char **ret_why);
struct hb_tls_ctx *hb_tls_ctx_ref(struct hb_tls_ctx *ctx); /* any thread */
void hb_tls_ctx_unref(struct hb_tls_ctx *ctx);             /* any thread; takes NULL */
/* The leaf's own first SPIFFE URI; "" when it has none. */
const char *hb_tls_ctx_identity(const struct hb_tls_ctx *ctx);

/* 0; or -ENOTSUP with a sentence in @ret_why (thread-local text): this OpenSSL does not have it. */
int hb_tls_profile_check(const struct hb_tls_profile *profile, const char **ret_why);

/*
 * Certificate revocation lists (RFC 5280 5) of any number of issuers. Immutable, counted, for any
 * thread. Who holds to reference/datapath 1.5: every certificate of a peer's chain but the root is
 * looked up; one whose issuer has no list here is not revoked; a list counts also after its
 * nextUpdate. A list counts for the issuer that has its name and whose key has signed it.
 */
struct hb_tls_crls;

/*
 * @bytes: PEM with any number of lists, what else is in it is passed over; or one list as DER; or
 * nothing but white space: no list. 0; -EINVAL with a clause in @why that says what is wrong
 * ("block 2 is not a revocation list"); -ENOMEM.
 */
int hb_tls_crls_parse(const void *bytes, size_t len, struct hb_tls_crls **ret_crls, char *why,
                      size_t why_size);
struct hb_tls_crls *hb_tls_crls_ref(struct hb_tls_crls *crls); /* takes NULL, and gives it */
void hb_tls_crls_unref(struct hb_tls_crls *crls);              /* takes NULL */
size_t hb_tls_crls_count(const struct hb_tls_crls *crls);      /* lists; takes NULL: 0 */

enum hb_tls_role { HB_TLS_CLIENT, HB_TLS_SERVER };

struct hb_tls_options {
	enum hb_tls_role role;
	struct hb_tls_ctx *ctx; /* a reference is taken */
	/* Client: at least one URI SAN of the peer must equal one of these, to the letter. The
	 * strings are copied. Server: unused; a SAN in the own leaf's trust domain is asked for
	 * instead. */
	const char *const *identities;
	size_t identities_count;
	/*
	 * Client: a DNS name, which is told to the peer (RFC 6066 3), or an IP address. In place of
	 * identities the certificate must have it, or @alt_host, among its subjectAltNames (RFC
	 * 6125 6.4; no subject, no wildcard but a whole first label), and the peer must choose h2.
	 * NULL: identities. Both are copied.
	 */
	const char *host, *alt_host;
	uint32_t handshake_ms; /* 0: 10000 */
	/* Each step of the handshake for which something has come waits for its turn here, in
	 * pace_group; borrowed, and kept for as long as any such stream. NULL: at once. */
	struct hb_pace *pace;
	uint32_t pace_group;
	uint32_t key_records; /* sealed under one key, then it is renewed; 0: 2^23 (RFC 8446 5.5) */
	struct hb_tls_crls *crls; /* a reference is taken; NULL: nobody is revoked */
};

/* Takes @lower, an open stream without events set, also on failure (NULL). */
struct hb_stream *hb_tls_new(struct hb_loop *loop, struct hb_stream *lower,
                             const struct hb_tls_options *options);
/* The peer's first SPIFFE URI, valid while the stream lives; "" before on_open. */
const char *hb_tls_peer_identity(const struct hb_stream *tls);
/*
 * For the log alone: the first SPIFFE URI of a peer that was refused as HB_E_PEER_IDENTITY or
 * HB_E_TRUST_DOMAIN, its chain being good. Valid while the stream lives; "" for all others.
 */
const char *hb_tls_peer_shown(const struct hb_stream *tls);
#define HB_TLS_EXPIRED HB_E_CERT(10) /* X509_V_ERR_CERT_HAS_EXPIRED */
#define HB_TLS_REVOKED HB_E_CERT(23) /* X509_V_ERR_CERT_REVOKED */
/*
 * Would the peer be let in now? For owners of connections that live on: whenever the lists have
 * changed, and now and then for the dates. 0; HB_TLS_REVOKED: by @crls, which may be NULL, and the
 * connection should be ended with {tls, us, that}; HB_TLS_EXPIRED: a certificate of its chain has
 * ended by @now_s (Unix time), and it should be given no new work. 0 before the peer has shown a
 * chain: then @crls takes the place of the lists it will be looked up in.
 */
int hb_tls_recheck(struct hb_stream *tls, struct hb_tls_crls *crls, int64_t now_s);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256 x25519", for dumps; "" before on_open. */
const char *hb_tls_describe(const struct hb_stream *tls);

/* "spiffe://<td>/ns/<ns>/sa/<sa>": exactly five segments, which may be empty. */
bool hb_spiffe_is_valid(const char *uri, size_t len);
/* The trust domain's length inside a valid @uri; it starts after "spiffe://". */
size_t hb_spiffe_trust_domain(const char *uri, const char **ret_start);
