/*
 * metrics: what is counted is shown, once, in order and escaped; sets are merged; too many series
 * are counted as lost.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

static char *text_of(const struct metrics *metrics)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(out);
	metrics_write(out, METRICS_TEXT, metrics);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static void shows(struct metrics *metrics, const char *expected)
{
	char *text = text_of(metrics);

	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(nothing)
{
	struct metrics *metrics = metrics_new();

	shows(metrics, "");
	metrics_free(metrics);
	metrics_free(NULL);
}
END_TEST

START_TEST(counted_and_merged)
{
	struct metrics *one = metrics_new(), *two = metrics_new();

	metrics_count(one, METRIC_H2_ATTACKS, "PING");
	metrics_count(one, METRIC_H2_ATTACKS, "PING");
	metrics_count(one, METRIC_H2_ATTACKS, "CONTINUATION");
	metrics_count(two, METRIC_H2_ATTACKS, "PING");
	metrics_count(two, METRIC_ACCEPT_ERRORS, NULL);
	*metrics_at(two, METRIC_CPU, NULL) += 1250;
	metrics_merge(one, two);
	metrics_free(two);
	shows(one, "# HELP culvert_h2_attacks_total Connections of peers ended with "
	           "ENHANCE_YOUR_CALM, by what they flooded us with.\n"
	           "# TYPE culvert_h2_attacks_total counter\n"
	           "culvert_h2_attacks_total{kind=\"CONTINUATION\"} 1\n"
	           "culvert_h2_attacks_total{kind=\"PING\"} 3\n"
	           "# HELP culvert_accept_errors_total Connections that could not be accepted.\n"
	           "# TYPE culvert_accept_errors_total counter\n"
	           "culvert_accept_errors_total 1\n"
	           "# HELP process_cpu_seconds_total User and system CPU time spent.\n"
	           "# TYPE process_cpu_seconds_total counter\n"
	           "process_cpu_seconds_total 1.250\n");
	metrics_free(one);
}
END_TEST

/* A turn is told to the microsecond: most are shorter than a millisecond. */
START_TEST(a_turn_has_microseconds)
{
	const char *worker = "0";
	struct metrics *metrics = metrics_new();
	char *text;

	*metrics_at(metrics, METRIC_LONGEST_TURN, &worker) = 437;
	text = text_of(metrics);
	ck_assert_ptr_nonnull(
	    strstr(text, "culvert_loop_longest_turn_seconds{worker=\"0\"} 0.000437\n"));
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(values_are_escaped)
{
	struct metrics *metrics = metrics_new();
	char *text;

	metrics_count(metrics, METRIC_H2_ATTACKS, "a\"b\\c\nd");
	text = text_of(metrics);
	ck_assert_ptr_nonnull(strstr(text, "{kind=\"a\\\"b\\\\c\\nd\"} 1\n"));
	free(text);
	metrics_free(metrics);
}
END_TEST

START_TEST(openmetrics)
{
	struct metrics *metrics = metrics_new();
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	metrics_count(metrics, METRIC_SOCKETS_OPEN, "source");
	*metrics_at(metrics, METRIC_CPU, NULL) += 1250;
	*metrics_at(metrics, METRIC_XDS_BYTES, (const char *[]){ "type/x" }) += 7;
	metrics_write(out, METRICS_OPENMETRICS, metrics);
	metrics_write_end(out, METRICS_OPENMETRICS);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_str_eq(
	    text, "# HELP istio_tcp_sockets_open The current number of open TCP sockets "
		  "(unstable).\n"
		  "# TYPE istio_tcp_sockets_open gauge\n"
		  "istio_tcp_sockets_open{reporter=\"source\"} 1\n"
		  "# HELP istio_xds_message_bytes Total number of bytes received (unstable).\n"
		  "# TYPE istio_xds_message_bytes counter\n"
		  "# UNIT istio_xds_message_bytes bytes\n"
		  "istio_xds_message_bytes_total{url=\"type/x\"} 7\n"
		  "# HELP process_cpu_seconds User and system CPU time spent.\n"
		  "# TYPE process_cpu_seconds counter\n"
		  "# UNIT process_cpu_seconds seconds\n"
		  "process_cpu_seconds_total 1.250\n"
		  "# EOF\n");
	free(text);
	metrics_free(metrics);
}
END_TEST

/* clang-format off */
static const struct {
	const char *accept;
	enum metrics_format format;
} accepts[] = {
	{ NULL, METRICS_TEXT },
	{ "", METRICS_TEXT },
	{ "*/*", METRICS_TEXT },
	{ "text/plain;version=0.0.4", METRICS_TEXT },
	{ "application/openmetrics-text", METRICS_OPENMETRICS },
	{ " application/OpenMetrics-Text;version=1.0.0;q=0.5,text/plain", METRICS_OPENMETRICS },
	{ "text/plain;q=0.3, application/openmetrics-text ; version=1.0.0", METRICS_OPENMETRICS },
	{ "application/openmetrics-text2", METRICS_TEXT },
	{ "text/plain;x=application/openmetrics-text", METRICS_TEXT },
	{ ",,,", METRICS_TEXT },
};
/* clang-format on */

START_TEST(negotiated)
{
	const char *accept = accepts[_i].accept;

	ck_assert_msg(metrics_format_of(accept) == accepts[_i].format, "%s",
	              accept ? accept : "none");
	ck_assert_str_eq(metrics_content_type(accepts[_i].format),
	                 accepts[_i].format == METRICS_TEXT
	                     ? "text/plain; version=0.0.4; charset=utf-8"
	                     : "application/openmetrics-text;charset=utf-8;version=1.0.0");
}
END_TEST

START_TEST(a_series_keeps_its_place)
{
	struct metrics *metrics = metrics_new();
	const char *first = "first";
	uint64_t *number = metrics_at(metrics, METRIC_H2_ATTACKS, &first);
	char name[32], *text;

	for (unsigned i = 0; i < METRICS_SERIES_MAX + 10; i++) {
		snprintf(name, sizeof(name), "%u", i);
		metrics_count(metrics, METRIC_H2_ATTACKS, name);
	}
	ck_assert_ptr_eq(metrics_at(metrics, METRIC_H2_ATTACKS, &first), number);
	*number = 7;
	text = text_of(metrics);
	ck_assert_ptr_nonnull(strstr(text, "{kind=\"first\"} 7\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nculvert_metrics_lost_total 11\n"));
	free(text);
	metrics_free(metrics);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, nothing);
	tcase_add_test(tc, counted_and_merged);
	tcase_add_test(tc, a_turn_has_microseconds);
	tcase_add_test(tc, values_are_escaped);
	tcase_add_test(tc, openmetrics);
	tcase_add_loop_test(tc, negotiated, 0, sizeof(accepts) / sizeof(accepts[0]));
	tcase_add_test(tc, a_series_keeps_its_place);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
