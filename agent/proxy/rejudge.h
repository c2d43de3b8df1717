/*
 * rejudge: connections that policy allowed are asked again when a policy, or the list of policies
 * of their workload, has changed; those it denies now are reset (reference/datapath 4.8; ztunnel
 * takes no notice of the list). With waypointStrict also when a waypoint of a pod's has changed, or
 * what it stands in front of.
 *
 * Some flows a turn, so that a change costs no neighbour its time. A snapshot that comes meanwhile
 * begins no new round: this one goes on with it, and another follows for those already seen.
 * Thread: the worker's own.
 *
 *   IDLE --a change--> ROUND --end of the list--> IDLE, or ROUND again if there was another change
 */
#pragma once

#include <stdint.h>

#include <hbone/clutch.h>
#include <hbone/timer.h>

struct worker;

#define REJUDGE_FLOWS 256u /* of one turn */

struct rejudge {
	struct worker *worker;
	struct hb_timer timer;      /* runs in ROUND */
	struct hb_clutch_walk walk; /* through the live flows, then */
	uint64_t seen;        /* generation of the policies that flows were last asked about */
	uint64_t seen_strict; /* strict_print() of all pods then; 0 where strict is off */
	bool again;
};

void rejudge_init(struct rejudge *rejudge, struct worker *worker);
/* worker->snapshot is a new one, and the pods know their workloads of it. */
void rejudge_look(struct rejudge *rejudge);
void rejudge_stop(struct rejudge *rejudge);
