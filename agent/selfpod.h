/*
 * selfpod: the agent's own pod as a server of tunnels: 15008 in its own network namespace, so that
 * its metrics can be fetched over HBONE, under policy (reference/controlplane 6.9). Nothing is
 * captured there, its own connections are not marked, and the client's address is not shown.
 *
 * In shared mode, when podName, podNamespace and serviceAccount say who it is. Thread: the control
 * loop's.
 */
#pragma once

#include "node/podnet.h"
#include "proxy/listeners.h"

struct agent;

struct selfpod {
	struct podnet net;
	struct listeners listeners;
	struct pod_spec *spec; /* NULL: there is none */
};

/* 0, also when it is not asked for, or -errno. A port that is taken is tried again. */
int selfpod_start(struct agent *agent);
void selfpod_stop_trying(struct agent *agent);
void selfpod_done(struct agent *agent); /* the workers have ended */
