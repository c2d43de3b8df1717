/*
 * recheck: a message with lists, and a timer.
 */
#include "proxy/recheck.h"

#include <time.h>

#define LOG_SCOPE "proxy"
#include "log.h"
#include "proxy/inbound.h"
#include "proxy/worker.h"

#define DATES_MS 30000u

static void recheck(struct worker *worker)
{
	struct hb_tls_crls *crls = worker->recheck.crls;
	int64_t now_s = time(NULL);
	size_t from = 0, to = hb_pool_recheck(worker->pool, crls, now_s);

	hb_list_for_each (node, &worker->pods)
		from += inbound_recheck_all(hb_container_of(node, struct pod, node), now_s);
	if (from + to > 0)
		log_warn("connections with revoked peers ended",
		         "worker=%u inbound=%zu outbound=%zu", worker->options.index, from, to);
}

static void on_dates(struct hb_timer *timer)
{
	struct worker *worker = hb_container_of(timer, struct worker, recheck.timer);

	recheck(worker);
	hb_loop_timer_start(worker->loop, timer, DATES_MS);
}

void recheck_start(struct worker *worker, struct hb_tls_crls *crls)
{
	worker->recheck.crls = hb_tls_crls_ref(crls);
	hb_timer_init(&worker->recheck.timer, on_dates);
	hb_loop_timer_start(worker->loop, &worker->recheck.timer, DATES_MS);
	recheck(worker); /* the pool has to know them */
}

void recheck_stop(struct worker *worker)
{
	if (hb_timer_is_running(&worker->recheck.timer))
		hb_loop_timer_stop(worker->loop, &worker->recheck.timer);
	hb_tls_crls_unref(worker->recheck.crls);
	worker->recheck.crls = NULL;
}

struct told_crls {
	struct hb_msg msg;
	struct worker *worker;
	struct hb_tls_crls *crls;
};

static void on_crls(struct hb_msg *msg)
{
	struct told_crls *told = hb_container_of(msg, struct told_crls, msg);
	struct worker *worker = told->worker;

	hb_tls_crls_unref(worker->recheck.crls);
	worker->recheck.crls = told->crls;
	recheck(worker);
	free(told);
}

int worker_set_crls(struct worker *worker, struct hb_tls_crls *crls)
{
	struct told_crls *told = calloc(1, sizeof(*told));

	if (!told) {
		hb_tls_crls_unref(crls);
		return -ENOMEM;
	}
	told->msg.run = on_crls;
	told->worker = worker;
	told->crls = crls;
	hb_loop_post(worker->loop, &told->msg);
	return 0;
}
