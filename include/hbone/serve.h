/*
 * serve: one connection of an HBONE client, from its accepted socket to the tunnels that it asks
 * for: TCP, TLS, HTTP/2 and CONNECT put together, as a pool does for clients.
 *
 * A request that is no CONNECT to an authority is refused with 400 and not told. The connection
 * frees itself: on_end is the last that is heard of it. Thread: the loop's own.
 */
#pragma once

#include <hbone/tcp.h>
#include <hbone/tls.h>
#include <hbone/tunnel.h>

struct hb_serve;

struct hb_serve_options {
	struct hb_tls_ctx *ctx;           /* a reference is taken */
	struct hb_tls_crls *crls;         /* likewise; NULL: nobody is revoked */
	struct hb_h2_options h2;          /* role is set here */
	const struct hb_tcp_options *tcp; /* NULL: as they are, without keepalive: HTTP/2 pings */
	/* A peer that has proven to be @peer asks for a tunnel to @to; both are valid during the
	 * call. @tunnel is yours: set its events, and hb_tunnel_accept() or hb_tunnel_refuse() it
	 * now or later. */
	void (*on_tunnel)(void *owner, struct hb_stream *tunnel,
	                  const struct hb_tunnel_authority *to, const char *peer);
	/* Once, after all tunnels have ended; code 0: the peer has left in peace. May be NULL. */
	void (*on_end)(void *owner, struct hb_end why);
	void *owner;
};

/* Takes @fd, a connected socket, also on failure (NULL: no memory; no on_end then). */
struct hb_serve *hb_serve_new(struct hb_loop *loop, int fd, const struct hb_serve_options *options);
/* hb_h2_drain(): no new tunnels, and the end when the last is gone. At once before HTTP/2. */
void hb_serve_drain(struct hb_serve *serve);
/* Ends everything with @why; on_end follows. */
void hb_serve_close(struct hb_serve *serve, struct hb_end why);
