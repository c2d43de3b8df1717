/*
 * measure: clocks, latency histograms and processor time, for the load generator.
 *
 * Knows nothing of sockets. Thread: one; only struct measure_far is shared, between two processes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Latencies in buckets that grow with the value: below 256 ns exact, above 128 buckets for each
 * doubling, so a percentile is off by at most 0.4 %. Values from 2^40 ns (18 minutes) share the
 * last one.
 */
#define HIST_SUB_BITS 7
#define HIST_BUCKETS  ((40 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t buckets[HIST_BUCKETS];
	uint64_t count;
};

void hist_add(struct hist *hist, uint64_t ns);
/* @percent: 0 to 100. In ns; 0 when nothing was added. */
double hist_percentile(const struct hist *hist, double percent);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* What arrived at the receiving end. The server's is kept in a file that it and the client map. */
struct measure_far {
	uint64_t bytes; /* atomic */
};
/* The file is made if missing. NULL with errno. */
struct measure_far *measure_far_map(const char *path);

/* All of it at one moment; two of them, subtracted, are a window. */
struct measure_sample {
	uint64_t at_ns;
	double machine_s;   /* busy time of all processors, /proc/stat (steps of 10 ms) */
	double steal_s;     /* taken by the hypervisor, not in machine_s */
	double agents_s;    /* run time of all threads of these processes */
	double apps_s;      /* the same of those; machine_s beyond both is other work */
	uint64_t far_bytes; /* struct measure_far */
};

#define MEASURE_PIDS_MAX 64

struct measure_pids {
	pid_t pid[MEASURE_PIDS_MAX];
	size_t count;
};

struct measure {
	struct measure_pids agents;
	struct measure_pids apps;      /* client, server, and kernel threads that work for them */
	const struct measure_far *far; /* NULL: far_bytes stays 0 */
};

/* 0, or -errno when /proc cannot be read; a process that is gone counts nothing. */
int measure_take(const struct measure *measure, struct measure_sample *ret_sample);
double measure_seconds(const struct measure_sample *begin, const struct measure_sample *end);
/* " machine_s=… steal_s=… agents_s=… apps_s=…" and the end of the line, on standard output. */
void measure_print_cost(const struct measure_sample *begin, const struct measure_sample *end);
