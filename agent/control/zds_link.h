/*
 * zds_link: the socket to istio-cni: connects, receives packets with their descriptors, has zds.h
 * decide, and answers (reference/controlplane 6.1, 6.6).
 *
 *   WAITING --time--> connect --failed--> WAITING (20 ms doubling to 1 s)
 *      ^                 '--hello sent--> OPEN --end, error, nonsense--> WAITING (at once, if the
 *      '------------------------------------'      snapshot had come; else as after a failure)
 *
 * Every message is answered within the turn that receives it: istio-cni takes a late ack for the
 * answer to its next message. Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "control/zds.h"

struct zds_link;

struct zds_link_options {
	const char *path; /* of the socket; borrowed */
	const struct zds_ops *ops;
	/* The snapshot came, a pod came or went, the connection was lost. May be NULL. */
	void (*on_change)(void *owner);
	void *owner; /* also of ops */
};

/* Connects from the next turn on. NULL: no memory. */
struct zds_link *zds_link_new(struct hb_loop *loop, const struct zds_link_options *options);
const struct zds *zds_link_pods(const struct zds_link *link);
/* Ends the connection, and tries no more; the pods stay. @on_closed: once, from the loop. */
void zds_link_close(struct zds_link *link, void (*on_closed)(void *owner));
/* Closed, or its loop runs no more. Takes NULL. */
void zds_link_free(struct zds_link *link);

/* For its test. */
#define ZDS_RETRY_MS       5000u /* of pods that could not be started */
#define ZDS_CONNECT_MS     20u
#define ZDS_CONNECT_MAX_MS 1000u
