/*
 * pool_rig: a pool and its peer in one loop: a server on loopback that behaves as it is told, and
 * what the pool's callers got. What it is asked for as GATEWAY_ASKED it takes for a tunnel to
 * itself: TLS and HTTP/2 begin anew inside.
 */
#pragma once

#include <hbone/pool.h>

#include "support/probe.h"
#include "support/testca.h"

#define CLIENT_ID  "spiffe://cluster.local/ns/demo/sa/client"
#define SERVER_ID  "spiffe://cluster.local/ns/demo/sa/server"
#define GATEWAY_ID "spiffe://cluster.local/ns/demo/sa/gateway"
#define GETS_MAX   64

enum rig_manner { ANSWERS, IS_SILENT, REFUSES, LEAVES, NEVER_BEGINS, RESETS };

struct rig_session { /* a connection as the server has it */
	struct hb_list node;
	struct hb_h2 *h2;
	bool is_inner;
	unsigned served;
};

struct rig_get {
	struct hb_pool_wait wait;
	struct probe probe;
	char peer[64];
	unsigned done;
	struct hb_end why;
	bool has_baggage;  /* the answer's */
	char workload[64]; /* as that says */
};

struct pool_rig {
	struct hb_loop *loop;
	struct hb_pool *pool; /* NULL until pool_rig_start() */
	struct hb_pool_options options;
	struct testca *ca;
	struct testca_pem server_pem, gateway_pem;
	struct hb_tls_ctx *client_ctx, *server_ctx, *gateway_ctx;
	struct hb_accept acceptor;
	struct hb_addr server_addr;
	struct hb_list sessions;
	struct probe served[GETS_MAX];
	struct rig_get gets[GETS_MAX];
	struct hb_stream *mute; /* of NEVER_BEGINS */
	unsigned served_count, gets_done, accepted, inner_accepted, sessions_count;
	unsigned accept_over, pool_empty;
	uint32_t grant; /* streams per connection; 0: the default */
	enum rig_manner manner, inner_manner;
	bool is_gateway;  /* TLS on TCP is with GATEWAY_ID, and CONNECTs are tunnels to an inner end
	                   */
	char network[32]; /* what the last request said; "-": nothing */
	char authority[64];
};

extern struct pool_rig rig;

void pool_rig_up(void); /* all but the pool; certificates last an hour */
void pool_rig_up_lasting(int server_s, int gateway_s); /* seconds from now */
void pool_rig_start(void);                             /* the pool, with rig.options */
void pool_rig_down(void);

/* The get number @i, of the server, or through it as a gateway. */
struct rig_get *rig_ask(unsigned i);
struct rig_get *rig_ask_as(unsigned i, const char *expected, uint64_t scope);
struct rig_get *rig_ask_through(unsigned i, const char *gateway, const char *expected,
                                const char *authority);
void rig_end_get(unsigned i);
/* HTTP/2 on a connection whose TLS stands, such as rig.mute. */
void rig_begin(struct hb_stream *tls, bool is_inner);
/* The first session that is (not) inner. */
struct rig_session *rig_session(bool is_inner);
