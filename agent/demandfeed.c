/*
 * demandfeed: what workers' connections wait for, from the workers to the client of xDS, and the
 * answers back: behind the snapshot that has what they brought.
 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "control/xds.h"
#define LOG_SCOPE "xds"
#include "log.h"

struct question {
	struct hb_msg msg;
	struct hb_list node; /* the feed's */
	struct xds_want want;
	struct agent *agent;
	unsigned worker;
	char name[];
};

static void answer(struct question *question, int err)
{
	struct agent *agent = question->agent;

	hb_list_remove(&question->node);
	if (agent->phase != AGENT_STOP && question->worker < agent->workers_count &&
	    worker_answer_name(agent->workers[question->worker], question->name, err) < 0)
		log_error("a worker does not hear of what it has asked for",
		          "worker=%u name=%s: no memory", question->worker, question->name);
	free(question);
}

static void on_done(struct xds_want *want, int err)
{
	struct question *question = hb_container_of(want, struct question, want);

	if (err < 0)
		log_warn("the xds server does not say what a name is", "name=%s: %s",
		         question->name, hb_strerror(err));
	answer(question, err);
}

static void on_question(struct hb_msg *msg)
{
	struct question *question = hb_container_of(msg, struct question, msg);
	struct xdsfeed *feed = &question->agent->xdsfeed;

	if (!feed->names.next)
		hb_list_init(&feed->names);
	hb_list_add(&feed->names, &question->node);
	if (feed->xds && question->agent->phase != AGENT_STOP)
		xds_want_start(feed->xds, &question->want, question->name, DEMAND_WAIT_MS, on_done);
	else
		answer(question, -ECANCELED);
}

bool agent_ask_name(void *owner, unsigned worker, const char *name)
{
	struct agent *agent = owner;
	size_t size = strlen(name) + 1;
	struct question *question = calloc(1, sizeof(*question) + size);

	if (!question)
		return false;
	question->msg.run = on_question;
	hb_list_init(&question->node);
	question->agent = agent;
	question->worker = worker;
	memcpy(question->name, name, size);
	hb_loop_post(agent->loop, &question->msg);
	return true;
}

void agent_forget_names(struct agent *agent)
{
	struct hb_list *names = &agent->xdsfeed.names;

	if (!names->next)
		return;
	hb_list_for_each_safe (node, names) {
		struct question *question = hb_container_of(node, struct question, node);

		xds_want_cancel(&question->want);
		hb_list_remove(&question->node);
		free(question);
	}
}
