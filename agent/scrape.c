/*
 * scrape: every worker is asked for a copy of its set; the last one to answer has it shown.
 */
#include "scrape.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "admin.h"
#include "agent.h"
#include "control/zds_link.h"
#include "log.h"
#include "metrics.h"

struct gather {
	struct agent *agent;
	struct admin_request *request;
	struct metrics *sum;
	struct flow_metrics *flows;
	enum metrics_format format;
	bool failed; /* a worker had no memory for its answer */
	unsigned waiting, count;
	struct worker_metrics questions[];
};

static void set(struct metrics *metrics, enum metric metric, uint64_t number)
{
	*metrics_at(metrics, metric, NULL) = number;
}

static uint64_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count < 3 ? 0 : count - 3; /* ".", ".." and the directory itself */
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	if (!statm)
		return 0;
	if (fscanf(statm, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(statm);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t ms_of(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_usec / 1000;
}

static void add_process(struct metrics *metrics, const struct agent *agent)
{
	const char *control = "control";
	struct rusage usage;
	struct rlimit limit;

	*metrics_at(metrics, METRIC_LONGEST_TURN, &control) = hb_loop_longest_turn_us(agent->loop);
	set(metrics, METRIC_ADMIN_REFUSED, admin_refused(agent->admin));
	set(metrics, METRIC_LOG_DROPPED, log_dropped());
	set(metrics, METRIC_LOG_SUPPRESSED, log_suppressed());
	set(metrics, METRIC_OPEN_FDS, open_fds());
	set(metrics, METRIC_RESIDENT, resident_bytes());
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		set(metrics, METRIC_CPU, ms_of(&usage.ru_utime) + ms_of(&usage.ru_stime));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		set(metrics, METRIC_MAX_FDS, limit.rlim_cur);
}

/* As ztunnel has them: pods that istio-cni hands over. */
static void add_pods(struct metrics *metrics, const struct inpod *inpod)
{
	const struct zds *zds = inpod->link ? zds_link_pods(inpod->link) : NULL;

	if (!zds)
		return;
	set(metrics, METRIC_PODS_ACTIVE, zds->count - zds->pending);
	set(metrics, METRIC_PODS_PENDING, zds->pending);
	set(metrics, METRIC_PODS_STARTED, inpod->started);
	set(metrics, METRIC_PODS_STOPPED, inpod->stopped);
}

static void add_cert(const struct certmanager_row *row, void *arg)
{
	static const char *const states[] = { [CERT_INITIALIZING] = "initializing",
		                              [CERT_AVAILABLE] = "available",
		                              [CERT_UNAVAILABLE] = "unavailable" };
	struct metrics *metrics = arg;

	++*metrics_at(metrics, METRIC_CERTS, &states[row->code]);
	if (row->issued)
		*metrics_at(metrics, METRIC_CERT_ENDS, &row->identity) =
		    (uint64_t)row->issued->certs[0].not_after_s;
}

static void add_certs(struct metrics *metrics, const struct certmanager *certs)
{
	static const char *const issued = "issued", *const failed = "failed";
	struct certmanager_counts counts = certmanager_counts(certs);

	certmanager_each(certs, add_cert, metrics);
	*metrics_at(metrics, METRIC_CERT_REQUESTS, &issued) = counts.issued;
	*metrics_at(metrics, METRIC_CERT_REQUESTS, &failed) = counts.failed;
}

/* Dashboards look for ztunnel, by that name. */
static void add_build(struct metrics *metrics, const struct settings *settings)
{
	const char *values[] = { "ztunnel", settings->istio_version };

	*metrics_at(metrics, METRIC_BUILD, values) = 1;
}

static void write_all(FILE *out, const struct gather *gather)
{
	const struct agent *agent = gather->agent;

	add_build(gather->sum, agent->settings);
	add_pods(gather->sum, &agent->inpod);
	add_certs(gather->sum, agent->certs);
	add_process(gather->sum, agent);
	xdsfeed_count(agent, gather->sum);
	cafeed_count(agent, gather->sum);
	flow_metrics_report(gather->flows, gather->sum);
	flow_metrics_write(out, gather->format, gather->flows);
	metrics_write(out, gather->format, gather->sum);
	metrics_write_end(out, gather->format);
}

static void show(struct gather *gather)
{
	char *text = NULL;
	size_t len = 0;
	/* A scrape that lacks something would read as a reset of its counters. */
	FILE *out = gather->failed ? NULL : open_memstream(&text, &len);

	if (out)
		write_all(out, gather);
	if (out && fclose(out) == 0)
		admin_reply(gather->request, 200, metrics_content_type(gather->format), text, len);
	else
		admin_reply(gather->request, 500, "text/plain", "no memory\n", 10);
	free(text);
}

static void gather_free(struct gather *gather)
{
	if (!gather)
		return;
	metrics_free(gather->sum);
	flow_metrics_free(gather->flows);
	free(gather);
}

static void on_answer(struct worker_ask *ask)
{
	struct worker_metrics *question = hb_container_of(ask, struct worker_metrics, ask);
	unsigned index = ask->worker->options.index;
	struct gather *gather = hb_container_of(question - index, struct gather, questions);

	if (question->copy && question->flows)
		metrics_merge(gather->sum, question->copy);
	if (!question->copy || !question->flows ||
	    flow_metrics_merge(gather->flows, question->flows) < 0)
		gather->failed = true;
	metrics_free(question->copy);
	flow_metrics_free(question->flows);
	if (--gather->waiting > 0)
		return;
	show(gather);
	gather_free(gather);
}

static struct gather *gather_new(struct agent *agent, struct admin_request *request)
{
	unsigned count = agent->workers_count;
	struct gather *gather = calloc(1, sizeof(*gather) + count * sizeof(gather->questions[0]));

	if (!gather)
		return NULL;
	gather->agent = agent;
	gather->request = request;
	gather->format = metrics_format_of(admin_accept(request));
	gather->waiting = gather->count = count;
	gather->sum = metrics_new();
	gather->flows = flow_metrics_new();
	if (gather->sum && gather->flows)
		return gather;
	gather_free(gather);
	return NULL;
}

void scrape_handle(struct admin_request *request, void *owner)
{
	static const char sorry[] = "shutting down, or no memory\n";
	struct agent *agent = owner;
	struct gather *gather = agent->phase != AGENT_STOP ? gather_new(agent, request) : NULL;

	if (!gather) {
		admin_reply(request, 503, "text/plain", sorry, sizeof(sorry) - 1);
		return;
	}
	for (unsigned i = 0; i < gather->count; i++) {
		gather->questions[i].ask.on_answer = on_answer;
		worker_metrics(agent->workers[i], &gather->questions[i]);
	}
}
