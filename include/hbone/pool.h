/*
 * pool: HBONE connections by key: reuse, one dial for many waiters, idle release, drain
 * (reference/datapath 1.13).
 *
 * The pool does not know how to reach a peer: the owner's dial function makes a connected socket.
 * One dial per key runs at a time, until the peer's SETTINGS say how many tunnels it grants; all
 * who wait for it get its result or its failure. A connection that was full is used again when it
 * has room. A tunnel refused with HB_E_GOAWAY or HB_E_REFUSED before its answer is tried again, at
 * most HB_POOL_TRIES times in all, on another connection. Thread: the loop's own; a pool per
 * worker.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/tcp.h>
#include <hbone/tls.h>
#include <hbone/tunnel.h>

#define HB_POOL_TRIES 3

struct hb_pool;

struct hb_pool_key {              /* all of it is compared */
	uint64_t scope;           /* the owner's: which pod */
	const char *identity;     /* our own */
	const char *const *peers; /* accepted identities, in order */
	size_t peers_count;
	struct hb_addr dst; /* host of the tunnel, with 15008 */
};

struct hb_pool_options {
	struct hb_h2_options h2;  /* role is set by the pool */
	uint32_t idle_ms;         /* a connection without streams is closed after this; 0: 300000 */
	uint32_t dial_ms;         /* TCP; 0: 10000 */
	uint32_t handshake_ms;    /* TLS; 0: 10000 */
	uint32_t connect_ms;      /* CONNECT to answer; 0: 10000 */
	uint32_t connections_max; /* in the pool; 0: 4096 */
	const struct hb_tcp_options *tcp; /* copied; NULL: keepalive as reference/datapath 5.2 */
	/* An unconnected, non-blocking socket of @family in the right namespace, or -errno. */
	int (*make_socket)(void *owner, uint64_t scope, int family);
	/* The number of connections has changed; nothing may be done to the pool in here. NULL:
	 * nobody wants to know. */
	void (*on_count)(void *owner);
	void *owner;
};

struct hb_pool *hb_pool_new(struct hb_loop *loop, const struct hb_pool_options *options);
/* No new tunnels; connections without streams close; then on_empty (maybe NULL), once. */
void hb_pool_drain(struct hb_pool *pool, void (*on_empty)(void *owner), void *owner);
/* Ends every connection of @scope (a pod that left), or of all when @scope is 0. */
void hb_pool_close_scope(struct hb_pool *pool, uint64_t scope, struct hb_end why);
/*
 * @crls (a reference is taken; may be NULL) holds for handshakes from here on, and every peer is
 * asked by hb_tls_recheck() whether it still stands: a connection with a revoked one ends with
 * {tls, us, HB_TLS_REVOKED}, and one whose certificate has ended by @now_s (Unix time) is drained.
 * How many were revoked.
 */
size_t hb_pool_recheck(struct hb_pool *pool, struct hb_tls_crls *crls, int64_t now_s);
void hb_pool_free(struct hb_pool *pool); /* only when empty; takes NULL */
size_t hb_pool_connections(const struct hb_pool *pool);

/* One wish for a tunnel; the caller embeds it and keeps it until on_tunnel has run. */
struct hb_pool_wait;
/*
 * Runs once, never inside hb_pool_get(). @tunnel: open, yours, no events set yet, paused; or NULL
 * and @why says what failed (the same for all who waited for the same dial).
 * @peer: the identity the peer proved; valid during the call.
 */
typedef void (*hb_pool_done)(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                             struct hb_end why);
struct hb_pool_wait {
	hb_pool_done on_tunnel;
	struct hb_tunnel_request request;
	struct hb_list node;
	struct hb_timer deadline;
	struct hb_stream *tunnel;
	void *conn;
	struct hb_pool *pool;
	uint8_t tries, state;
};
/* @ctx: our certificate, for a dial if one is needed. key and request are borrowed until done. */
void hb_pool_get(struct hb_pool *pool, struct hb_pool_wait *wait, const struct hb_pool_key *key,
                 struct hb_tls_ctx *ctx, const struct hb_tunnel_request *request);
/* The caller lost interest: on_tunnel will not run. */
void hb_pool_cancel(struct hb_pool_wait *wait);
