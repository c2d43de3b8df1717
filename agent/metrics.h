/*
 * metrics: numbers that are counted where things happen and shown as Prometheus text (0.0.4) or
 * OpenMetrics (1.0), whichever the reader prefers.
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

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define METRICS_SERIES_MAX 8192u
#define METRICS_LABELS_MAX 24u

enum metric {
	METRIC_BUILD,         /* component, tag */
	METRIC_SOCKETS_OPEN,  /* reporter */
	METRIC_CRL_REJECTED,  /* reporter */
	METRIC_ON_DEMAND_DNS, /* the source's eight, hostname */
	METRIC_PODS_ACTIVE,
	METRIC_PODS_PENDING,
	METRIC_PODS_STARTED,
	METRIC_PODS_STOPPED,
	METRIC_XDS_ENDS,     /* reason */
	METRIC_XDS_MESSAGES, /* url */
	METRIC_XDS_BYTES,    /* url */
	METRIC_XDS_CONNECTED,
	METRIC_XDS_RESOURCES,  /* url */
	METRIC_XDS_REJECTED,   /* url */
	METRIC_XDS_NACKS,      /* url */
	METRIC_KNOWN_SERVED,   /* state; Unix time */
	METRIC_KNOWN_FAILURES, /* state */
	METRIC_KNOWN_CERTS_USED,
	METRIC_FAILED_EARLY, /* reporter */
	METRIC_UNLABELLED,
	METRIC_CONNECTIONS_REFUSED, /* reason */
	METRIC_FAILOVERS,           /* after */
	METRIC_ON_DEMAND,           /* result */
	METRIC_HANDSHAKES_PACED,
	METRIC_DIALS_PACED,
	METRIC_TLS_HANDSHAKES,   /* result */
	METRIC_H2_ATTACKS,       /* kind */
	METRIC_REQUESTS_REFUSED, /* status */
	METRIC_AROUND_WAYPOINT,  /* over */
	METRIC_POLICY_DENIED,    /* policy, reason */
	METRIC_POLICY_DRY_RUN,   /* policy, says, source_principal */
	METRIC_POLICY_ENDED,
	METRIC_CERTS,         /* state */
	METRIC_CERT_REQUESTS, /* result */
	METRIC_CERT_WISHES_LOST,
	METRIC_CERT_ENDS, /* identity; Unix time */
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

/*
 * Shown.
 */
enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS };

/* By the value of an Accept header (NULL: there was none): OpenMetrics where it is named. */
enum metrics_format metrics_format_of(const char *accept);
const char *metrics_content_type(enum metrics_format format);
/* Families in the table's order, series by their labels; what has no series is left out. */
void metrics_write(FILE *out, enum metrics_format format, const struct metrics *metrics);
/* What stands in front of a family's series. @name: as samples show it, a counter's with _total. */
void metrics_write_head(FILE *out, enum metrics_format format, const char *name, bool counter,
                        const char *help);
void metrics_write_label(FILE *out, const char *value);        /* escaped, without its quotes */
void metrics_write_end(FILE *out, enum metrics_format format); /* of all families */
