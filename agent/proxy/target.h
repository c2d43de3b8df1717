/*
 * target: what a peer's CONNECT leads to: is it for this pod, which port of its app, or which
 * waypoint is it that stands in front of others, and what is that told (reference/datapath 1.15,
 * 1.16, 3.2, 3.3, 3.5). Pure.
 */
#pragma once

#include <hbone/tunnel.h>

#include "mesh/route.h"

struct target_query {
	const struct snapshot *snapshot;
	const struct workload *workload; /* the pod's */
	const char *network;             /* the node's */
	struct hb_ip local;              /* the pod's address that the tunnel came to */
	bool localhost_tunnels;          /* application tunnels with PROXY end at loopback */
	bool socks5;                     /* the pod has that listener of ours, too */
};

struct target {
	int status, code; /* 0; or what to answer, and an enum hb_error for the log, */
	char words[256];  /* in words; "": the code's own */
	/* It might be another answer if this were known, by which name the control plane may be
	 * asked for it: "network/ip" or "namespace/hostname"; "": nothing is missing. */
	char missing[ROUTE_MISSING_SIZE];

	const struct service
	    *service;             /* that the peer asked for by name, of the snapshot, or NULL */
	struct hb_addr app;       /* what policy judges */
	struct hb_addr dial;      /* what is connected to */
	bool keep_src;            /* the app is to see the peer's address */
	bool proxy;               /* a PROXY header goes first, */
	struct hb_addr proxy_dst; /* with this destination */
};

void target_find(const struct target_query *query, const struct hb_tunnel_authority *authority,
                 struct target *ret_target);
