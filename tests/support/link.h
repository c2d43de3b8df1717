/*
 * link: a client and a server of HTTP/2 with a pair between them, in plain or with TLS; every
 * request is a tunnel whose two ends are probes.
 *
 *   probes - h2 client - [tls] - pair | pair - [tls] - h2 server - probes
 */
#pragma once

#include <hbone/tls.h>
#include <hbone/tunnel.h>

#include "support/pair.h"
#include "support/probe.h"

#define LINK_STREAMS 8

#define LINK_CLIENT "spiffe://cluster.local/ns/demo/sa/client"
#define LINK_SERVER "spiffe://cluster.local/ns/demo/sa/server"

struct link;

struct link_end {
	struct link *link;
	struct hb_stream
	    *wire;             /* the pair's end, or what was given; valid while either end lives */
	struct hb_stream *tls; /* shaking hands, or below h2; else NULL */
	struct hb_h2 *h2;      /* NULL: not yet, or closed */
	enum hb_h2_role role;
	unsigned closes; /* at the end 1: of h2, or of a handshake that failed */
	struct hb_end why;
	struct probe streams[LINK_STREAMS];
	unsigned streams_count;
};

struct link {
	struct hb_loop *loop;
	struct link_end ends[2]; /* by enum hb_h2_role */
	struct hb_h2_options options[2];
	struct hb_tls_ctx *const *ctxs; /* by enum hb_tls_role; NULL: in plain */
	int answer; /* what the server says to requests: 200, another status, or 0: nothing */
	/* Instead of a probe; it takes the stream, and answers. May be NULL. */
	void (*on_request)(struct link *link, struct hb_stream *stream);
	void *owner;
};

/* Contexts of LINK_CLIENT and LINK_SERVER, by enum hb_tls_role; they trust each other. */
void link_ctxs_new(struct hb_tls_ctx *ret_ctxs[2]);

/* Wires it up; h2 may be there at once, or when TLS is done. @options may be NULL: the defaults. */
void link_up(struct link *link, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
             const struct hb_h2_options *options);
/* In two steps: without ends, then each end over a stream that is open and has no events, the two
 * being each other's far end; takes it. What the streams end with is theirs. */
void link_init(struct link *link, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
               const struct hb_h2_options *options);
void link_end_up(struct link *link, enum hb_h2_role role, struct hb_stream *wire);
/* Turns until both have h2. */
bool link_wait_ready(struct link *link);
/* A tunnel, resumed; NULL when the client has no h2 or no room. */
struct probe *link_open(struct link *link);
/* Both h2 are gone, and every stream has said its end. */
bool link_is_over(const struct link *link);
/* Ends what lives, waits for all, and checks that all kept to the contract. */
void link_down(struct link *link);
