/*
 * verdict: see the header.
 */
#include "proxy/verdict.h"

#include <stdio.h>
#include <string.h>

#include <hbone/error.h>

#define LOG_SCOPE "policy"
#include "config/settings.h"
#include "log.h"
#include "metrics.h"
#include "proxy/pod.h"
#include "proxy/strict.h"
#include "proxy/worker.h"

static const char *const reasons[] = {
	[POLICY_DENIED_BY] = "denied",
	[POLICY_NONE_ALLOWED] = "not_allowed",
	[POLICY_MISSING] = "unknown",
};

static void count_dry(struct metrics *metrics, const struct policy *policy, const char *says,
                      const char *identity)
{
	const char *values[] = { NULL, says, identity && *identity ? identity : "unknown" };

	if (!policy)
		return;
	values[0] = policy->key;
	(*metrics_at(metrics, METRIC_POLICY_DRY_RUN, values))++;
}

static void count(struct metrics *metrics, const struct policy_query *query,
                  const struct policy_verdict *verdict)
{
	if (!verdict->allowed) {
		const char *values[] = { verdict->key, reasons[verdict->reason] };

		(*metrics_at(metrics, METRIC_POLICY_DENIED, values))++;
	}
	count_dry(metrics, verdict->audit.denies, "deny", query->identity);
	count_dry(metrics, verdict->audit.allows, "allow", query->identity);
	count_dry(metrics, verdict->audit.lacks, "lacks", query->identity);
}

struct line { /* of the log, about one decision */
	enum log_level level;
	const char *pod, *who;
	char src[HB_ADDR_STRLEN], dst[HB_ADDR_STRLEN];
};

static void tell_dry(const struct line *line, const struct policy *policy, const char *message)
{
	if (policy)
		log_write(line->level, LOG_SCOPE, message,
		          "pod=%s src.addr=%s src.identity=%s dst.addr=%s policy=\"%s\"", line->pod,
		          line->src, line->who, line->dst, policy->key);
}

static void tell(const struct pod *pod, const struct policy_query *query,
                 const struct policy_verdict *verdict, const char *by)
{
	bool loud = pod->worker->options.settings->log_policy_decisions;
	struct line line = {
		.level = loud ? LOG_INFO : LOG_DEBUG,
		.pod = pod->spec->key,
		.who = query->identity && *query->identity ? query->identity : "unknown",
	};

	if (!loud && !log_enabled(LOG_SCOPE, LOG_DEBUG))
		return;
	hb_addr_format(&query->src, line.src, sizeof(line.src));
	hb_addr_format(&query->dst, line.dst, sizeof(line.dst));
	tell_dry(&line, verdict->audit.denies, "dry-run: deny policy match");
	tell_dry(&line, verdict->audit.allows, "dry-run: allow policy match");
	tell_dry(&line, verdict->audit.lacks, "dry-run: no allow policies match");
	log_write(line.level, LOG_SCOPE, verdict->allowed ? "policy allows" : "policy denies",
	          "pod=%s src.addr=%s src.identity=%s dst.addr=%s policy=\"%s\"", line.pod,
	          line.src, line.who, line.dst, by);
}

/* It should have come through a waypoint. */
static bool is_around(const struct pod *pod, const struct policy_query *policy, bool first,
                      struct verdict_words *words)
{
	struct worker *worker = pod->worker;
	const struct settings *settings = worker->options.settings;
	struct strict_query query = {
		.workload = pod->workload,
		.port = policy->dst.port,
		.identity = policy->identity,
		.except = settings->waypoint_strict_except,
		.stands = !first,
	};

	if (!settings->waypoint_strict ||
	    strict_allows(worker->snapshot, &query, words->error, sizeof(words->error)))
		return false;
	if (first)
		metrics_count(worker->metrics, METRIC_AROUND_WAYPOINT,
		              policy->identity && *policy->identity ? "hbone" : "plaintext");
	else
		snprintf(words->by, sizeof(words->by), "waypointStrict");
	return true;
}

static int judge(struct pod *pod, const struct policy_query *query, bool first,
                 struct verdict_words *words)
{
	struct policy_verdict verdict;
	int len;

	policy_judge(pod->worker->snapshot, pod->workload, query, &verdict);
	policy_verdict_explain(&verdict, words->by, sizeof(words->by));
	words->error[0] = 0;
	if (first)
		tell(pod, query, &verdict, words->by);
	if (first)
		count(pod->worker->metrics, query, &verdict);
	if (verdict.allowed)
		return is_around(pod, query, first, words) ? HB_E_POLICY : 0;
	len = snprintf(words->error, sizeof(words->error),
	               "connection closed due to policy rejection: ");
	policy_verdict_format(&verdict, words->error + len, sizeof(words->error) - (size_t)len);
	return HB_E_POLICY;
}

int verdict_first(struct pod *pod, const struct policy_query *query,
                  struct verdict_words *ret_words)
{
	return judge(pod, query, true, ret_words);
}

int verdict_again(struct pod *pod, const struct policy_query *query,
                  struct verdict_words *ret_words)
{
	struct policy_query standing = *query;

	standing.stands = true;
	return judge(pod, &standing, false, ret_words);
}
