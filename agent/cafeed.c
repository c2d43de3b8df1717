/*
 * cafeed: from settings to a channel, and a source on it.
 */
#include "cafeed.h"

#include <stdio.h>

#include "agent.h"
#include "control/ca.h"
#include "control/keptsource.h"
#define LOG_SCOPE "identity"
#include "log.h"
#include "metrics.h"

_Static_assert(SETTING_HEADERS_MAX <= GRPC_HEADERS_MAX, "what may be set can be sent");

/* @headers: what @ret_config points to until it has been copied. */
static void config_read(const struct settings *settings,
                        struct grpc_header headers[SETTING_HEADERS_MAX],
                        struct grpc_channel_config *ret_config)
{
	const struct setting_headers *set = &settings->ca_headers;

	for (size_t i = 0; i < set->count; i++)
		headers[i] = (struct grpc_header){ set->list[i].name, set->list[i].value };
	*ret_config = (struct grpc_channel_config){
		.url = settings->ca_address,
		.roots = settings->ca_root_ca,
		.alt_host = settings->alt_ca_hostname,
		.token = settings->auth_token,
		.cluster_id = settings->cluster_id,
		.headers = headers,
		.headers_count = set->count,
		.tls12 = settings->tls12,
		.pqc = settings->pqc,
	};
}

bool cafeed_is_used(const struct settings *settings)
{
	return *settings->ca_address && !settings->fake_ca && !*settings->cert_file;
}

int cafeed_check(const struct agent *agent, char *why, size_t why_size)
{
	struct grpc_header headers[SETTING_HEADERS_MAX];
	struct lookups lookups = { 0 }; /* nothing is looked up, but could be */
	struct grpc_channel_config config;
	char what[256];

	if (!cafeed_is_used(agent->settings))
		return 0;
	config_read(agent->settings, headers, &config);
	config.resolver = lookups_of(&lookups);
	if (grpc_channel_check(&config, what, sizeof(what)) == 0)
		return 0;
	snprintf(why, why_size, "caAddress (or CA_ADDRESS): %s", what);
	return -EINVAL;
}

/* Each certificate stands for itself, and says itself until when it is good. */
static bool is_whole(void *owner)
{
	return true;
}

static bool is_current(void *owner)
{
	return false;
}

static void on_kept(void *owner)
{
	keeper_kick(owner);
}

/* Takes @source. */
static struct cert_source *keep(struct agent *agent, struct cert_source *source)
{
	struct cafeed *feed = &agent->cafeed;
	struct keptsource_options options = {
		.source = source,
		.on_change = on_kept,
		.owner = &feed->keeper,
	};

	feed->keeper.is_whole = is_whole;
	feed->keeper.is_current = is_current;
	if (keeper_open(&feed->keeper, agent->loop, agent->settings->state_dir, KEPTSOURCE_NAME,
	                grpc_channel_target(feed->channel), agent->settings->cluster_id) < 0) {
		source->ops->free(source);
		return NULL;
	}
	options.known = feed->keeper.state;
	feed->kept = keptsource_new(agent->loop, &options);
	if (feed->kept && keptsource_counts(feed->kept).found)
		log_info("certificates were kept, and are used until they are renewed",
		         "certificates=%zu known_seconds_ago=%llu",
		         keptsource_counts(feed->kept).found,
		         (unsigned long long)keeper_restored_age_s(&feed->keeper));
	keeper_kick(&feed->keeper); /* what could not be used is not to stay there */
	return feed->kept;
}

int cafeed_open(struct agent *agent, struct cert_source **ret_source, char *why, size_t why_size)
{
	const struct settings *settings = agent->settings;
	struct cafeed *feed = &agent->cafeed;
	struct grpc_header headers[SETTING_HEADERS_MAX];
	struct grpc_channel_config config;
	struct ca_options options = {
		/* One token for all pods of the node; a dedicated agent has its pod's own. */
		.impersonate = settings->mode != MODE_DEDICATED,
		.ttl_s = (uint32_t)(settings->secret_ttl_ms / 1000),
	};
	int err = cafeed_check(agent, why, why_size);

	if (err < 0)
		return err;
	lookups_init(&feed->lookups, agent->resolver, agent->loop);
	config_read(settings, headers, &config);
	config.resolver = lookups_of(&feed->lookups);
	feed->channel = grpc_channel_new(agent->loop, &config, why, why_size);
	if (!feed->channel)
		return -EINVAL;
	options.channel = feed->channel;
	*ret_source = ca_source_new(&options);
	if (*ret_source)
		*ret_source = keep(agent, *ret_source);
	if (!*ret_source)
		return -ENOMEM;
	log_info("certificates come from the CA", "server=%s", grpc_channel_target(feed->channel));
	return 0;
}

static void on_channel_closed(void *owner)
{
	((struct agent *)owner)->cafeed.channel = NULL;
}

void cafeed_forget(struct agent *agent, const char *identity)
{
	/* On the way down pods go, but may be there again at the next start. */
	if (agent->cafeed.kept && agent->phase == AGENT_RUN)
		keptsource_forget(agent->cafeed.kept, identity);
}

void cafeed_count(const struct agent *agent, struct metrics *metrics)
{
	static const char *const state = KEPTSOURCE_NAME;

	if (!agent->cafeed.kept)
		return;
	*metrics_at(metrics, METRIC_KNOWN_FAILURES, &state) =
	    laststate_report(agent->cafeed.keeper.state).failures;
	*metrics_at(metrics, METRIC_KNOWN_CERTS_USED, NULL) =
	    keptsource_counts(agent->cafeed.kept).used;
}

void cafeed_close(struct agent *agent)
{
	agent->cafeed.kept = NULL;
	keeper_close(&agent->cafeed.keeper);
	if (!agent->cafeed.channel)
		return;
	grpc_channel_close(agent->cafeed.channel, on_channel_closed, agent);
	while (agent->cafeed.channel && hb_loop_turn(agent->loop, 100) == 0)
		;
}
