/*
 * metrics: numbers that are counted where things happen and shown as Prometheus text (0.0.4).
 *
 * One table says each metric's name, type, labels and help. A thread has a set of its own and adds
 * to plain integers, without a lock; to be shown, each thread copies its set, and the copies are
 * merged by whoever asked.
 *
 * A series is a metric with values for its labels. It is looked up once, where it is counted often:
 * its address stays. Label values come from us or from names in the mesh, and there are at most
 * METRICS_SERIES_MAX series; what is counted beyond is shown as one number of its own.
 * Thread: the set's owner's.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define METRICS_SERIES_MAX 8192u
#define METRICS_LABELS_MAX 24u

enum metric {
	METRIC_CONNECTIONS_REFUSED, /* reason */
	METRIC_TLS_HANDSHAKES,      /* result */
	METRIC_H2_ATTACKS,          /* kind */
	METRIC_REQUESTS_REFUSED,    /* status */
	METRIC_AROUND_WAYPOINT,     /* over */
	METRIC_POLICY_DENIED,       /* policy, reason */
	METRIC_POLICY_DRY_RUN,      /* policy, says, source_principal */
	METRIC_POLICY_ENDED,
	METRIC_ACCEPT_ERRORS,
	METRIC_ADMIN_REFUSED,
	METRIC_LOG_DROPPED,
	METRIC_LOG_SUPPRESSED,
	METRIC_SERIES_LOST,
	METRIC_CPU, /* ms, shown in seconds */
	METRIC_RESIDENT,
	METRIC_OPEN_FDS,
	METRIC_MAX_FDS,
	METRIC_LONGEST_TURN, /* worker; us, shown in seconds */
	METRICS,
};

struct metrics;

struct metrics *metrics_new(void);          /* NULL: no memory */
void metrics_free(struct metrics *metrics); /* takes NULL */
/*
 * The number of a series, made when it is new. @values: as many as the metric has labels, copied;
 * NULL where it has none. Never NULL: without room or memory it is what SERIES_LOST shows.
 */
uint64_t *metrics_at(struct metrics *metrics, enum metric metric, const char *const *values);
/* One more of a metric with one label, or with none (NULL). */
void metrics_count(struct metrics *metrics, enum metric metric, const char *value);
/* Adds all of @from; a series that @to lacks is made. */
void metrics_merge(struct metrics *to, const struct metrics *from);
/* Families in the table's order, series by their labels; what has no series is left out. */
void metrics_write(FILE *out, const struct metrics *metrics);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
