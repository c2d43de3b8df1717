/*
 * inpod: the pods that istio-cni hands over on the ZDS socket: from its message to sockets that all
 * workers serve, and away again. The rules in the pods are istio-cni's.
 *
 * A pod that is dropped is gone from ZDS at once; its struct stays in leaving until the last worker
 * has let go of it. Thread: the control loop's.
 */
#pragma once

#include <hbone/list.h>

struct agent;
struct zds_link;
struct zds_pod;

struct inpod {
	struct zds_link *link;  /* NULL: not this mode */
	struct hb_list leaving; /* struct inpod_pod */
	uint32_t last_index;
	uint64_t started, stopped; /* pods, ever */
	bool link_open, said_ready;
};

/* 0 or -ENOMEM. Pods come from the loop. */
int inpod_start(struct agent *agent);
/* Leaves the socket, so that istio-cni goes to our successor; the pods are served on. Then
 * inpod_is_away(), and agent_settle() is called when that comes true. */
void inpod_leave(struct agent *agent);
bool inpod_is_away(const struct agent *agent);
/* The index of the pod_spec of one that is up. */
uint32_t inpod_index(const struct zds_pod *pod);
/* Forgets all. The workers have ended. */
void inpod_done(struct agent *agent);
