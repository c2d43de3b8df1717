/*
 * enrol: the pods that the settings name: from a line of theirs to a pod in the mesh. Standalone
 * ones are captured by our BPF programs; the one of dedicated mode by rules that are there already.
 *
 *   WAITING: namespace not there, a port of ours taken, capture failed: said once, tried every
 * second UP: its sockets are served by all workers and its traffic is captured
 *
 * One pod's trouble holds up no other. Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "config/settings.h"
#include "proxy/listeners.h"

struct agent;

struct enrol_pod {
	struct agent *agent;
	const struct setting_pod *setting;
	char key[520];         /* "ns/name" */
	struct pod_spec *spec; /* NULL: its namespace could not be opened */
	uint64_t cookie;
	struct listeners listeners;
	struct hb_timer retry;
	bool up, listening;
	char reason[256]; /* why it waits, or what is wrong with it; "" */
};

struct enrolment {
	struct enrol_pod *pods;
	size_t count, up;
};

/* 0 or -ENOMEM. Pods come up later, from the loop. */
int enrol_start(struct agent *agent);
/* Closes what the waiting ones hold; tries no more. Those that are up stay captured. */
void enrol_stop_trying(struct agent *agent);
/* Ends capture of all, and forgets them. */
void enrol_done(struct agent *agent);
/* What is to be said of a pod: its waiting reason, or ""; never NULL. */
const char *enrol_reason(const struct enrol_pod *pod);
