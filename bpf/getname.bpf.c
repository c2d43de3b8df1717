/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * getname: getpeername(), getsockname() and accept() tell the names that connect and sockops put
 * beside the socket.
 *
 * In doubt they tell the truth of the wire. A captured client sees whom it dialled and its pod's
 * address; an app that the agent dialled sees the client; the agent's accepted socket shows the
 * original destination as its own name and the pod as its peer.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decide.h"
#include "license.h"
#include "maps.h"

/* These hooks must return 1: there is no way to refuse. */
#define DONE 1

static __always_inline struct cv_sk *names_of(struct bpf_sock_addr *ctx, __u32 wanted)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_sk *names = sk ? bpf_sk_storage_get(&cv_sk, sk, 0, 0) : NULL;

	return names && names->flags & wanted ? names : NULL;
}

static __always_inline void tell4(struct bpf_sock_addr *ctx, const struct cv_ip *ip)
{
	if (!cv_ip_is_v4(ip))
		return cv_count(CV_NAME_FAMILY);
	ctx->user_ip4 = ip->w[3];
}

static __always_inline void tell6(struct bpf_sock_addr *ctx, const struct cv_ip *ip)
{
	ctx->user_ip6[0] = ip->w[0];
	ctx->user_ip6[1] = ip->w[1];
	ctx->user_ip6[2] = ip->w[2];
	ctx->user_ip6[3] = ip->w[3];
}

/* The own address of a captured client: only loopback is a lie that we caused. */
static __always_inline bool hides(const struct cv_sk *names, const struct cv_ip *real)
{
	return cv_ip_is_loopback(real) && !cv_ip_is_unspecified(&names->local.ip);
}

SEC("cgroup/getpeername4")
int cv_peername4(struct bpf_sock_addr *ctx)
{
	struct cv_sk *names = names_of(ctx, CV_SK_PEER);

	if (!names)
		return DONE;
	tell4(ctx, &names->peer.ip);
	ctx->user_port = names->peer.port;
	return DONE;
}

SEC("cgroup/getpeername6")
int cv_peername6(struct bpf_sock_addr *ctx)
{
	struct cv_sk *names = names_of(ctx, CV_SK_PEER);

	if (!names)
		return DONE;
	tell6(ctx, &names->peer.ip);
	ctx->user_port = names->peer.port;
	return DONE;
}

SEC("cgroup/getsockname4")
int cv_sockname4(struct bpf_sock_addr *ctx)
{
	struct cv_sk *names = names_of(ctx, CV_SK_LOCAL | CV_SK_LOCAL_IP);
	struct cv_ip real;

	if (!names)
		return DONE;
	if (names->flags & CV_SK_LOCAL) {
		tell4(ctx, &names->local.ip);
		ctx->user_port = names->local.port;
		return DONE;
	}
	real = cv_ip_of_v4(ctx->user_ip4);
	if (hides(names, &real))
		tell4(ctx, &names->local.ip);
	return DONE;
}

SEC("cgroup/getsockname6")
int cv_sockname6(struct bpf_sock_addr *ctx)
{
	struct cv_sk *names = names_of(ctx, CV_SK_LOCAL | CV_SK_LOCAL_IP);
	struct cv_ip real;

	if (!names)
		return DONE;
	if (names->flags & CV_SK_LOCAL) {
		tell6(ctx, &names->local.ip);
		ctx->user_port = names->local.port;
		return DONE;
	}
	real.w[0] = ctx->user_ip6[0];
	real.w[1] = ctx->user_ip6[1];
	real.w[2] = ctx->user_ip6[2];
	real.w[3] = ctx->user_ip6[3];
	if (hides(names, &real))
		tell6(ctx, &names->local.ip);
	return DONE;
}
