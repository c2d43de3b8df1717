/*
 * pool_internal: what the pool's files share: pool.c has those who wait, pool_conn.c the
 * connections, pool_outer.c the way through a gateway. Thread: the pool's.
 */
#pragma once

#include "pool_peers.h"

#include <hbone/dial.h>

enum pool_conn_state {
	POOL_CONN_DIALLING,
	POOL_CONN_TUNNELLING, /* instead of DIALLING, behind a gateway */
	POOL_CONN_SHAKING,
	POOL_CONN_GREETING,
	POOL_CONN_READY,
};

struct pool_outer;

struct pool_conn {
	struct pool_peer *peer;
	struct hb_list node;      /* in peer->conns */
	struct hb_list opening;   /* waits that have a request out */
	struct hb_dial dial;      /* DIALLING */
	struct pool_outer *outer; /* TUNNELLING: the wait for the outer tunnel */
	struct hb_stream *tunnel; /* what TLS runs in, behind a gateway; TLS owns it */
	struct hb_stream *tls;    /* from SHAKING on; from GREETING on h2 owns it */
	struct hb_h2 *h2;         /* GREETING, READY */
	uint64_t number;          /* unique in its pool, from 1 */
	struct hb_timer timer;    /* without tunnels: released; TUNNELLING: given up, to be told */
	uint64_t idle_since_ms;   /* when its last tunnel went; valid while it has none */
	enum pool_conn_state state;
	bool going;        /* it was seen to drain, and so were those inside it */
	struct hb_end why; /* of a dial or handshake that was given up */
	uint64_t served;
};

struct hb_pool {
	struct hb_loop *loop;
	struct hb_pool_options options;
	struct hb_tcp_options tcp;
	struct hb_pool_counters counters;
	struct pool_peers peers;
	size_t conns, waiters;
	struct hb_tls_crls *crls; /* counted; NULL: none */
	struct hb_task empty;     /* draining, and no peer is left */
	bool draining;
	void (*on_empty)(void *owner);
	void *on_empty_owner;
};

/* ---- pool.c ---- */

/* Tells all who wait for this key; @shown: hb_pool_done's peer. */
void pool_fail_waits(struct pool_peer *peer, struct hb_end why, const char *shown);
void pool_peer_free_if_unused(struct pool_peer *peer);
/* One more met @limit: what it is told. */
struct hb_end pool_limited(struct hb_pool *pool, enum hb_pool_limit limit, uint64_t waits);

/* ---- pool_conn.c ---- */

/* Begins a connection; @request: of one who waits for it. Else why there is none. */
struct hb_end pool_conn_start(struct pool_peer *peer, const struct hb_tunnel_request *request);
/* TCP stands, or the outer tunnel does: TLS over it. Takes @lower, which may be NULL: no memory. */
void pool_conn_shake(struct pool_conn *conn, struct hb_stream *lower);
/* It came to nothing: all who waited for it are told the same. Frees it. */
void pool_conn_failed(struct pool_conn *conn, struct hb_end why, const char *shown);
void pool_conn_close(struct pool_conn *conn, struct hb_end why);
void pool_conn_drain(struct pool_conn *conn, struct hb_end why);
/* May a request go out on it? */
bool pool_conn_has_room(struct pool_conn *conn);
void pool_each_conn(struct hb_pool *pool, uint64_t scope,
                    void (*act)(struct pool_conn *conn, struct hb_end why), struct hb_end why);

/* ---- pool_outer.c ---- */

/* Asks for a tunnel to the gateway's far side; @request lends what it says of the source. False: no
 * memory. */
bool pool_outer_start(struct pool_conn *conn, const struct hb_tunnel_request *request);
/* Nothing more is heard of it, and pool_conn_failed() follows, from the loop. */
void pool_outer_give_up(struct pool_conn *conn, struct hb_end why);
