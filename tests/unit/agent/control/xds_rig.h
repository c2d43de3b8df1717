/*
 * xds_rig: an xds client on a real loop, between a store and a server that the test plays: grpc.h
 * and backoff.h are played, too.
 */
#pragma once

#include <hbone/loop.h>

#include "control/grpc.h"
#include "control/xds.h"
#include "mesh/snapshot.h"
#include "metrics.h"

#define RIG_SENT_MAX 64

struct rig {
	struct hb_loop *loop;
	struct store *store;
	struct snapshot *snapshot;
	struct metrics *metrics;
	struct xds *xds;
	struct xds_options options;
	int publish_err;
	unsigned publishes, readies;
};

/* What the played server has seen. */
struct rig_server {
	struct grpc_call *call; /* the open one, or NULL */
	const struct grpc_events *events;
	void *ctx;
	unsigned calls, cancels, resets, waits; /* resets and waits: of backoff */
	bool paused, refuses;                   /* refuses: takes no message */
	char *sent[RIG_SENT_MAX];               /* requests of this call, as text */
	unsigned sent_count;
};
extern struct rig_server server;

/* @options may be NULL; the store and so on are filled in. Turns until the first call is there. */
void rig_init(struct rig *rig, const struct xds_options *options);
void rig_done(struct rig *rig);
/* Turns the loop until @done says so; fails the test after seconds. */
void rig_until(struct rig *rig, bool (*done)(const struct rig *rig));
/* The server says this, in pbtext, and it is taken to its end. */
void rig_say(struct rig *rig, const char *pbtext);
/* Only hands it over. */
void rig_hand(struct rig *rig, const char *pbtext);
/* The call ends, and the next is there. */
void rig_end(struct rig *rig, enum grpc_kind kind, int code, const char *message);
/* The number of a series, by its one label. */
uint64_t rig_metric(struct rig *rig, enum metric metric, const char *value);
bool rig_has(const struct rig *rig, const char *uid);

#define URL_ADDRESS             "type.googleapis.com/istio.workload.Address"
#define URL_POLICY              "type.googleapis.com/istio.security.Authorization"
#define SAY_ADDRESS             "4:'" URL_ADDRESS "' 5:'1'"
#define SAY_POLICY              "4:'" URL_POLICY "' 5:'2'"
#define WORKLOAD(name, version) "2:{1:'" version "' 2:{2:{1:{20:'" name "'}}} 3:'" name "'} "
