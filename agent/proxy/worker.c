/*
 * worker: its thread's life, and the messages it takes.
 */
#include "proxy/worker.h"

#include <string.h>
#include <sys/random.h>

#define LOG_SCOPE "proxy"
#include "config/settings.h"
#include "log.h"

/* In a turn: a signature, or two or three to verify; a quarter of a millisecond at most. */
#define HANDSHAKE_STEPS 1
/* Of one address, where a handshake is two steps: 64 at once, and then 250 a second. */
#define HANDSHAKES_BURST    128
#define HANDSHAKES_EVERY_MS 2
/* A dial is a socket in the pod's namespace and, where the app is near, all of TCP's handshake. */
#define DIALS 4

uint64_t worker_random(struct worker *worker)
{
	/* splitmix64: good enough to spread load and to name traces; nothing secret hangs on it. */
	uint64_t z = worker->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void worker_settle(struct worker *worker)
{
	hb_loop_defer(worker->loop, &worker->settle);
}

static void settle_leaving(struct worker *worker)
{
	hb_list_for_each_safe (node, &worker->pods) {
		struct pod *pod = hb_container_of(node, struct pod, node);
		struct worker_ask *ask = pod->leaving;

		if (!ask || !pod_is_idle(pod))
			continue;
		pod_free(pod);
		worker_answer(ask);
	}
}

static bool is_quiet(const struct worker *worker)
{
	hb_list_for_each (node, &worker->pods)
		if (!pod_is_idle(hb_container_of(node, struct pod, node)))
			return false;
	return worker->flows.count == 0 && worker->setups == 0;
}

static void on_pool_empty(void *owner)
{
	struct worker *worker = owner;

	worker->pool_empty = true;
	worker_settle(worker);
}

static void drain_pool(struct worker *worker)
{
	if (worker->pool_draining)
		return;
	worker->pool_draining = true;
	hb_pool_drain(worker->pool, on_pool_empty, worker);
}

static void on_settle(struct hb_task *task)
{
	struct worker *worker = hb_container_of(task, struct worker, settle);
	struct worker_ask *ask;

	settle_leaving(worker);
	if (worker->phase == WORKER_RUN || !is_quiet(worker))
		return;
	drain_pool(worker);
	if (!worker->pool_empty)
		return;
	ask = hb_take(&worker->drain);
	if (ask)
		worker_answer(ask);
	if (worker->phase == WORKER_STOP)
		hb_loop_stop(worker->loop);
}

static void on_flow_end(void *owner, struct flow *flow)
{
	struct worker *worker = owner;

	flow->path->pod->flows--;
	if (flow->balance_slot)
		worker->balance.flows[flow->balance_slot]--;
	reclaim_note(&worker->reclaim, 1);
	worker_settle(worker);
}

static void on_pool_count(void *owner)
{
	struct worker *worker = owner;

	reclaim_note(&worker->reclaim, RECLAIM_PER_CONNECTION);
}

static void on_release(struct hb_msg *msg)
{
	free(msg);
	reclaim_release();
}

/* By the control loop: malloc goes through the mesh's memory too, 10 ms and more when a large one
 * has just gone. */
static void release(struct reclaim *reclaim)
{
	struct worker *worker = hb_container_of(reclaim, struct worker, reclaim);
	struct hb_msg *msg = calloc(1, sizeof(*msg));

	if (!msg)
		return; /* the next burst asks again */
	msg->run = on_release;
	hb_loop_post(worker->options.control, msg);
}

static int make_socket(void *owner, uint64_t scope, int family)
{
	struct worker *worker = owner;

	hb_list_for_each (node, &worker->pods) {
		struct pod *pod = hb_container_of(node, struct pod, node);

		if (pod->spec->index == scope)
			return pod_socket(pod, family);
	}
	return -ENONET;
}

static void set_legs(struct worker *worker)
{
	const struct settings *settings = worker->options.settings;
	struct hb_tcp_options leg = { .read_max = HB_BUF_READ_MAX };

	worker->peer_leg = (struct hb_tcp_options){ .read_max = HB_BUF_PAYLOAD };
	if (settings->keepalive) {
		leg.keepalive_idle_s = (uint32_t)(settings->keepalive_idle_ms / 1000);
		leg.keepalive_interval_s = (uint32_t)(settings->keepalive_interval_ms / 1000);
		leg.keepalive_probes = settings->keepalive_probes;
	}
	if (settings->user_timeout)
		leg.user_timeout_ms =
		    (uint32_t)(settings->keepalive_idle_ms +
		               settings->keepalive_interval_ms * settings->keepalive_probes);
	worker->mesh_leg = leg;
	worker->app_leg = leg;
	worker->app_leg.unpaced = settings->unpaced_local;
	worker->captured_leg = worker->app_leg;
	worker->captured_leg.inherited = true;
	worker->pool_leg = leg;
	worker->pool_leg.read_max = HB_BUF_PAYLOAD;
}

static bool ask_name(void *owner, const char *name)
{
	const struct worker_options *options = &((struct worker *)owner)->options;

	return options->ask_name(options->owner, options->index, name);
}

static int make_parts(struct worker *worker)
{
	const struct settings *settings = worker->options.settings;
	struct hb_pool_options pool = {
		.h2 = { .stream_window = settings->stream_window,
		        .connection_window = settings->connection_window,
		        .streams_max = settings->pool_streams_max },
		/* 0 would be the pool's default; here it means: at once */
		.idle_ms = settings->pool_idle_ms ? (uint32_t)settings->pool_idle_ms : 1,
		.tcp = &worker->pool_leg,
		.make_socket = make_socket,
		.on_count = on_pool_count,
		.owner = worker,
	};

	worker->loop = hb_loop_new(
	    &(struct hb_loop_options){ .backend = (enum hb_loop_choice)settings->loop_backend });
	if (!worker->loop)
		return errno ? -errno : -ENOMEM;
	worker->metrics = metrics_new();
	worker->flow_metrics = flow_metrics_new();
	if (!worker->metrics || !worker->flow_metrics)
		return -ENOMEM;
	newcomers_init(&worker->newcomers, worker_random(worker));
	hb_pace_init(&worker->handshakes, worker->loop, HANDSHAKE_STEPS);
	hb_pace_limit(&worker->handshakes, HANDSHAKES_BURST, HANDSHAKES_EVERY_MS);
	hb_pace_init(&worker->dials, worker->loop, DIALS);
	flows_init(&worker->flows, worker->loop, worker->options.index + 1, worker->options.count);
	worker->flows.metrics = worker->flow_metrics;
	worker->flows.limits =
	    (struct hb_relay_limits){ .idle_ms = (uint32_t)settings->idle_ms,
		                      .half_closed_ms = (uint32_t)settings->half_closed_ms };
	worker->flows.on_end = on_flow_end;
	worker->flows.owner = worker;
	reclaim_init(&worker->reclaim, worker->loop, RECLAIM_AFTER_MS, release);
	credentials_init(&worker->credentials, worker->loop, worker->options.wish,
	                 worker->options.owner, worker->metrics);
	hb_task_init(&worker->settle, on_settle);
	set_legs(worker);
	worker->pool = hb_pool_new(worker->loop, &pool);
	if (!worker->pool)
		return -ENOMEM;
	demand_init(&worker->demand, worker->loop, worker->metrics,
	            worker->options.ask_name ? ask_name : NULL, worker);
	rejudge_init(&worker->rejudge, worker);
	recheck_start(worker, worker->options.crls);
	return 0;
}

static void free_parts(struct worker *worker)
{
	hb_list_for_each_safe (node, &worker->pods)
		pod_free(hb_container_of(node, struct pod, node));
	if (worker->pool) {
		recheck_stop(worker);
		demand_done(&worker->demand);
		rejudge_stop(&worker->rejudge);
		hb_pool_free(worker->pool);
	}
	if (worker->loop) {
		reclaim_done(&worker->reclaim);
		flows_done(&worker->flows);
		credentials_done(&worker->credentials);
	}
	if (worker->loop && worker->metrics && worker->flow_metrics) {
		hb_pace_done(&worker->handshakes);
		hb_pace_done(&worker->dials);
	}
	metrics_free(worker->metrics);
	flow_metrics_free(worker->flow_metrics);
	hb_loop_free(worker->loop);
	snapshot_unref(worker->snapshot);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct worker_ask *stop;
	int err = make_parts(worker); /* on this thread: a ring belongs to who made it */

	worker->start_error = err;
	sem_post(&worker->started);
	if (err == 0) {
		err = hb_loop_run(worker->loop);
		if (err < 0)
			log_error("worker loop failed", "worker=%u: %s", worker->options.index,
			          hb_strerror(err));
	}
	stop = hb_take(&worker->stop);
	free_parts(worker);
	if (stop)
		worker_answer(stop);
	return NULL;
}

int worker_start(const struct worker_options *options, struct snapshot *snapshot,
                 struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	worker->options = *options;
	worker->snapshot = snapshot_ref(snapshot);
	hb_list_init(&worker->pods);
	sem_init(&worker->started, 0, 0);
	if (getrandom(&worker->random, sizeof(worker->random), 0) < 0)
		worker->random = (uint64_t)(uintptr_t)worker;
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err < 0) {
		free_parts(worker);
		free(worker);
		return err;
	}
	while (sem_wait(&worker->started) < 0 && errno == EINTR)
		;
	err = worker->start_error;
	if (err < 0)
		worker_join(worker);
	else
		*ret_worker = worker;
	return err;
}

void worker_join(struct worker *worker)
{
	if (!worker)
		return;
	pthread_join(worker->thread, NULL);
	sem_destroy(&worker->started);
	free(worker);
}

const char *worker_backend(const struct worker *worker)
{
	return hb_loop_backend(worker->loop);
}

const char *worker_fallback_reason(const struct worker *worker)
{
	return hb_loop_fallback_reason(worker->loop);
}

/*
 * Told: each message is allocated by the sender and freed by the worker.
 */
struct told_pod {
	struct hb_msg msg;
	struct worker *worker;
	struct pod_spec *spec;
	int fds[POD_SOCKETS];
};

static void on_add_pod(struct hb_msg *msg)
{
	struct told_pod *told = hb_container_of(msg, struct told_pod, msg);
	struct worker *worker = told->worker;
	struct pod *pod = pod_new(worker, told->spec, told->fds);

	if (!pod)
		log_error("pod not served by a worker", "worker=%u: no memory",
		          worker->options.index);
	else if (worker->phase != WORKER_RUN)
		pod_stop_accepting(pod);
	free(told);
}

int worker_add_pod(struct worker *worker, struct pod_spec *spec, const int fds[POD_SOCKETS])
{
	struct told_pod *told = calloc(1, sizeof(*told));

	if (!told) {
		for (int i = 0; i < POD_SOCKETS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
		pod_spec_unref(spec);
		return -ENOMEM;
	}
	told->msg.run = on_add_pod;
	told->worker = worker;
	told->spec = spec;
	memcpy(told->fds, fds, sizeof(told->fds));
	hb_loop_post(worker->loop, &told->msg);
	return 0;
}

struct told_snapshot {
	struct hb_msg msg;
	struct worker *worker;
	struct snapshot *snapshot;
};

static void on_snapshot(struct hb_msg *msg)
{
	struct told_snapshot *told = hb_container_of(msg, struct told_snapshot, msg);
	struct worker *worker = told->worker;
	struct snapshot *old = worker->snapshot;

	worker->snapshot = told->snapshot;
	hb_list_for_each (node, &worker->pods)
		pod_refresh(hb_container_of(node, struct pod, node));
	rejudge_look(&worker->rejudge);
	snapshot_unref(old);
	free(told);
}

int worker_set_snapshot(struct worker *worker, struct snapshot *snapshot)
{
	struct told_snapshot *told = calloc(1, sizeof(*told));

	if (!told) {
		snapshot_unref(snapshot);
		return -ENOMEM;
	}
	told->msg.run = on_snapshot;
	told->worker = worker;
	told->snapshot = snapshot;
	hb_loop_post(worker->loop, &told->msg);
	return 0;
}

/*
 * Asked: the same message goes there and back.
 */
static void on_answered(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);

	ask->on_answer(ask);
}

void worker_answer(struct worker_ask *ask)
{
	ask->msg.run = on_answered;
	hb_loop_post(ask->worker->options.control, &ask->msg);
}

void worker_ask(struct worker *worker, struct worker_ask *ask, void (*run)(struct hb_msg *msg))
{
	ask->worker = worker;
	ask->msg.run = run;
	hb_loop_post(worker->loop, &ask->msg);
}

static void on_remove_pod(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);

	hb_list_for_each (node, &ask->worker->pods) {
		struct pod *pod = hb_container_of(node, struct pod, node);

		if (pod->spec != ask->spec || pod->leaving)
			continue;
		pod->leaving = ask;
		pod_stop_accepting(pod);
		pod_abort(pod, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
		worker_settle(ask->worker);
		return;
	}
	worker_answer(ask); /* it was never here */
}

void worker_remove_pod(struct worker *worker, struct worker_ask *ask, struct pod_spec *spec)
{
	ask->spec = spec;
	worker_ask(worker, ask, on_remove_pod);
}

static void on_drain(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);
	struct worker *worker = ask->worker;

	worker->drain = ask;
	worker->phase = WORKER_DRAIN;
	hb_list_for_each_safe (node, &worker->pods) {
		struct pod *pod = hb_container_of(node, struct pod, node);

		pod_stop_accepting(pod);
		pod_drain(pod);
	}
	worker_settle(worker);
}

void worker_drain(struct worker *worker, struct worker_ask *ask)
{
	worker_ask(worker, ask, on_drain);
}

static void on_stop(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);
	struct worker *worker = ask->worker;
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN);
	struct worker_ask *drain = hb_take(&worker->drain);

	if (drain)
		worker_answer(drain);
	worker->stop = ask;
	if (worker->phase == WORKER_RUN)
		hb_list_for_each_safe (node, &worker->pods)
			pod_stop_accepting(hb_container_of(node, struct pod, node));
	worker->phase = WORKER_STOP;
	hb_list_for_each_safe (node, &worker->pods)
		pod_abort(hb_container_of(node, struct pod, node), why);
	drain_pool(worker);
	hb_pool_close_scope(worker->pool, 0, why);
	worker_settle(worker);
}

void worker_stop(struct worker *worker, struct worker_ask *ask)
{
	worker_ask(worker, ask, on_stop);
}
