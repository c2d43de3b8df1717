/*
 * zds: one function per message; each leaves either a pod that is UP, or one that is PENDING with
 * its reason, or none.
 */
#include "control/zds.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>

void zds_init(struct zds *zds, const struct zds_ops *ops, void *owner)
{
	*zds = (struct zds){ .ops = ops, .owner = owner };
	hb_list_init(&zds->pods);
}

static void pod_free(struct zds *zds, struct zds_pod *pod)
{
	hb_list_remove(&pod->node);
	zds->count--;
	if (!pod->up)
		zds->pending--;
	if (pod->netns.fd >= 0)
		close(pod->netns.fd);
	free(pod->uid);
	free(pod->name);
	free(pod->ns);
	free(pod->service_account);
	free(pod);
}

/* No memory: NULL, and the descriptor is still the caller's. */
static struct zds_pod *pod_new(struct zds *zds, const struct zds_request *request,
                               struct zds_netns netns)
{
	struct zds_pod *pod = calloc(1, sizeof(*pod));

	if (!pod)
		return NULL;
	hb_list_add(&zds->pods, &pod->node);
	zds->count++;
	zds->pending++;
	pod->netns.fd = -1;
	pod->uid = strdup(request->uid);
	pod->name = strdup(request->name);
	pod->ns = strdup(request->ns);
	pod->service_account = strdup(request->service_account);
	if (!pod->uid || !pod->name || !pod->ns || !pod->service_account) {
		pod_free(zds, pod);
		return NULL;
	}
	pod->netns = netns;
	return pod;
}

static void drop(struct zds *zds, struct zds_pod *pod)
{
	if (pod->up)
		zds->ops->stop(zds->owner, pod);
	pod_free(zds, pod);
}

void zds_done(struct zds *zds)
{
	hb_list_for_each_safe (node, &zds->pods)
		pod_free(zds, hb_container_of(node, struct zds_pod, node));
}

static struct zds_pod *pod_of(const struct zds *zds, const char *uid)
{
	hb_list_for_each (node, &zds->pods) {
		struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		if (strcmp(pod->uid, uid) == 0)
			return pod;
	}
	return NULL;
}

static bool is_same(struct zds_netns a, struct zds_netns b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

/* Another pod that is served in @pod's namespace: with both, each would get the other's traffic. */
static const struct zds_pod *pod_beside(const struct zds *zds, const struct zds_pod *pod)
{
	hb_list_for_each (node, &zds->pods) {
		const struct zds_pod *other = hb_container_of(node, struct zds_pod, node);

		if (other != pod && other->up && is_same(other->netns, pod->netns))
			return other;
	}
	return NULL;
}

static void start(struct zds *zds, struct zds_pod *pod)
{
	const struct zds_pod *beside = pod_beside(zds, pod);
	int err;

	pod->reason[0] = 0;
	if (beside) {
		snprintf(pod->reason, sizeof(pod->reason),
		         "its network namespace is that of %s/%s (%s)", beside->ns, beside->name,
		         beside->uid);
		return;
	}
	err = zds->ops->start(zds->owner, pod, pod->reason, sizeof(pod->reason));
	if (err < 0 && !pod->reason[0])
		snprintf(pod->reason, sizeof(pod->reason), "%s", hb_strerror(err));
	if (err < 0)
		return;
	pod->reason[0] = 0;
	pod->up = true;
	zds->pending--;
}

void zds_retry(struct zds *zds)
{
	hb_list_for_each_safe (node, &zds->pods) {
		struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		if (!pod->up)
			start(zds, pod);
	}
}

void zds_connected(struct zds *zds)
{
	zds->phase = ZDS_LISTING;
	hb_list_for_each_safe (node, &zds->pods) {
		struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		pod->mentioned = false;
		if (!pod->up)
			drop(zds, pod); /* who still wants it says so again */
	}
}

void zds_disconnected(struct zds *zds)
{
	zds->phase = ZDS_AWAY;
}

bool zds_is_ready(const struct zds *zds)
{
	return zds->phase == ZDS_LISTED && zds->pending == 0;
}

__attribute__((format(printf, 2, 3))) static void refuse(struct zds_answer *answer,
                                                         const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(answer->error, sizeof(answer->error), format, args);
	va_end(args);
}

/* A known uid: whether that settles it. Leaves it pending, or gone, where it does not. */
static bool is_settled(struct zds *zds, struct zds_pod *pod, struct zds_netns netns)
{
	if (pod->up && is_same(pod->netns, netns)) {
		pod->mentioned = true;
		return true;
	}
	drop(zds, pod);
	return false;
}

/* Takes netns.fd by what it returns: the pod that has it, or NULL: still the caller's. */
static struct zds_pod *add(struct zds *zds, const struct zds_request *request,
                           struct zds_netns netns, struct zds_answer *answer)
{
	struct zds_pod *pod = pod_of(zds, request->uid);

	if (pod && !request->has_info)
		pod->mentioned = true; /* it is alive, whatever it is called */
	if (!*request->uid) {
		refuse(answer, "add: the pod has no uid");
	} else if (!request->has_info) {
		refuse(answer, "add %s: no workload info", request->uid);
	} else if (netns.fd < 0) {
		refuse(answer, "add %s: no descriptor of its network namespace", request->uid);
	} else if (!pod || !is_settled(zds, pod, netns)) {
		if (zds->count >= ZDS_PODS_MAX)
			refuse(answer, "add %s: there are %u pods already", request->uid,
			       ZDS_PODS_MAX);
		else if (!(pod = pod_new(zds, request, netns)))
			refuse(answer, "add %s: no memory", request->uid);
		else
			return pod;
	}
	return NULL;
}

static void on_add(struct zds *zds, const struct zds_request *request, struct zds_netns netns,
                   struct zds_answer *answer)
{
	struct zds_pod *pod = add(zds, request, netns, answer);

	if (!pod) {
		if (netns.fd >= 0)
			close(netns.fd);
		return;
	}
	pod->mentioned = true;
	start(zds, pod);
	if (!pod->up)
		refuse(answer, "add %s (%s/%s): %s", pod->uid, pod->ns, pod->name, pod->reason);
}

static void on_keep(struct zds *zds, const struct zds_request *request, struct zds_answer *answer)
{
	struct zds_pod *pod = pod_of(zds, request->uid);

	if (zds->phase == ZDS_LISTED) {
		refuse(answer, "keep %s: after the snapshot", request->uid);
		answer->reconnect = true;
	} else if (pod) {
		pod->mentioned = true;
	}
}

static void on_del(struct zds *zds, const struct zds_request *request)
{
	struct zds_pod *pod = pod_of(zds, request->uid);

	if (!pod)
		return;
	if (zds->phase == ZDS_LISTED || !pod->up)
		drop(zds, pod);
	else
		pod->mentioned = false; /* the end of the snapshot drops it */
}

static void on_snapshot_sent(struct zds *zds, struct zds_answer *answer)
{
	bool dropped = false;

	if (zds->phase == ZDS_LISTED) {
		refuse(answer, "snapshot sent: for the second time");
		answer->reconnect = true;
		return;
	}
	zds->phase = ZDS_LISTED;
	hb_list_for_each_safe (node, &zds->pods) {
		struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		if (pod->mentioned)
			continue;
		drop(zds, pod);
		dropped = true;
	}
	if (dropped)
		zds_retry(zds); /* one may have waited for another's place */
}

void zds_handle(struct zds *zds, const struct zds_request *request, struct zds_netns netns,
                struct zds_answer *ret_answer)
{
	*ret_answer = (struct zds_answer){ .reconnect = false };
	if (netns.fd >= 0 && request->kind != ZDS_ADD) {
		close(netns.fd);
		refuse(ret_answer, "a descriptor came with a message that takes none");
		ret_answer->reconnect = true;
		return;
	}
	switch (request->kind) {
	case ZDS_ADD:
		on_add(zds, request, netns, ret_answer);
		break;
	case ZDS_KEEP:
		on_keep(zds, request, ret_answer);
		break;
	case ZDS_DEL:
		on_del(zds, request);
		break;
	case ZDS_SNAPSHOT_SENT:
		on_snapshot_sent(zds, ret_answer);
		break;
	}
}
