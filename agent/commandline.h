/*
 * commandline: what culvertd was called with: options of its own, and ztunnel's words (reference/
 * controlplane 9).
 */
#pragma once

#include <stdbool.h>

enum { EXIT_SYSTEM = 1, EXIT_CONFIGURATION = 2 };

struct commandline {
	const char *config; /* of --config, or NULL */
	bool only_check;
	int status; /* when all is done already */
};

/* False: there is nothing to start, exit with status. What was to be said is said. */
bool commandline_read(int argc, char **argv, struct commandline *ret_line);
