/*
 * pool_outer: a connection behind a gateway begins with a tunnel of another connection of the same
 * pool (reference/datapath 1.14).
 */
#include "pool_internal.h"

#include <string.h>

struct pool_outer {
	struct hb_pool_wait wait;
	struct pool_conn *conn;
	struct hb_pool_key key;
	struct hb_tunnel_request request;
	char text[]; /* of the request: who asked may be gone before the tunnel stands */
};

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **at, const char *text)
{
	size_t size = text_size(text);
	char *copy = *at;

	if (!text)
		return NULL;
	memcpy(copy, text, size);
	*at += size;
	return copy;
}

static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *identity,
                      struct hb_end why)
{
	struct pool_outer *outer = hb_container_of(wait, struct pool_outer, wait);
	struct pool_conn *conn = outer->conn;

	conn->outer = NULL;
	free(outer);
	if (!tunnel) {
		pool_conn_failed(conn, why, identity);
		return;
	}
	conn->tunnel = tunnel;
	pool_conn_shake(conn, tunnel);
}

bool pool_outer_start(struct pool_conn *conn, const struct hb_tunnel_request *request)
{
	struct pool_peer *peer = conn->peer;
	struct pool_outer *outer =
	    calloc(1, sizeof(*outer) + text_size(request->baggage) + text_size(request->forwarded) +
	                  text_size(request->traceparent));
	char *at;

	if (!outer)
		return false;
	at = outer->text;
	outer->conn = conn;
	outer->wait.on_tunnel = on_tunnel;
	outer->key = (struct hb_pool_key){
		.scope = peer->scope,
		.identity = peer->identity,
		.peers = peer->peers,
		.peers_count = peer->peers_count,
		.dst = peer->dst,
	};
	outer->request = (struct hb_tunnel_request){
		.authority = peer->authority,
		.baggage = copy_text(&at, request->baggage),
		.forwarded = copy_text(&at, request->forwarded),
		.traceparent = copy_text(&at, request->traceparent),
	};
	conn->outer = outer;
	hb_pool_get(peer->pool, &outer->wait, &outer->key, peer->ctx, &outer->request);
	return true;
}

void pool_outer_give_up(struct pool_conn *conn, struct hb_end why)
{
	struct pool_outer *outer = hb_take(&conn->outer);

	if (!outer)
		return; /* it was given up before */
	hb_pool_cancel(&outer->wait);
	free(outer);
	conn->why = why;
	hb_loop_timer_start(conn->peer->pool->loop, &conn->timer, 0);
}
