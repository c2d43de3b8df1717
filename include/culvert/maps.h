/*
 * maps: what the BPF programs and the agent share: keys, values, limits and reasons. Nothing else
 * describes them a second time.
 *
 * Addresses are 16 bytes in network order, IPv4 mapped (::ffff:a.b.c.d), so v4 and v6 share code.
 * Padding is explicit and zero: the kernel compares keys byte by byte.
 */
#pragma once

#include <linux/types.h>

/* Part of every pinned map's name. Raise it whenever a struct below changes its meaning. */
#define CV_LAYOUT 1

#define CV_PODS_MAX      1024  /* pods of one node */
#define CV_POD_IPS_MAX   8     /* addresses of one pod */
#define CV_LOCAL_IPS_MAX 4096  /* addresses of all pods */
#define CV_LISTENERS_MAX 8192  /* two kinds for each address */
#define CV_INFLIGHT_MAX  16384 /* handshakes under way; about 2 MB */

#define CV_PORT_HBONE 15008 /* the only port whose connections speak HBONE */

struct cv_ip {
	__be32 w[4];
};
_Static_assert(sizeof(struct cv_ip) == 16, "layout");

struct cv_addr {
	struct cv_ip ip;
	__be16 port;
	__u16 zero;
};
_Static_assert(sizeof(struct cv_addr) == 20, "layout");

/* cv_pods: HASH, __u64 netns cookie -> struct cv_pod. */
enum cv_pod_flags {
	CV_POD_OUTBOUND = 1, /* connects are captured; without it, only inbound is served */
};

struct cv_pod {
	__u32 flags;
	__be16 outbound_port; /* on 127.0.0.1 and ::1 */
	__u16 zero;
	struct cv_ip shown[2];            /* [0] IPv4, [1] IPv6: what apps see as their own */
	struct cv_ip ips[CV_POD_IPS_MAX]; /* all of the pod's; the rest is zero */
};
_Static_assert(sizeof(struct cv_pod) == 8 + 16 * (2 + CV_POD_IPS_MAX), "layout");

/* cv_sk: SK_STORAGE, what getpeername() and getsockname() tell instead of the truth. */
enum cv_sk_flags {
	CV_SK_CAPTURED = 1, /* the client's end of a capture: peer is the original destination */
	CV_SK_PEER = 2,     /* peer is shown */
	CV_SK_LOCAL = 4,    /* local is shown */
	CV_SK_LOCAL_IP = 8, /* local.ip replaces a loopback address; the real port is kept */
	CV_SK_SPREAD =
	    16, /* we gave it a source in 127/8: taken back when it is captured no more */
};

struct cv_sk {
	__u32 flags;
	struct cv_addr peer;
	struct cv_addr local;
};
_Static_assert(sizeof(struct cv_sk) == 44, "layout");

/* cv_agent_sk: SK_STORAGE, written by the agent on its own sockets. Being there exempts. */
struct cv_agent_sk {
	__u32 presents;           /* 1: presented is valid */
	struct cv_addr presented; /* whom the accepting app shall see as its peer */
};
_Static_assert(sizeof(struct cv_agent_sk) == 24, "layout");

/*
 * cv_inflight: LRU_HASH, from the client's SYN to the server's established. The whole 4-tuple: one
 * source port may be live to two ports of ours. LRU, not HASH: a refused connect leaves its entry.
 */
struct cv_tuple {
	__u64 cookie; /* of the netns: captured connections never leave it */
	struct cv_addr client;
	struct cv_addr server;
};
_Static_assert(sizeof(struct cv_tuple) == 48, "layout");

enum cv_inflight_kind {
	CV_INFLIGHT_CAPTURED = 1,  /* addr: the original destination */
	CV_INFLIGHT_PRESENTED = 2, /* addr: the client to show */
};

struct cv_inflight {
	__u32 kind;
	struct cv_addr addr;
};
_Static_assert(sizeof(struct cv_inflight) == 24, "layout");

/* cv_listeners: SOCKHASH. An entry vanishes by itself when its socket closes. */
enum cv_listener_kind {
	CV_LISTENER_INBOUND = 0, /* plaintext */
	CV_LISTENER_HBONE = 1,
	CV_LISTENER_KINDS = 2,
};

struct cv_listener_key {
	struct cv_ip local_ip;
	__u32 kind;
};
_Static_assert(sizeof(struct cv_listener_key) == 20, "layout");

/* cv_local_ips: HASH, struct cv_ip -> __u64 cookie of the pod that owns it. Without a listener it
 * makes inbound fail closed. */

/* cv_counts: PERCPU_ARRAY, enum cv_reason -> __u64. One is counted at every way out. */
enum cv_reason {
	CV_PASS_NOT_TCP,
	CV_PASS_NOT_ENROLLED,
	CV_PASS_EXEMPT,
	CV_PASS_LOOPBACK,
	CV_PASS_SELF,
	CV_CAPTURED,
	CV_REFUSED_NO_STORAGE,
	CV_REFUSED_BOUND_DEVICE,
	CV_OPS_PUBLISHED,
	CV_OPS_PUBLISH_FAILED,
	CV_OPS_CONSUMED,
	CV_OPS_UNANNOUNCED,
	CV_OPS_NO_STORAGE,
	CV_NAME_FAMILY,
	CV_IN_PASS_NOT_TCP,
	CV_IN_PASS_LOOPBACK,
	CV_IN_PASS_SELF,
	CV_IN_PASS_UNKNOWN_IP,
	CV_IN_STEERED,
	CV_IN_STEERED_HBONE,
	CV_IN_DROP_NO_LISTENER,
	CV_IN_DROP_ASSIGN,
	CV_IN_DROP_LINK_LOCAL,
	CV_REASONS,
};
