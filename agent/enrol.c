/*
 * enrol: namespace, listeners, capture, workers: in this order, and again from the start if one
 * fails.
 */
#include "enrol.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#define LOG_SCOPE "culvert"
#include "log.h"
#include "node/netns.h"
#include "podlist.h"

#define RETRY_MS    1000u
#define POD_IPS_MAX 64u

/* Said in the log when it changes, and in /healthz as long as it holds. */
static void wait_with(struct enrol_pod *pod, const char *reason)
{
	hb_loop_timer_start(pod->agent->loop, &pod->retry, RETRY_MS);
	if (strcmp(pod->reason, reason) == 0)
		return;
	snprintf(pod->reason, sizeof(pod->reason), "%s", reason);
	log_warn("pod is not in the mesh yet, trying again every second", "pod=%s: %s", pod->key,
	         reason);
}

static size_t add_ip(struct hb_ip *ips, size_t count, const struct hb_ip *ip)
{
	for (size_t i = 0; i < count; i++)
		if (hb_ip_equal(&ips[i], ip))
			return count;
	if (count < POD_IPS_MAX)
		ips[count++] = *ip;
	return count;
}

/* Link-local ones are left out: they are not unique on a node, and capture goes by address. */
static bool is_link_local(const struct hb_ip *ip)
{
	if (hb_ip_is_v4(ip))
		return ip->b[12] == 169 && ip->b[13] == 254;
	return ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80;
}

/* The addresses that the namespace itself has. Count, or -errno. */
static int netns_ips(int netns_fd, struct hb_ip *ips, size_t count)
{
	struct ifaddrs *all = NULL;
	int err = netns_enter(netns_fd);

	if (err < 0)
		return err;
	if (getifaddrs(&all) < 0)
		err = -errno;
	netns_leave();
	if (err < 0)
		return err;
	for (struct ifaddrs *one = all; one; one = one->ifa_next) {
		struct hb_addr addr;

		if (one->ifa_addr && hb_addr_from_sockaddr(one->ifa_addr, &addr) == 0 &&
		    !hb_ip_is_loopback(&addr.ip) && !is_link_local(&addr.ip))
			count = add_ip(ips, count, &addr.ip);
	}
	freeifaddrs(all);
	return (int)count;
}

static const struct workload *workload_of(const struct enrol_pod *pod)
{
	const struct setting_pod *setting = pod->setting;

	return snapshot_workload_of_pod(pod->agent->snapshot, pod->agent->settings->node_name,
	                                setting->ns, setting->name, setting->service_account);
}

/* All addresses by which the pod may be reached: those it has, and those the mesh gives it. */
static int pod_ips(const struct enrol_pod *pod, struct hb_ip ips[POD_IPS_MAX])
{
	const struct workload *workload = workload_of(pod);
	size_t count = 0;

	for (size_t i = 0; workload && i < workload->ips_count; i++)
		count = add_ip(ips, count, &workload->ips[i]);
	return netns_ips(pod->spec->netns_fd, ips, count);
}

static int capture(struct enrol_pod *pod, char *why, size_t why_size)
{
	const int *fds = pod->listeners.fds; /* the first worker's stand for all */
	struct hb_ip ips[POD_IPS_MAX];
	int count = pod_ips(pod, ips);
	struct redirect_pod request = {
		.netns_fd = pod->spec->netns_fd,
		.cookie = pod->cookie,
		.ips = ips,
		.inbound_fd = { fds[POD_SOCKET(POD_PLAIN, 0)], fds[POD_SOCKET(POD_PLAIN, 1)] },
		.hbone_fd = { fds[POD_SOCKET(POD_HBONE, 0)], fds[POD_SOCKET(POD_HBONE, 1)] },
		.outbound_port = POD_PORT_OUTBOUND,
	};

	if (count < 0) {
		snprintf(why, why_size, "its addresses cannot be read: %s", hb_strerror(count));
		return count;
	}
	request.ips_count = (size_t)count;
	for (int i = 0; i < count; i++) {
		if (hb_ip_is_v4(&ips[i]) || request.hbone_fd[1] >= 0)
			continue;
		/* Half a pod would be worse than none: its IPv6 traffic would go in clear. */
		snprintf(why, why_size, "it has an IPv6 address, but %s",
		         pod->agent->settings->ipv6 ? "no ::1 to listen on"
		                                    : "ipv6Enabled is false");
		return -EADDRNOTAVAIL;
	}
	return redirect_enrol(pod->agent->redirect, &request, why, why_size);
}

static void on_up(struct enrol_pod *pod)
{
	struct agent *agent = pod->agent;
	char why[1024];

	pod->up = true;
	pod->reason[0] = 0;
	podlist_unknown(agent, pod->setting->ns, pod->setting->name, pod->setting->service_account,
	                why, sizeof(why));
	if (!*why)
		log_info("pod is in the mesh", "pod=%s", pod->key);
	else
		log_error("pod is served, but is not known in the mesh", "pod=%s node=%s: %s",
		          pod->key, agent->settings->node_name, why);
	if (++agent->enrolment.up < agent->enrolment.count)
		return;
	if (agent->redirect)
		(void)redirect_forget_stale(agent->redirect); /* what is left stays refused */
	agent_say_ready(agent, agent->enrolment.count);
}

static void on_sockets(struct listeners *listeners)
{
	struct enrol_pod *pod = hb_container_of(listeners, struct enrol_pod, listeners);
	struct agent *agent = pod->agent;
	char why[256] = "";
	int fds[POD_SOCKETS];
	int err = agent->redirect ? capture(pod, why, sizeof(why)) : 0;

	pod->spec->keeps_source = listeners->keeps_source;
	pod->spec->awaits_workload = agent->settings->mode == MODE_DEDICATED;
	if (err < 0) {
		listeners_stop(listeners);
		pod->listening = false;
		wait_with(pod, *why ? why : hb_strerror(err));
		return;
	}
	for (unsigned i = 0; i < agent->workers_count; i++) {
		listeners_take(listeners, i, fds);
		err = worker_add_pod(agent->workers[i], pod_spec_ref(pod->spec), fds);
		if (err < 0)
			log_error("pod is not served by a worker", "pod=%s worker=%u: %s", pod->key,
			          i, hb_strerror(err));
	}
	pod->listening = false;
	listeners_stop(listeners);
	on_up(pod);
}

static bool is_taken(const struct enrol_pod *pod, uint64_t cookie)
{
	const struct enrolment *all = &pod->agent->enrolment;

	for (size_t i = 0; i < all->count; i++)
		if (&all->pods[i] != pod && all->pods[i].spec && all->pods[i].cookie == cookie)
			return true;
	return false;
}

static int own_cookie(uint64_t *ret_cookie)
{
	hb_cleanup(hb_close_fd) int fd = netns_open("/proc/self/ns/net");

	return fd < 0 ? fd : netns_cookie(fd, ret_cookie);
}

/* Opens the namespace. 0; or the reason not to, in @why. */
static int find_netns(struct enrol_pod *pod, char *why, size_t why_size)
{
	const struct setting_pod *setting = pod->setting;
	uint64_t cookie, own;
	int fd = netns_open(setting->netns);
	int err = fd < 0 ? fd : netns_cookie(fd, &cookie);

	if (err == 0)
		err = own_cookie(&own);
	if (err < 0) {
		snprintf(why, why_size, "its network namespace %s: %s", setting->netns,
		         hb_strerror(err));
	} else if (is_taken(pod, cookie) ||
	           (cookie == own && pod->agent->settings->mode == MODE_STANDALONE)) {
		snprintf(why, why_size, "its network namespace %s is %s", setting->netns,
		         cookie == own ? "the agent's own" : "that of another pod");
		err = -EEXIST;
	}
	if (err < 0) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	pod->spec = pod_spec_new((uint32_t)(pod - pod->agent->enrolment.pods) + 1, setting->ns,
	                         setting->name, setting->service_account, fd, &pod->agent->net);
	if (!pod->spec) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	pod->cookie = cookie;
	return 0;
}

static void on_retry(struct hb_timer *timer)
{
	struct enrol_pod *pod = hb_container_of(timer, struct enrol_pod, retry);
	char why[256];

	if (!pod->spec && find_netns(pod, why, sizeof(why)) < 0) {
		wait_with(pod, why);
		return;
	}
	pod->listeners.netns_fd = pod->spec->netns_fd;
	pod->listening = true;
	listeners_start(&pod->listeners, pod->agent->loop);
}

int enrol_start(struct agent *agent)
{
	struct enrolment *all = &agent->enrolment;
	const struct settings *settings = agent->settings;

	all->pods = calloc(settings->pods_count + 1, sizeof(*all->pods));
	if (!all->pods)
		return -ENOMEM;
	all->count = settings->pods_count;
	for (size_t i = 0; i < all->count; i++) {
		struct enrol_pod *pod = &all->pods[i];

		pod->agent = agent;
		pod->setting = &settings->pods[i];
		snprintf(pod->key, sizeof(pod->key), "%s/%s", pod->setting->ns, pod->setting->name);
		pod->listeners.pod = pod->key;
		pod->listeners.workers = agent->workers_count;
		pod->listeners.ipv6 = settings->ipv6;
		pod->listeners.net = &agent->net;
		pod->listeners.on_ready = on_sockets;
		hb_timer_init(&pod->retry, on_retry);
		hb_loop_timer_start(agent->loop, &pod->retry, 0);
	}
	if (all->count == 0)
		agent_say_ready(agent, 0);
	return 0;
}

void enrol_stop_trying(struct agent *agent)
{
	for (size_t i = 0; i < agent->enrolment.count; i++) {
		struct enrol_pod *pod = &agent->enrolment.pods[i];

		hb_loop_timer_stop(agent->loop, &pod->retry);
		listeners_stop(&pod->listeners);
		pod->listening = false;
	}
}

void enrol_done(struct agent *agent)
{
	for (size_t i = 0; i < agent->enrolment.count; i++) {
		struct enrol_pod *pod = &agent->enrolment.pods[i];

		if (pod->up && agent->redirect)
			(void)redirect_unenrol(agent->redirect, pod->cookie); /* close is next */
		pod_spec_unref(pod->spec);
	}
	free(hb_take(&agent->enrolment.pods));
	agent->enrolment.count = 0;
}

const char *enrol_reason(const struct enrol_pod *pod)
{
	return pod->listening && *pod->listeners.reason ? pod->listeners.reason : pod->reason;
}
