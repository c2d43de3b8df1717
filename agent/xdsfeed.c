/*
 * xdsfeed: from settings to a channel and a client on it, and from there to the workers.
 */
#include "xdsfeed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent.h"
#include "control/xds.h"
#include "control/xds_node.h"
#define LOG_SCOPE "xds"
#include "log.h"
#include "metrics.h"
#include "proxy/flowdump.h"

extern char **environ;

/* @headers: what the config points to until it has been copied. */
static void config_read(const struct agent *agent, struct grpc_channel_config *config,
                        struct grpc_header headers[SETTING_HEADERS_MAX])
{
	const struct settings *settings = agent->settings;

	*config = (struct grpc_channel_config){
		.url = settings->xds_address,
		.roots = settings->xds_root_ca,
		.alt_host = settings->alt_xds_hostname,
		.token = settings->auth_token,
		.cluster_id = settings->cluster_id,
		.tls12 = settings->tls12,
		.pqc = settings->pqc,
		.headers = headers,
		.headers_count = settings->xds_headers.count,
	};
	for (size_t i = 0; i < config->headers_count; i++)
		headers[i] = (struct grpc_header){ settings->xds_headers.list[i].name,
			                           settings->xds_headers.list[i].value };
}

int xdsfeed_check(const struct agent *agent, char *why, size_t why_size)
{
	struct grpc_channel_config config;
	struct grpc_header headers[SETTING_HEADERS_MAX];
	struct lookups lookups = { 0 }; /* nothing is looked up, but could be */
	char what[256];

	if (!*agent->settings->xds_address)
		return 0;
	config_read(agent, &config, headers);
	config.resolver = lookups_of(&lookups);
	if (grpc_channel_check(&config, what, sizeof(what)) < 0) {
		snprintf(why, why_size, "xdsAddress (or XDS_ADDRESS): %s", what);
		return -EINVAL;
	}
	return 0;
}

static void on_skipped(void *owner, const char *key, const char *why)
{
	log_warn("metadata of this agent is left out", "key=%s: %s", key, why);
}

static int node_make(struct agent *agent)
{
	const struct settings *settings = agent->settings;
	struct xds_node_options options = {
		.instance_ip = settings->instance_ip,
		.pod_name = settings->pod_name,
		.pod_namespace = settings->pod_namespace,
		.node_name = settings->node_name,
		.metadata = settings->metadata,
		.metadata_count = settings->metadata_count,
		.environ_ = environ,
		.on_skipped = on_skipped,
	};

	agent->xdsfeed.node = xds_node_new(&options, &agent->xdsfeed.node_size);
	return agent->xdsfeed.node ? 0 : -ENOMEM;
}

static int on_publish(void *owner, const struct xds_push *push)
{
	struct keeper *keeper = &((struct agent *)owner)->xdsfeed.keeper;
	struct store_changes changes;
	int err = agent_publish(owner, &changes);

	if (!err && keeper->state && push->type != XDS_TYPES) {
		laststate_confirm(keeper->state, keeper_now_ms());
		keeper_kick(keeper);
	}
	if (!err && push->type == XDS_AUTHORIZATION && changes.policies)
		log_info("policies have changed", "changed=%zu", changes.policies);
	return err;
}

static void on_ready(void *owner)
{
	struct agent *agent = owner;
	char why[256] = "";

	if (agent->phase != AGENT_RUN)
		return;
	if (xds_view(agent->xdsfeed.xds)->from_known)
		log_warn("the xds server does not answer, serving what was known",
		         "server=%s known_seconds_ago=%llu resources=%zu",
		         grpc_channel_target(agent->xdsfeed.channel),
		         (unsigned long long)keeper_restored_age_s(&agent->xdsfeed.keeper),
		         xds_view(agent->xdsfeed.xds)->restored);
	if (agent_begin_pods(agent, why, sizeof(why)) == 0)
		return;
	log_error("the mesh is known but pods cannot begin, ending", "%s", why);
	agent_shutdown(agent);
}

/* Before the server has told all, a file would hold half of the mesh. */
static bool is_whole(void *owner)
{
	const struct agent *agent = owner;

	return agent->xdsfeed.xds && xds_is_ready(agent->xdsfeed.xds) && !xdsfeed_is_busy(agent);
}

static bool is_current(void *owner)
{
	const struct xds_view *view = xds_view(((struct agent *)owner)->xdsfeed.xds);

	return view->state == XDS_CONNECTED && !view->from_known;
}

static int keeper_make(struct agent *agent)
{
	struct keeper *keeper = &agent->xdsfeed.keeper;

	keeper->is_whole = is_whole;
	keeper->is_current = is_current;
	keeper->owner = agent;
	return keeper_open(keeper, agent->loop, agent->settings->state_dir, "mesh",
	                   grpc_channel_target(agent->xdsfeed.channel),
	                   agent->settings->cluster_id);
}

/* Nodes that start together shall not wait alike. */
static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK); /* any value will do */
	return seed;
}

bool xdsfeed_is_on_demand(const struct settings *settings)
{
	return *settings->xds_address && settings->xds_on_demand;
}

static int client_make(struct agent *agent)
{
	struct xdsfeed *feed = &agent->xdsfeed;
	struct xds_options options = {
		.channel = feed->channel,
		.store = agent->store,
		.on_demand = xdsfeed_is_on_demand(agent->settings),
		.seed = random_seed(),
		.on_publish = on_publish,
		.on_ready = on_ready,
		.owner = agent,
	};

	feed->metrics = metrics_new();
	if (!feed->metrics || node_make(agent) < 0 || keeper_make(agent) < 0)
		return -ENOMEM;
	options.known = feed->keeper.state;
	options.metrics = feed->metrics;
	options.node = feed->node;
	options.node_size = feed->node_size;
	feed->xds = xds_new(agent->loop, &options);
	return feed->xds ? 0 : -ENOMEM;
}

int agent_start_xds(struct agent *agent, char *why, size_t why_size)
{
	struct xdsfeed *feed = &agent->xdsfeed;
	struct grpc_channel_config config;
	struct grpc_header headers[SETTING_HEADERS_MAX];
	int err;

	if (!*agent->settings->xds_address)
		return 0;
	err = xdsfeed_check(agent, why, why_size);
	if (err)
		return err;
	config_read(agent, &config, headers);
	lookups_init(&feed->lookups, agent->resolver, agent->loop);
	config.resolver = lookups_of(&feed->lookups);
	feed->channel = grpc_channel_new(agent->loop, &config, why, why_size);
	if (!feed->channel)
		return -EINVAL;
	log_info("the mesh comes from the xds server", "server=%s",
	         grpc_channel_target(feed->channel));
	return client_make(agent);
}

static void on_channel_closed(void *owner)
{
	((struct agent *)owner)->xdsfeed.channel = NULL;
}

void agent_stop_xds(struct agent *agent)
{
	struct xdsfeed *feed = &agent->xdsfeed;

	if (agent->stuck)
		return;
	keeper_close(&feed->keeper);
	agent_forget_names(agent);
	xds_free(hb_take(&feed->xds));
	if (feed->channel)
		grpc_channel_close(feed->channel, on_channel_closed, agent);
	while (feed->channel && hb_loop_turn(agent->loop, 100) == 0)
		;
	free(hb_take(&feed->node));
	metrics_free(hb_take(&feed->metrics));
}

bool xdsfeed_is_ready(const struct agent *agent)
{
	return !agent->xdsfeed.xds || xds_is_ready(agent->xdsfeed.xds);
}

bool xdsfeed_is_busy(const struct agent *agent)
{
	return agent->xdsfeed.xds && xds_is_busy(agent->xdsfeed.xds);
}

/* What is on the disk, and whether it is what is served. */
static void write_known(FILE *out, const struct xdsfeed *feed, const struct xds_view *view)
{
	struct laststate_report report = laststate_report(feed->keeper.state);
	uint64_t now = keeper_now_ms();

	fputs(",\"lastKnown\":{\"file\":", out);
	flowdump_text(out, report.path);
	fprintf(out, ",\"records\":%zu,\"written\":%s,\"failures\":%llu", report.records,
	        report.is_dirty || report.is_writing ? "false" : "true",
	        (unsigned long long)report.failures);
	if (report.as_of_ms)
		fprintf(out, ",\"knownSecondsAgo\":%llu",
		        (unsigned long long)(now > report.as_of_ms ? (now - report.as_of_ms) / 1000
		                                                   : 0));
	fprintf(out, ",\"serving\":%s", view->from_known ? "true" : "false");
	if (view->from_known)
		fprintf(out, ",\"servingSecondsOld\":%llu",
		        (unsigned long long)keeper_restored_age_s(&feed->keeper));
	fputc('}', out);
}

void xdsfeed_count(const struct agent *agent, struct metrics *metrics)
{
	static const char *const state = "mesh";
	const struct xdsfeed *feed = &agent->xdsfeed;
	struct laststate_report report;

	if (!feed->xds)
		return;
	report = laststate_report(feed->keeper.state);
	metrics_merge(metrics, feed->metrics);
	*metrics_at(metrics, METRIC_KNOWN_SERVED, &state) =
	    xds_view(feed->xds)->from_known ? report.restored_as_of_ms / 1000 : 0;
	*metrics_at(metrics, METRIC_KNOWN_FAILURES, &state) = report.failures;
}

void xdsfeed_write(FILE *out, const struct agent *agent)
{
	static const char *const states[] = { "waiting", "connecting", "connected" };
	uint64_t now = hb_loop_now_ms(agent->loop);
	const struct xds_view *view;

	if (!agent->xdsfeed.xds) {
		fputs("null", out);
		return;
	}
	view = xds_view(agent->xdsfeed.xds);
	fputs("{\"server\":", out);
	flowdump_text(out, grpc_channel_target(agent->xdsfeed.channel));
	fprintf(out, ",\"state\":\"%s\",\"forSeconds\":%llu", states[view->state],
	        (unsigned long long)(now - view->since_ms) / 1000);
	if (view->last_message_ms)
		fprintf(out, ",\"lastMessageSecondsAgo\":%llu",
		        (unsigned long long)(now - view->last_message_ms) / 1000);
	fprintf(out, ",\"connects\":%llu,\"ready\":%s", (unsigned long long)view->connects,
	        xds_is_ready(agent->xdsfeed.xds) ? "true" : "false");
	fprintf(out, ",\"resources\":{\"addresses\":%zu,\"policies\":%zu}",
	        view->resources[XDS_ADDRESS], view->resources[XDS_AUTHORIZATION]);
	write_known(out, &agent->xdsfeed, view);
	fputs(",\"lastNack\":", out);
	flowdump_text(out, view->last_nack);
	fputs(",\"lastEnd\":", out);
	flowdump_text(out, view->last_end);
	fputc('}', out);
}
