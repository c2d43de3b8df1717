/*
 * xds: the client of delta xDS: one stream to istiod, on which all workloads, services and policies
 * come into the store (reference/controlplane 2.5 to 2.12).
 *
 * A response is taken in slices, between which the loop does its other work; the stream is paused
 * meanwhile. What is good in it is published at its end, then it is answered: ACK, or NACK with a
 * sentence for each resource that could not be taken. When the stream ends, all stays as it is, and
 * another is opened after a while; it begins with what we have, so that little has to come again.
 *
 * Where the last known state is kept (control/laststate.h), an agent that starts takes it first,
 * asks only for what is new since, and is ready from it when the server does not answer in time.
 *
 * While xds_is_busy() the store holds half a response: nobody else may put, publish or discard.
 * Thread: the control loop's.
 */
#pragma once

#include <hbone/list.h>
#include <hbone/timer.h>

#include "control/xds_push.h"

struct grpc_channel;
struct hb_loop;
struct metrics;

#define XDS_MESSAGE_MAX (200u << 20)         /* bytes of a response: 2.3 */
#define XDS_REQUEST_MAX ((4u << 20) - 1024u) /* of a request: istiod takes 4 MiB */
/* Where our names do not fit into a request the server sends all it has, in as many responses as it
 * likes, and delta xDS has no word for "that was the last". What we had and is not told again goes
 * when for so long no response has told any of it. Longer than a PING takes to be sent and answered
 * (30 s and 10 s): what the server had written before that has come. */
#define XDS_SETTLE_MS   45000u
#define XDS_PATIENCE_MS 1000u /* for an answer, before what was known is served */
#define XDS_WANTS_MAX   1024u /* that may wait for a name at once */
#define XDS_FRESH_MS    3000u /* for which it holds that there is nothing of a name */

struct xds_options {
	struct grpc_channel *channel; /* borrowed */
	struct store *store;          /* borrowed */
	const uint8_t *node;          /* xds_node_new(); borrowed */
	size_t node_size;
	struct laststate
	    *known;         /* what comes is put there, what was there taken; borrowed; or NULL */
	bool on_demand;     /* workloads and services only as they are wanted */
	uint32_t fresh_ms;  /* see struct xds_want; 0: XDS_FRESH_MS */
	size_t request_max; /* bytes; 0: XDS_REQUEST_MAX. Learned where the server takes less */
	uint32_t settle_ms; /* 0: XDS_SETTLE_MS */
	struct metrics *metrics; /* counted into; borrowed */
	uint64_t seed;           /* see backoff.h */
	/* The store holds a whole response: publish it. 0; or -ENOMEM, and the store has undone it.
	 * In here the store is free, and no function of this header may be called. @push->type is
	 * XDS_TYPES where it is not the server's word but what was known before. */
	int (*on_publish)(void *owner, const struct xds_push *push);
	/* Once: all that is to be known from the start is there (2.10), or what was known before,
	 * and the server does not answer: view's from_known. May be NULL. */
	void (*on_ready)(void *owner);
	void *owner;
};

struct xds;

/* Begins to take what was known, and to connect; nothing happens before the next turn of the loop.
 * NULL: no memory. */
struct xds *xds_new(struct hb_loop *loop, const struct xds_options *options);
/* No event comes any more; who waits is not told. What was half done in the store is discarded.
 * Takes NULL. */
void xds_free(struct xds *xds);

bool xds_is_ready(const struct xds *xds); /* once true it stays so */
bool xds_is_busy(const struct xds *xds);

enum xds_state { XDS_WAITING, XDS_CONNECTING, XDS_CONNECTED };

struct xds_view { /* for people */
	enum xds_state state;
	uint64_t since_ms;        /* the loop's time at which it came into this state */
	uint64_t last_message_ms; /* the loop's time; 0: there was none */
	uint64_t connects;        /* streams on which something came */
	size_t resources[XDS_TYPES];
	bool synced[XDS_TYPES]; /* had an ACK */
	bool has_known;         /* what was known is in the store, or was */
	bool from_known;        /* it is ready, but the server has not said all since the start */
	size_t restored;        /* resources of what was known */
	char last_nack[256];    /* reasons, clipped; "": there was none */
	char last_end[256];     /* why the last stream ended; "": none has */
};
const struct xds_view *xds_view(const struct xds *xds); /* valid until it is asked again */

/*
 * On-demand: somebody waits for a name: "network/ip", "namespace/hostname" or a uid
 * (reference/controlplane 2.12). The owner embeds it, and keeps it and its name in place until
 * on_done or xds_want_cancel(). A name that there was nothing of less than XDS_FRESH_MS ago is not
 * asked for again.
 */
struct xds_want {
	struct hb_list node; /* xds's, as what follows up to on_done */
	struct hb_timer deadline;
	struct xds_wants *wants;
	const char *name;
	bool answered;
	int err; /* what is told when the deadline comes */
	/* Once, and never inside xds_want_start(). 0: the server has answered, and what it knows
	 * is published: look again. -ETIMEDOUT. -ENOBUFS: too many wait. -ENOMEM. */
	void (*on_done)(struct xds_want *want, int err);
};

/* Where it is not on-demand, or the name is known, on_done comes at once (but not in here). */
void xds_want_start(struct xds *xds, struct xds_want *want, const char *name, uint32_t deadline_ms,
                    void (*on_done)(struct xds_want *want, int err));
void xds_want_cancel(struct xds_want *want); /* no on_done comes */
