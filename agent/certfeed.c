/*
 * certfeed: where certificates come from, how they get to the workers, and how the workers' wishes
 * get back.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "control/fakesource.h"
#include "control/filesource.h"
#define LOG_SCOPE "culvert"
#include "log.h"

static int tell_worker(struct worker *worker, const struct certmanager_news *news)
{
	if (news->ctx)
		return worker_set_credential(worker, news->identity, hb_tls_ctx_ref(news->ctx));
	if (news->why)
		return worker_refuse_credential(worker, news->identity, news->why);
	return worker_forget_credential(worker, news->identity);
}

static void on_news(void *owner, const struct certmanager_news *news)
{
	struct agent *agent = owner;

	if (news->forgotten)
		cafeed_forget(agent, news->identity);
	for (unsigned i = 0; agent->phase != AGENT_STOP && i < agent->workers_count; i++)
		if (tell_worker(agent->workers[i], news) < 0)
			log_error("a worker does not hear of a certificate",
			          "worker=%u identity=%s: no memory", i, news->identity);
	hb_tls_ctx_unref(news->ctx);
}

struct wish {
	struct hb_msg msg;
	struct agent *agent;
	enum credential_wish what;
	char identity[];
};

static void fulfil(struct agent *agent, const struct wish *wish)
{
	struct certmanager_news refusal = { .identity = wish->identity };
	int err = 0;

	switch (wish->what) {
	case CREDENTIAL_HOLD:
		err = certmanager_hold(agent->certs, wish->identity, CERT_WARMUP);
		break;
	case CREDENTIAL_RELEASE:
		certmanager_release(agent->certs, wish->identity);
		break;
	case CREDENTIAL_DEMAND:
		err = certmanager_demand(agent->certs, wish->identity);
		break;
	}
	if (err == 0)
		return;
	log_error("no certificate", "identity=%s: %s", wish->identity, hb_strerror(err));
	refusal.why = hb_strerror(err);
	on_news(agent, &refusal);
}

static void on_wish(struct hb_msg *msg)
{
	struct wish *wish = hb_container_of(msg, struct wish, msg);

	if (wish->agent->phase != AGENT_STOP)
		fulfil(wish->agent, wish);
	free(wish);
}

/* On a worker's thread. */
bool agent_wish(void *owner, const char *identity, enum credential_wish what)
{
	struct agent *agent = owner;
	size_t size = strlen(identity) + 1;
	struct wish *wish = calloc(1, sizeof(*wish) + size);

	if (!wish)
		return false; /* those who wait for it hear so at their deadline */
	wish->msg.run = on_wish;
	wish->agent = agent;
	wish->what = what;
	memcpy(wish->identity, identity, size);
	hb_loop_post(agent->loop, &wish->msg);
	return true;
}

static int fake_source(struct agent *agent, struct cert_source **ret_source, char *why,
                       size_t why_size)
{
	const struct settings *settings = agent->settings;
	struct fakesource_options options = {
		.ca_cert = settings->fake_ca_cert,
		.ca_key = settings->fake_ca_key,
		.state_dir = settings->state_dir,
		.ttl_s = (uint32_t)(settings->secret_ttl_ms / 1000),
	};

	log_warn("certificates come from the built-in CA, which is not for production", "");
	return fakesource_new(agent->loop, &options, ret_source, why, why_size);
}

static int file_source(struct agent *agent, struct cert_source **ret_source)
{
	const struct settings *settings = agent->settings;
	struct filesource_options options = {
		.chain = settings->cert_file,
		.key = settings->cert_key_file,
		.roots = settings->cert_roots_file,
	};

	*ret_source = filesource_new(agent->loop, &options);
	return *ret_source ? 0 : -ENOMEM;
}

static int make_source(struct agent *agent, struct cert_source **ret_source, char *why,
                       size_t why_size)
{
	if (agent->settings->fake_ca)
		return fake_source(agent, ret_source, why, why_size);
	if (*agent->settings->cert_file)
		return file_source(agent, ret_source);
	if (cafeed_is_used(agent->settings))
		return cafeed_open(agent, ret_source, why, why_size);
	snprintf(
	    why, why_size,
	    "no certificate authority: caAddress (or CA_ADDRESS) and certFile are not set, and "
	    "fakeCa (or FAKE_CA) is not true");
	return -EINVAL;
}

/* Elsewhere the pods that will come are those of the settings, and have come. */
void agent_prefetch(struct agent *agent)
{
	if (!agent->certs || agent->settings->mode != MODE_SHARED)
		return;
	if (prefetch_update(&agent->prefetch, agent->certs, agent->snapshot) < 0)
		log_warn("certificates are asked for when pods come, not before", "no memory");
}

int agent_start_certs(struct agent *agent, char *why, size_t why_size)
{
	struct certmanager_options options = {
		.profile = agent_tls_profile(agent->settings),
		.on_news = on_news,
		.owner = agent,
	};
	int err = agent_check_settings(agent->settings, why, why_size);

	if (err == 0)
		err = make_source(agent, &options.source, why, why_size);
	if (err < 0)
		return err;
	agent->certs = certmanager_new(agent->loop, &options);
	if (!agent->certs)
		return -ENOMEM;
	agent_prefetch(agent);
	return 0;
}

void agent_stop_certs(struct agent *agent)
{
	prefetch_done(&agent->prefetch);
	if (agent->stuck)
		return;
	certmanager_free(agent->certs);
	cafeed_close(agent);
}
