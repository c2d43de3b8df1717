/*
 * podwait: a descriptor, a port, a timer.
 */
#include "proxy/podwait.h"

#include "proxy/discard.h"
#include "proxy/pod.h"
#include "proxy/worker.h"

struct wait {
	struct hb_list node;
	struct hb_timer deadline;
	struct pod *pod;
	int port, fd;
};

/* Its descriptor; the wait is gone. */
static int take(struct wait *wait)
{
	int fd = wait->fd;

	hb_loop_timer_stop(wait->pod->worker->loop, &wait->deadline);
	hb_list_remove(&wait->node);
	wait->pod->waits_count--;
	worker_settle(wait->pod->worker);
	free(wait);
	return fd;
}

static void serve(struct wait *wait)
{
	struct pod *pod = wait->pod;
	int port = wait->port;

	pod_serve(pod, port, take(wait));
}

static void on_deadline(struct hb_timer *timer)
{
	serve(hb_container_of(timer, struct wait, deadline)); /* who is unknown is refused there */
}

bool podwait_hold(struct pod *pod, int port, int fd)
{
	struct wait *wait;

	if (pod->workload || !pod->spec->awaits_workload || pod->waits_count >= PODWAIT_MAX)
		return false;
	wait = calloc(1, sizeof(*wait));
	if (!wait)
		return false;
	wait->pod = pod;
	wait->port = port;
	wait->fd = fd;
	hb_list_add(&pod->waits, &wait->node);
	pod->waits_count++;
	hb_timer_init(&wait->deadline, on_deadline);
	hb_loop_timer_start(pod->worker->loop, &wait->deadline, PODWAIT_MS);
	return true;
}

void podwait_release(struct pod *pod)
{
	hb_list_for_each_safe (node, &pod->waits)
		serve(hb_container_of(node, struct wait, node));
}

void podwait_abort(struct pod *pod)
{
	hb_list_for_each_safe (node, &pod->waits)
		discard_fd(take(hb_container_of(node, struct wait, node)));
}
