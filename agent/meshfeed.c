/*
 * meshfeed: what is known of the mesh from its file, read at start and again whenever that changes.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "control/meshfile.h"
#define LOG_SCOPE "mesh"
#include "log.h"

#define LOOK_EVERY_MS   200u
#define GIVE_BACK_BYTES (16u << 20)

int agent_publish(struct agent *agent, struct store_changes *ret_changes)
{
	struct snapshot *snapshot;
	int err = store_publish(agent->store, &snapshot, ret_changes);

	if (err < 0)
		return err;
	snapshot_unref(agent->snapshot);
	agent->snapshot = snapshot;
	agent_prefetch(agent);
	for (unsigned i = 0; agent->phase != AGENT_STOP && i < agent->workers_count; i++) {
		if (worker_set_snapshot(agent->workers[i], snapshot_ref(snapshot)) < 0)
			log_error("a worker does not hear of the new mesh", "worker=%u: no memory",
			          i);
	}
	return 0;
}

int agent_start_mesh(struct agent *agent, char *why, size_t why_size)
{
	const struct settings *settings = agent->settings;
	int err = 0;

	if (!*settings->mesh_text && !*settings->mesh_file && !*settings->xds_address) {
		/* In ztunnel's place an empty mesh is one. */
		if (settings->mode == MODE_STANDALONE) {
			snprintf(why, why_size,
			         "no mesh: neither meshFile (or LOCAL_XDS_PATH) nor xdsAddress (or "
			         "XDS_ADDRESS) is set");
			return -EINVAL;
		}
		log_warn("no mesh is configured, nobody is known", "");
	}
	agent->store = store_new(&(struct store_options){ .node = settings->node_name });
	if (!agent->store)
		return -ENOMEM;
	if (*settings->mesh_text) {
		err = meshfile_sync_text(agent->store, "LOCAL_XDS", settings->mesh_text,
		                         strlen(settings->mesh_text), why, why_size);
	} else if (*settings->mesh_file) {
		filewatch_init(&agent->mesh_watch, settings->mesh_file);
		err = meshfile_sync(agent->store, settings->mesh_file, why, why_size);
	}
	return err ? -EINVAL : agent_publish(agent, NULL);
}

void agent_stop_mesh(struct agent *agent)
{
	snapshot_unref(agent->snapshot);
	store_free(agent->store);
}

/* A file that is wrong, or gone, changes nothing. */
static void read_again(struct agent *agent)
{
	struct store_changes changes;
	char why[512] = "";
	int err = meshfile_sync(agent->store, agent->settings->mesh_file, why, sizeof(why));

	if (!err)
		err = agent_publish(agent, &changes);
	if (err) {
		log_error("the mesh file cannot be taken, the mesh stays as it was", "%s",
		          *why ? why : hb_strerror(err));
		return;
	}
	log_info("mesh file read again", "workloads=%zu services=%zu policies=%zu",
	         changes.workloads, changes.services, changes.policies);
}

/* The mesh has shrunk: malloc would keep what it took. */
static void give_back(struct agent *agent)
{
	size_t bytes = store_bytes(agent->store);

	if (agent->mesh_bytes > bytes + GIVE_BACK_BYTES) {
		reclaim_release();
		agent->mesh_bytes = bytes;
	}
	agent->mesh_bytes = bytes > agent->mesh_bytes ? bytes : agent->mesh_bytes;
}

static void on_look(struct hb_timer *timer)
{
	struct agent *agent = hb_container_of(timer, struct agent, mesh_timer);

	if (agent->phase != AGENT_RUN)
		return;
	/* Not into half a response of xDS: its time comes, and the file stays changed. */
	if (*agent->settings->mesh_file && !xdsfeed_is_busy(agent) &&
	    filewatch_has_changed(&agent->mesh_watch))
		read_again(agent);
	store_reap(agent->store); /* what the workers have let go since */
	give_back(agent);
	hb_loop_timer_start(agent->loop, timer, LOOK_EVERY_MS);
}

int agent_start_watch(struct agent *agent, char *why, size_t why_size)
{
	hb_timer_init(&agent->mesh_timer, on_look);
	if (!*agent->settings->mesh_text || agent->xdsfeed.xds)
		hb_loop_timer_start(agent->loop, &agent->mesh_timer, LOOK_EVERY_MS);
	return 0;
}

void agent_stop_watch(struct agent *agent)
{
	if (agent->mesh_timer.on_time && !agent->stuck)
		hb_loop_timer_stop(agent->loop, &agent->mesh_timer);
}
