/*
 * flow_metrics: a hash table of rows; five families are made of the numbers of each.
 */
#include "proxy/flow_metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256u

struct row {
	struct row *next; /* in its bucket */
	struct flow_labels *labels;
	uint64_t opened, closed[RESPONSE_FLAGS];
	struct hb_relay_group bytes;
};

struct flow_metrics {
	struct row *buckets[BUCKETS];
	size_t count;
	struct row *rest[2]; /* by outbound: nothing is known of theirs */
	uint64_t failed_early[2], unlabelled;
};

/* ---- rows ---- */

/* Takes @labels, also on failure (NULL: no memory). */
static struct row *add_row(struct flow_metrics *set, struct flow_labels *labels)
{
	struct row **bucket = &set->buckets[labels->hash % BUCKETS];
	struct row *row = calloc(1, sizeof(*row));

	if (!row) {
		flow_labels_unref(labels);
		return NULL;
	}
	row->labels = labels;
	row->next = *bucket;
	*bucket = row;
	set->count++;
	return row;
}

static struct row *row_wanted(struct flow_metrics *set, const struct flow_labels_wanted *wanted)
{
	struct row *row = set->buckets[wanted->hash % BUCKETS];
	struct flow_labels *labels;

	while (row && !flow_labels_are(row->labels, wanted))
		row = row->next;
	if (row || set->count >= FLOW_ROWS_MAX)
		return row;
	labels = flow_labels_new(wanted);
	return labels ? add_row(set, labels) : NULL;
}

static bool is_same(const struct flow_labels *a, const struct flow_labels *b)
{
	return a == b || (a->hash == b->hash && flow_labels_compare(a, b) == 0);
}

/* Of a set that is shown, which has as many as those that it is made of. */
static struct row *row_like(struct flow_metrics *set, const struct row *like)
{
	struct row *row = set->buckets[like->labels->hash % BUCKETS];

	while (row && !is_same(row->labels, like->labels))
		row = row->next;
	if (row)
		return row;
	return add_row(set, flow_labels_ref(like->labels));
}

struct flow_metrics *flow_metrics_new(void)
{
	struct flow_metrics *set = calloc(1, sizeof(*set));

	for (int outbound = 0; set && outbound < 2; outbound++) {
		struct flow_parties nobody = { .outbound = outbound };
		struct flow_labels_wanted wanted;

		flow_labels_want(&nobody, &wanted);
		set->rest[outbound] = row_wanted(set, &wanted);
		if (!set->rest[outbound]) {
			flow_metrics_free(set);
			return NULL;
		}
	}
	return set;
}

void flow_metrics_free(struct flow_metrics *set)
{
	for (size_t i = 0; set && i < BUCKETS; i++)
		while (set->buckets[i]) {
			struct row *row = set->buckets[i];

			set->buckets[i] = row->next;
			flow_labels_unref(row->labels);
			free(row);
		}
	free(set);
}

struct hb_relay_group *flow_metrics_opened(struct flow_metrics *set,
                                           const struct flow_parties *parties)
{
	struct flow_labels_wanted wanted;
	struct row *row;

	flow_labels_want(parties, &wanted);
	row = row_wanted(set, &wanted);
	if (!row) {
		set->unlabelled++;
		row = set->rest[parties->outbound];
	}
	row->opened++;
	return &row->bytes;
}

void flow_metrics_closed(struct hb_relay_group *group, enum response_flag flag)
{
	hb_container_of(group, struct row, bytes)->closed[flag]++;
}

void flow_metrics_failed_early(struct flow_metrics *set, bool outbound)
{
	set->failed_early[outbound]++;
}

/* ---- shown ---- */

static int merge_row(struct flow_metrics *to, const struct row *from)
{
	struct row *row = row_like(to, from);

	if (!row)
		return -ENOMEM;
	row->opened += from->opened;
	row->bytes.a += from->bytes.a;
	row->bytes.b += from->bytes.b;
	for (int flag = 0; flag < RESPONSE_FLAGS; flag++)
		row->closed[flag] += from->closed[flag];
	return 0;
}

int flow_metrics_merge(struct flow_metrics *to, const struct flow_metrics *from)
{
	int err = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct row *row = from->buckets[i]; row && !err; row = row->next)
			err = merge_row(to, row);
	for (int outbound = 0; outbound < 2; outbound++)
		to->failed_early[outbound] += from->failed_early[outbound];
	to->unlabelled += from->unlabelled;
	return err;
}

static void write_sample(FILE *out, const char *name, const struct flow_labels *labels,
                         enum response_flag flag, uint64_t number)
{
	fputs(name, out);
	flow_labels_write(out, labels, flag);
	fprintf(out, " %" PRIu64 "\n", number);
}

/* Labels are fixed when a flow begins; only how it ended comes later. */
enum family { OPENED, CLOSED, FAILED, RECEIVED, SENT, FAMILIES };

static const struct {
	const char *name, *help;
} families[FAMILIES] = {
	[OPENED] = { "istio_tcp_connections_opened_total",
	             "The total number of TCP connections opened." },
	[CLOSED] = { "istio_tcp_connections_closed_total",
	             "The total number of TCP connections closed." },
	[FAILED] = { "istio_tcp_connections_failed_total",
	             "The total number of TCP connections that failed to establish (unstable)." },
	[RECEIVED] = { "istio_tcp_received_bytes_total",
	               "The size of total bytes received during request in case of a TCP "
	               "connection." },
	[SENT] = { "istio_tcp_sent_bytes_total",
	           "The size of total bytes sent during response in case of a TCP connection." },
};

static bool was_failed(const struct row *row)
{
	for (int flag = FLAG_NONE + 1; flag < RESPONSE_FLAGS; flag++)
		if (row->closed[flag])
			return true;
	return false;
}

static bool was_closed(const struct row *row)
{
	return row->closed[FLAG_NONE] || was_failed(row);
}

/* What has no sample is left out, its head too. */
static bool has_sample(enum family family, const struct row *row)
{
	return family == FAILED ? was_failed(row) : family != CLOSED || was_closed(row);
}

static void write_row(FILE *out, enum family family, const struct row *row)
{
	const char *name = families[family].name;

	if (family == CLOSED || family == FAILED) {
		for (int flag = family == FAILED; flag < RESPONSE_FLAGS; flag++)
			if (row->closed[flag])
				write_sample(out, name, row->labels, (enum response_flag)flag,
				             row->closed[flag]);
		return;
	}
	write_sample(out, name, row->labels, FLAG_NONE,
	             family == OPENED     ? row->opened
	             : family == RECEIVED ? row->bytes.a
	                                  : row->bytes.b);
}

static void write_family(FILE *out, enum metrics_format format, enum family family,
                         const struct row *const *rows, size_t count)
{
	bool begun = false;

	for (size_t i = 0; i < count; i++) {
		if (!has_sample(family, rows[i]))
			continue;
		if (!begun)
			metrics_write_head(out, format, families[family].name, true,
			                   families[family].help);
		begun = true;
		write_row(out, family, rows[i]);
	}
}

static int by_labels(const void *a, const void *b)
{
	return flow_labels_compare((*(const struct row *const *)a)->labels,
	                           (*(const struct row *const *)b)->labels);
}

void flow_metrics_write(FILE *out, enum metrics_format format, const struct flow_metrics *set)
{
	hb_cleanup(hb_free_ptr) const struct row **rows = calloc(set->count, sizeof(*rows));
	size_t count = 0;

	if (!rows)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct row *row = set->buckets[i]; row; row = row->next)
			if (row->opened)
				rows[count++] = row;
	qsort(rows, count, sizeof(*rows), by_labels);
	for (int family = 0; family < FAMILIES; family++)
		write_family(out, format, (enum family)family, rows, count);
}

void flow_metrics_report(const struct flow_metrics *set, struct metrics *other)
{
	static const char *const reporters[] = { "destination", "source" };

	for (int outbound = 0; outbound < 2; outbound++)
		*metrics_at(other, METRIC_FAILED_EARLY, &reporters[outbound]) +=
		    set->failed_early[outbound];
	*metrics_at(other, METRIC_UNLABELLED, NULL) += set->unlabelled;
}
