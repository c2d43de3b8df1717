/*
 * culvertd: the agent of a node. This file is its table of contents.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "commandline.h"
#define LOG_SCOPE "culvert"
#include "log.h"

extern char **environ;

/* What comes up in this order goes down in the reverse one. */
static const struct {
	agent_start_fn start;
	agent_stop_fn stop;
} steps[] = {
	{ agent_start_process, NULL },
	{ agent_start_mesh, agent_stop_mesh },
	{ agent_start_loop, agent_stop_loop },
	{ agent_start_redirect, agent_stop_redirect },
	{ agent_start_certs, agent_stop_certs },
	{ agent_start_crls, agent_stop_crls },
	{ agent_start_workers, agent_stop_workers },
	{ agent_start_admin, agent_stop_admin },
	{ agent_start_xds, agent_stop_xds },
	{ agent_start_pods, agent_stop_pods },
	{ agent_start_watch, agent_stop_watch },
};

static void on_unknown_variable(const char *name, void *arg)
{
	log_warn("environment variable is not served", "name=%s", name);
}

static const char *const modes[] = {
	[MODE_STANDALONE] = "standalone",
	[MODE_SHARED] = "shared",
	[MODE_DEDICATED] = "dedicated",
};

static int run(const struct settings *settings)
{
	struct agent agent = { .settings = settings, .signal_fd = -1 };
	char why[512] = "";
	size_t up = 0;
	int err = 0;

	log_info("culvertd starts", "version=%s node=%s mode=%s pods=%zu", CULVERT_VERSION,
	         settings->node_name, modes[settings->mode], settings->pods_count);
	settings_unknown_each(environ, on_unknown_variable, NULL);
	for (; err == 0 && up < HB_ARRAY_LEN(steps); up++)
		err = steps[up].start(&agent, why, sizeof(why));
	if (err < 0)
		fprintf(stderr, "culvertd: %s\n", *why ? why : hb_strerror(err));
	else
		err = hb_loop_run(agent.loop);
	while (up-- > 0)
		if (steps[up].stop)
			steps[up].stop(&agent);
	if (agent.stuck) {
		log_done();
		_exit(EXIT_SYSTEM); /* its threads would trip over what is freed at exit */
	}
	return err == 0 ? 0 : err == -EINVAL ? EXIT_CONFIGURATION : EXIT_SYSTEM;
}

static int check(const struct settings *settings)
{
	struct agent agent = { .settings = settings };
	char why[512] = "";
	int err = agent_check(&agent, why, sizeof(why));

	if (err < 0)
		fprintf(stderr, "culvertd: %s\n", why);
	else
		printf("culvertd: the configuration is good\n");
	return err < 0 ? EXIT_CONFIGURATION : 0;
}

static int start(const char *config, bool only_check)
{
	struct settings *settings = NULL;
	char why[512] = "";
	int status = EXIT_CONFIGURATION;

	if (settings_load(config, environ, &settings, why, sizeof(why)) < 0) {
		fprintf(stderr, "culvertd: %s\n", why);
		return status;
	}
	if (log_init(settings->log, settings->log_json, why, sizeof(why)) < 0) {
		fprintf(stderr, "culvertd: log: %s\n", why);
	} else {
		status = only_check ? check(settings) : run(settings);
		log_done();
	}
	settings_free(settings);
	return status;
}

int main(int argc, char **argv)
{
	struct commandline line;

	return commandline_read(argc, argv, &line) ? start(line.config, line.only_check)
	                                           : line.status;
}
