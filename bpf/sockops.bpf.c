/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sockops: carries one address from the connecting socket to the accepted one: to the agent the
 * original destination, to the app the client it shall see.
 *
 * In doubt it says nothing. An accepted socket of the agent without a destination shows the
 * listener's own address, and the agent closes it; an app without a presented client sees 127.x.
 *
 * TCP_CONNECT runs before the SYN leaves and PASSIVE_ESTABLISHED with the child locked, which
 * accept() takes too: whoever accepts finds the names in place. Finding the client's socket later,
 * inside getsockname(), would not do: by then it may be a timewait without storage.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decide.h"
#include "license.h"
#include "maps.h"

#define AF_INET6 10

/*
 * All fields are read before the family is asked: clang merges the reads of two branches into
 * arithmetic on ctx, which the verifier refuses.
 */
static __always_inline void endpoints(struct bpf_sock_ops *ctx, struct cv_addr *local,
                                      struct cv_addr *remote)
{
	__u32 local4 = ctx->local_ip4, remote4 = ctx->remote_ip4;
	struct cv_ip local6, remote6;

	local6.w[0] = ctx->local_ip6[0];
	local6.w[1] = ctx->local_ip6[1];
	local6.w[2] = ctx->local_ip6[2];
	local6.w[3] = ctx->local_ip6[3];
	remote6.w[0] = ctx->remote_ip6[0];
	remote6.w[1] = ctx->remote_ip6[1];
	remote6.w[2] = ctx->remote_ip6[2];
	remote6.w[3] = ctx->remote_ip6[3];
	local->port = bpf_htons((__u16)ctx->local_port);
	remote->port = (__be16)bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
	local->zero = 0;
	remote->zero = 0;
	barrier_var(local4);
	barrier_var(remote4);
	if (ctx->family == AF_INET6) {
		local->ip = local6;
		remote->ip = remote6;
	} else {
		local->ip = cv_ip_of_v4(local4);
		remote->ip = cv_ip_of_v4(remote4);
	}
}

static __always_inline void on_connect(struct bpf_sock *sk, const struct cv_tuple *tuple)
{
	struct cv_agent_sk *ours = bpf_sk_storage_get(&cv_agent_sk, sk, 0, 0);
	struct cv_sk *names = bpf_sk_storage_get(&cv_sk, sk, 0, 0);
	struct cv_inflight inflight = {};

	if (ours && ours->presents) {
		inflight.kind = CV_INFLIGHT_PRESENTED;
		inflight.addr = ours->presented;
	} else if (!ours && names && names->flags & CV_SK_CAPTURED) {
		inflight.kind = CV_INFLIGHT_CAPTURED;
		inflight.addr = names->peer;
	} else {
		/* What a refused connect left under the same tuple is not this one's. */
		(void)bpf_map_delete_elem(&cv_inflight, tuple);
		return;
	}
	cv_count(bpf_map_update_elem(&cv_inflight, tuple, &inflight, BPF_ANY) == 0
	             ? CV_OPS_PUBLISHED
	             : CV_OPS_PUBLISH_FAILED);
}

static __always_inline void on_established(struct bpf_sock *sk, const struct cv_pod *pod,
                                           const struct cv_tuple *tuple)
{
	struct cv_inflight *inflight = bpf_map_lookup_elem(&cv_inflight, tuple);
	struct cv_sk names = {};

	if (!inflight)
		return cv_count(CV_OPS_UNANNOUNCED);
	if (inflight->kind == CV_INFLIGHT_CAPTURED) {
		names.flags = CV_SK_LOCAL | CV_SK_PEER;
		names.local = inflight->addr;
		names.peer = tuple->client;
		if (cv_ip_is_loopback(&names.peer.ip))
			names.peer.ip = pod->shown[cv_ip_is_v4(&names.peer.ip) ? 0 : 1];
	} else {
		names.flags = CV_SK_PEER;
		names.peer = inflight->addr;
	}
	(void)bpf_map_delete_elem(&cv_inflight, tuple);
	cv_count(bpf_sk_storage_get(&cv_sk, sk, &names, BPF_SK_STORAGE_GET_F_CREATE)
	             ? CV_OPS_CONSUMED
	             : CV_OPS_NO_STORAGE);
}

SEC("sockops")
int cv_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_tuple tuple = {};
	struct cv_pod *pod;
	__u32 op = ctx->op;

	if ((op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) || !sk)
		return 1;
	tuple.cookie = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&cv_pods, &tuple.cookie);
	if (!pod)
		return 1;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		endpoints(ctx, &tuple.client, &tuple.server);
		on_connect(sk, &tuple);
	} else {
		endpoints(ctx, &tuple.server, &tuple.client);
		on_established(sk, pod, &tuple);
	}
	return 1;
}
