/*
 * store: what a large mesh costs: 100,000 workloads, 10,000 services and 10,000 policies from YAML.
 *
 *   store [--workloads N] [--keep FILE]
 *
 * Writes the file (a tenth as many services and policies as workloads), reads it into a store, and
 * prints memory, CPU time, and the cost of one update, one publish and one lookup. --keep leaves
 * the file for other programs to read.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/meshfile.h"
#include "usage.h"

#define UPDATES 20000u
#define LOOKUPS 1000000u

static void write_workload(FILE *out, unsigned int i)
{
	unsigned int app = i / 10, ns = app % 100;

	fprintf(out,
	        "- uid: cluster1//Pod/ns-%u/app-%u-5d8f9c7b6-%05u\n"
	        "  name: app-%u-5d8f9c7b6-%05u\n"
	        "  namespace: ns-%u\n"
	        "  serviceAccount: sa-%u\n"
	        "  trustDomain: cluster.local\n"
	        "  clusterId: cluster1\n"
	        "  network: \"\"\n"
	        "  node: node-%u\n"
	        "  protocol: HBONE\n"
	        "  workloadIps: [\"10.%u.%u.%u\"]\n"
	        "  services:\n"
	        "    ns-%u/svc-%u.ns-%u.svc.cluster.local:\n"
	        "      80: 8080\n"
	        "  workloadName: app-%u\n"
	        "  workloadType: deployment\n"
	        "  canonicalName: app-%u\n"
	        "  canonicalRevision: v1\n"
	        "  authorizationPolicies: [ns-%u/policy-%u]\n"
	        "  status: Healthy\n"
	        "  locality: {region: r1, zone: z%u, subzone: \"\"}\n",
	        ns, app, i, app, i, ns, app % 50, i % 1000, i >> 16 & 255, i >> 8 & 255, i & 255,
	        ns, app, ns, app, app, ns, app, i % 3);
}

static void write_mesh(FILE *out, unsigned int workloads)
{
	unsigned int others = workloads / 10;

	fputs("workloads:\n", out);
	for (unsigned int i = 0; i < workloads; i++)
		write_workload(out, i);
	fputs("services:\n", out);
	for (unsigned int i = 0; i < others; i++)
		fprintf(out,
		        "- name: svc-%u\n"
		        "  namespace: ns-%u\n"
		        "  hostname: svc-%u.ns-%u.svc.cluster.local\n"
		        "  vips: [\"/10.%u.%u.%u\"]\n"
		        "  ports:\n"
		        "    80: 8080\n",
		        i, i % 100, i, i % 100, 96 + (i >> 16), i >> 8 & 255, i & 255);
	fputs("policies:\n", out);
	for (unsigned int i = 0; i < others; i++)
		fprintf(out,
		        "- name: policy-%u\n"
		        "  namespace: ns-%u\n"
		        "  scope: %s\n"
		        "  action: Allow\n"
		        "  dryRun: false\n"
		        "  rules:\n"
		        "  - - - principals: [!Exact \"cluster.local/ns/ns-%u/sa/sa-%u\"]\n"
		        "        destinationPorts: [8080]\n",
		        i, i % 100, i % 10 ? "WorkloadSelector" : "Namespace", i % 100, i % 50);
}

static int write_file(const char *path, unsigned int workloads)
{
	FILE *out = fopen(path, "we");

	if (!out)
		return -errno;
	write_mesh(out, workloads);
	return fclose(out) ? -errno : 0;
}

static struct snapshot *load(struct store *store, const char *path, const char *what)
{
	uint64_t begin = usage_cpu_ns();
	struct store_changes changes;
	struct snapshot *s = NULL;
	char why[512] = "";
	int err = meshfile_sync(store, path, why, sizeof(why));

	if (!err)
		err = store_publish(store, &s, &changes);
	if (err) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
	malloc_trim(0);
	printf("%-28s %8.3f CPU-s  rss %6.1f MiB  peak %6.1f MiB  store %6.1f MiB  changed %zu\n",
	       what, (double)(usage_cpu_ns() - begin) / 1e9, usage_rss_mib(), usage_rss_peak_mib(),
	       (double)store_bytes(store) / (1 << 20),
	       changes.workloads + changes.services + changes.policies);
	return s;
}

/* A workload that moves to another node and back, each time published. */
static void update(struct store *store, unsigned int workloads)
{
	struct snapshot *s;
	uint64_t begin, ns = 0;
	size_t bytes_max = 0;

	for (unsigned int i = 0; i < UPDATES; i++) {
		const struct workload *old;
		struct workload changed;
		struct hb_ip ip;
		char text[32];
		size_t bytes;

		if (store_publish(store, &s, NULL) < 0)
			exit(1);
		snprintf(text, sizeof(text), "10.%u.%u.%u", i * 7 % workloads >> 16 & 255,
		         i * 7 % workloads >> 8 & 255, i * 7 % workloads & 255);
		(void)hb_ip_parse(text, strlen(text), &ip);
		old = snapshot_workload_at(s, "", &ip);
		changed = *old;
		changed.node = i % 2 ? "node-a" : "node-b";
		bytes = store_bytes(store);
		begin = usage_cpu_ns();
		if (store_put_workload(store, &changed) < 0)
			exit(1);
		if (store_bytes(store) - bytes > bytes_max)
			bytes_max = store_bytes(store) - bytes;
		snapshot_unref(s);
		if (store_publish(store, &s, NULL) < 0)
			exit(1);
		ns += usage_cpu_ns() - begin;
		snapshot_unref(s);
	}
	printf("%-28s %8.2f us     at most %zu bytes not shared\n", "one update, published",
	       (double)ns / UPDATES / 1e3, bytes_max);
}

static void lookup(const struct snapshot *s, unsigned int workloads)
{
	uint64_t begin = usage_cpu_ns();
	unsigned int found = 0;
	struct hb_ip ip;

	(void)hb_ip_parse("10.0.0.0", 8, &ip);
	for (unsigned int i = 0; i < LOOKUPS; i++) {
		unsigned int at = i * 2654435761u % workloads;

		ip.b[13] = (uint8_t)(at >> 16);
		ip.b[14] = (uint8_t)(at >> 8);
		ip.b[15] = (uint8_t)at;
		found += snapshot_workload_at(s, "", &ip) != NULL;
	}
	printf("%-28s %8.1f ns     %u found of %u\n", "one lookup by address",
	       (double)(usage_cpu_ns() - begin) / LOOKUPS, found, LOOKUPS);
}

int main(int argc, char **argv)
{
	char made[] = "/tmp/culvert-store-XXXXXX";
	const char *path = NULL;
	unsigned int workloads = 100000;
	struct snapshot *s;
	struct store *store;
	int fd = -1;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--workloads") == 0)
			workloads = (unsigned int)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--keep") == 0)
			path = argv[i + 1];
	}
	if (!path) {
		fd = mkstemp(made);
		path = fd < 0 ? NULL : made;
	}
	if (!path || workloads < 10 || write_file(path, workloads) < 0) {
		perror("store");
		return 1;
	}
	store = store_new(NULL);
	printf("%u workloads, %u services, %u policies; before: rss %.1f MiB\n", workloads,
	       workloads / 10, workloads / 10, usage_rss_mib());
	s = load(store, path, "load");
	snapshot_unref(load(store, path, "load again, nothing changed"));
	lookup(s, workloads);
	snapshot_unref(s);
	update(store, workloads);
	store_free(store);
	malloc_trim(0);
	printf("%-28s rss %6.1f MiB\n", "all gone", usage_rss_mib());
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return 0;
}
