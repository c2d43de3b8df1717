/*
 * xdsfeed: the mesh as istiod tells it (control/xds.h), where an address of istiod is set, and as
 * it told it last (stateDir/mesh.state). Thread: the control loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <hbone/list.h>

#include "keeper.h"
#include "lookups.h"

struct agent;
struct metrics;
struct xds;

struct xdsfeed {
	struct lookups lookups;
	struct grpc_channel *channel; /* NULL: there is none, or it has closed */
	struct keeper keeper;
	struct xds *xds;         /* NULL: no address is set */
	struct metrics *metrics; /* what it counts; NULL: as xds */
	uint8_t *node;
	size_t node_size;
	struct hb_list names; /* asked for by workers: demandfeed.c */
};

struct settings;

/* Are workloads asked for when they are needed? */
bool xdsfeed_is_on_demand(const struct settings *settings);

/* A configuration that is wrong, as agent_start_xds() would find it. 0 or -EINVAL. */
int xdsfeed_check(const struct agent *agent, char *why, size_t why_size);
/* May pods go without it: is there none, or is the mesh known? */
bool xdsfeed_is_ready(const struct agent *agent);
/* Is a response half in the store? Then nobody else may touch that. */
bool xdsfeed_is_busy(const struct agent *agent);
/* Its state as a JSON value; null: there is none. */
void xdsfeed_write(FILE *out, const struct agent *agent);
/* What a scrape finds out. */
void xdsfeed_count(const struct agent *agent, struct metrics *metrics);
