/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * decide: whether a connection is ours, from its addresses and what is known of its pod.
 *
 * Pure: no helper, no map, no context; compiled into the programs and into a user-space test.
 * Whoever is not exempt, not loopback and not itself is captured: doubt means capture.
 */
#pragma once

#include <bpf/bpf_endian.h>
#include <culvert/maps.h>
#include <stdbool.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#define CV_IFINDEX_LO 1 /* in every network namespace */

static __always_inline bool cv_ip_equal(const struct cv_ip *a, const struct cv_ip *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline bool cv_ip_is_v4(const struct cv_ip *ip)
{
	return ip->w[0] == 0 && ip->w[1] == 0 && ip->w[2] == bpf_htonl(0xffff);
}

/* 127/8 or ::1. */
static __always_inline bool cv_ip_is_loopback(const struct cv_ip *ip)
{
	if (cv_ip_is_v4(ip))
		return (ip->w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return ip->w[0] == 0 && ip->w[1] == 0 && ip->w[2] == 0 && ip->w[3] == bpf_htonl(1);
}

/* 0.0.0.0 or ::, which connect() takes for loopback. */
static __always_inline bool cv_ip_is_unspecified(const struct cv_ip *ip)
{
	return ip->w[3] == 0 &&
	       (cv_ip_is_v4(ip) || (ip->w[0] == 0 && ip->w[1] == 0 && ip->w[2] == 0));
}

static __always_inline bool cv_ip_is_link_local6(const struct cv_ip *ip)
{
	return (ip->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline struct cv_ip cv_ip_of_v4(__be32 v4)
{
	struct cv_ip ip = { { 0, 0, bpf_htonl(0xffff), v4 } };

	return ip;
}

static __always_inline bool cv_pod_has_ip(const struct cv_pod *pod, const struct cv_ip *ip)
{
	for (int i = 0; i < CV_POD_IPS_MAX; i++)
		if (cv_ip_equal(&pod->ips[i], ip))
			return true;
	return false;
}

/* One of the eight million addresses from 127.1.0.0 on. */
static __always_inline __be32 cv_spread_source(__u32 random)
{
	return bpf_htonl(0x7f010000u + (random & 0x7fffffu));
}

/*
 * A TCP connect() to @dst. @pod: NULL when the netns is not enrolled. @exempt: the agent's own
 * socket. CV_CAPTURED, or the CV_PASS_* that says why not.
 */
static __always_inline enum cv_reason cv_decide_connect(const struct cv_pod *pod, bool exempt,
                                                        const struct cv_ip *dst)
{
	if (!pod || !(pod->flags & CV_POD_OUTBOUND))
		return CV_PASS_NOT_ENROLLED;
	if (exempt)
		return CV_PASS_EXEMPT;
	if (cv_ip_is_loopback(dst) || cv_ip_is_unspecified(dst))
		return CV_PASS_LOOPBACK;
	if (cv_pod_has_ip(pod, dst))
		return CV_PASS_SELF;
	return CV_CAPTURED;
}

/*
 * A TCP SYN from @remote to @local in an enrolled pod's netns. CV_IN_STEERED or CV_IN_STEERED_HBONE
 * names the listener wanted; CV_IN_PASS_* leaves it to the app.
 *
 * The interface alone does not tell the pod's own traffic: to its own address over lo the kernel
 * reports the interface that holds the address. Hence by address too. The agent itself dials the
 * app from 127/8 or ::1.
 */
static __always_inline enum cv_reason cv_decide_inbound(__u32 ifindex, const struct cv_ip *remote,
                                                        const struct cv_ip *local, __u16 local_port)
{
	if (ifindex == CV_IFINDEX_LO || cv_ip_is_loopback(remote))
		return CV_IN_PASS_LOOPBACK;
	if (cv_ip_equal(remote, local))
		return CV_IN_PASS_SELF;
	return local_port == CV_PORT_HBONE ? CV_IN_STEERED_HBONE : CV_IN_STEERED;
}

/*
 * The same SYN when no listener of ours stands at @local. @known: the address is an enrolled pod's,
 * so its agent is gone and the app must not get plaintext in its place. An address nobody told us
 * of is left alone, except link-local ones: every IPv6 pod has one, and any neighbour on its link
 * could walk round the policy through it.
 */
static __always_inline enum cv_reason cv_decide_unserved(bool known, const struct cv_ip *local)
{
	if (known)
		return CV_IN_DROP_NO_LISTENER;
	return cv_ip_is_link_local6(local) ? CV_IN_DROP_LINK_LOCAL : CV_IN_PASS_UNKNOWN_IP;
}
