/*
 * xds: what a large push costs: 100,000 workloads with 10,000 services in one response, 10,000
 * policies in another, from bytes to a published snapshot.
 *
 *   xds [--workloads N]
 *
 * Prints for each response its size, CPU time, the number of slices, and the CPU time of the
 * longest slice, which is for how long the control loop does nothing else; then what 1% of it costs
 * that changed, and all of it again, as after a reconnect without versions.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/xds_push.h"
#include "support/pbtext.h"
#include "usage.h"

struct bench {
	struct store *store;
	struct xds_versions versions[XDS_TYPES];
	struct snapshot *snapshot;
};

/* Takes @pb. */
static void append(FILE *out, struct pb pb)
{
	fwrite(pb.bytes, 1, pb.size, out);
	free(pb.bytes);
}

static void write_workload(FILE *out, unsigned i, unsigned version)
{
	unsigned app = i / 10, ns = app % 100;

	append(out,
	       pb_format("2:{1:'%016x' 2:{1:'type.googleapis.com/istio.workload.Address' 2:{1:{"
	                 "1:'app-%u-5d8f9c7b6-%05u' 2:'ns-%u' 3:x'0a%02x%02x%02x' 5:1 7:'sa-%u'"
	                 " 9:'node-%u' 10:'app-%u' 11:'v1' 12:2 13:'app-%u'"
	                 " 16:'ns-%u/policy-%u' 17:%u 18:'cluster1'"
	                 " 20:'cluster1//Pod/ns-%u/app-%u-5d8f9c7b6-%05u'"
	                 " 22:{1:'ns-%u/svc-%u.ns-%u.svc.cluster.local' 2:{1:{1:80 2:8080}}}"
	                 " 24:{1:'r1' 2:'z%u'}}}}"
	                 " 3:'cluster1//Pod/ns-%u/app-%u-5d8f9c7b6-%05u'}",
	                 i * 2654435761u + version, app, i, ns, i >> 16 & 255, i >> 8 & 255,
	                 i & 255, app % 50, i % 1000, app, app, ns, app, version, ns, app, i, ns,
	                 app, ns, i % 3, ns, app, i));
}

static void write_service(FILE *out, unsigned i)
{
	append(out,
	       pb_format("2:{1:'%016x' 2:{1:'type.googleapis.com/istio.workload.Address' 2:{2:{"
	                 "1:'svc-%u' 2:'ns-%u' 3:'svc-%u.ns-%u.svc.cluster.local'"
	                 " 4:{2:x'0a%02x%02x%02x'} 5:{1:80 2:8080} 11:1}}}"
	                 " 3:'ns-%u/svc-%u.ns-%u.svc.cluster.local'}",
	                 i, i, i % 100, i, i % 100, 96 + (i >> 16), i >> 8 & 255, i & 255, i % 100,
	                 i, i % 100));
}

static void write_policy(FILE *out, unsigned i)
{
	append(out,
	       pb_format("2:{2:{1:'type.googleapis.com/istio.security.Authorization' 2:{"
	                 "1:'policy-%u' 2:'ns-%u' 3:%u"
	                 " 5:{1:{2:{3:{1:'cluster.local/ns/ns-%u/sa/sa-%u'}}} 1:{2:{9:8080}}}}}"
	                 " 3:'ns-%u/policy-%u'}",
	                 i, i % 100, i % 10 ? 2 : 1, i % 100, i % 50, i % 100, i));
}

static void write_end(FILE *out, enum xds_type type)
{
	append(out, pb_format("4:'%s' 5:'1'", xds_type_url(type)));
}

/* All of it, or each @step-th workload in another version. */
static struct pb addresses(unsigned workloads, unsigned step)
{
	struct pb pb = { 0 };
	FILE *out = open_memstream((char **)&pb.bytes, &pb.size);

	for (unsigned i = 0; i < workloads; i += step)
		write_workload(out, i, step > 1);
	for (unsigned i = 0; i < workloads / 10 && step == 1; i++)
		write_service(out, i);
	write_end(out, XDS_ADDRESS);
	fclose(out);
	return pb;
}

static struct pb policies(unsigned count)
{
	struct pb pb = { 0 };
	FILE *out = open_memstream((char **)&pb.bytes, &pb.size);

	for (unsigned i = 0; i < count; i++)
		write_policy(out, i);
	write_end(out, XDS_AUTHORIZATION);
	fclose(out);
	return pb;
}

/* Takes @pb. */
static void push(struct bench *bench, const char *what, struct pb pb, bool full)
{
	uint64_t begin, longest = 0, at, end;
	unsigned slices = 0;
	struct xds_push push;
	int more;

	malloc_trim(0);
	if (full)
		xds_versions_unsee(&bench->versions[XDS_ADDRESS]);
	xds_push_init(&push, bench->store, bench->versions, pb.bytes, pb.size);
	begin = at = usage_cpu_ns();
	do {
		more = xds_push_step(&push);
		end = usage_cpu_ns();
		longest = end - at > longest ? end - at : longest;
		at = end;
		slices++;
	} while (more == 1);
	snapshot_unref(bench->snapshot);
	if (more || push.rejected || store_publish(bench->store, &bench->snapshot, NULL) < 0) {
		fprintf(stderr, "xds: %d %s\n", more, push.reasons);
		exit(1);
	}
	xds_versions_commit(&bench->versions[push.type]);
	end = usage_cpu_ns();
	longest = end - at > longest ? end - at : longest;
	printf("%-24s %6zu resources %6.1f MiB  %7.3f CPU-s  %5u slices, the longest %6.2f ms  rss "
	       "%6.1f MiB  peak %6.1f MiB\n",
	       what, push.resources, (double)pb.size / (1 << 20), (double)(end - begin) / 1e9,
	       slices, (double)longest / 1e6, usage_rss_mib(), usage_rss_peak_mib());
	xds_push_done(&push);
	free(pb.bytes);
}

int main(int argc, char **argv)
{
	struct bench bench = { .store = store_new(NULL) };
	unsigned workloads = 100000;

	if (argc == 3 && strcmp(argv[1], "--workloads") == 0)
		workloads = (unsigned)strtoul(argv[2], NULL, 10);
	if (workloads < 100) {
		fprintf(stderr, "xds: at least 100 workloads\n");
		return 1;
	}
	if (store_publish(bench.store, &bench.snapshot, NULL) < 0)
		return 1;
	printf("before: rss %.1f MiB\n", usage_rss_mib());
	push(&bench, "all addresses", addresses(workloads, 1), false);
	push(&bench, "all policies", policies(workloads / 10), false);
	push(&bench, "1% changed", addresses(workloads, 100), false);
	push(&bench, "all again", addresses(workloads, 1), true);
	malloc_trim(0);
	printf("versions of %zu names: %.1f MiB in a request; store %.1f MiB; rss %.1f MiB\n",
	       bench.versions[XDS_ADDRESS].count,
	       (double)bench.versions[XDS_ADDRESS].wire_bytes / (1 << 20),
	       (double)store_bytes(bench.store) / (1 << 20), usage_rss_mib());
	for (int type = 0; type < XDS_TYPES; type++)
		xds_versions_done(&bench.versions[type]);
	snapshot_unref(bench.snapshot);
	store_free(bench.store);
	return 0;
}
