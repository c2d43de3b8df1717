/*
 * pool: connections by key, and those who wait for a tunnel on one.
 *
 *   wait:  WAITING --a connection has room--> OPENING --200--> done
 *             ^                                  | refused unprocessed, tries left
 *             +----------------------------------+          else, or a dial failed --> done (why)
 *
 *   conn:  DIALLING --connected--> SHAKING --peer verified--> GREETING --SETTINGS--> READY
 *             +-------failed----------+---------failed------------+         idle, drain, lost
 *                                     v                                           v
 *             gone; all who wait for this key are told the same                  gone
 *
 * A peer that is GREETING has not said yet how many tunnels it grants. It gets one, which need not
 * wait; with more, those beyond its grant would be refused, each time anew on each connection.
 */
#include "pool_peers.h"

#include <assert.h>
#include <string.h>

#include <hbone/dial.h>

enum wait_state { WAIT_NONE, WAIT_WAITING, WAIT_OPENING };
enum conn_state { CONN_DIALLING, CONN_SHAKING, CONN_GREETING, CONN_READY };

struct conn {
	struct pool_peer *peer;
	struct hb_list node;    /* in peer->conns */
	struct hb_list opening; /* waits that have a request out */
	struct hb_dial dial;
	struct hb_stream *tls;
	struct hb_h2 *h2;
	struct hb_timer idle;
	enum conn_state state;
	struct hb_end why; /* of a dial that was given up */
	uint64_t served;
};

struct hb_pool {
	struct hb_loop *loop;
	struct hb_pool_options options;
	struct hb_tcp_options tcp;
	struct pool_peers peers;
	size_t conns;
	struct hb_tls_crls *crls; /* counted; NULL: none */
	struct hb_task empty;     /* draining, and no peer is left */
	bool draining;
	void (*on_empty)(void *owner);
	void *on_empty_owner;
};

static void serve(struct hb_task *task);

static struct pool_peer *peer_of(struct hb_pool *pool, const struct hb_pool_key *key)
{
	struct pool_peer *peer = pool_peers_get(&pool->peers, key);

	if (peer && !peer->pool) { /* it is new */
		peer->pool = pool;
		hb_task_init(&peer->serve, serve);
	}
	return peer;
}

static void peer_free_if_unused(struct pool_peer *peer)
{
	struct hb_pool *pool = peer->pool;

	if (!hb_list_is_empty(&peer->conns) || !hb_list_is_empty(&peer->waits))
		return;
	pool_peers_remove(&pool->peers, peer);
	/* Not when the last connection goes: those who still wait are told first. */
	if (pool->peers.count == 0 && pool->draining)
		hb_loop_defer(pool->loop, &pool->empty);
}

/* ---- waits ---- */

static void wait_done(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *identity,
                      struct hb_end why)
{
	hb_list_remove(&wait->node);
	hb_loop_timer_stop(wait->pool->loop, &wait->deadline);
	wait->state = WAIT_NONE;
	wait->tunnel = NULL;
	wait->on_tunnel(wait, tunnel, identity, why); /* last: the owner may free the wait */
}

static void fail_waits(struct pool_peer *peer, struct hb_end why)
{
	/* Only those who wait now: a callback may ask for another tunnel. */
	struct hb_list now, *node;

	if (hb_list_is_empty(&peer->waits))
		return;
	now = peer->waits;
	now.next->prev = now.prev->next = &now;
	hb_list_init(&peer->waits);
	while ((node = hb_list_shift(&now)))
		wait_done(hb_container_of(node, struct hb_pool_wait, node), NULL, "", why);
}

static void tunnel_on_open(struct hb_stream *s)
{
	struct hb_pool_wait *wait = s->owner;
	struct conn *conn = wait->conn;

	conn->served++;
	wait_done(wait, s, hb_tls_peer_identity(conn->tls), HB_END_CLEAN);
}

/*
 * No byte of an app has been sent yet. So what the peer did not process may be tried again, and so
 * may what was lost with a connection that had worked before: it may have died while it was idle.
 */
static bool may_try_again(const struct hb_pool_wait *wait, const struct conn *conn,
                          struct hb_end why)
{
	if (wait->tries >= HB_POOL_TRIES || wait->pool->draining)
		return false;
	if (why.code == HB_E_GOAWAY || why.code == HB_E_REFUSED)
		return true;
	return conn->served > 0 && why.layer != HB_LAYER_TUNNEL && why.side == HB_SIDE_PEER &&
	       (hb_h2_is_draining(conn->h2) || why.layer == HB_LAYER_TCP);
}

static void tunnel_on_closed(struct hb_stream *s, struct hb_end why)
{
	struct hb_pool_wait *wait = s->owner;
	struct conn *conn = wait->conn;

	hb_stream_free(s);
	wait->tunnel = NULL;
	if (!may_try_again(wait, conn, why)) {
		wait_done(wait, NULL, "", why);
		return;
	}
	hb_loop_timer_stop(wait->pool->loop, &wait->deadline);
	hb_list_remove(&wait->node);
	hb_list_add(&conn->peer->waits, &wait->node);
	wait->state = WAIT_WAITING;
	hb_loop_defer(wait->pool->loop, &conn->peer->serve);
}

static const struct hb_stream_events tunnel_events = {
	.on_open = tunnel_on_open,
	.on_closed = tunnel_on_closed,
};

static void on_connect_time(struct hb_timer *timer)
{
	struct hb_pool_wait *wait = hb_container_of(timer, struct hb_pool_wait, deadline);
	struct hb_stream *tunnel = wait->tunnel;
	struct hb_end why = hb_end(HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CONNECT_TIME);

	tunnel->events = &hb_stream_orphan_events;
	hb_stream_close(tunnel, why);
	wait_done(wait, NULL, "", why);
}

static void on_no_memory_time(struct hb_timer *timer)
{
	wait_done(hb_container_of(timer, struct hb_pool_wait, deadline), NULL, "",
	          hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM));
}

/* ---- connections ---- */

static void count(struct hb_pool *pool, int more)
{
	pool->conns += (size_t)more;
	if (pool->options.on_count)
		pool->options.on_count(pool->options.owner);
}

static void conn_free(struct conn *conn)
{
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;

	assert(hb_list_is_empty(&conn->opening));
	hb_loop_timer_stop(pool->loop, &conn->idle);
	hb_list_remove(&conn->node);
	free(conn);
	count(pool, -1);
	if (!hb_list_is_empty(&peer->waits))
		hb_loop_defer(pool->loop, &peer->serve);
	peer_free_if_unused(peer);
}

/* A dial or handshake failed: all who waited for it are told the same. */
static void conn_failed(struct conn *conn, struct hb_end why)
{
	struct pool_peer *peer = conn->peer;

	peer->dialling = false;
	fail_waits(peer, conn->why.code < 0 ? conn->why : why);
	conn_free(conn);
}

static void on_idle_time(struct hb_timer *timer)
{
	struct conn *conn = hb_container_of(timer, struct conn, idle);

	if (hb_h2_streams(conn->h2) == 0)
		hb_h2_drain(conn->h2);
}

static void h2_on_change(struct hb_h2 *h2)
{
	struct conn *conn = hb_h2_owner(h2);
	struct hb_pool *pool = conn->peer->pool;

	if (conn->state == CONN_GREETING && hb_h2_has_settings(h2)) {
		conn->state = CONN_READY;
		conn->peer->dialling = false;
	}
	if (hb_h2_streams(h2) > 0)
		hb_loop_timer_stop(pool->loop, &conn->idle);
	else if (!hb_timer_is_running(&conn->idle))
		hb_loop_timer_start(pool->loop, &conn->idle, pool->options.idle_ms);
	if (!hb_list_is_empty(&conn->peer->waits))
		hb_loop_defer(pool->loop, &conn->peer->serve);
}

static void h2_on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct conn *conn = hb_h2_owner(h2);

	hb_h2_free(h2);
	conn->h2 = NULL;
	if (conn->state == CONN_GREETING)
		conn_failed(conn,
		            why.code < 0 ? why : hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED));
	else
		conn_free(conn);
}

static const struct hb_h2_events h2_events = {
	.on_change = h2_on_change,
	.on_closed = h2_on_closed,
};

static void tls_on_open(struct hb_stream *s)
{
	struct conn *conn = s->owner;
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;
	struct hb_h2_options options = pool->options.h2;

	options.role = HB_H2_CLIENT;
	conn->h2 = hb_h2_new(pool->loop, s, &options, &h2_events, conn);
	if (!conn->h2) {
		conn_failed(conn, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
		return;
	}
	conn->state = CONN_GREETING;
	hb_loop_timer_start(pool->loop, &conn->idle, pool->options.idle_ms);
	if (conn->why.code < 0) /* it was given up meanwhile */
		hb_h2_close(conn->h2, conn->why);
	else if (pool->draining)
		hb_h2_drain(conn->h2);
	hb_loop_defer(pool->loop, &peer->serve);
}

static void tls_on_closed(struct hb_stream *s, struct hb_end why)
{
	struct conn *conn = s->owner;

	hb_stream_free(s);
	conn_failed(conn, why.code < 0 ? why : hb_end(HB_LAYER_TLS, HB_SIDE_PEER, HB_E_TRUNCATED));
}

static const struct hb_stream_events tls_events = {
	.on_open = tls_on_open,
	.on_closed = tls_on_closed,
};

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct conn *conn = hb_container_of(dial, struct conn, dial);
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;
	struct hb_tls_options options = {
		.role = HB_TLS_CLIENT,
		.ctx = peer->ctx,
		.identities = peer->peers,
		.identities_count = peer->peers_count,
		.handshake_ms = pool->options.handshake_ms,
		.crls = pool->crls,
	};
	struct hb_stream *tcp;

	if (fd < 0) {
		conn_failed(conn,
		            hb_end(HB_LAYER_TCP, fd == -ECANCELED ? HB_SIDE_US : HB_SIDE_PEER, fd));
		return;
	}
	conn->state = CONN_SHAKING;
	tcp = hb_tcp_new(pool->loop, fd, &pool->tcp);
	conn->tls = tcp ? hb_tls_new(pool->loop, tcp, &options) : NULL;
	if (!conn->tls) {
		conn_failed(conn, hb_end(HB_LAYER_TLS, HB_SIDE_US, -ENOMEM));
		return;
	}
	conn->tls->owner = conn;
	conn->tls->events = &tls_events;
}

static struct hb_end dial_start(struct pool_peer *peer)
{
	struct hb_pool *pool = peer->pool;
	int family = hb_ip_is_v4(&peer->dst.ip) ? AF_INET : AF_INET6;
	struct conn *conn;
	int fd;

	if (pool->conns >= pool->options.connections_max)
		return hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_LIMIT);
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM);
	fd = pool->options.make_socket(pool->options.owner, peer->scope, family);
	if (fd < 0) {
		free(conn);
		return hb_end(HB_LAYER_TCP, HB_SIDE_US, fd);
	}
	conn->peer = peer;
	hb_list_init(&conn->opening);
	hb_list_add(&peer->conns, &conn->node);
	hb_timer_init(&conn->idle, on_idle_time);
	count(pool, 1);
	peer->dialling = true;
	hb_dial_start(&conn->dial, pool->loop, fd, &peer->dst, pool->options.dial_ms, on_dialled);
	return HB_END_CLEAN;
}

/* ---- bringing the two together ---- */

static struct conn *conn_with_room(struct pool_peer *peer)
{
	hb_list_for_each (node, &peer->conns) {
		struct conn *conn = hb_container_of(node, struct conn, node);

		if (conn->state < CONN_GREETING || hb_h2_room(conn->h2) == 0)
			continue;
		if (conn->state == CONN_READY || hb_h2_streams(conn->h2) == 0)
			return conn;
	}
	return NULL;
}

static void open_tunnel(struct conn *conn, struct hb_pool_wait *wait)
{
	struct hb_pool *pool = wait->pool;

	hb_list_remove(&wait->node);
	wait->tries++;
	wait->tunnel = hb_tunnel_open(conn->h2, &wait->request);
	if (!wait->tunnel) {
		wait_done(wait, NULL, "", hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM));
		return;
	}
	wait->conn = conn;
	wait->state = WAIT_OPENING;
	wait->tunnel->owner = wait;
	wait->tunnel->events = &tunnel_events;
	hb_list_add(&conn->opening, &wait->node);
	hb_loop_timer_start(pool->loop, &wait->deadline, pool->options.connect_ms);
}

static void serve(struct hb_task *task)
{
	struct pool_peer *peer = hb_container_of(task, struct pool_peer, serve);
	struct hb_end why = HB_END_CLEAN;
	struct conn *conn;

	if (peer->pool->draining)
		why = hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_DRAIN);
	while (why.code == 0 && !hb_list_is_empty(&peer->waits) && (conn = conn_with_room(peer)))
		open_tunnel(conn, hb_container_of(peer->waits.next, struct hb_pool_wait, node));
	if (why.code == 0 && !hb_list_is_empty(&peer->waits) && !peer->dialling)
		why = dial_start(peer);
	if (why.code < 0)
		fail_waits(peer, why);
	peer_free_if_unused(peer);
}

void hb_pool_get(struct hb_pool *pool, struct hb_pool_wait *wait, const struct hb_pool_key *key,
                 struct hb_tls_ctx *ctx, const struct hb_tunnel_request *request)
{
	struct pool_peer *peer = peer_of(pool, key);

	wait->pool = pool;
	wait->request = *request;
	wait->tunnel = NULL;
	wait->conn = NULL;
	wait->tries = 0;
	wait->state = WAIT_WAITING;
	hb_list_init(&wait->node);
	hb_timer_init(&wait->deadline, on_connect_time);
	if (!peer) {
		/* Callbacks never run inside: the deadline of a wait without a tunnel reports it.
		 */
		hb_timer_init(&wait->deadline, on_no_memory_time);
		hb_loop_timer_start(pool->loop, &wait->deadline, 0);
		return;
	}
	if (peer->ctx != ctx) {
		hb_tls_ctx_unref(peer->ctx);
		peer->ctx = hb_tls_ctx_ref(ctx);
	}
	hb_list_add(&peer->waits, &wait->node);
	hb_loop_defer(pool->loop, &peer->serve);
}

void hb_pool_cancel(struct hb_pool_wait *wait)
{
	if (wait->state == WAIT_NONE)
		return;
	if (wait->state == WAIT_OPENING) {
		wait->tunnel->events = &hb_stream_orphan_events;
		hb_stream_close(wait->tunnel, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_CANCELLED));
	}
	hb_list_remove(&wait->node);
	hb_loop_timer_stop(wait->pool->loop, &wait->deadline);
	wait->state = WAIT_NONE;
}

/* ---- the pool as a whole ---- */

static void on_empty_task(struct hb_task *task)
{
	struct hb_pool *pool = hb_container_of(task, struct hb_pool, empty);

	if (pool->peers.count == 0 && pool->on_empty)
		hb_take (&pool->on_empty)(pool->on_empty_owner); /* last: it may free the pool */
}

static void conn_close(struct conn *conn, struct hb_end why)
{
	switch (conn->state) {
	case CONN_DIALLING:
		conn->why = why;
		hb_dial_cancel(&conn->dial);
		break;
	case CONN_SHAKING:
		conn->why = why;
		hb_stream_close(conn->tls, why);
		break;
	case CONN_GREETING:
	case CONN_READY:
		hb_h2_close(conn->h2, why);
		break;
	}
}

static void each_conn(struct hb_pool *pool, void (*act)(struct conn *conn, struct hb_end why),
                      uint64_t scope, struct hb_end why)
{
	for (size_t i = 0; i < POOL_BUCKETS; i++)
		for (struct pool_peer *peer = pool->peers.buckets[i]; peer; peer = peer->next)
			if (scope == 0 || peer->scope == scope)
				hb_list_for_each (node, &peer->conns)
					act(hb_container_of(node, struct conn, node), why);
}

static void drain_conn(struct conn *conn, struct hb_end why)
{
	if (conn->state >= CONN_GREETING)
		hb_h2_drain(conn->h2);
	else
		conn_close(conn, why);
}

void hb_pool_drain(struct hb_pool *pool, void (*on_empty)(void *owner), void *owner)
{
	pool->draining = true;
	pool->on_empty = on_empty;
	pool->on_empty_owner = owner;
	each_conn(pool, drain_conn, 0, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_DRAIN));
	if (pool->peers.count == 0)
		hb_loop_defer(pool->loop, &pool->empty);
}

void hb_pool_close_scope(struct hb_pool *pool, uint64_t scope, struct hb_end why)
{
	each_conn(pool, conn_close, scope, why);
}

/* True: it is revoked. */
static bool conn_recheck(struct conn *conn, int64_t now_s)
{
	struct hb_end why = hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_TLS_REVOKED);
	int code = conn->state == CONN_DIALLING
	               ? 0
	               : hb_tls_recheck(conn->tls, conn->peer->pool->crls, now_s);

	if (code == HB_TLS_EXPIRED && conn->state >= CONN_GREETING)
		hb_h2_drain(conn->h2);
	if (code == HB_TLS_REVOKED)
		conn_close(conn, why);
	return code == HB_TLS_REVOKED;
}

size_t hb_pool_recheck(struct hb_pool *pool, struct hb_tls_crls *crls, int64_t now_s)
{
	struct hb_tls_crls *old = pool->crls;
	size_t revoked = 0;

	pool->crls = hb_tls_crls_ref(crls);
	hb_tls_crls_unref(old);
	for (size_t i = 0; i < POOL_BUCKETS; i++)
		for (struct pool_peer *peer = pool->peers.buckets[i]; peer; peer = peer->next)
			hb_list_for_each (node, &peer->conns)
				revoked +=
				    conn_recheck(hb_container_of(node, struct conn, node), now_s);
	return revoked;
}

static const struct hb_tcp_options tcp_default = {
	.read_max = HB_BUF_PAYLOAD,
	.keepalive_idle_s = 180,
	.keepalive_interval_s = 180,
	.keepalive_probes = 9,
};

struct hb_pool *hb_pool_new(struct hb_loop *loop, const struct hb_pool_options *options)
{
	struct hb_pool *pool = calloc(1, sizeof(*pool));
	struct hb_pool_options *o;

	if (!pool)
		return NULL;
	pool->loop = loop;
	pool->options = *options;
	o = &pool->options;
	pool->tcp = o->tcp ? *o->tcp : tcp_default;
	o->idle_ms = o->idle_ms ? o->idle_ms : 300000;
	o->dial_ms = o->dial_ms ? o->dial_ms : 10000;
	o->handshake_ms = o->handshake_ms ? o->handshake_ms : 10000;
	o->connect_ms = o->connect_ms ? o->connect_ms : 10000;
	o->connections_max = o->connections_max ? o->connections_max : 4096;
	hb_task_init(&pool->empty, on_empty_task);
	return pool;
}

void hb_pool_free(struct hb_pool *pool)
{
	if (!pool)
		return;
	assert(pool->peers.count == 0);
	hb_loop_undefer(&pool->empty);
	hb_tls_crls_unref(pool->crls);
	free(pool);
}

size_t hb_pool_connections(const struct hb_pool *pool)
{
	return pool->conns;
}
