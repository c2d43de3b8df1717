/*
 * worker: a thread that carries flows: one loop, one snapshot, one pool of tunnels, its share of
 * every pod's listeners. No lock: what it is told comes as a message, and what it answers goes back
 * as one.
 *
 * RUN --drain--> DRAIN (accepts nothing; what lives goes on) --stop--> STOP (all is ended) -->
 * joined
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <hbone/pace.h>
#include <hbone/pool.h>
#include <hbone/tcp.h>

#include "mesh/balance_memory.h"
#include "metrics.h"
#include "proxy/credentials.h"
#include "proxy/demand.h"
#include "proxy/flow.h"
#include "proxy/newcomers.h"
#include "proxy/pod.h"
#include "proxy/recheck.h"
#include "proxy/reclaim.h"
#include "proxy/rejudge.h"

struct settings;
struct worker;

struct worker_options {
	unsigned index, count; /* 0 <= index < count */
	const struct settings *settings;
	struct hb_loop *control;   /* answers are posted there */
	struct hb_tls_crls *crls;  /* to begin with; a reference is taken; may be NULL */
	struct resolver *resolver; /* outlives the worker */
	/* Runs on the worker's thread. */
	bool (*wish)(void *owner, const char *identity, enum credential_wish wish);
	/* As well, and worker_answer_name() follows: what @name is (see demand.h). False: no
	 * memory. NULL: all that there is is in the snapshot. */
	bool (*ask_name)(void *owner, unsigned worker, const char *name);
	void *owner;
};

/* 0 or -errno. @snapshot: a reference is taken. */
int worker_start(const struct worker_options *options, struct snapshot *snapshot,
                 struct worker **ret_worker);
/* After worker_stop() was answered. Takes NULL. */
void worker_join(struct worker *worker);
/* hb_loop_backend() and hb_loop_fallback_reason() of its loop. */
const char *worker_backend(const struct worker *worker);
const char *worker_fallback_reason(const struct worker *worker);

/*
 * What the control thread tells. Each takes what it is given, also on failure (-ENOMEM).
 */
int worker_add_pod(struct worker *worker, struct pod_spec *spec, const int fds[POD_SOCKETS]);
int worker_set_snapshot(struct worker *worker, struct snapshot *snapshot);
int worker_set_credential(struct worker *worker, const char *identity, struct hb_tls_ctx *ctx);
int worker_refuse_credential(struct worker *worker, const char *identity, const char *why);
int worker_forget_credential(struct worker *worker, const char *identity);
/* After the snapshot that has what was answered. @err: see struct demand_wait. */
int worker_answer_name(struct worker *worker, const char *name, int err);
int worker_set_crls(struct worker *worker, struct hb_tls_crls *crls); /* see recheck.h */

/* A question: the caller's memory, the worker's until on_answer runs on the control loop. */
struct worker_ask {
	struct hb_msg msg;
	struct worker *worker;
	void (*on_answer)(struct worker_ask *ask);
	struct pod_spec *spec; /* worker_remove_pod() */
};
/* All the pod's flows end now; answered when the worker holds nothing of it. */
void worker_remove_pod(struct worker *worker, struct worker_ask *ask, struct pod_spec *spec);
/* Answered when nothing is carried any more, or when worker_stop() comes. */
void worker_drain(struct worker *worker, struct worker_ask *ask);
/* Answered when all is ended and the thread may be joined. */
void worker_stop(struct worker *worker, struct worker_ask *ask);

enum worker_dump_kind { DUMP_LIVE, DUMP_RECENT, DUMP_STATE };
#define WORKER_DUMP_MAX 4096u /* flows in one answer; dropped counts the others */

struct worker_piece {
	uint64_t order;     /* LIVE: id; RECENT: when it ended, ms */
	uint32_t pod_index; /* STATE */
	bool outbound;      /* STATE */
	char *text;         /* one JSON object */
};
struct worker_dump {
	struct worker_ask ask;
	enum worker_dump_kind kind;
	struct worker_piece *pieces;
	size_t count, dropped;
};
void worker_dump(struct worker *worker, struct worker_dump *dump);
void worker_dump_done(struct worker_dump *dump); /* frees the pieces */

struct worker_metrics {
	struct worker_ask ask;
	/* The caller's to free; NULL: no memory. */
	struct metrics *copy;
	struct flow_metrics *flows;
};
void worker_metrics(struct worker *worker, struct worker_metrics *question);

/*
 * What the rooms of the worker share; its own thread only.
 */
enum worker_phase { WORKER_RUN, WORKER_DRAIN, WORKER_STOP };

struct worker {
	struct worker_options options;
	struct hb_loop *loop;
	struct snapshot *snapshot;
	struct hb_pool *pool;
	struct hb_list pods;
	struct flows flows;
	struct reclaim reclaim;
	struct credentials credentials;
	struct demand demand;
	struct recheck recheck;
	struct rejudge rejudge;
	struct metrics *metrics;
	struct flow_metrics *flow_metrics;
	struct newcomers newcomers;
	struct balance_memory balance;      /* what is known of endpoints */
	struct hb_pace handshakes;          /* of peers: steps of them that wait for their turn */
	struct hb_pace dials;               /* of apps, for requests of peers: likewise */
	struct hb_tcp_options app_leg;      /* to and from apps on this node */
	struct hb_tcp_options captured_leg; /* the same, accepted from listeners that have them */
	struct hb_tcp_options mesh_leg;     /* plain TCP to and from anything else */
	struct hb_tcp_options peer_leg;     /* below TLS, from peers: HTTP/2 pings, TCP does not */
	struct hb_tcp_options pool_leg;     /* below TLS, to peers */
	size_t setups;                      /* half-made flows the kernel may refer to */
	uint32_t turn;                      /* of appdial */
	uint64_t random;
	enum worker_phase phase;
	bool pool_draining, pool_empty;
	struct hb_task settle;
	struct worker_ask *drain, *stop;
	pthread_t thread;
	sem_t started;
	int start_error;
};

uint64_t worker_random(struct worker *worker);
/* Puts a question to a worker's thread: @run has it there, and ends with worker_answer(). */
void worker_ask(struct worker *worker, struct worker_ask *ask, void (*run)(struct hb_msg *msg));
void worker_answer(struct worker_ask *ask);
/* Something has ended: what waited for that is looked at again at the end of the turn. */
void worker_settle(struct worker *worker);
