/*
 * podwait: connections of a pod whose workload is not known yet. istio-cni is often faster than the
 * control plane (reference/controlplane 7.7): they wait for it, at most PODWAIT_MS, and are then
 * served, or refused as unknown.
 *
 * Thread: the worker's own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct pod;

#define PODWAIT_MS  5000u
#define PODWAIT_MAX 1024u /* for each pod on each worker; more are refused at once */

/* Keeps @fd, accepted on port number @port (enum pod_port), if there is anything to wait for: then
 * true, and pod_serve() follows. */
bool podwait_hold(struct pod *pod, int port, int fd);
/* The workload is known: all that wait are served. From a message only. */
void podwait_release(struct pod *pod);
/* Resets all that wait. */
void podwait_abort(struct pod *pod);
