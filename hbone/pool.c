/*
 * pool: connections by key, and those who wait for a tunnel on one.
 *
 *   wait:  WAITING --a connection has room--> OPENING --200--> done
 *             ^                                  | refused unprocessed, tries left
 *             +----------------------------------+          else, or a dial failed --> done (why)
 *
 * Connections are pool_conn.c's. All who wait for one are told the same when it fails.
 */
#include "pool_internal.h"

#include <assert.h>

enum wait_state { WAIT_NONE, WAIT_TOLD_LATER, WAIT_WAITING, WAIT_OPENING };

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

void pool_peer_free_if_unused(struct pool_peer *peer)
{
	struct hb_pool *pool = peer->pool;

	if (peer->conns_count || !hb_list_is_empty(&peer->waits))
		return;
	pool_peers_remove(&pool->peers, peer);
	/* Not when the last connection goes: those who still wait are told first. */
	if (pool->peers.count == 0 && pool->draining)
		hb_loop_defer(pool->loop, &pool->empty);
}

/* ---- waits ---- */

static void start_waiting(struct hb_pool_wait *wait, struct pool_peer *peer)
{
	wait->conn = peer;
	wait->state = WAIT_WAITING;
	peer->waits_count++;
	peer->pool->waiters++;
	hb_list_add(&peer->waits, &wait->node);
	hb_loop_defer(peer->pool->loop, &peer->serve);
}

/* Out of every list and count. */
static void take_out(struct hb_pool_wait *wait)
{
	struct pool_peer *peer = wait->conn;

	if (wait->state == WAIT_WAITING) {
		peer->waits_count--;
		wait->pool->waiters--;
	}
	hb_list_remove(&wait->node);
	hb_loop_timer_stop(wait->pool->loop, &wait->deadline);
	wait->state = WAIT_NONE;
}

static void wait_done(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *identity,
                      struct hb_end why)
{
	take_out(wait);
	wait->tunnel = NULL;
	wait->on_tunnel(wait, tunnel, identity, why); /* last: the owner may free the wait */
}

void pool_fail_waits(struct pool_peer *peer, struct hb_end why, const char *shown)
{
	/* Only those who wait now: a callback may ask for another tunnel. */
	struct hb_list now, *node;

	if (hb_list_is_empty(&peer->waits))
		return;
	now = peer->waits;
	now.next->prev = now.prev->next = &now;
	hb_list_init(&peer->waits);
	while ((node = hb_list_shift(&now)))
		wait_done(hb_container_of(node, struct hb_pool_wait, node), NULL, shown, why);
}

static void tunnel_on_open(struct hb_stream *s)
{
	struct hb_pool_wait *wait = s->owner;
	struct pool_conn *conn = wait->conn;

	conn->served++;
	wait->pool->counters.tunnels++;
	wait_done(wait, s, hb_tls_peer_identity(conn->tls), HB_END_CLEAN);
}

/*
 * No byte of an app has been sent yet. So what the peer did not process may be tried again, and so
 * may what was lost with a connection that had worked before: it may have died while it was idle.
 */
static bool may_try_again(const struct hb_pool_wait *wait, const struct pool_conn *conn,
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
	struct pool_conn *conn = wait->conn;

	hb_stream_free(s);
	wait->tunnel = NULL;
	if (!may_try_again(wait, conn, why)) {
		wait_done(wait, NULL, "", why);
		return;
	}
	take_out(wait);
	wait->refused = conn->number;
	wait->pool->counters.retried++;
	start_waiting(wait, conn->peer);
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

static void on_told_time(struct hb_timer *timer)
{
	struct hb_pool_wait *wait = hb_container_of(timer, struct hb_pool_wait, deadline);

	wait_done(wait, NULL, "", wait->why);
}

/* It is in no list. A callback now would be inside hb_pool_get(), or could end others that are
 * being looked at. */
static void tell_later(struct hb_pool_wait *wait, struct hb_end why)
{
	wait->why = why;
	wait->state = WAIT_TOLD_LATER;
	hb_timer_init(&wait->deadline, on_told_time);
	hb_loop_timer_start(wait->pool->loop, &wait->deadline, 0);
}

struct hb_end pool_limited(struct hb_pool *pool, enum hb_pool_limit limit, uint64_t waits)
{
	static const int codes[HB_POOL_LIMITS] = {
		[HB_POOL_CONNECTIONS] = HB_E_POOL_CONNECTIONS,
		[HB_POOL_KEY_CONNECTIONS] = HB_E_KEY_CONNECTIONS,
		[HB_POOL_WAITERS] = HB_E_POOL_WAITERS,
		[HB_POOL_KEY_WAITERS] = HB_E_KEY_WAITERS,
	};

	pool->counters.limited[limit] += waits;
	return hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, codes[limit]);
}

/* ---- bringing the two together ---- */

static struct pool_conn *conn_with_room(struct pool_peer *peer, const struct hb_pool_wait *wait)
{
	hb_list_for_each (node, &peer->conns) {
		struct pool_conn *conn = hb_container_of(node, struct pool_conn, node);

		if (conn->number != wait->refused && pool_conn_has_room(conn))
			return conn;
	}
	return NULL;
}

static void open_tunnel(struct pool_conn *conn, struct hb_pool_wait *wait)
{
	struct hb_pool *pool = wait->pool;

	take_out(wait);
	wait->tries++;
	wait->tunnel = hb_tunnel_open(conn->h2, &wait->request);
	if (!wait->tunnel) {
		tell_later(wait, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM));
		return;
	}
	wait->conn = conn;
	wait->state = WAIT_OPENING;
	wait->tunnel->owner = wait;
	wait->tunnel->events = &tunnel_events;
	hb_list_add(&conn->opening, &wait->node);
	hb_loop_timer_start(pool->loop, &wait->deadline, pool->options.connect_ms);
}

/* The first that is left waiting, or NULL. */
static struct hb_pool_wait *open_tunnels(struct pool_peer *peer)
{
	struct hb_pool_wait *first = NULL;

	hb_list_for_each_safe (node, &peer->waits) {
		struct hb_pool_wait *wait = hb_container_of(node, struct hb_pool_wait, node);
		struct pool_conn *conn = conn_with_room(peer, wait);

		if (conn) {
			open_tunnel(conn, wait);
			continue;
		}
		first = first ? first : wait;
		if (!wait->refused) /* who was refused is choosier than the rest */
			break;
	}
	return first;
}

static void serve(struct hb_task *task)
{
	struct pool_peer *peer = hb_container_of(task, struct pool_peer, serve);
	struct hb_end why = HB_END_CLEAN;
	struct hb_pool_wait *left;

	if (peer->pool->draining) {
		why = hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_DRAIN);
	} else {
		left = open_tunnels(peer);
		if (left && !peer->dialling)
			why = pool_conn_start(peer, &left->request);
	}
	if (why.code < 0)
		pool_fail_waits(peer, why, "");
	pool_peer_free_if_unused(peer);
}

/* A clean end: @wait may wait. */
static struct hb_end admit(struct hb_pool *pool, const struct pool_peer *peer)
{
	if (!peer)
		return hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM);
	if (pool->waiters >= pool->options.waiters_max)
		return pool_limited(pool, HB_POOL_WAITERS, 1);
	if (peer->waits_count >= pool->options.key_waiters_max)
		return pool_limited(pool, HB_POOL_KEY_WAITERS, 1);
	return HB_END_CLEAN;
}

void hb_pool_get(struct hb_pool *pool, struct hb_pool_wait *wait, const struct hb_pool_key *key,
                 struct hb_tls_ctx *ctx, const struct hb_tunnel_request *request)
{
	struct pool_peer *peer = peer_of(pool, key);

	wait->pool = pool;
	wait->request = *request;
	wait->tunnel = NULL;
	wait->conn = NULL;
	wait->refused = 0;
	wait->tries = 0;
	wait->why = admit(pool, peer);
	hb_list_init(&wait->node);
	if (wait->why.code < 0) {
		tell_later(wait, wait->why);
		if (peer)
			hb_loop_defer(pool->loop, &peer->serve); /* it may be new, and unused */
		return;
	}
	hb_timer_init(&wait->deadline, on_connect_time);
	if (peer->ctx != ctx) {
		hb_tls_ctx_unref(peer->ctx);
		peer->ctx = hb_tls_ctx_ref(ctx);
	}
	start_waiting(wait, peer);
}

void hb_pool_cancel(struct hb_pool_wait *wait)
{
	if (wait->state == WAIT_NONE)
		return;
	if (wait->state == WAIT_OPENING) {
		wait->tunnel->events = &hb_stream_orphan_events;
		hb_stream_close(wait->tunnel, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_CANCELLED));
	}
	take_out(wait);
}

/* ---- the pool as a whole ---- */

static void on_empty_task(struct hb_task *task)
{
	struct hb_pool *pool = hb_container_of(task, struct hb_pool, empty);

	if (pool->peers.count == 0 && pool->on_empty)
		hb_take (&pool->on_empty)(pool->on_empty_owner); /* last: it may free the pool */
}

void hb_pool_drain(struct hb_pool *pool, void (*on_empty)(void *owner), void *owner)
{
	pool->draining = true;
	pool->on_empty = on_empty;
	pool->on_empty_owner = owner;
	pool_each_conn(pool, 0, pool_conn_drain, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_DRAIN));
	if (pool->peers.count == 0)
		hb_loop_defer(pool->loop, &pool->empty);
}

void hb_pool_close_scope(struct hb_pool *pool, uint64_t scope, struct hb_end why)
{
	pool_each_conn(pool, scope, pool_conn_close, why);
}

static const struct hb_tcp_options tcp_default = {
	.read_max = HB_BUF_PAYLOAD,
	.keepalive_idle_s = 180,
	.keepalive_interval_s = 180,
	.keepalive_probes = 9,
};

static int make_plain_socket(void *owner, uint64_t scope, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

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
	o->make_socket = o->make_socket ? o->make_socket : make_plain_socket;
	o->idle_ms = o->idle_ms ? o->idle_ms : 300000;
	o->spare_ms = o->spare_ms ? o->spare_ms : 2000;
	o->dial_ms = o->dial_ms ? o->dial_ms : 10000;
	o->handshake_ms = o->handshake_ms ? o->handshake_ms : 10000;
	o->connect_ms = o->connect_ms ? o->connect_ms : 10000;
	o->inner_streams_max = o->inner_streams_max ? o->inner_streams_max : 10;
	o->connections_max = o->connections_max ? o->connections_max : 4096;
	o->key_connections_max = o->key_connections_max ? o->key_connections_max : 256;
	o->waiters_max = o->waiters_max ? o->waiters_max : 32768;
	o->key_waiters_max = o->key_waiters_max ? o->key_waiters_max : 16384;
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

const struct hb_pool_counters *hb_pool_counters(const struct hb_pool *pool)
{
	return &pool->counters;
}
