/*
 * pod: one enrolled pod on one worker: its listening sockets, wired to outbound, inbound and
 * passthrough, and all that lives on its behalf.
 *
 * Thread: struct pod is its worker's own; struct pod_spec is immutable, counted and shared.
 */
#pragma once

#include <stdatomic.h>

#include <hbone/loop.h>

#include "mesh/store.h"
#include "node/podnet.h"
#include "proxy/credentials.h"
#include "proxy/flow.h"

struct worker;

/* Our ports inside a pod (reference/datapath 1.1). Captured by BPF each is listened to on both
 * families; by rules the one of IPv6 serves both. */
enum pod_port { POD_OUTBOUND, POD_PLAIN, POD_HBONE, POD_SOCKS, POD_PORTS };
#define POD_PORT_OUTBOUND 15001
#define POD_PORT_PLAIN    15006
#define POD_PORT_HBONE    15008
#define POD_PORT_SOCKS    15080 /* only where it is switched on */
/* sockets[POD_SOCKET(port, v6)] */
#define POD_SOCKETS          (POD_PORTS * 2)
#define POD_SOCKET(port, v6) ((port)*2 + ((v6) ? 1 : 0))

/* Per worker. Beyond: refused, and said in the log. */
#define POD_FLOWS_MAX    32768u
#define POD_INBOUNDS_MAX 4096u /* connections of peers on 15008 */

struct pod_spec {
	atomic_uint refs;
	uint32_t index; /* unique among the agent's pods; never 0 */
	char *name, *ns, *service_account;
	char *key;    /* "ns/name" */
	int netns_fd; /* owned */
	const struct podnet *net;
	/* Set before it is shared: */
	bool keeps_source;    /* by rules: apps see their clients' addresses */
	bool awaits_workload; /* its workload may come later: see podwait.h */
};

/* Takes @netns_fd, also on failure (NULL: no memory). @net outlives it. */
struct pod_spec *pod_spec_new(uint32_t index, const char *ns, const char *name,
                              const char *service_account, int netns_fd, const struct podnet *net);
struct pod_spec *pod_spec_ref(struct pod_spec *spec); /* any thread */
void pod_spec_unref(struct pod_spec *spec);           /* any thread; takes NULL */

struct pod_listener {
	struct hb_accept accept;
	struct pod *pod;
	int fd; /* -1: this family is off */
};

struct pod {
	struct hb_list node; /* the worker's pods */
	struct worker *worker;
	struct pod_spec *spec;
	struct pod_listener listeners[POD_SOCKETS];
	unsigned accepting; /* accepts the kernel still refers to */
	/* What the worker's snapshot says of it; NULL: nothing, and then all is refused. */
	const struct workload *workload;
	struct credential *credential; /* of the workload's identity, or NULL */
	char *baggage;                 /* of the workload; NULL: no memory */
	size_t flows;                  /* live ones */
	bool full;                     /* their limit was hit, and that was said */
	struct hb_list inbounds;       /* connections of peers */
	size_t inbounds_count;
	struct hb_list waits; /* podwait's */
	struct hb_list socks; /* podsocks' */
	size_t waits_count, socks_count;
	struct worker_ask *leaving; /* to be answered when the pod is gone */
};

/* Takes @fds and a reference of @spec, also on failure (NULL: no memory). Accepts at once. */
struct pod *pod_new(struct worker *worker, struct pod_spec *spec, const int fds[POD_SOCKETS]);
/* The worker has another snapshot: looks itself up again. */
void pod_refresh(struct pod *pod);
/* Takes @fd, accepted on port number @port. */
void pod_serve(struct pod *pod, int port, int fd);
void pod_stop_accepting(struct pod *pod);
void pod_drain(struct pod *pod);                    /* peers are asked for no new streams */
void pod_abort(struct pod *pod, struct hb_end why); /* everything that lives, now */
bool pod_is_idle(const struct pod *pod);            /* nothing lives and nothing accepts */
void pod_free(struct pod *pod);                     /* idle only */

/* A flow of this pod; NULL: no memory, or the pod has too many. */
struct flow *pod_flow_new(struct pod *pod, enum flow_direction direction);
/* A socket of the pod that is not captured, or -errno. */
int pod_socket(const struct pod *pod, int family);
/* What was dialled on an accepted connection. 0 or -errno. */
int pod_orig_dst(const struct pod *pod, int fd, struct hb_addr *ret_addr);
/* One of our ports: nobody is to be connected to it through us. */
bool pod_port_is_ours(uint16_t port, bool socks5);
/* "failed to fetch information about local workload: sa.ns (name)" */
void pod_unknown_text(const struct pod *pod, char *out, size_t size);
