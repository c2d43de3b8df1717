/*
 * podlist: standalone and dedicated pods are enrol's, those of shared mode are inpod's.
 */
#include "podlist.h"

#include <stdio.h>

#include "agent.h"
#include "control/zds_link.h"

static void each_enrolled(const struct agent *agent,
                          void (*each)(const struct pod_view *view, void *arg), void *arg)
{
	const struct enrolment *all = &agent->enrolment;

	for (size_t i = 0; i < all->count; i++) {
		const struct enrol_pod *pod = &all->pods[i];
		struct pod_view view = {
			.id = pod->key,
			.pod = pod->key,
			.name = pod->setting->name,
			.ns = pod->setting->ns,
			.service_account = pod->setting->service_account,
			.index = (uint32_t)i + 1,
			.up = pod->up,
			.reason = enrol_reason(pod),
		};

		each(&view, arg);
	}
}

static void each_handed_over(const struct agent *agent,
                             void (*each)(const struct pod_view *view, void *arg), void *arg)
{
	hb_list_for_each (node, &zds_link_pods(agent->inpod.link)->pods) {
		const struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);
		char key[ZDS_PACKET_MAX + 2];
		struct pod_view view = {
			.id = pod->uid,
			.pod = key,
			.name = pod->name,
			.ns = pod->ns,
			.service_account = pod->service_account,
			.index = pod->up ? inpod_index(pod) : 0,
			.up = pod->up,
			.reason = pod->reason,
		};

		snprintf(key, sizeof(key), "%s/%s", pod->ns, pod->name);
		each(&view, arg);
	}
}

void podlist_each(const struct agent *agent, void (*each)(const struct pod_view *view, void *arg),
                  void *arg)
{
	if (agent->inpod.link)
		each_handed_over(agent, each, arg);
	else
		each_enrolled(agent, each, arg);
}

const char *podlist_pending(const struct agent *agent)
{
	bool ready = xdsfeed_is_ready(agent);

	if (agent->settings->mode == MODE_SHARED && !ready)
		return "state manager, workload proxy manager";
	if (agent->settings->mode == MODE_SHARED)
		return agent->inpod.link && zds_is_ready(zds_link_pods(agent->inpod.link))
		           ? NULL
		           : "workload proxy manager";
	if (!ready)
		return agent->settings->mode == MODE_DEDICATED ? "proxy, state manager"
		                                               : "pods, state manager";
	if (agent->enrolment.pods && agent->enrolment.up == agent->enrolment.count)
		return NULL;
	return agent->settings->mode == MODE_DEDICATED ? "proxy" : "pods";
}
