/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * license: what the kernel is told of these programs' licence.
 *
 * culvert is Apache-2.0, but the kernel lends some helpers only to programs that it may treat as
 * GPL, and it knows no name for "or Apache-2.0". So everything in this folder may be had under
 * either, as the SPDX line of each file says, and the loaded object names the one the kernel knows.
 */
#pragma once

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") __attribute__((weak)) = "GPL";
