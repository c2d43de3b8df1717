/*
 * cafeed: the mesh's CA (control/ca.h), where its address is set: the channel to it, and the source
 * of certificates on that, which keeps them for the next start (stateDir/certificates.state).
 * Thread: the control loop's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "keeper.h"
#include "lookups.h"

struct agent;
struct cert_source;
struct metrics;
struct settings;

struct cafeed {
	struct lookups lookups;
	struct grpc_channel *channel; /* NULL: there is none, or it has closed */
	struct keeper keeper;
	struct cert_source *kept; /* the certificate manager's; NULL: nothing is kept */
};

/* Is there an address, and nothing nearer that issues certificates? */
bool cafeed_is_used(const struct settings *settings);
/* A configuration that is wrong, as cafeed_open() would find it. 0, also if it is not used, or
 * -EINVAL. */
int cafeed_check(const struct agent *agent, char *why, size_t why_size);
int cafeed_open(struct agent *agent, struct cert_source **ret_source, char *why, size_t why_size);
/* After the source is freed. Turns the loop until the channel is gone. */
void cafeed_close(struct agent *agent);
/* Nobody needs @identity any more. */
void cafeed_forget(struct agent *agent, const char *identity);
/* What a scrape finds out. */
void cafeed_count(const struct agent *agent, struct metrics *metrics);
