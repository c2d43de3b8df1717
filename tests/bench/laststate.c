/*
 * laststate: what keeping a large mesh on disk costs: 100,000 records of 300 bytes.
 *
 *   laststate DIR [--records N]
 *
 * Puts them, writes them in slices, changes one in a hundred and writes again, and reads all back
 * as an agent does that starts: CPU time of each, the longest slice, and memory by the kernel's
 * books. The file in DIR is removed.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <hbone/base.h>

#include "control/laststate.h"
#include "usage.h"

#define VALUE_BYTES 300u
#define TYPE        "type.googleapis.com/istio.workload.Address"

static double cpu_ms(void)
{
	return (double)usage_cpu_ns() / 1e6;
}

static double rss_mib(void)
{
	malloc_trim(0);
	return usage_rss_mib();
}

static void put(struct laststate *state, unsigned i, char fill)
{
	char name[64], version[24], value[VALUE_BYTES];

	memset(value, fill, sizeof(value));
	snprintf(name, sizeof(name), "cluster1//Pod/ns-%u/app-%u-5d8f9c7b6-%05u", i % 100, i / 10,
	         i);
	snprintf(version, sizeof(version), "%016x", i);
	if (laststate_put(state,
	                  &(struct laststate_record){ TYPE, name, version, (const uint8_t *)value,
	                                              VALUE_BYTES }) < 0)
		abort();
}

static void write_file(struct laststate *state, uint64_t now_ms, const char *what)
{
	double begun = cpu_ms(), longest = 0;
	unsigned slices = 0;
	uint32_t wait_ms = 0;

	while (wait_ms == 0) {
		double at = cpu_ms();

		wait_ms = laststate_step(state, now_ms);
		longest = cpu_ms() - at > longest ? cpu_ms() - at : longest;
		slices++;
	}
	if (laststate_report(state).is_dirty)
		abort();
	printf("%-28s %8.1f ms CPU, %u slices, longest %.2f ms, then %.1f MiB resident\n", what,
	       cpu_ms() - begun, slices, longest, rss_mib());
}

int main(int argc, char **argv)
{
	unsigned records =
	    argc == 4 && !strcmp(argv[2], "--records") ? (unsigned)atol(argv[3]) : 100000;
	struct laststate_cursor cursor = { 0 };
	struct laststate_record record;
	struct laststate *state;
	double begun, rss;
	char path[4096];
	unsigned count = 0;

	if (argc != 2 && argc != 4) {
		fprintf(stderr, "usage: laststate DIR [--records N]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/bench.state", argv[1]);
	unlink(path);
	rss = rss_mib();
	state = laststate_open(argv[1], "bench", "the bench");
	if (!state)
		return 1;
	begun = cpu_ms();
	for (unsigned i = 0; i < records; i++)
		put(state, i, 'a');
	printf("%-28s %8.1f ms CPU, %.1f MiB resident more\n", "put", cpu_ms() - begun,
	       rss_mib() - rss);
	write_file(state, 1000, "written");
	for (unsigned i = 0; i < records; i += 100)
		put(state, i, 'b');
	write_file(state, 10000000, "written, 1 in 100 new");
	printf("%-28s %8.1f MiB\n", "file", (double)laststate_report(state).bytes / (1 << 20));
	laststate_close(state);

	begun = cpu_ms();
	state = laststate_open(argv[1], "bench", "the bench");
	printf("%-28s %8.1f ms CPU\n", "opened", cpu_ms() - begun);
	while (laststate_next(state, &cursor, &record))
		count++;
	printf("%-28s %8.1f ms CPU, %u records, %.1f MiB resident\n", "opened and read",
	       cpu_ms() - begun, count, rss_mib());
	laststate_close(state);
	unlink(path);
	return count == records ? 0 : 1;
}
