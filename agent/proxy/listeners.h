/*
 * listeners: the sockets of one pod, in its namespace, for all workers: all of them or none.
 *
 * A port of ours may be taken: by an app, by a connection that got it as its source, by a
 * TIME_WAIT. Then it is tried again every second; the log says once who holds it, and so does
 * reason, until it is free. A pod is never served half.
 *
 * Where BPF captures they are on loopback, and nobody else may be. By rules they are on all
 * addresses, and another instance of ours or of ztunnel may be there too, with SO_REUSEPORT, as
 * long as it goes away (reference/operations 10.3). Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "proxy/pod.h"

#define LISTENERS_RETRY_MS 1000u

struct listeners;
struct listeners { /* embedded by the caller, and kept until listeners_stop() */
	struct hb_loop *loop;
	struct hb_timer retry;
	const char *pod; /* "ns/name", for the log; borrowed */
	int netns_fd;    /* borrowed */
	unsigned workers;
	bool ipv6;
	const struct podnet *net; /* borrowed */
	bool keeps_source;        /* by rules, once ready: see struct pod_spec */
	/* All sockets are there, in fds; never inside listeners_start(). */
	void (*on_ready)(struct listeners *listeners);
	/* workers times POD_SOCKETS, [worker * POD_SOCKETS + POD_SOCKET(port, v6)]; -1: this pod
	 * has no such family. NULL until ready. */
	int *fds;
	char reason[256]; /* why it waits; "" when it does not */
};

/* The caller has set pod, netns_fd, workers, ipv6, net and on_ready. Tries from the next turn on.
 */
void listeners_start(struct listeners *listeners, struct hb_loop *loop);
/* Tries once, now; without loop and on_ready. 0, and all sockets are there; or -errno, and none is,
 * and reason says why. */
int listeners_open(struct listeners *listeners);
/* Moves the sockets of one worker out; they are the caller's. */
void listeners_take(struct listeners *listeners, unsigned worker, int ret_fds[POD_SOCKETS]);
/* Stops trying and closes what was not taken. May be started or opened again. */
void listeners_stop(struct listeners *listeners);
