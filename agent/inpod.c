/*
 * inpod: ZDS's verbs in terms of listeners and workers.
 */
#include "inpod.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "control/zds_link.h"
#define LOG_SCOPE "culvert"
#include "log.h"

struct inpod_pod {
	struct hb_list node; /* leaving, or alone */
	struct pod_spec *spec;
	unsigned waiting; /* workers that still hold it */
	struct worker_ask asks[];
};

static void handed_free(struct inpod_pod *pod)
{
	hb_list_remove(&pod->node);
	pod_spec_unref(pod->spec);
	free(pod);
}

static void on_let_go(struct worker_ask *ask)
{
	struct inpod_pod *pod =
	    hb_container_of(ask - ask->worker->options.index, struct inpod_pod, asks);

	if (--pod->waiting == 0)
		handed_free(pod);
}

/* The agent in a pod of its own would serve itself. */
static bool is_own(const struct zds_netns *netns)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) == 0 && (uint64_t)st.st_dev == netns->dev &&
	       (uint64_t)st.st_ino == netns->ino;
}

static struct inpod_pod *handed_new(struct agent *agent, const struct zds_pod *zds)
{
	struct inpod_pod *pod =
	    calloc(1, sizeof(*pod) + agent->workers_count * sizeof(pod->asks[0]));
	int fd = pod ? fcntl(zds->netns.fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (fd < 0) {
		free(pod);
		return NULL;
	}
	hb_list_init(&pod->node);
	pod->spec = pod_spec_new(++agent->inpod.last_index, zds->ns, zds->name,
	                         zds->service_account, fd, &agent->net);
	if (!pod->spec) {
		free(pod);
		return NULL;
	}
	return pod;
}

static void serve(struct agent *agent, struct inpod_pod *pod, struct listeners *listeners)
{
	int fds[POD_SOCKETS];

	pod->spec->keeps_source = listeners->keeps_source;
	pod->spec->awaits_workload = true;
	for (unsigned i = 0; i < agent->workers_count; i++) {
		int err;

		listeners_take(listeners, i, fds);
		err = worker_add_pod(agent->workers[i], pod_spec_ref(pod->spec), fds);
		if (err < 0)
			log_error("pod is not served by a worker", "pod=%s worker=%u: %s",
			          pod->spec->key, i, hb_strerror(err));
	}
}

static int start_pod(void *owner, struct zds_pod *zds, char *why, size_t why_size)
{
	struct agent *agent = owner;
	struct inpod_pod *pod;
	struct listeners listeners = {
		.netns_fd = zds->netns.fd,
		.workers = agent->workers_count,
		.ipv6 = agent->settings->ipv6,
		.net = &agent->net,
	};
	int err;

	if (is_own(&zds->netns)) {
		snprintf(why, why_size, "its network namespace is the agent's own");
		return -EEXIST;
	}
	pod = handed_new(agent, zds);
	if (!pod) {
		snprintf(why, why_size, "no memory, or no descriptor left");
		return -ENOMEM;
	}
	listeners.pod = pod->spec->key;
	err = listeners_open(&listeners);
	if (err < 0) {
		snprintf(why, why_size, "%s", listeners.reason);
		handed_free(pod);
		return err;
	}
	serve(agent, pod, &listeners);
	listeners_stop(&listeners);
	zds->handle = pod;
	agent->inpod.started++;
	log_info("pod is in the mesh", "pod=%s uid=%s", pod->spec->key, zds->uid);
	return 0;
}

static void stop_pod(void *owner, struct zds_pod *zds)
{
	struct agent *agent = owner;
	struct inpod_pod *pod = hb_take(&zds->handle);

	agent->inpod.stopped++;
	log_info("pod has left the mesh", "pod=%s uid=%s", pod->spec->key, zds->uid);
	hb_list_add(&agent->inpod.leaving, &pod->node);
	pod->waiting = agent->workers_count;
	for (unsigned i = 0; i < agent->workers_count; i++) {
		pod->asks[i].on_answer = on_let_go;
		worker_remove_pod(agent->workers[i], &pod->asks[i], pod->spec);
	}
}

static void on_change(void *owner)
{
	struct agent *agent = owner;
	const struct zds *zds = zds_link_pods(agent->inpod.link);

	if (agent->inpod.said_ready || !zds_is_ready(zds))
		return;
	agent->inpod.said_ready = true;
	agent_say_ready(agent, zds->count);
}

static void on_link_closed(void *owner)
{
	struct agent *agent = owner;

	agent->inpod.link_open = false;
	agent_settle(agent);
}

int inpod_start(struct agent *agent)
{
	static const struct zds_ops ops = { .start = start_pod, .stop = stop_pod };
	struct zds_link_options options = {
		.path = agent->settings->inpod_uds,
		.ops = &ops,
		.on_change = on_change,
		.owner = agent,
	};

	hb_list_init(&agent->inpod.leaving);
	agent->inpod.link = zds_link_new(agent->loop, &options);
	agent->inpod.link_open = agent->inpod.link;
	return agent->inpod.link ? 0 : -ENOMEM;
}

void inpod_leave(struct agent *agent)
{
	if (agent->inpod.link)
		zds_link_close(agent->inpod.link, on_link_closed);
}

bool inpod_is_away(const struct agent *agent)
{
	return !agent->inpod.link_open;
}

uint32_t inpod_index(const struct zds_pod *pod)
{
	return ((const struct inpod_pod *)pod->handle)->spec->index;
}

void inpod_done(struct agent *agent)
{
	if (!agent->inpod.link)
		return;
	hb_list_for_each (node, &zds_link_pods(agent->inpod.link)->pods) {
		struct zds_pod *zds = hb_container_of(node, struct zds_pod, node);

		if (zds->up)
			handed_free(hb_take(&zds->handle));
	}
	zds_link_free(hb_take(&agent->inpod.link));
	hb_list_for_each_safe (node, &agent->inpod.leaving)
		handed_free(hb_container_of(node, struct inpod_pod, node));
}
