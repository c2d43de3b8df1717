/*
 * controlclient: our own client of a control plane, without an agent around it: delta xDS into a
 * store, and a certificate for each identity it is told.
 *
 *   controlclient https://HOST:PORT ROOTS TOKEN-FILE NODE [IDENTITY...]
 *
 * Says on stdout, a line each: "published W S P" (workloads, services and policies that there are
 * now), "ready", "nack REASON", "ended WHY", "certificate IDENTITY SECONDS-OF-LIFE" or "refused
 * IDENTITY WHY". Until it is killed, or its stdin ends.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "control/ca.h"
#include "control/grpc.h"
#include "control/issued.h"
#include "control/xds.h"
#include "control/xds_node.h"
#include "mesh/snapshot.h"
#include "metrics.h"

struct client {
	struct store *store;
	struct snapshot *snapshot;
	char nack[256], end[256];
};

static int on_publish(void *owner, const struct xds_push *push)
{
	struct client *client = owner;
	const struct workload **workloads;
	const struct service **services;
	const struct policy **policies;
	int err;

	snapshot_unref(hb_take(&client->snapshot));
	err = store_publish(client->store, &client->snapshot, NULL);
	if (err < 0)
		return err;
	printf("published %zu", snapshot_workloads(client->snapshot, &workloads));
	printf(" %zu", snapshot_services(client->snapshot, &services));
	printf(" %zu\n", snapshot_policies(client->snapshot, &policies));
	free(workloads);
	free(services);
	free(policies);
	return 0;
}

static void on_ready(void *owner)
{
	puts("ready");
}

static void on_issued(struct cert_request *request, struct issued *issued)
{
	printf("certificate %s %lld\n", request->identity,
	       (long long)(issued->certs[0].not_after_s - issued->certs[0].not_before_s));
	issued_free(issued);
}

static void on_failed(struct cert_request *request, const char *why)
{
	printf("refused %s %s\n", request->identity, why);
}

/* Prints @now as "WORD @now" when it is another text than before. */
static void say_news(const char *word, const char *now, char *before, size_t size)
{
	if (!now[0] || !strcmp(now, before))
		return;
	snprintf(before, size, "%s", now);
	printf("%s %s\n", word, now);
}

static bool stdin_has_ended(void)
{
	struct pollfd fd = { .fd = 0, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

static struct xds *start_xds(struct hb_loop *loop, struct client *client,
                             struct grpc_channel *channel, const char *node_name)
{
	static char *environ_[] = { NULL };
	char pod[64];
	struct xds_node_options who = {
		.instance_ip = "10.1.0.2",
		.pod_name = pod,
		.pod_namespace = "istio-system",
		.node_name = node_name,
		.environ_ = environ_,
	};
	struct xds_options options = {
		.channel = channel,
		.store = client->store,
		.metrics = metrics_new(),
		.settle_ms = 5000,
		.seed = 1,
		.on_publish = on_publish,
		.on_ready = on_ready,
		.owner = client,
	};

	snprintf(pod, sizeof(pod), "ztunnel-%s", node_name);
	options.node = xds_node_new(&who, &options.node_size);
	return options.node && options.metrics ? xds_new(loop, &options) : NULL;
}

int main(int argc, char **argv)
{
	struct hb_loop *loop = hb_loop_new(NULL);
	struct client client = { .store = store_new(NULL) };
	struct cert_request *requests = calloc((size_t)argc, sizeof(*requests));
	struct grpc_channel *channel;
	struct cert_source *ca;
	struct xds *xds;
	char why[256] = "no memory";

	if (argc < 5) {
		fprintf(stderr, "usage: controlclient URL ROOTS TOKEN-FILE NODE [IDENTITY...]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	channel = grpc_channel_new(loop,
	                           &(struct grpc_channel_config){
				       .url = argv[1],
				       .roots = argv[2],
				       .alt_host = "istiod.istio-system.svc",
				       .token = argv[3],
				       .cluster_id = "Kubernetes",
				   },
	                           why, sizeof(why));
	xds = channel && client.store ? start_xds(loop, &client, channel, argv[4]) : NULL;
	ca = channel
	         ? ca_source_new(&(struct ca_options){ .channel = channel, .impersonate = true })
	         : NULL;
	if (!xds || !ca || !requests) {
		fprintf(stderr, "controlclient: %s\n", why);
		return 1;
	}
	for (int i = 5; i < argc; i++) {
		requests[i].identity = argv[i];
		requests[i].on_issued = on_issued;
		requests[i].on_failed = on_failed;
		if (ca->ops->start(ca, &requests[i], why, sizeof(why)) < 0)
			printf("refused %s %s\n", argv[i], why);
	}
	while (!stdin_has_ended()) {
		if (hb_loop_turn(loop, 50) < 0)
			return 1;
		say_news("nack", xds_view(xds)->last_nack, client.nack, sizeof(client.nack));
		say_news("ended", xds_view(xds)->last_end, client.end, sizeof(client.end));
	}
	return 0;
}
