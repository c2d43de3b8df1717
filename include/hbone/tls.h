/*
 * tls: TLS 1.3 over a stream, as a stream (RFC 8446; profile: reference/datapath 1.2).
 *
 * A context is one identity's certificate generation: leaf, key, roots. It is immutable, counted,
 * and shared by all threads and connections. Peers are verified against the context's roots, then
 * against the rules given per connection (reference/datapath 1.4).
 *
 * on_open comes when the handshake is done and the peer accepted. A client is open before the
 * server has looked at its certificate (RFC 8446 4.4.2.4): a refusal comes later, as an alert.
 *
 * Ends it reports: layer tls, or the lower stream's end unchanged.
 *   we refuse (side us):   HB_E_CERT(n) the chain, HB_E_NO_CERT, HB_E_PEER_IDENTITY,
 *                          HB_E_TRUST_DOMAIN, HB_E_TLS_NO_ALPN, HB_E_HANDSHAKE_TIME,
 *                          HB_E_TLS any other breach of the protocol
 *   the peer (side peer):  HB_E_ALERT(n) it sent an alert, HB_E_TRUNCATED no close_notify came
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

struct hb_tls_material {   /* PEM text */
	const char *chain; /* leaf first, then intermediates */
	const char *key;
	const char *roots; /* one or more */
};

/* 0; -EINVAL with a sentence in @ret_why (static or thread-local text); -ENOMEM. */
int hb_tls_ctx_new(const struct hb_tls_material *material, struct hb_tls_ctx **ret_ctx,
                   const char **ret_why);
struct hb_tls_ctx *hb_tls_ctx_ref(struct hb_tls_ctx *ctx); /* any thread */
void hb_tls_ctx_unref(struct hb_tls_ctx *ctx);             /* any thread; takes NULL */
/* The leaf's own first SPIFFE URI; "" when it has none. */
const char *hb_tls_ctx_identity(const struct hb_tls_ctx *ctx);

enum hb_tls_role { HB_TLS_CLIENT, HB_TLS_SERVER };

struct hb_tls_options {
	enum hb_tls_role role;
	struct hb_tls_ctx *ctx; /* a reference is taken */
	/* Client: at least one URI SAN of the peer must equal one of these, to the letter. The
	 * strings are copied. Server: unused; a SAN in the own leaf's trust domain is asked for
	 * instead. */
	const char *const *identities;
	size_t identities_count;
	uint32_t handshake_ms; /* 0: 10000 */
	/* Each step of the handshake for which something has come waits for its turn here, in
	 * pace_group; borrowed, and kept for as long as any such stream. NULL: at once. */
	struct hb_pace *pace;
	uint32_t pace_group;
	uint32_t key_records; /* sealed under one key, then it is renewed; 0: 2^23 (RFC 8446 5.5) */
};

/* Takes @lower, an open stream without events set, also on failure (NULL). */
struct hb_stream *hb_tls_new(struct hb_loop *loop, struct hb_stream *lower,
                             const struct hb_tls_options *options);
/* The peer's first SPIFFE URI, valid while the stream lives; "" before on_open. */
const char *hb_tls_peer_identity(const struct hb_stream *tls);
/* "TLSv1.3 TLS_AES_128_GCM_SHA256 x25519", for dumps; "" before on_open. */
const char *hb_tls_describe(const struct hb_stream *tls);

/* "spiffe://<td>/ns/<ns>/sa/<sa>": exactly five segments, which may be empty. */
bool hb_spiffe_is_valid(const char *uri, size_t len);
/* The trust domain's length inside a valid @uri; it starts after "spiffe://". */
size_t hb_spiffe_trust_domain(const char *uri, const char **ret_start);
