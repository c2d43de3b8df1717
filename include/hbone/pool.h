/*
 * pool: HBONE connections by key: reuse, one dial for many waiters, idle release, drain
 * (reference/datapath 1.13), directly and through a gateway (double HBONE, reference/datapath
 * 1.14).
 *
 * The pool does not know how to reach a peer: the owner's make_socket gives the socket to dial
 * with. One dial per key runs at a time, until the peer's SETTINGS say how many tunnels it grants;
 * all who wait for it get its result or its failure. A connection that was full is used again when
 * it has room. A tunnel refused with HB_E_GOAWAY or HB_E_REFUSED before its answer is tried again,
 * at most HB_POOL_TRIES times in all, on another connection.
 *
 * Through a gateway, a tunnel of the connection to the gateway carries a connection of its own: TLS
 * with the peer behind it, HTTP/2, tunnels. Such an inner connection is shared, counted, released
 * and drained like any other; it ends with its outer tunnel, for the same reason; and it takes no
 * new tunnels once the outer connection is going away.
 *
 * Thread: the loop's own; a pool per worker.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/tcp.h>
#include <hbone/tls.h>
#include <hbone/tunnel.h>

#define HB_POOL_TRIES 3

struct hb_pool;

struct hb_pool_inner {            /* what lies behind a gateway */
	const char *authority;    /* "host:port": the gateway is asked for it */
	const char *const *peers; /* identities accepted there, in order */
	size_t peers_count;
};

struct hb_pool_key {          /* all of it is compared */
	uint64_t scope;       /* the owner's: which pod */
	const char *identity; /* our own */
	const char *const
	    *peers; /* accepted identities, in order; of the gateway if there is one */
	size_t peers_count;
	struct hb_addr dst;                /* host of the tunnel, or gateway; with its port */
	const struct hb_pool_inner *inner; /* NULL: there is no gateway */
};

/* Limits: who is beyond one is told its code, with {tunnel, us}. */
enum hb_pool_limit {
	HB_POOL_CONNECTIONS,     /* HB_E_POOL_CONNECTIONS: in the pool */
	HB_POOL_KEY_CONNECTIONS, /* HB_E_KEY_CONNECTIONS: of one key */
	HB_POOL_WAITERS,         /* HB_E_POOL_WAITERS: that wait for a connection, in the pool */
	HB_POOL_KEY_WAITERS,     /* HB_E_KEY_WAITERS: for one key */
	HB_POOL_LIMITS,
};

struct hb_pool_counters {
	uint64_t connections; /* begun */
	uint64_t failed;      /* of them: dial, TLS or SETTINGS came to nothing */
	uint64_t tunnels;     /* opened */
	uint64_t retried;     /* requests that went out once more */
	uint64_t expired;     /* connections drained as the peer's certificate had ended */
	uint64_t revoked;     /* connections ended as the peer's certificate is refused by now */
	uint64_t limited[HB_POOL_LIMITS]; /* waits that were told so */
};

struct hb_pool_options {
	struct hb_h2_options h2; /* role is set by the pool */
	uint32_t idle_ms;        /* a connection without streams is closed after this; 0: 300000 */
	/* So is one that is not needed: another of its key, used before it, has room. Sooner, as
	 * each holds a TLS and an HTTP/2 session, and pages between those of flows; seen after
	 * spare_ms, or twice that, four times... from then on. 0: 2000 */
	uint32_t spare_ms;
	uint32_t dial_ms;      /* TCP; 0: 10000 */
	uint32_t handshake_ms; /* TLS; 0: 10000 */
	uint32_t connect_ms;   /* CONNECT to answer; 0: 10000 */
	/* Tunnels on one inner connection, if h2.streams_max is not less. The gateway chooses a
	 * backend for each inner connection: few tunnels on each spread the load. 0: 10 */
	uint32_t inner_streams_max;
	uint32_t connections_max;         /* in the pool; 0: 4096 */
	uint32_t key_connections_max;     /* of one key; 0: 256 */
	uint32_t waiters_max;             /* in the pool; 0: 32768 */
	uint32_t key_waiters_max;         /* for one key; 0: 16384 */
	const struct hb_tcp_options *tcp; /* copied; NULL: keepalive as reference/datapath 5.2 */
	/* An unconnected, non-blocking socket of @family in the right namespace, or -errno. NULL:
	 * one as socket() makes it. */
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
 * What runs inside a connection that ends, ends with it; inside one that is drained, is drained.
 * How many were revoked.
 */
size_t hb_pool_recheck(struct hb_pool *pool, struct hb_tls_crls *crls, int64_t now_s);
void hb_pool_free(struct hb_pool *pool); /* only when empty; takes NULL */
size_t hb_pool_connections(const struct hb_pool *pool);
const struct hb_pool_counters *hb_pool_counters(const struct hb_pool *pool); /* lives with @pool */
/* One wish for a tunnel; the caller embeds it and keeps it until on_tunnel has run. */
struct hb_pool_wait;
/*
 * Runs once, never inside hb_pool_get(). @tunnel: open, yours, no events set yet, paused; or NULL
 * and @why says what failed (the same for all who waited for the same dial).
 * @peer: the identity the peer proved, or, where that was why it failed (HB_E_PEER_IDENTITY), the
 * one it showed, for the log alone; else "". Valid during the call.
 */
typedef void (*hb_pool_done)(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                             struct hb_end why);
struct hb_pool_wait {
	hb_pool_done on_tunnel;
	struct hb_tunnel_request request;
	struct hb_list node;
	struct hb_timer deadline;
	struct hb_stream *tunnel;
	void *conn;       /* the connection it opens on, or the key it waits for */
	uint64_t refused; /* number of the last connection that refused it; 0: none did */
	struct hb_pool *pool;
	struct hb_end why;
	uint8_t tries, state;
};
/* @ctx: our certificate, for a dial if one is needed. key and request are borrowed until done. */
void hb_pool_get(struct hb_pool *pool, struct hb_pool_wait *wait, const struct hb_pool_key *key,
                 struct hb_tls_ctx *ctx, const struct hb_tunnel_request *request);
/* The caller lost interest: on_tunnel will not run. */
void hb_pool_cancel(struct hb_pool_wait *wait);
