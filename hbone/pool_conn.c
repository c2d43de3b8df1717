/*
 * pool_conn: one connection of a pool, from its dial to its end.
 *
 *   DIALLING --connected--> SHAKING --peer verified--> GREETING --SETTINGS--> READY
 *   TUNNELLING --200--------^  |                           |          idle, drain, lost
 *       '--------failed--------+-----------failed----------+                   v
 *                                          v                                 gone
 *                    gone; all who wait for this key are told the same
 *
 * A peer that is GREETING has not said yet how many tunnels it grants. It gets one, which need not
 * wait; with more, those beyond its grant would be refused, each time anew on each connection.
 */
#include "pool_internal.h"

#include <assert.h>
#include <string.h>

static void count(struct hb_pool *pool, int more)
{
	pool->conns += (size_t)more;
	if (pool->options.on_count)
		pool->options.on_count(pool->options.owner);
}

static void conn_free(struct pool_conn *conn)
{
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;

	assert(hb_list_is_empty(&conn->opening) && !conn->outer);
	hb_loop_timer_stop(pool->loop, &conn->timer);
	hb_list_remove(&conn->node);
	free(conn);
	count(pool, -1);
	peer->conns_count--;
	if (!hb_list_is_empty(&peer->waits))
		hb_loop_defer(pool->loop, &peer->serve);
	pool_peer_free_if_unused(peer);
}

void pool_conn_failed(struct pool_conn *conn, struct hb_end why, const char *shown)
{
	struct pool_peer *peer = conn->peer;

	peer->dialling = false;
	peer->pool->counters.failed++;
	hb_list_remove(&conn->node); /* who is told may close, drain or ask again all there are */
	pool_fail_waits(peer, conn->why.code < 0 ? conn->why : why, shown);
	conn_free(conn);
}

/* Those who come are given the first of their key that has room. */
static bool is_spare(const struct pool_conn *conn)
{
	hb_list_for_each (node, &conn->peer->conns) {
		struct pool_conn *other = hb_container_of(node, struct pool_conn, node);

		if (other == conn)
			return false;
		if (pool_conn_has_room(other))
			return true;
	}
	return false;
}

/* Until it is looked at next: again after as long as it has been idle. */
static void wait_for_use(struct pool_conn *conn, uint64_t idle_ms)
{
	const struct hb_pool_options *options = &conn->peer->pool->options;
	uint64_t next_ms = idle_ms ? idle_ms : options->spare_ms;

	if (next_ms > options->idle_ms - idle_ms)
		next_ms = options->idle_ms - idle_ms;
	hb_loop_timer_start(conn->peer->pool->loop, &conn->timer, next_ms);
}

static void begin_idle(struct pool_conn *conn)
{
	conn->idle_since_ms = hb_loop_now_ms(conn->peer->pool->loop);
	wait_for_use(conn, 0);
}

static void on_time(struct hb_timer *timer)
{
	struct pool_conn *conn = hb_container_of(timer, struct pool_conn, timer);
	struct hb_pool *pool = conn->peer->pool;
	uint64_t idle_ms;

	if (conn->state == POOL_CONN_TUNNELLING) {
		pool_conn_failed(conn, conn->why, "");
		return;
	}
	if (hb_h2_streams(conn->h2) > 0)
		return;
	idle_ms = hb_loop_now_ms(pool->loop) - conn->idle_since_ms;
	if (idle_ms >= pool->options.idle_ms || is_spare(conn))
		hb_h2_drain(conn->h2);
	else
		wait_for_use(conn, idle_ms);
}

/* ---- HTTP/2 ---- */

/* What it runs in takes no more tunnels: it is not to keep that alive for ever. */
static bool outer_is_going(const struct pool_conn *conn)
{
	struct hb_h2 *h2;

	if (!conn->tunnel)
		return false;
	h2 = hb_h2_of(conn->tunnel);
	return !h2 || hb_h2_is_draining(h2);
}

/* One that is still GREETING gets there first: those who wait for it are not to fail by this. */
static void drain_inside(struct pool_conn *conn, struct hb_end why)
{
	if (conn->state == POOL_CONN_READY && outer_is_going(conn))
		hb_h2_drain(conn->h2);
}

static void h2_on_change(struct hb_h2 *h2)
{
	struct pool_conn *conn = hb_h2_owner(h2);
	struct hb_pool *pool = conn->peer->pool;

	if (conn->state == POOL_CONN_GREETING && hb_h2_has_settings(h2)) {
		conn->state = POOL_CONN_READY;
		conn->peer->dialling = false;
		drain_inside(conn, HB_END_CLEAN);
	}
	if (hb_h2_streams(h2) > 0)
		hb_loop_timer_stop(pool->loop, &conn->timer);
	else if (!hb_timer_is_running(&conn->timer))
		begin_idle(conn);
	if (hb_h2_is_draining(h2) && !conn->going) {
		conn->going = true;
		pool_each_conn(pool, conn->peer->scope, drain_inside, HB_END_CLEAN);
	}
	if (!hb_list_is_empty(&conn->peer->waits))
		hb_loop_defer(pool->loop, &conn->peer->serve);
}

static void h2_on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct pool_conn *conn = hb_h2_owner(h2);

	hb_h2_free(h2);
	conn->h2 = NULL;
	conn->tls = conn->tunnel = NULL;
	if (conn->state == POOL_CONN_GREETING)
		pool_conn_failed(
		    conn, why.code < 0 ? why : hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED),
		    "");
	else
		conn_free(conn);
}

static const struct hb_h2_events h2_events = {
	.on_change = h2_on_change,
	.on_closed = h2_on_closed,
};

/* ---- TLS ---- */

static void tls_on_open(struct hb_stream *s)
{
	struct pool_conn *conn = s->owner;
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;
	struct hb_h2_options options = pool->options.h2;

	options.role = HB_H2_CLIENT;
	if (conn->tunnel &&
	    (!options.streams_max || options.streams_max > pool->options.inner_streams_max))
		options.streams_max = pool->options.inner_streams_max;
	conn->h2 = hb_h2_new(pool->loop, s, &options, &h2_events, conn);
	if (!conn->h2) {
		pool_conn_failed(conn, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM), "");
		return;
	}
	conn->state = POOL_CONN_GREETING;
	begin_idle(conn);
	if (conn->why.code < 0) /* it was given up meanwhile */
		hb_h2_close(conn->h2, conn->why);
	else if (pool->draining)
		hb_h2_drain(conn->h2);
	hb_loop_defer(pool->loop, &peer->serve);
}

static void tls_on_closed(struct hb_stream *s, struct hb_end why)
{
	struct pool_conn *conn = s->owner;
	char *shown = strdup(hb_tls_peer_shown(s));

	hb_stream_free(s);
	conn->tls = conn->tunnel = NULL;
	pool_conn_failed(conn,
	                 why.code < 0 ? why : hb_end(HB_LAYER_TLS, HB_SIDE_PEER, HB_E_TRUNCATED),
	                 shown ? shown : "");
	free(shown);
}

static const struct hb_stream_events tls_events = {
	.on_open = tls_on_open,
	.on_closed = tls_on_closed,
};

void pool_conn_shake(struct pool_conn *conn, struct hb_stream *lower)
{
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;
	struct hb_tls_options options = {
		.role = HB_TLS_CLIENT,
		.ctx = peer->ctx,
		.identities = conn->tunnel ? peer->peers + peer->peers_count : peer->peers,
		.identities_count = conn->tunnel ? peer->inner_count : peer->peers_count,
		.handshake_ms = pool->options.handshake_ms,
		.crls = pool->crls,
	};

	conn->state = POOL_CONN_SHAKING;
	conn->tls = lower ? hb_tls_new(pool->loop, lower, &options) : NULL;
	if (!conn->tls) {
		conn->tunnel = NULL;
		pool_conn_failed(conn, hb_end(HB_LAYER_TLS, HB_SIDE_US, -ENOMEM), "");
		return;
	}
	conn->tls->owner = conn;
	conn->tls->events = &tls_events;
}

/* ---- TCP ---- */

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct pool_conn *conn = hb_container_of(dial, struct pool_conn, dial);
	struct hb_pool *pool = conn->peer->pool;

	if (fd < 0)
		pool_conn_failed(
		    conn, hb_end(HB_LAYER_TCP, fd == -ECANCELED ? HB_SIDE_US : HB_SIDE_PEER, fd),
		    "");
	else
		pool_conn_shake(conn, hb_tcp_new(pool->loop, fd, &pool->tcp));
}

/* 0 or -errno. */
static int dial(struct pool_conn *conn)
{
	struct pool_peer *peer = conn->peer;
	struct hb_pool *pool = peer->pool;
	int family = hb_ip_is_v4(&peer->dst.ip) ? AF_INET : AF_INET6;
	int fd = pool->options.make_socket(pool->options.owner, peer->scope, family);

	if (fd < 0)
		return fd;
	conn->state = POOL_CONN_DIALLING;
	hb_dial_start(&conn->dial, pool->loop, fd, &peer->dst, pool->options.dial_ms, on_dialled);
	return 0;
}

/* ---- begun, ended, asked ---- */

struct hb_end pool_conn_start(struct pool_peer *peer, const struct hb_tunnel_request *request)
{
	struct hb_pool *pool = peer->pool;
	struct pool_conn *conn;
	int err = 0;

	if (pool->conns >= pool->options.connections_max)
		return pool_limited(pool, HB_POOL_CONNECTIONS, peer->waits_count);
	if (peer->conns_count >= pool->options.key_connections_max)
		return pool_limited(pool, HB_POOL_KEY_CONNECTIONS, peer->waits_count);
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, -ENOMEM);
	conn->peer = peer;
	hb_list_init(&conn->opening);
	hb_timer_init(&conn->timer, on_time);
	if (!peer->authority)
		err = dial(conn);
	else if (pool_outer_start(conn, request))
		conn->state = POOL_CONN_TUNNELLING;
	else
		err = -ENOMEM;
	if (err < 0) {
		free(conn);
		return hb_end(HB_LAYER_TCP, HB_SIDE_US, err);
	}
	hb_list_add(&peer->conns, &conn->node);
	peer->conns_count++;
	peer->dialling = true;
	count(pool, 1);
	conn->number = ++pool->counters.connections;
	return HB_END_CLEAN;
}

void pool_conn_close(struct pool_conn *conn, struct hb_end why)
{
	switch (conn->state) {
	case POOL_CONN_DIALLING:
		conn->why = why;
		hb_dial_cancel(&conn->dial);
		break;
	case POOL_CONN_TUNNELLING:
		pool_outer_give_up(conn, why);
		break;
	case POOL_CONN_SHAKING:
		conn->why = why;
		hb_stream_close(conn->tls, why);
		break;
	case POOL_CONN_GREETING:
	case POOL_CONN_READY:
		hb_h2_close(conn->h2, why);
		break;
	}
}

void pool_conn_drain(struct pool_conn *conn, struct hb_end why)
{
	if (conn->state >= POOL_CONN_GREETING)
		hb_h2_drain(conn->h2);
	else
		pool_conn_close(conn, why);
}

bool pool_conn_has_room(struct pool_conn *conn)
{
	if (conn->state < POOL_CONN_GREETING || outer_is_going(conn) || hb_h2_room(conn->h2) == 0)
		return false;
	return conn->state == POOL_CONN_READY || hb_h2_streams(conn->h2) == 0;
}

void pool_each_conn(struct hb_pool *pool, uint64_t scope,
                    void (*act)(struct pool_conn *conn, struct hb_end why), struct hb_end why)
{
	for (size_t i = 0; i < POOL_BUCKETS; i++)
		for (struct pool_peer *peer = pool->peers.buckets[i]; peer; peer = peer->next)
			if (scope == 0 || peer->scope == scope)
				hb_list_for_each (node, &peer->conns)
					act(hb_container_of(node, struct pool_conn, node), why);
}

/* True: it is revoked. */
static bool recheck(struct pool_conn *conn, int64_t now_s)
{
	struct hb_pool *pool = conn->peer->pool;
	int code = conn->tls ? hb_tls_recheck(conn->tls, pool->crls, now_s) : 0;

	if (code == HB_TLS_EXPIRED && conn->state >= POOL_CONN_GREETING && !conn->going) {
		pool->counters.expired++;
		hb_h2_drain(conn->h2);
	}
	if (code == HB_TLS_REVOKED) {
		pool->counters.revoked++;
		pool_conn_close(conn, hb_end(HB_LAYER_TLS, HB_SIDE_US, code));
	}
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
				    recheck(hb_container_of(node, struct pool_conn, node), now_s);
	return revoked;
}
