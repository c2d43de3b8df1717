/*
 * flow_metrics: what Prometheus is told of flows: ztunnel's istio_tcp_connections_* and
 * istio_tcp_*_bytes (reference/operations 3.2 to 3.4).
 *
 * All flows between the same parties count in one row: how many began, how they ended, and their
 * bytes as they come. A flow looks its row up once, when it is known who its parties are, and the
 * row stays, so that its numbers never fall. There are at most FLOW_ROWS_MAX of them: peers choose
 * some of the texts. What has no row then counts in the one of which nothing is known.
 *
 * A worker has a set of its own. To be shown it is copied into another one; copies share the texts,
 * which are immutable and counted. Knows nothing of flows. Thread: the set's owner's.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <hbone/relay.h>

#include "metrics.h"
#include "proxy/flow_labels.h"

#define FLOW_ROWS_MAX 2048u /* in a worker's set, of 1 KiB or so */

struct flow_metrics;

struct flow_metrics *flow_metrics_new(void);      /* NULL: no memory */
void flow_metrics_free(struct flow_metrics *set); /* takes NULL */

/* One more flow of @parties. What is to count its bytes: a those from client to server, b those
 * back. Never NULL; valid as long as the set. Its on_done is the caller's to set. */
struct hb_relay_group *flow_metrics_opened(struct flow_metrics *set,
                                           const struct flow_parties *parties);
/* The end of one that was opened with @group. */
void flow_metrics_closed(struct hb_relay_group *group, enum response_flag flag);
/* A flow that failed before its parties were known: ztunnel counts it nowhere. */
void flow_metrics_failed_early(struct flow_metrics *set, bool outbound);

/* Adds all of @from. 0; or -ENOMEM, and something lacks. */
int flow_metrics_merge(struct flow_metrics *to, const struct flow_metrics *from);
/* ztunnel's families, rows by their labels; and ours, which go to @other. */
void flow_metrics_write(FILE *out, enum metrics_format format, const struct flow_metrics *set);
void flow_metrics_report(const struct flow_metrics *set, struct metrics *other);
