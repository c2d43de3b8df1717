/*
 * reports: what the admin socket answers: health, connections, the whole configuration, logging,
 * shutdown. Thread: the control loop's.
 */
#pragma once

#include <stddef.h>

struct agent;

/* Opens the Unix socket and the ports of the settings. 0 or -errno with a sentence in @why. */
int reports_start(struct agent *agent, char *why, size_t why_size);
