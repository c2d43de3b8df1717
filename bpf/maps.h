/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * maps: the maps all hooks share, and the counter. Weak, so that each hook's object may define them
 * and the linker makes one of them.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <culvert/maps.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_PODS_MAX);
	__type(key, __u64);
	__type(value, struct cv_pod);
} cv_pods __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cv_sk);
} cv_sk __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cv_agent_sk);
} cv_agent_sk __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CV_INFLIGHT_MAX);
	__type(key, struct cv_tuple);
	__type(value, struct cv_inflight);
} cv_inflight __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, CV_LISTENERS_MAX);
	__type(key, struct cv_listener_key);
	__type(value, __u64);
} cv_listeners __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_LOCAL_IPS_MAX);
	__type(key, struct cv_ip);
	__type(value, __u64);
} cv_local_ips __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CV_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} cv_counts __weak SEC(".maps");

static __always_inline void cv_count(enum cv_reason reason)
{
	__u32 key = reason;
	__u64 *value = bpf_map_lookup_elem(&cv_counts, &key);

	if (value)
		(*value)++;
}
