/*
 * zds: the pods of this node as istio-cni tells them, and what is to be answered: the state behind
 * the ZDS socket, without the socket (reference/controlplane 6.2 to 6.7; datapath 5.5).
 *
 *   connection  AWAY --connected--> LISTING --SnapshotSent--> LISTED --any end--> AWAY
 *   pod         UP or PENDING (its start failed; tried again by zds_retry())
 *
 * While LISTING each pod that is added or kept is mentioned; SnapshotSent drops those that were
 * not. The pods that are UP outlive their connection; those PENDING do not.
 *
 * Ownership: descriptors given to zds_add() are taken. Thread: one at a time. Knows no time.
 */
#pragma once

#include <hbone/list.h>

#include "control/zds_codec.h"

#define ZDS_PODS_MAX 4096u /* more are refused */

struct zds_netns { /* a network namespace: its descriptor and which one it is */
	int fd;
	uint64_t dev, ino;
};

struct zds_pod {
	struct hb_list node;
	char *uid, *name, *ns, *service_account;
	struct zds_netns netns;
	bool up, mentioned;
	char reason[256]; /* PENDING: why */
	void *handle;     /* UP: the owner's */
};

struct zds_ops {
	/* Opens the pod's sockets and has them served; borrows all it is shown, but sets
	 * pod->handle. 0; or -errno with a sentence in @why, and nothing is left of it. */
	int (*start)(void *owner, struct zds_pod *pod, char *why, size_t why_size);
	/* All that lives for it ends now. The pod is forgotten when this returns. */
	void (*stop)(void *owner, struct zds_pod *pod);
};

enum zds_phase { ZDS_AWAY, ZDS_LISTING, ZDS_LISTED };

struct zds {
	struct hb_list pods;
	size_t count, pending;
	enum zds_phase phase;
	const struct zds_ops *ops;
	void *owner;
};

void zds_init(struct zds *zds, const struct zds_ops *ops, void *owner);
/* Forgets all pods without stopping them. */
void zds_done(struct zds *zds);

void zds_connected(struct zds *zds);
void zds_disconnected(struct zds *zds);

struct zds_answer {
	char error[512]; /* of the ack; "": success */
	bool reconnect;  /* the connection makes no sense any more: ack, close, connect anew */
};
/* One message. @netns: taken; fd -1: there was none. */
void zds_handle(struct zds *zds, const struct zds_request *request, struct zds_netns netns,
                struct zds_answer *ret_answer);
/* Tries the pending ones. To be called every 5 s while there are any. */
void zds_retry(struct zds *zds);
/* The snapshot of the present connection has come, and no pod is pending. */
bool zds_is_ready(const struct zds *zds);
