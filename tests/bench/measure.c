/*
 * measure: clocks, latency histograms and processor time, for the load generator.
 */
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HIST_SUB (1u << HIST_SUB_BITS)

/* The top bit gives the group, the HIST_SUB_BITS below it the bucket inside the group. */
static size_t bucket_of(uint64_t ns)
{
	unsigned int top;
	size_t index;

	if (ns < HIST_SUB)
		return (size_t)ns;
	top = 63 - (unsigned int)__builtin_clzll(ns);
	index = ((size_t)(top - HIST_SUB_BITS + 1) << HIST_SUB_BITS) +
	        ((ns >> (top - HIST_SUB_BITS)) & (HIST_SUB - 1));
	return index < HIST_BUCKETS ? index : HIST_BUCKETS - 1;
}

/* The middle of a bucket, as what all that fell into it is taken for. */
static double bucket_middle(size_t index)
{
	size_t group = index >> HIST_SUB_BITS;
	uint64_t width, low;

	if (group <= 1)
		return (double)index;
	width = 1ull << (group - 1);
	low = (HIST_SUB + (index & (HIST_SUB - 1))) * width;
	return (double)low + (double)(width - 1) / 2;
}

void hist_add(struct hist *hist, uint64_t ns)
{
	hist->buckets[bucket_of(ns)]++;
	hist->count++;
}

double hist_percentile(const struct hist *hist, double percent)
{
	double wanted = (double)hist->count * percent / 100;
	uint64_t seen = 0;

	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen > 0 && (double)seen >= wanted)
			return bucket_middle(i);
	}
	return 0;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct measure_far *measure_far_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *map = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, sizeof(struct measure_far)) == 0)
		map = mmap(NULL, sizeof(struct measure_far), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		           0);
	close(fd);
	return map == MAP_FAILED ? NULL : map;
}

static int read_machine(struct measure_sample *sample)
{
	uint64_t user, nice, system, idle, iowait, irq, softirq, steal;
	double ticks = (double)sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "re");
	int got;

	if (!file)
		return -errno;
	got = fscanf(file,
	             "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
	             " %" SCNu64 " %" SCNu64,
	             &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
	fclose(file);
	if (got != 8)
		return -EIO;
	sample->machine_s = (double)(user + nice + system + irq + softirq) / ticks;
	sample->steal_s = (double)steal / ticks;
	return 0;
}

/* All threads, also those that have ended meanwhile; counts ns. 0 for a process that is gone. */
static double process_seconds(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double processes_seconds(const struct measure_pids *pids)
{
	double seconds = 0;

	for (size_t i = 0; i < pids->count; i++)
		seconds += process_seconds(pids->pid[i]);
	return seconds;
}

int measure_take(const struct measure *measure, struct measure_sample *ret_sample)
{
	struct measure_sample sample = { .at_ns = now_ns() };
	int err = read_machine(&sample);

	if (err)
		return err;
	sample.agents_s = processes_seconds(&measure->agents);
	sample.apps_s = processes_seconds(&measure->apps);
	if (measure->far)
		sample.far_bytes = __atomic_load_n(&measure->far->bytes, __ATOMIC_RELAXED);
	*ret_sample = sample;
	return 0;
}

double measure_seconds(const struct measure_sample *begin, const struct measure_sample *end)
{
	return (double)(end->at_ns - begin->at_ns) / 1e9;
}

void measure_print_cost(const struct measure_sample *begin, const struct measure_sample *end)
{
	printf(" machine_s=%.4f steal_s=%.4f agents_s=%.6f apps_s=%.6f\n",
	       end->machine_s - begin->machine_s, end->steal_s - begin->steal_s,
	       end->agents_s - begin->agents_s, end->apps_s - begin->apps_s);
}
