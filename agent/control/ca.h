/*
 * ca: the mesh's certificate authority as a source of certificates: one CreateCertificate for each
 * request (reference/controlplane 5.1 and 5.2), with a fresh key and a deadline. What comes back is
 * checked before anybody sees it. Keys are wiped, whatever becomes of the call.
 * Thread: the control loop's.
 */
#pragma once

#include "control/certsource.h"
#include "control/grpc.h"

#define CA_DEADLINE_MS 10000u

struct ca_options {
	struct grpc_channel *channel; /* borrowed; closed after the source is freed */
	/* Ask on behalf of the pod's identity, as a node's agent must. Else for the token's own. */
	bool impersonate;
	uint32_t ttl_s;       /* asked for; the CA may give less. 0: as long as it likes */
	uint32_t deadline_ms; /* 0: CA_DEADLINE_MS */
};

struct cert_source *ca_source_new(const struct ca_options *options); /* NULL: no memory */
