/*
 * podlist: standalone and dedicated pods are enrol's, those of shared mode are inpod's.
 */
#include "podlist.h"

#include <stdio.h>

#include "agent.h"
#include "control/zds_link.h"

void podlist_unknown(const struct agent *agent, const char *ns, const char *name,
                     const char *service_account, char *out, size_t size)
{
	const struct snapshot *mesh = agent->snapshot;
	const char *node = agent->settings->node_name;
	const struct workload *other;

	out[0] = '\0';
	if (snapshot_workload_of_pod(mesh, node, ns, name, service_account))
		return;
	other = snapshot_workload_of_pod(mesh, node, ns, name, "");
	if (other) {
		snprintf(out, size,
		         "the mesh says that its service account is %s, and not %s: all its "
		         "connections are refused",
		         other->service_account, service_account);
		return;
	}
	other = snapshot_workload_of_pod(mesh, "", ns, name, "");
	if (other)
		snprintf(out, size,
		         "the mesh says that it is on node %s, and not on %s: all its connections "
		         "are refused",
		         *other->node ? other->node : "(none)", node);
	else
		snprintf(out, size,
		         "the mesh has no workload of this name: all its connections are refused");
}

/* What is wrong with a pod that is up, if its waiting for something did not leave a reason. */
static void show(const struct agent *agent, struct pod_view *view,
                 void (*each)(const struct pod_view *view, void *arg), void *arg)
{
	char why[1024];

	if (view->up && !*view->reason) {
		podlist_unknown(agent, view->ns, view->name, view->service_account, why,
		                sizeof(why));
		view->reason = why;
	}
	each(view, arg);
}

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

		show(agent, &view, each, arg);
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
		show(agent, &view, each, arg);
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
