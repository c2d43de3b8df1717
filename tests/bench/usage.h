/*
 * usage: what the calling process has used so far: processor time and resident memory.
 *
 * Thread: any. Memory is by the kernel's books, in MiB.
 */
#pragma once

#include <stdint.h>

uint64_t usage_cpu_ns(void);
double usage_rss_mib(void);      /* now; 0 when /proc cannot be read */
double usage_rss_peak_mib(void); /* the most there was */
