/*
 * pod: six accepts in one struct, and what they lead to.
 */
#include "proxy/pod.h"

#include <stdio.h>
#include <string.h>

#define LOG_SCOPE "proxy"
#include "config/settings.h"
#include "log.h"
#include "proxy/baggage.h"
#include "proxy/inbound.h"
#include "proxy/outbound.h"
#include "proxy/passthrough.h"
#include "proxy/podsocks.h"
#include "proxy/podwait.h"
#include "proxy/worker.h"

struct pod_spec *pod_spec_new(uint32_t index, const char *ns, const char *name,
                              const char *service_account, int netns_fd, const struct podnet *net)
{
	struct pod_spec *spec = calloc(1, sizeof(*spec));
	size_t size = strlen(ns) + strlen(name) + 2;

	if (!spec) {
		close(netns_fd);
		return NULL;
	}
	atomic_init(&spec->refs, 1);
	spec->index = index;
	spec->netns_fd = netns_fd;
	spec->net = net;
	spec->ns = strdup(ns);
	spec->name = strdup(name);
	spec->service_account = strdup(service_account);
	spec->key = malloc(size);
	if (!spec->ns || !spec->name || !spec->service_account || !spec->key) {
		pod_spec_unref(spec);
		return NULL;
	}
	snprintf(spec->key, size, "%s/%s", ns, name);
	return spec;
}

struct pod_spec *pod_spec_ref(struct pod_spec *spec)
{
	atomic_fetch_add_explicit(&spec->refs, 1, memory_order_relaxed);
	return spec;
}

void pod_spec_unref(struct pod_spec *spec)
{
	if (!spec || atomic_fetch_sub_explicit(&spec->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(spec->ns);
	free(spec->name);
	free(spec->service_account);
	free(spec->key);
	close(spec->netns_fd);
	free(spec);
}

void pod_serve(struct pod *pod, int port, int fd)
{
	switch ((enum pod_port)port) {
	case POD_OUTBOUND:
		outbound_accept(pod, fd, NULL);
		break;
	case POD_PLAIN:
		passthrough_accept(pod, fd);
		break;
	case POD_HBONE:
		inbound_accept(pod, fd);
		break;
	case POD_SOCKS:
		podsocks_accept(pod, fd);
		break;
	case POD_PORTS:
		break;
	}
}

static void on_accept(struct hb_accept *accept, int fd)
{
	struct pod_listener *listener = hb_container_of(accept, struct pod_listener, accept);
	struct pod *pod = listener->pod;
	int port;

	if (fd == -ECANCELED) {
		close(listener->fd);
		listener->fd = -1;
		pod->accepting--;
		worker_settle(pod->worker);
		return;
	}
	if (fd < 0) {
		metrics_count(pod->worker->metrics, METRIC_ACCEPT_ERRORS, NULL);
		log_warn("accept failed, going on", "pod=%s: %s", pod->spec->key, hb_strerror(fd));
		return;
	}
	port = (int)(listener - pod->listeners) / 2;
	if (!podwait_hold(pod, port, fd))
		pod_serve(pod, port, fd);
}

struct pod *pod_new(struct worker *worker, struct pod_spec *spec, const int fds[POD_SOCKETS])
{
	struct pod *pod = calloc(1, sizeof(*pod));

	if (!pod) {
		for (int i = 0; i < POD_SOCKETS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		pod_spec_unref(spec);
		return NULL;
	}
	pod->worker = worker;
	pod->spec = spec;
	hb_list_init(&pod->inbounds);
	hb_list_init(&pod->waits);
	hb_list_init(&pod->socks);
	pod_refresh(pod);
	for (int i = 0; i < POD_SOCKETS; i++) {
		struct pod_listener *listener = &pod->listeners[i];

		listener->pod = pod;
		listener->fd = fds[i];
		if (fds[i] < 0)
			continue;
		pod->accepting++;
		if (i / 2 == POD_OUTBOUND || i / 2 == POD_SOCKS)
			hb_tcp_prepare(fds[i], &worker->app_leg);
		hb_loop_accept(worker->loop, &listener->accept, fds[i], on_accept);
	}
	hb_list_add(&worker->pods, &pod->node);
	return pod;
}

void pod_refresh(struct pod *pod)
{
	struct worker *worker = pod->worker;
	const struct settings *settings = worker->options.settings;
	struct credential *old;
	char *baggage;

	pod->workload =
	    snapshot_workload_of_pod(worker->snapshot, settings->node_name, pod->spec->ns,
	                             pod->spec->name, pod->spec->service_account);
	old = pod->credential;
	pod->credential =
	    pod->workload ? credentials_get(&worker->credentials, pod->workload->identity) : NULL;
	credentials_put(&worker->credentials, old); /* after: most often it is the same */
	baggage = baggage_format(pod->workload, settings->cluster_id);
	if (baggage) { /* else the old one is better than none */
		free(pod->baggage);
		pod->baggage = baggage;
	}
	if (pod->workload)
		podwait_release(pod);
}

void pod_stop_accepting(struct pod *pod)
{
	for (int i = 0; i < POD_SOCKETS; i++)
		if (pod->listeners[i].fd >= 0)
			hb_loop_accept_stop(&pod->listeners[i].accept);
}

void pod_drain(struct pod *pod)
{
	inbound_drain_all(pod);
}

void pod_abort(struct pod *pod, struct hb_end why)
{
	hb_clutch_for_each(struct flow, flow, &pod->worker->flows.live) if (flow_pod(flow) == pod)
	    flow_abort(flow, why);
	podwait_abort(pod);
	podsocks_abort(pod);
	inbound_close_all(pod, why);
	hb_pool_close_scope(pod->worker->pool, pod->spec->index, why);
}

bool pod_is_idle(const struct pod *pod)
{
	return pod->accepting == 0 && pod->flows == 0 && hb_list_is_empty(&pod->inbounds) &&
	       hb_list_is_empty(&pod->waits) && hb_list_is_empty(&pod->socks);
}

void pod_free(struct pod *pod)
{
	hb_list_remove(&pod->node);
	credentials_put(&pod->worker->credentials, pod->credential);
	pod_spec_unref(pod->spec);
	free(pod->baggage);
	free(pod);
}

struct flow *pod_flow_new(struct pod *pod, enum flow_direction direction)
{
	struct flow *flow;

	if (pod->flows >= POD_FLOWS_MAX) {
		if (!pod->full)
			log_warn("pod has too many connections, refusing more", "pod=%s max=%u",
			         pod->spec->key, POD_FLOWS_MAX);
		metrics_count(pod->worker->metrics, METRIC_CONNECTIONS_REFUSED, "flows");
		pod->full = true;
		return NULL;
	}
	pod->full = false;
	flow = flow_new(&pod->worker->flows, pod, pod->spec->key, direction);
	if (!flow)
		return NULL;
	pod->flows++;
	reclaim_note(&pod->worker->reclaim, 1); /* opening takes memory that idling does not */
	return flow;
}

int pod_socket(const struct pod *pod, int family)
{
	return podnet_socket(pod->spec->net, pod->spec->netns_fd, family);
}

int pod_orig_dst(const struct pod *pod, int fd, struct hb_addr *ret_addr)
{
	return podnet_orig_dst(pod->spec->net, fd, ret_addr);
}

bool pod_port_is_ours(uint16_t port, bool socks5)
{
	return port == POD_PORT_OUTBOUND || port == POD_PORT_PLAIN || port == POD_PORT_HBONE ||
	       (port == POD_PORT_SOCKS && socks5);
}

void pod_unknown_text(const struct pod *pod, char *out, size_t size)
{
	snprintf(out, size, "failed to fetch information about local workload: %s.%s (%s)",
	         pod->spec->service_account, pod->spec->ns, pod->spec->name);
}
