/*
 * metrics: a table of families, and a hash table of series.
 */
#include "metrics.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <hbone/base.h>

enum type { COUNTER, GAUGE };

/* clang-format off */
static const struct family {
	const char *name; /* as samples show it */
	enum type type;
	const char *labels[METRICS_LABELS_MAX];
	const char *help;
	unsigned per; /* the number counts so many parts of what is shown; 0: it is that */
} families[METRICS] = {
	/* ztunnel's (reference/operations 3.2, 3.6). */
	[METRIC_BUILD] = { "istio_build", GAUGE, { "component", "tag" },
	  "Istio component build info.", 0 },
	[METRIC_SOCKETS_OPEN] = { "istio_tcp_sockets_open", GAUGE, { "reporter" },
	  "The current number of open TCP sockets (unstable).", 0 },
	[METRIC_CRL_REJECTED] = { "istio_crl_policy_rejections_total", COUNTER, { "reporter" },
	  "The total number of connections rejected because of a revoked certificate (unstable).", 0 },
	[METRIC_ON_DEMAND_DNS] = { "istio_on_demand_dns_total", COUNTER,
	  { "source_workload", "source_canonical_service", "source_canonical_revision", "source_workload_namespace",
	    "source_principal", "source_app", "source_version", "source_cluster", "hostname" },
	  "The total number of requests that used on-demand DNS (unstable).", 0 },
	[METRIC_PODS_ACTIVE] = { "workload_manager_active_proxy_count", GAUGE, { NULL },
	  "The total number current workloads with active proxies (unstable).", 0 },
	[METRIC_PODS_PENDING] = { "workload_manager_pending_proxy_count", GAUGE, { NULL },
	  "The total number current workloads with pending proxies (unstable).", 0 },
	[METRIC_PODS_STARTED] = { "workload_manager_proxies_started_total", COUNTER, { NULL },
	  "The total number of proxies that were started (unstable).", 0 },
	[METRIC_PODS_STOPPED] = { "workload_manager_proxies_stopped_total", COUNTER, { NULL },
	  "The total number of proxies that were stopped (unstable).", 0 },
	[METRIC_XDS_ENDS] = { "istio_xds_connection_terminations_total", COUNTER, { "reason" },
	  "The total number of completed connections to xds server (unstable).", 0 },
	[METRIC_XDS_MESSAGES] = { "istio_xds_message_total", COUNTER, { "url" },
	  "Total number of messages received (unstable).", 0 },
	[METRIC_XDS_BYTES] = { "istio_xds_message_bytes_total", COUNTER, { "url" },
	  "Total number of bytes received (unstable).", 0 },
	/* Ours. */
	[METRIC_XDS_CONNECTED] = { "culvert_xds_connected", GAUGE, { NULL },
	  "1 while the xDS server answers, else 0.", 0 },
	[METRIC_XDS_RESOURCES] = { "culvert_xds_resources", GAUGE, { "url" },
	  "Resources that the xDS server gave and has not taken back.", 0 },
	[METRIC_XDS_REJECTED] = { "culvert_xds_resources_rejected_total", COUNTER, { "url" },
	  "Resources that could not be taken; what they were before stays.", 0 },
	[METRIC_XDS_NACKS] = { "culvert_xds_nacks_total", COUNTER, { "url" },
	  "Responses of the xDS server of which something was rejected.", 0 },
	[METRIC_KNOWN_SERVED] = { "culvert_last_known_served_timestamp_seconds", GAUGE, { "state" },
	  "As of when what is served from the disk was known; 0: its source has spoken since the start.", 0 },
	[METRIC_KNOWN_FAILURES] = { "culvert_last_known_write_failures_total", COUNTER, { "state" },
	  "Times that the last known state could not be written to the disk.", 0 },
	[METRIC_KNOWN_CERTS_USED] = { "culvert_last_known_certificates_used_total", COUNTER, { NULL },
	  "Certificates that were used from the disk, before the CA was asked.", 0 },
	[METRIC_FAILED_EARLY] = { "culvert_connections_failed_early_total", COUNTER, { "reporter" },
	  "Connections that failed before anything about their ends was known; istio_tcp_* lacks them.", 0 },
	[METRIC_UNLABELLED] = { "culvert_connections_unlabelled_total", COUNTER, { NULL },
	  "Connections counted as unknown in istio_tcp_*, because there were too many kinds of them.", 0 },
	[METRIC_CONNECTIONS_REFUSED] = { "culvert_connections_refused_total", COUNTER, { "reason" },
	  "Connections ended for a limit, before anything was carried.", 0 },
	[METRIC_FAILOVERS] = { "culvert_failovers_total", COUNTER, { "after" },
	  "Connections tried at another endpoint, waypoint or address, by the layer at which one failed.", 0 },
	[METRIC_ON_DEMAND] = { "culvert_on_demand_waits_total", COUNTER, { "result" },
	  "Times that a connection waited for what the mesh did not know (xdsOnDemand): answered, timeout, limit, failed.", 0 },
	[METRIC_HANDSHAKES_PACED] = { "culvert_tls_handshakes_paced_total", COUNTER, { NULL },
	  "Steps of TLS handshakes of peers that had to wait for their turn.", 0 },
	[METRIC_DIALS_PACED] = { "culvert_dials_paced_total", COUNTER, { NULL },
	  "Dials of apps, for requests of peers, that had to wait for their turn.", 0 },
	[METRIC_TLS_HANDSHAKES] = { "culvert_tls_handshakes_total", COUNTER, { "result" },
	  "TLS handshakes of peers on 15008 that ended.", 0 },
	[METRIC_H2_ATTACKS] = { "culvert_h2_attacks_total", COUNTER, { "kind" },
	  "Connections of peers ended with ENHANCE_YOUR_CALM, by what they flooded us with.", 0 },
	[METRIC_REQUESTS_REFUSED] = { "culvert_requests_refused_total", COUNTER, { "status" },
	  "CONNECT requests of peers answered with anything but 200.", 0 },
	[METRIC_AROUND_WAYPOINT] = { "culvert_around_waypoint_total", COUNTER, { "over" },
	  "Connections refused because they did not come through a waypoint (waypointStrict).", 0 },
	[METRIC_POLICY_DENIED] = { "culvert_policy_denied_total", COUNTER, { "policy", "reason" },
	  "Connections that policy refused, by what decided; reason unknown: the policy is missing.", 0 },
	[METRIC_POLICY_DRY_RUN] = { "culvert_policy_dry_run_total", COUNTER,
	  { "policy", "says", "source_principal" },
	  "What dry-run policies would have decided: allow, deny, or lacks (an ALLOW did not match).", 0 },
	[METRIC_POLICY_ENDED] = { "culvert_policy_ended_total", COUNTER, { NULL },
	  "Live connections ended because a changed policy denies them.", 0 },
	[METRIC_CERTS] = { "culvert_certificates", GAUGE, { "state" },
	  "Identities of the node's pods: available, initializing, unavailable.", 0 },
	[METRIC_CERT_REQUESTS] = { "culvert_certificate_requests_total", COUNTER, { "result" },
	  "Answers to requests for certificates: issued, or failed for whatever reason.", 0 },
	[METRIC_CERT_WISHES_LOST] = { "culvert_certificate_wishes_lost_total", COUNTER, { NULL },
	  "Identities that were to be asked for, or let go, and were not for lack of memory.", 0 },
	[METRIC_CERT_ENDS] = { "culvert_certificate_expiry_timestamp_seconds", GAUGE, { "identity" },
	  "When the certificate that is used ends, in Unix time.", 0 },
	[METRIC_ACCEPT_ERRORS] = { "culvert_accept_errors_total", COUNTER, { NULL },
	  "Connections that could not be accepted.", 0 },
	[METRIC_ADMIN_REFUSED] = { "culvert_admin_connections_refused_total", COUNTER, { NULL },
	  "Admin connections above the limit.", 0 },
	[METRIC_LOG_DROPPED] = { "culvert_log_lines_dropped_total", COUNTER, { NULL },
	  "Log lines lost because nobody read them fast enough.", 0 },
	[METRIC_LOG_SUPPRESSED] = { "culvert_log_lines_suppressed_total", COUNTER, { NULL },
	  "Warnings left out because the same one came too often.", 0 },
	[METRIC_SERIES_LOST] = { "culvert_metrics_lost_total", COUNTER, { NULL },
	  "What was counted in series that there was no room for.", 0 },
	[METRIC_CPU] = { "process_cpu_seconds_total", COUNTER, { NULL },
	  "User and system CPU time spent.", 1000 },
	[METRIC_RESIDENT] = { "process_resident_memory_bytes", GAUGE, { NULL },
	  "Resident memory size.", 0 },
	[METRIC_OPEN_FDS] = { "process_open_fds", GAUGE, { NULL },
	  "Number of open file descriptors", 0 },
	[METRIC_MAX_FDS] = { "process_max_fds", GAUGE, { NULL },
	  "Maximum number of file descriptors", 0 },
	[METRIC_LONGEST_TURN] = { "culvert_loop_longest_turn_seconds", GAUGE, { "worker" },
	  "The longest turn of a loop since it was last asked for; worker control: of the control loop.", 1000000 },
};
/* clang-format on */

#define BUCKETS 1024u

struct series {
	struct series *next; /* in its bucket */
	uint64_t number;
	uint32_t hash;
	uint16_t metric;
	uint16_t values_count;
	char *values[]; /* point behind the array */
};

struct metrics {
	struct series *buckets[BUCKETS];
	unsigned count;
	uint64_t lost; /* counted without a series */
};

struct metrics *metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (metrics->buckets[i]) {
			struct series *series = metrics->buckets[i];

			metrics->buckets[i] = series->next;
			free(series);
		}
	free(metrics);
}

static unsigned labels_count(enum metric metric)
{
	unsigned n = 0;

	while (n < METRICS_LABELS_MAX && families[metric].labels[n])
		n++;
	return n;
}

/* FNV-1a, over the values with their ends. */
static uint32_t hash_of(enum metric metric, const char *const *values, unsigned count)
{
	uint32_t hash = 2166136261u ^ (uint32_t)metric;

	for (unsigned i = 0; i < count; i++) {
		for (const char *c = values[i]; *c; c++)
			hash = (hash ^ (uint8_t)*c) * 16777619u;
		hash = (hash ^ 0x100) * 16777619u;
	}
	return hash;
}

static bool is_it(const struct series *series, uint32_t hash, enum metric metric,
                  const char *const *values)
{
	if (series->hash != hash || series->metric != metric)
		return false;
	for (unsigned i = 0; i < series->values_count; i++)
		if (strcmp(series->values[i], values[i]) != 0)
			return false;
	return true;
}

static struct series *series_new(uint32_t hash, enum metric metric, const char *const *values,
                                 unsigned count)
{
	size_t size = count * sizeof(char *);
	struct series *series;
	char *text;

	for (unsigned i = 0; i < count; i++)
		size += strlen(values[i]) + 1;
	series = malloc(sizeof(*series) + size);
	if (!series)
		return NULL;
	*series = (struct series){ .hash = hash,
		                   .metric = (uint16_t)metric,
		                   .values_count = (uint16_t)count };
	text = (char *)&series->values[count];
	for (unsigned i = 0; i < count; i++) {
		size_t len = strlen(values[i]) + 1;

		series->values[i] = memcpy(text, values[i], len);
		text += len;
	}
	return series;
}

uint64_t *metrics_at(struct metrics *metrics, enum metric metric, const char *const *values)
{
	unsigned count = labels_count(metric);
	uint32_t hash = hash_of(metric, values, count);
	struct series **at = &metrics->buckets[hash % BUCKETS], *series;

	for (series = *at; series; series = series->next)
		if (is_it(series, hash, metric, values))
			return &series->number;
	series =
	    metrics->count < METRICS_SERIES_MAX ? series_new(hash, metric, values, count) : NULL;
	if (!series)
		return &metrics->lost;
	metrics->count++;
	series->next = *at;
	*at = series;
	return &series->number;
}

void metrics_count(struct metrics *metrics, enum metric metric, const char *value)
{
	(*metrics_at(metrics, metric, &value))++;
}

void metrics_merge(struct metrics *to, const struct metrics *from)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct series *s = from->buckets[i]; s; s = s->next)
			*metrics_at(to, (enum metric)s->metric, (const char *const *)s->values) +=
			    s->number;
	to->lost += from->lost;
}

static int by_family_and_values(const void *a, const void *b)
{
	const struct series *x = *(const struct series *const *)a;
	const struct series *y = *(const struct series *const *)b;
	int order = (int)x->metric - (int)y->metric;

	for (unsigned i = 0; order == 0 && i < x->values_count; i++)
		order = strcmp(x->values[i], y->values[i]);
	return order;
}

void metrics_write_label(FILE *out, const char *value)
{
	for (; *value; value++)
		switch (*value) {
		case '\n':
			fputs("\\n", out);
			break;
		case '\\':
		case '"':
			fputc('\\', out);
			/* fall through */
		default:
			fputc(*value, out);
		}
}

static void write_number(FILE *out, const struct family *family, uint64_t number)
{
	if (family->per)
		fprintf(out, " %.*f\n", family->per > 1000 ? 6 : 3, (double)number / family->per);
	else
		fprintf(out, " %llu\n", (unsigned long long)number);
}

/* Whether @text, of which @len bytes count, ends with @end. */
static bool ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && memcmp(text + len - n, end, n) == 0;
}

void metrics_write_head(FILE *out, enum metrics_format format, const char *name, bool counter,
                        const char *help)
{
	size_t len = strlen(name);

	/* OpenMetrics 1.0: a counter's family is named without what its samples end with. */
	if (format == METRICS_OPENMETRICS && counter && ends_with(name, len, "_total"))
		len -= strlen("_total");
	fprintf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, name, help, (int)len, name,
	        counter ? "counter" : "gauge");
}

/* Only OpenMetrics has units. ztunnel gives one where the name has it, as here, but for
 * istio_tcp_*_bytes. */
static void write_unit(FILE *out, enum metrics_format format, const struct family *family)
{
	static const char *const units[] = { "seconds", "bytes" };
	size_t len = strlen(family->name);

	if (format != METRICS_OPENMETRICS)
		return;
	if (ends_with(family->name, len, "_total"))
		len -= strlen("_total");
	for (size_t i = 0; i < HB_ARRAY_LEN(units); i++)
		if (ends_with(family->name, len, units[i]))
			fprintf(out, "# UNIT %.*s %s\n", (int)len, family->name, units[i]);
}

static void write_head(FILE *out, enum metrics_format format, const struct family *family)
{
	metrics_write_head(out, format, family->name, family->type == COUNTER, family->help);
	write_unit(out, format, family);
}

static void write_series(FILE *out, const struct series *series)
{
	const struct family *family = &families[series->metric];

	fputs(family->name, out);
	for (unsigned i = 0; i < series->values_count; i++) {
		fprintf(out, "%s%s=\"", i ? "," : "{", family->labels[i]);
		metrics_write_label(out, series->values[i]);
		fputc('"', out);
	}
	if (series->values_count)
		fputc('}', out);
	write_number(out, family, series->number);
}

void metrics_write(FILE *out, enum metrics_format format, const struct metrics *metrics)
{
	hb_cleanup(hb_free_ptr) const struct series **all =
	    calloc(metrics->count + 1, sizeof(struct series *));
	size_t count = 0;

	for (size_t i = 0; all && i < BUCKETS; i++)
		for (const struct series *s = metrics->buckets[i]; s; s = s->next)
			all[count++] = s;
	if (count)
		qsort(all, count, sizeof(struct series *), by_family_and_values);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || all[i]->metric != all[i - 1]->metric)
			write_head(out, format, &families[all[i]->metric]);
		write_series(out, all[i]);
	}
	if (metrics->lost) {
		write_head(out, format, &families[METRIC_SERIES_LOST]);
		fputs(families[METRIC_SERIES_LOST].name, out);
		write_number(out, &families[METRIC_SERIES_LOST], metrics->lost);
	}
}

void metrics_write_end(FILE *out, enum metrics_format format)
{
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}

enum metrics_format metrics_format_of(const char *accept)
{
	static const char name[] = "application/openmetrics-text";

	while (accept && *accept) {
		size_t len;

		accept += strspn(accept, ", \t");
		len = strcspn(accept, ",; \t");
		if (len == sizeof(name) - 1 && strncasecmp(accept, name, len) == 0)
			return METRICS_OPENMETRICS;
		accept += strcspn(accept, ",");
	}
	return METRICS_TEXT;
}

const char *metrics_content_type(enum metrics_format format)
{
	return format == METRICS_OPENMETRICS
	           ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
	           : "text/plain; version=0.0.4; charset=utf-8";
}
