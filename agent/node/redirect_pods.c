/*
 * redirect_pods: what the programs know of pods, and of our own sockets.
 *
 * The steps of an enrolment are ordered so that a pod is never half open: addresses without
 * listeners refuse inbound, and outbound is switched on by one write at the end. A pod that a
 * predecessor left enrolled keeps that switch on throughout: its connects are refused until our
 * listeners stand, and never pass.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "node/netns.h"
#include "node/redirect_own.h"

_Static_assert(sizeof(struct cv_ip) == sizeof(struct hb_ip), "both are 16 bytes, IPv4 mapped");

static const char *const reasons[CV_REASONS] = {
	[CV_PASS_NOT_TCP] = "out_pass_not_tcp",
	[CV_PASS_NOT_ENROLLED] = "out_pass_not_enrolled",
	[CV_PASS_EXEMPT] = "out_pass_exempt",
	[CV_PASS_LOOPBACK] = "out_pass_loopback",
	[CV_PASS_SELF] = "out_pass_self",
	[CV_CAPTURED] = "out_captured",
	[CV_REFUSED_NO_STORAGE] = "out_refused_no_storage",
	[CV_REFUSED_BOUND_DEVICE] = "out_refused_bound_device",
	[CV_OPS_PUBLISHED] = "handshake_published",
	[CV_OPS_PUBLISH_FAILED] = "handshake_publish_failed",
	[CV_OPS_CONSUMED] = "handshake_consumed",
	[CV_OPS_UNANNOUNCED] = "handshake_unannounced",
	[CV_OPS_NO_STORAGE] = "handshake_no_storage",
	[CV_NAME_FAMILY] = "name_other_family",
	[CV_IN_PASS_NOT_TCP] = "in_pass_not_tcp",
	[CV_IN_PASS_LOOPBACK] = "in_pass_loopback",
	[CV_IN_PASS_SELF] = "in_pass_self",
	[CV_IN_PASS_UNKNOWN_IP] = "in_pass_unknown_ip",
	[CV_IN_STEERED] = "in_steered",
	[CV_IN_STEERED_HBONE] = "in_steered_hbone",
	[CV_IN_DROP_NO_LISTENER] = "in_drop_no_listener",
	[CV_IN_DROP_ASSIGN] = "in_drop_assign",
	[CV_IN_DROP_LINK_LOCAL] = "in_drop_link_local",
};

static struct cv_ip to_cv(const struct hb_ip *ip)
{
	struct cv_ip out;

	memcpy(&out, ip, sizeof(out));
	return out;
}

static size_t family_of(const struct cv_ip *ip)
{
	struct hb_ip hb;

	memcpy(&hb, ip, sizeof(hb));
	return hb_ip_is_v4(&hb) ? 0 : 1;
}

static bool is_unused(const struct cv_ip *ip)
{
	static const struct cv_ip none;

	return memcmp(ip, &none, sizeof(none)) == 0;
}

static bool pod_has(const struct cv_pod *pod, const struct cv_ip *ip)
{
	for (size_t i = 0; i < CV_POD_IPS_MAX; i++)
		if (memcmp(&pod->ips[i], ip, sizeof(*ip)) == 0)
			return true;
	return false;
}

static bool is_enrolled(const struct redirect *redirect, uint64_t cookie)
{
	for (size_t i = 0; i < redirect->enrolled_count; i++)
		if (redirect->enrolled[i] == cookie)
			return true;
	return false;
}

static void note_enrolled(struct redirect *redirect, uint64_t cookie)
{
	if (!is_enrolled(redirect, cookie))
		redirect->enrolled[redirect->enrolled_count++] = cookie;
}

static void note_gone(struct redirect *redirect, uint64_t cookie)
{
	for (size_t i = 0; i < redirect->enrolled_count; i++) {
		if (redirect->enrolled[i] != cookie)
			continue;
		redirect->enrolled[i] = redirect->enrolled[--redirect->enrolled_count];
		return;
	}
}

static void forget_listeners(struct redirect *redirect, const struct cv_ip *ip)
{
	for (__u32 kind = 0; kind < CV_LISTENER_KINDS; kind++) {
		struct cv_listener_key key = { *ip, kind };

		/* Absent is well: an entry goes by itself with its socket. */
		(void)bpf_map_delete_elem(redirect->listeners_fd, &key);
	}
}

/* An address may have moved to a new pod before its old one was unenrolled: then it is not ours. */
static void forget_ip(struct redirect *redirect, const struct cv_ip *ip, uint64_t cookie)
{
	uint64_t owner;

	if (bpf_map_lookup_elem(redirect->local_ips_fd, ip, &owner) < 0 || owner != cookie)
		return;
	forget_listeners(redirect, ip);
	(void)bpf_map_delete_elem(redirect->local_ips_fd, ip);
}

static int place_listeners(struct redirect *redirect, const struct redirect_pod *pod,
                           const struct cv_ip *ip)
{
	size_t family = family_of(ip);
	const int fds[CV_LISTENER_KINDS] = {
		[CV_LISTENER_INBOUND] = pod->inbound_fd[family],
		[CV_LISTENER_HBONE] = pod->hbone_fd[family],
	};

	for (__u32 kind = 0; kind < CV_LISTENER_KINDS; kind++) {
		struct cv_listener_key key = { *ip, kind };
		uint64_t value = (uint64_t)fds[kind];
		int err = 0;

		if (fds[kind] >= 0)
			err = bpf_map_update_elem(redirect->listeners_fd, &key, &value, BPF_ANY);
		else
			(void)bpf_map_delete_elem(redirect->listeners_fd, &key);
		if (err < 0)
			return err;
	}
	return 0;
}

static int check(struct redirect *redirect, const struct redirect_pod *pod, char *why,
                 size_t why_size)
{
	uint64_t cookie;
	int err;

	if (pod->ips_count == 0 || pod->ips_count > CV_POD_IPS_MAX)
		return redirect_explain(-EINVAL, why, why_size,
		                        "a pod has 1 to %d addresses, not %zu", CV_POD_IPS_MAX,
		                        pod->ips_count);
	for (size_t i = 0; i < pod->ips_count; i++)
		if (hb_ip_is_unspecified(&pod->ips[i]) || hb_ip_is_loopback(&pod->ips[i]))
			return redirect_explain(-EINVAL, why, why_size,
			                        "address %zu of the pod is unspecified or loopback",
			                        i);
	if (pod->outbound_port == 0)
		return redirect_explain(-EINVAL, why, why_size, "the outbound port is zero");
	err = netns_cookie(pod->netns_fd, &cookie);
	if (err < 0)
		return redirect_explain(err, why, why_size, "cannot enter the pod's netns");
	if (cookie != pod->cookie)
		return redirect_explain(-EINVAL, why, why_size,
		                        "the cookie is not that of the pod's netns");
	if (cookie == redirect->own_cookie)
		return redirect_explain(-EINVAL, why, why_size,
		                        "the pod shares the agent's own netns (hostNetwork)");
	if (redirect->enrolled_count == CV_PODS_MAX && !is_enrolled(redirect, cookie))
		return redirect_explain(-ENOSPC, why, why_size, "%d pods are enrolled",
		                        CV_PODS_MAX);
	return 0;
}

static struct cv_pod describe(const struct redirect_pod *pod)
{
	struct cv_pod out = { .outbound_port = htons(pod->outbound_port) };

	for (size_t i = 0; i < pod->ips_count; i++) {
		struct cv_ip ip = to_cv(&pod->ips[i]);
		size_t family = family_of(&ip);

		out.ips[i] = ip;
		if (is_unused(&out.shown[family]))
			out.shown[family] = ip;
	}
	return out;
}

/* All but the outbound switch. */
static int enrol_inbound(struct redirect *redirect, const struct redirect_pod *pod,
                         const struct cv_pod *entry, char *why, size_t why_size)
{
	int err = bpf_map_update_elem(redirect->pods_fd, &pod->cookie, entry, BPF_ANY);

	if (err < 0)
		return redirect_explain(err, why, why_size, "cannot add to the map of pods");
	for (size_t i = 0; i < pod->ips_count; i++) {
		err = bpf_map_update_elem(redirect->local_ips_fd, &entry->ips[i], &pod->cookie,
		                          BPF_ANY);
		if (err < 0)
			return redirect_explain(err, why, why_size,
			                        "cannot add to the map of pod addresses");
		err = place_listeners(redirect, pod, &entry->ips[i]);
		if (err < 0)
			return redirect_explain(err, why, why_size,
			                        "cannot add to the map of listeners");
	}
	err = redirect_link_pod(redirect, pod->cookie, pod->netns_fd);
	if (err < 0)
		return redirect_explain(err, why, why_size,
		                        "cannot attach sk_lookup to the pod's netns");
	return 0;
}

int redirect_enrol(struct redirect *redirect, const struct redirect_pod *pod, char *why,
                   size_t why_size)
{
	struct cv_pod entry, before = { 0 };
	bool was_there;
	int err = check(redirect, pod, why, why_size);

	if (err < 0)
		return err;
	was_there = bpf_map_lookup_elem(redirect->pods_fd, &pod->cookie, &before) == 0;
	entry = describe(pod);
	entry.flags = before.flags & CV_POD_OUTBOUND;
	err = enrol_inbound(redirect, pod, &entry, why, why_size);
	if (err == 0) {
		entry.flags = CV_POD_OUTBOUND;
		err = bpf_map_update_elem(redirect->pods_fd, &pod->cookie, &entry, BPF_ANY);
		if (err < 0)
			redirect_explain(err, why, why_size, "cannot switch capture on");
	}
	if (err < 0) {
		/* What was enrolled before stays so: refusing, as it was. */
		if (!was_there)
			(void)redirect_unenrol(redirect, pod->cookie);
		return err;
	}
	for (size_t i = 0; i < CV_POD_IPS_MAX; i++)
		if (!is_unused(&before.ips[i]) && !pod_has(&entry, &before.ips[i]))
			forget_ip(redirect, &before.ips[i], pod->cookie);
	note_enrolled(redirect, pod->cookie);
	return 0;
}

int redirect_unenrol(struct redirect *redirect, uint64_t cookie)
{
	struct cv_pod entry;
	int err = bpf_map_lookup_elem(redirect->pods_fd, &cookie, &entry);

	note_gone(redirect, cookie);
	if (err < 0)
		return err;
	entry.flags &= ~(__u32)CV_POD_OUTBOUND;
	err = bpf_map_update_elem(redirect->pods_fd, &cookie, &entry, BPF_EXIST);
	(void)redirect_unlink_pod(redirect, cookie); /* absent after a half enrolment */
	for (size_t i = 0; i < CV_POD_IPS_MAX; i++)
		if (!is_unused(&entry.ips[i]))
			forget_ip(redirect, &entry.ips[i], cookie);
	return bpf_map_delete_elem(redirect->pods_fd, &cookie) < 0 ? -errno : err;
}

static int forget_stale_pods(struct redirect *redirect)
{
	uint64_t *stale = calloc(CV_PODS_MAX, sizeof(*stale));
	uint64_t cookie, *previous = NULL;
	int count = 0;

	if (!stale)
		return -ENOMEM;
	/* Collected first: the walk starts over when the key it stands on is deleted. */
	while (count < CV_PODS_MAX &&
	       bpf_map_get_next_key(redirect->pods_fd, previous, &cookie) == 0) {
		previous = &cookie;
		if (!is_enrolled(redirect, cookie))
			stale[count++] = cookie;
	}
	for (int i = 0; i < count; i++)
		(void)redirect_unenrol(redirect, stale[i]);
	free(stale);
	return count;
}

/* Addresses whose pod has no entry: their agent died between two steps. */
static int forget_stale_ips(struct redirect *redirect)
{
	struct cv_ip *stale = calloc(CV_LOCAL_IPS_MAX, sizeof(*stale));
	struct cv_ip ip, *previous = NULL;
	size_t count = 0;
	uint64_t owner;

	if (!stale)
		return -ENOMEM;
	while (count < CV_LOCAL_IPS_MAX &&
	       bpf_map_get_next_key(redirect->local_ips_fd, previous, &ip) == 0) {
		previous = &ip;
		if (bpf_map_lookup_elem(redirect->local_ips_fd, &ip, &owner) == 0 &&
		    !is_enrolled(redirect, owner))
			stale[count++] = ip;
	}
	for (size_t i = 0; i < count; i++) {
		forget_listeners(redirect, &stale[i]);
		(void)bpf_map_delete_elem(redirect->local_ips_fd, &stale[i]);
	}
	free(stale);
	return 0;
}

int redirect_forget_stale(struct redirect *redirect)
{
	int pods = forget_stale_pods(redirect);
	int err = forget_stale_ips(redirect);

	redirect_links_sweep_pods(redirect, is_enrolled);
	return pods < 0 ? pods : err < 0 ? err : pods;
}

int redirect_exempt(struct redirect *redirect, int fd, const struct hb_addr *presented)
{
	struct cv_agent_sk value = { 0 };

	if (presented) {
		value.presents = 1;
		value.presented.ip = to_cv(&presented->ip);
		value.presented.port = htons(presented->port);
	}
	return bpf_map_update_elem(redirect->agent_sk_fd, &fd, &value, BPF_ANY);
}

int redirect_counts(struct redirect *redirect, struct redirect_count *out, size_t max)
{
	int cpus = libbpf_num_possible_cpus();
	hb_cleanup(hb_free_ptr) uint64_t *values = NULL;

	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (__u32 reason = 0; reason < CV_REASONS && reason < max; reason++) {
		int err = bpf_map_lookup_elem(redirect->counts_fd, &reason, values);

		if (err < 0)
			return err;
		out[reason] = (struct redirect_count){ .reason = reasons[reason] };
		for (int cpu = 0; cpu < cpus; cpu++)
			out[reason].value += values[cpu];
	}
	return CV_REASONS;
}
