/*
 * redirect: the BPF side of capture: load, attach, pin; enrol pods; exempt our own sockets
 * (reference/redirection). Standalone: cgroup root.
 *
 * Links and maps are pinned below pin_dir, so that capture outlives a killed agent: its pods'
 * connections are then refused, not sent in clear. The next start takes the pins over.
 * Thread: open, close, enrol and unenrol on the control thread; exempt and presented on any.
 */
#pragma once

#include <hbone/addr.h>

struct redirect;

struct redirect_options {
	const char *pin_dir; /* made if missing; a bpffs is mounted there if it is not on one */
	const char
	    *cgroup_dir; /* "": the first cgroup2 mount, which must be the hierarchy's root */
};

/*
 * 0 or -errno with one sentence in @why (what failed, and what would be right). -EBUSY: another
 * live agent holds pin_dir. Pods of a dead predecessor stay refused until they are enrolled again
 * or forgotten; should its maps be laid out otherwise (an upgrade), they are forgotten at once.
 * netns_init() comes first.
 */
int redirect_open(const struct redirect_options *options, struct redirect **ret_redirect, char *why,
                  size_t why_size);
/* Detaches everything, removes the pins, and unmounts what it mounted. Takes NULL. */
void redirect_close(struct redirect *redirect);

struct redirect_pod {
	int netns_fd; /* borrowed for the call */
	uint64_t cookie;
	const struct hb_ip *ips; /* all of the pod's */
	size_t ips_count;
	/* Listening sockets in the pod, one of each reuseport group: [0] IPv4, [1] IPv6. -1: none.
	 */
	int inbound_fd[2];      /* plaintext, 15006 */
	int hbone_fd[2];        /* 15008 */
	uint16_t outbound_port; /* 15001 on 127.0.0.1 and ::1 */
};
/*
 * Inbound first, outbound last, and the reverse on failure. Once more for the same cookie replaces
 * addresses and listeners without a gap. 0 or -errno with a sentence in @why.
 */
int redirect_enrol(struct redirect *redirect, const struct redirect_pod *pod, char *why,
                   size_t why_size);
/* New connections are the pod's own again; established ones carry on. 0, or -ENOENT: unknown. */
int redirect_unenrol(struct redirect *redirect, uint64_t cookie);
/*
 * Unenrols every pod that a predecessor left and this process has not enrolled again. Call it once
 * all pods known at start are enrolled. Count of pods forgotten, or -errno.
 */
int redirect_forget_stale(struct redirect *redirect);

/*
 * What sockets say then, on either side of a capture:
 *   our accepted outbound socket   getsockname: the original destination (our own listener's
 * address if there is none: somebody dialled us, close it) accept, getpeername: the pod's address
 * and the app's real port our accepted inbound socket    getsockname: the address and port that
 * were dialled the app that was captured      getpeername: whom it dialled; getsockname: the pod's
 * address the app that we dial           accept, getpeername: @presented below
 *
 * Our own socket, before its connect: not captured. @presented: what an app that accepts it shall
 * see as its peer, or NULL. 0 or -errno; then the socket must not be used.
 */
int redirect_exempt(struct redirect *redirect, int fd, const struct hb_addr *presented);

/* Per-reason counts of the BPF programs, for metrics and dumps. Count of reasons, or -errno. */
struct redirect_count {
	const char *reason;
	uint64_t value;
};
int redirect_counts(struct redirect *redirect, struct redirect_count *out, size_t max);
