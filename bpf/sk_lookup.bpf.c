/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sk_lookup: TCP that enters an enrolled pod goes to the agent's listener, whatever the port.
 *
 * In doubt it drops (an immediate RST): a pod whose listener is gone must not serve plaintext in
 * its place. What passes is the pod talking to itself, the agent talking to the app, and addresses
 * that nobody enrolled.
 *
 * One program serves all pods: the context names neither netns nor cookie, so listeners are found
 * by the local address. With SYN cookies it runs again on the ACK: nothing here may depend on
 * having run before.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decide.h"
#include "license.h"
#include "maps.h"

#define AF_INET6 10

static __always_inline int verdict(enum cv_reason reason)
{
	cv_count(reason);
	switch (reason) {
	case CV_IN_DROP_NO_LISTENER:
	case CV_IN_DROP_ASSIGN:
	case CV_IN_DROP_LINK_LOCAL:
		return SK_DROP;
	default:
		return SK_PASS;
	}
}

static __always_inline int steer(struct bpf_sk_lookup *ctx, const struct cv_ip *local,
                                 enum cv_reason wanted)
{
	struct cv_listener_key key = { .local_ip = *local, .kind = CV_LISTENER_INBOUND };
	struct bpf_sock *listener;
	long failed;

	if (wanted == CV_IN_STEERED_HBONE)
		key.kind = CV_LISTENER_HBONE;
	listener = bpf_map_lookup_elem(&cv_listeners, &key);
	if (!listener)
		return verdict(
		    cv_decide_unserved(bpf_map_lookup_elem(&cv_local_ips, local), local));
	failed = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return verdict(failed ? CV_IN_DROP_ASSIGN : wanted);
}

SEC("sk_lookup")
int cv_inbound(struct bpf_sk_lookup *ctx)
{
	__u32 local4 = ctx->local_ip4, remote4 = ctx->remote_ip4;
	struct cv_ip local, remote;
	enum cv_reason reason;

	if (ctx->protocol != IPPROTO_TCP)
		return verdict(CV_IN_PASS_NOT_TCP);
	local.w[0] = ctx->local_ip6[0];
	local.w[1] = ctx->local_ip6[1];
	local.w[2] = ctx->local_ip6[2];
	local.w[3] = ctx->local_ip6[3];
	remote.w[0] = ctx->remote_ip6[0];
	remote.w[1] = ctx->remote_ip6[1];
	remote.w[2] = ctx->remote_ip6[2];
	remote.w[3] = ctx->remote_ip6[3];
	/* Both are read by now: see endpoints() in sockops. */
	barrier_var(local4);
	barrier_var(remote4);
	if (ctx->family != AF_INET6) {
		local = cv_ip_of_v4(local4);
		remote = cv_ip_of_v4(remote4);
	}
	reason = cv_decide_inbound(ctx->ingress_ifindex, &remote, &local, (__u16)ctx->local_port);
	if (reason != CV_IN_STEERED && reason != CV_IN_STEERED_HBONE)
		return verdict(reason);
	return steer(ctx, &local, reason);
}
