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
#include "log.h"
#include "metrics.h"

struct gather {
	struct agent *agent;
	struct admin_request *request;
	struct metrics *sum;
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
	struct rusage usage;
	struct rlimit limit;

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

static void show(struct gather *gather)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out) {
		add_process(gather->sum, gather->agent);
		metrics_write(out, gather->sum);
	}
	if (out && fclose(out) == 0)
		admin_reply(gather->request, 200, METRICS_CONTENT_TYPE, text, len);
	else
		admin_reply(gather->request, 500, "text/plain", "no memory\n", 10);
	free(text);
}

static void on_answer(struct worker_ask *ask)
{
	struct worker_metrics *question = hb_container_of(ask, struct worker_metrics, ask);
	unsigned index = ask->worker->options.index;
	struct gather *gather = hb_container_of(question - index, struct gather, questions);

	if (question->copy)
		metrics_merge(gather->sum, question->copy);
	metrics_free(question->copy);
	if (--gather->waiting > 0)
		return;
	show(gather);
	metrics_free(gather->sum);
	free(gather);
}

void scrape_handle(struct admin_request *request, void *owner)
{
	static const char sorry[] = "shutting down, or no memory\n";
	struct agent *agent = owner;
	unsigned count = agent->workers_count;
	struct gather *gather = calloc(1, sizeof(*gather) + count * sizeof(gather->questions[0]));
	struct metrics *sum = gather && agent->phase != AGENT_STOP ? metrics_new() : NULL;

	if (!sum) {
		free(gather);
		admin_reply(request, 503, "text/plain", sorry, sizeof(sorry) - 1);
		return;
	}
	gather->agent = agent;
	gather->request = request;
	gather->sum = sum;
	gather->waiting = gather->count = count;
	for (unsigned i = 0; i < count; i++) {
		gather->questions[i].ask.on_answer = on_answer;
		worker_metrics(agent->workers[i], &gather->questions[i]);
	}
}
