/*
 * flow_labels: the labels of one series of istio_tcp_* (reference/operations 3.2, 3.3): who speaks,
 * with whom, and how well that is known.
 *
 * An immutable block of texts, counted, which any thread may read. Pure but for its memory.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include <hbone/headers.h>

#include "mesh/model.h"

/* The label response_flags, in the words of response_flag_name(). */
enum response_flag {
	FLAG_NONE,           /* "-": well, or at a drain */
	FLAG_DENY,           /* policy, at first or later */
	FLAG_CONNECT,        /* all that is nothing else */
	FLAG_TLS_FAILURE,    /* no TLS with the peer */
	FLAG_H2_HANDSHAKE,   /* no HTTP/2 with it */
	FLAG_NETWORK_POLICY, /* its port of HBONE did not answer */
	FLAG_IDENTITY_ERROR, /* we have no certificate */
	FLAG_CERT_REVOKED,   /* the peer's has been */
	RESPONSE_FLAGS,
};
const char *response_flag_name(enum response_flag flag);

/* Whom a flow is between. Borrowed for the call; absent is NULL. */
struct flow_parties {
	bool outbound; /* the reporter is the source */
	bool mtls;
	const struct workload *src, *dst; /* the destination as the next hop has it: a waypoint's */
	/* What the far node says of it: only where there is no workload. */
	const struct hb_baggage *src_said, *dst_said;
	const char *src_principal; /* proven by TLS */
	const char *dst_principal; /* the same; only where there is no dst */
	const struct service *service;
};

#define FLOW_LABEL_MAX 1024u /* bytes of one label; longer ones are cut */

/* What stands in the eight labels of a workload, in their order. */
enum {
	LABEL_WORKLOAD,
	LABEL_CANONICAL_SERVICE,
	LABEL_REVISION,
	LABEL_NAMESPACE,
	LABEL_PRINCIPAL,
	LABEL_APP,
	LABEL_VERSION,
	LABEL_CLUSTER,
	LABELS_OF_PARTY
};

enum flow_label {
	LABEL_SRC,
	LABEL_SERVICE = LABEL_SRC + LABELS_OF_PARTY,
	LABEL_SERVICE_NS,
	LABEL_SERVICE_NAME,
	LABEL_DST,
	LABEL_SRC_REGION = LABEL_DST + LABELS_OF_PARTY,
	LABEL_SRC_ZONE,
	LABEL_DST_REGION,
	LABEL_DST_ZONE,
	FLOW_LABELS,
};

struct flow_labels_wanted { /* as others have them; borrowed */
	bool outbound, mtls;
	bool located; /* a workload is known, so the locality is shown, perhaps as unknown */
	uint64_t hash;
	struct hb_span texts[FLOW_LABELS];
};
void flow_labels_want(const struct flow_parties *parties, struct flow_labels_wanted *ret_wanted);

struct flow_labels {
	atomic_uint refs;
	bool outbound, mtls, located;
	uint64_t hash;
	uint16_t at[FLOW_LABELS], len[FLOW_LABELS]; /* len 0: unknown */
	char text[];                                /* each with a final NUL */
};
struct flow_labels *flow_labels_new(const struct flow_labels_wanted *wanted); /* NULL: no memory */
struct flow_labels *flow_labels_ref(struct flow_labels *labels);
void flow_labels_unref(struct flow_labels *labels);
bool flow_labels_are(const struct flow_labels *labels, const struct flow_labels_wanted *wanted);
/* As strcmp(), sources first; 0: they say the same. */
int flow_labels_compare(const struct flow_labels *a, const struct flow_labels *b);
/* {reporter="source",...}, escaped. */
void flow_labels_write(FILE *out, const struct flow_labels *labels, enum response_flag flag);
