/*
 * selfpod: see the header.
 */
#include "selfpod.h"

#include "agent.h"
#define LOG_SCOPE "culvert"
#include "log.h"
#include "node/netns.h"

/* Pods of ZDS count up from 1. */
#define SELF_INDEX UINT32_MAX

static void on_ready(struct listeners *listeners)
{
	struct selfpod *self = hb_container_of(listeners, struct selfpod, listeners);
	struct agent *agent = hb_container_of(self, struct agent, self);
	int fds[POD_SOCKETS];

	for (unsigned i = 0; i < agent->workers_count; i++) {
		int err;

		listeners_take(listeners, i, fds);
		err = worker_add_pod(agent->workers[i], pod_spec_ref(self->spec), fds);
		if (err < 0)
			log_error("the agent's own pod is not served by a worker",
			          "pod=%s worker=%u: %s", self->spec->key, i, hb_strerror(err));
	}
	log_info("the agent's own pod is in the mesh", "pod=%s", self->spec->key);
}

int selfpod_start(struct agent *agent)
{
	const struct settings *settings = agent->settings;
	struct selfpod *self = &agent->self;
	int fd;

	if (!*settings->pod_name || !*settings->pod_namespace || !*settings->service_account)
		return 0;
	fd = netns_open("/proc/self/ns/net");
	if (fd < 0)
		return fd;
	self->net = (struct podnet){
		.capture = PODNET_RULES,
		.source = PODNET_SOURCE_NEVER,
		.tunnels_only = true,
	};
	self->spec = pod_spec_new(SELF_INDEX, settings->pod_namespace, settings->pod_name,
	                          settings->service_account, fd, &self->net);
	if (!self->spec)
		return -ENOMEM;
	self->spec->awaits_workload = true;
	self->listeners = (struct listeners){
		.pod = self->spec->key,
		.netns_fd = self->spec->netns_fd,
		.workers = agent->workers_count,
		.ipv6 = settings->ipv6,
		.net = &self->net,
		.on_ready = on_ready,
	};
	listeners_start(&self->listeners, agent->loop);
	return 0;
}

void selfpod_stop_trying(struct agent *agent)
{
	if (agent->self.spec)
		listeners_stop(&agent->self.listeners);
}

void selfpod_done(struct agent *agent)
{
	selfpod_stop_trying(agent);
	pod_spec_unref(hb_take(&agent->self.spec));
}
