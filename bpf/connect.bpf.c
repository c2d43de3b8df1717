/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * connect: connect() of an enrolled pod's TCP socket goes to the agent's listener in that pod.
 *
 * In doubt it refuses (EPERM): a connection that should be captured and cannot be must not leave in
 * clear. With the agent gone nobody listens and the kernel itself answers ECONNREFUSED. Netns that
 * are not enrolled are never touched.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decide.h"
#include "license.h"
#include "maps.h"

#define PASS   1
#define REFUSE 0

#define AF_INET  2
#define AF_INET6 10

#define SOL_SOCKET      1 /* asm-generic/socket.h, which a BPF target cannot include everywhere */
#define SO_BINDTODEVICE 25

/* Set before load when the kernel has bpf_skc_to_mptcp_sock() (5.19, CONFIG_MPTCP, its own BTF). */
const volatile bool cv_mptcp = false;

/*
 * The socket the app holds is not the one that connects when it speaks MPTCP: names are asked of
 * the outer one. Absent or failing, only what such an app sees as its peer is wrong.
 */
static __always_inline void remember_outer(struct bpf_sock *sk, struct cv_sk *names)
{
	struct mptcp_sock *outer;

	if (!cv_mptcp)
		return;
	outer = bpf_skc_to_mptcp_sock(sk);
	if (outer)
		(void)bpf_sk_storage_get(&cv_sk, outer, names, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * All captured connections of a pod go to one address and port, so that ports of the source would
 * be all that tells them apart: 28,000 at once, and a long search near the end. So each comes from
 * an address of its own, drawn from 127/8. IPv6 has only ::1. Failing, it is as it was without.
 */
static __always_inline bool bind_source(struct bpf_sock_addr *ctx, bool v6, __be32 ip)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { ip } };
	struct sockaddr_in6 from6 = { .sin6_family = AF_INET6 };

	if (!v6)
		return bpf_bind(ctx, (struct sockaddr *)&from, sizeof(from)) == 0;
	if (ip) { /* its destination is mapped; 0 is any address */
		from6.sin6_addr.s6_addr32[2] = bpf_htonl(0xffff);
		from6.sin6_addr.s6_addr32[3] = ip;
	}
	return bpf_bind(ctx, (struct sockaddr *)&from6, sizeof(from6)) == 0;
}

/* Not what the app has bound, nor what was given a source already. */
static __always_inline bool has_source(const struct bpf_sock *sk, const struct cv_addr *dst)
{
	return sk->src_port || sk->src_ip4 || !cv_ip_is_v4(&dst->ip);
}

/* @spread: flags of the source. */
static __always_inline bool remember(struct bpf_sock *sk, const struct cv_pod *pod,
                                     const struct cv_addr *dst, __u32 spread)
{
	struct cv_sk names = { .flags = CV_SK_CAPTURED | CV_SK_PEER | CV_SK_LOCAL_IP | spread,
		               .peer = *dst };
	struct cv_sk *kept;

	names.local.ip = pod->shown[cv_ip_is_v4(&dst->ip) ? 0 : 1];
	kept = bpf_sk_storage_get(&cv_sk, sk, &names, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept)
		return false;
	*kept = names; /* it may have been captured before: AF_UNSPEC, then another connect() */
	remember_outer(sk, &names);
	return true;
}

/* That of an earlier capture. */
static __always_inline __u32 spread_of(struct bpf_sock *sk)
{
	struct cv_sk *names = bpf_sk_storage_get(&cv_sk, sk, 0, 0);

	return names ? names->flags & CV_SK_SPREAD : 0;
}

/* A socket that was captured once would tell the old names for ever. */
static __always_inline void forget(struct bpf_sock *sk)
{
	struct mptcp_sock *outer;

	(void)bpf_sk_storage_delete(&cv_sk, sk);
	if (!cv_mptcp)
		return;
	outer = bpf_skc_to_mptcp_sock(sk);
	if (outer)
		(void)bpf_sk_storage_delete(&cv_sk, outer);
}

/* Decides, and on CV_CAPTURED has done all but the rewrite. @ret_port: where the agent listens. */
static __always_inline enum cv_reason connect(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
                                              const struct cv_addr *dst, bool v6, __be16 *ret_port)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct cv_pod *pod = bpf_map_lookup_elem(&cv_pods, &cookie);
	bool exempt = pod && bpf_sk_storage_get(&cv_agent_sk, sk, 0, 0);
	enum cv_reason reason = cv_decide_connect(pod, exempt, &dst->ip);
	__u32 spread = spread_of(sk);
	char none[4] = {};

	if (reason != CV_CAPTURED || !pod) {
		if (spread)
			(void)bind_source(ctx, v6, 0);
		forget(sk);
		return reason;
	}
	/* Bound to eth0 it could not reach loopback: the SYN would be lost until the timeout. */
	if (sk->bound_dev_if &&
	    bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none)) < 0)
		return CV_REFUSED_BOUND_DEVICE;
	if (!has_source(sk, dst) && bind_source(ctx, v6, cv_spread_source(bpf_get_prandom_u32())))
		spread = CV_SK_SPREAD;
	if (!remember(sk, pod, dst, spread))
		return CV_REFUSED_NO_STORAGE;
	*ret_port = pod->outbound_port;
	return CV_CAPTURED;
}

static __always_inline int verdict(enum cv_reason reason)
{
	cv_count(reason);
	return reason == CV_REFUSED_NO_STORAGE || reason == CV_REFUSED_BOUND_DEVICE ? REFUSE : PASS;
}

SEC("cgroup/connect4")
int cv_connect4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_addr dst = {};
	enum cv_reason reason;
	__be16 port = 0;

	if (ctx->protocol != IPPROTO_TCP || !sk)
		return verdict(CV_PASS_NOT_TCP);
	dst.ip = cv_ip_of_v4(ctx->user_ip4);
	dst.port = (__be16)ctx->user_port;
	reason = connect(ctx, sk, &dst, false, &port);
	if (reason == CV_CAPTURED) {
		ctx->user_ip4 = bpf_htonl(0x7f000001);
		ctx->user_port = port;
	}
	return verdict(reason);
}

SEC("cgroup/connect6")
int cv_connect6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_addr dst = {};
	enum cv_reason reason;
	__be16 port = 0;

	if (ctx->protocol != IPPROTO_TCP || !sk)
		return verdict(CV_PASS_NOT_TCP);
	dst.ip.w[0] = ctx->user_ip6[0];
	dst.ip.w[1] = ctx->user_ip6[1];
	dst.ip.w[2] = ctx->user_ip6[2];
	dst.ip.w[3] = ctx->user_ip6[3];
	dst.port = (__be16)ctx->user_port;
	reason = connect(ctx, sk, &dst, true, &port);
	if (reason == CV_CAPTURED) {
		/* A mapped destination stays mapped: such a socket has no IPv6 route to loopback.
		 */
		bool v4 = cv_ip_is_v4(&dst.ip);

		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = v4 ? bpf_htonl(0xffff) : 0;
		ctx->user_ip6[3] = v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
		ctx->user_port = port;
	}
	return verdict(reason);
}
