/*
 * flow_metrics: flows of the same parties count in one row; labels are ztunnel's, in its order;
 * what is unknown says so; what a peer says is weighed; there are only so many rows.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/flow_metrics.h"

static const struct workload client = {
	.name = "client-1",
	.ns = "demo",
	.workload_name = "client",
	.canonical_name = "client-app",
	.canonical_revision = "v1",
	.cluster_id = "one",
	.region = "r1",
	.zone = "z1",
	.identity = "spiffe://td/ns/demo/sa/client",
};
static const struct workload server = {
	.name = "server-1",
	.ns = "shop",
	.workload_name = "server",
	.canonical_name = "server-app",
	.canonical_revision = "",
	.cluster_id = "one",
	.region = "r1",
	.zone = "",
	.identity = "spiffe://td/ns/shop/sa/server",
};
static const struct service web = { .name = "web", .ns = "shop", .hostname = "web.shop.svc" };

static char *text_of(const struct flow_metrics *set, enum metrics_format format)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(out);
	flow_metrics_write(out, format, set);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static void shows(const struct flow_metrics *set, enum metrics_format format, const char *expected)
{
	char *text = text_of(set, format);

	ck_assert_str_eq(text, expected);
	free(text);
}

#define SRC_CLIENT(principal)                                                                      \
	"source_workload=\"client\",source_canonical_service=\"client-app\","                      \
	"source_canonical_revision=\"v1\",source_workload_namespace=\"demo\","                     \
	"source_principal=\"" principal "\",source_app=\"client-app\",source_version=\"v1\","      \
	"source_cluster=\"one\","
#define DST_WEB                                                                                    \
	"destination_service=\"web.shop.svc\",destination_service_namespace=\"shop\","             \
	"destination_service_name=\"web\","
#define DST_SERVER                                                                                 \
	"destination_workload=\"server\",destination_canonical_service=\"server-app\","            \
	"destination_canonical_revision=\"unknown\",destination_workload_namespace=\"shop\","      \
	"destination_principal=\"spiffe://td/ns/shop/sa/server\","                                 \
	"destination_app=\"server-app\",destination_version=\"unknown\","                          \
	"destination_cluster=\"one\","
#define END(flags, security)                                                                       \
	"request_protocol=\"tcp\",response_flags=\"" flags                                         \
	"\",connection_security_policy=\"" security "\""
#define LOCALITY                                                                                   \
	",source_region=\"r1\",source_zone=\"z1\",destination_region=\"r1\","                      \
	"destination_zone=\"unknown\""
#define BOTH(flags)                                                                                \
	"{reporter=\"source\"," SRC_CLIENT("spiffe://td/ns/demo/sa/client") DST_WEB DST_SERVER     \
	END(flags, "mutual_tls") LOCALITY "} "

#define OPENED   "istio_tcp_connections_opened_total"
#define CLOSED   "istio_tcp_connections_closed_total"
#define FAILED   "istio_tcp_connections_failed_total"
#define RECEIVED "istio_tcp_received_bytes_total"
#define SENT     "istio_tcp_sent_bytes_total"

static const struct flow_parties tunnelled = {
	.outbound = true,
	.mtls = true,
	.src = &client,
	.dst = &server,
	.src_principal = "spiffe://td/ns/demo/sa/client",
	.service = &web,
};

START_TEST(nothing)
{
	struct flow_metrics *set = flow_metrics_new();

	shows(set, METRICS_TEXT, "");
	flow_metrics_free(set);
	flow_metrics_free(NULL);
}
END_TEST

START_TEST(counted)
{
	struct flow_metrics *set = flow_metrics_new(), *sum = flow_metrics_new();
	struct hb_relay_group *one = flow_metrics_opened(set, &tunnelled);
	struct hb_relay_group *two = flow_metrics_opened(set, &tunnelled);

	ck_assert_ptr_eq(one, two);
	one->a += 11;
	one->b += 22;
	flow_metrics_closed(one, FLAG_NONE);
	flow_metrics_closed(two, FLAG_CONNECT);
	ck_assert_int_eq(flow_metrics_merge(sum, set), 0);
	ck_assert_int_eq(flow_metrics_merge(sum, set), 0); /* another worker's, as it were */
	flow_metrics_free(set);
	shows(
	    sum, METRICS_OPENMETRICS,
	    "# HELP istio_tcp_connections_opened The total number of TCP connections opened.\n"
	    "# TYPE istio_tcp_connections_opened counter\n" OPENED BOTH(
		"-") "4\n"
		     "# HELP istio_tcp_connections_closed The total number of TCP connections "
		     "closed.\n"
		     "# TYPE istio_tcp_connections_closed counter\n" CLOSED BOTH("-") "2\n" CLOSED
			 BOTH(
			     "CONNECT") "2\n"
					"# HELP istio_tcp_connections_failed The total number of "
					"TCP connections that failed to establish "
					"(unstable).\n"
					"# TYPE istio_tcp_connections_failed counter\n" FAILED BOTH(
					    "CONNECT") "2\n"
						       "# HELP istio_tcp_received_bytes The size "
						       "of total bytes received during request in "
						       "case of a TCP connection.\n"
						       "# TYPE istio_tcp_received_bytes "
						       "counter\n" RECEIVED BOTH(
							   "-") "22\n"
								"# HELP istio_tcp_sent_bytes The "
								"size of total bytes sent during "
								"response in case of "
								"a TCP connection.\n"
								"# TYPE istio_tcp_sent_bytes "
								"counter\n" SENT BOTH("-") "44\n");
	flow_metrics_free(sum);
}
END_TEST

#define UNKNOWN_SRC                                                                                \
	"source_workload=\"unknown\",source_canonical_service=\"unknown\","                        \
	"source_canonical_revision=\"unknown\",source_workload_namespace=\"unknown\","             \
	"source_principal=\"unknown\",source_app=\"unknown\",source_version=\"unknown\","          \
	"source_cluster=\"unknown\","
#define UNKNOWN_SERVICE                                                                            \
	"destination_service=\"unknown\",destination_service_namespace=\"unknown\","               \
	"destination_service_name=\"unknown\","
#define UNKNOWN_DST                                                                                \
	"destination_workload=\"unknown\",destination_canonical_service=\"unknown\","              \
	"destination_canonical_revision=\"unknown\",destination_workload_namespace=\"unknown\","   \
	"destination_principal=\"unknown\",destination_app=\"unknown\","                           \
	"destination_version=\"unknown\",destination_cluster=\"unknown\","

static const struct hb_baggage none = { .type = HB_WORKLOAD_POD };

/* clang-format off */
static const struct {
	const char *name;
	struct flow_parties parties;
	const char *labels;
} rows[] = {
	{ "plaintext from nobody to nobody: no locality", { .outbound = false },
	  "{reporter=\"destination\"," UNKNOWN_SRC UNKNOWN_SERVICE UNKNOWN_DST END("-", "unknown") "}" },
	{ "plaintext: the principal of the source is not proven, that of the destination is its record's",
	  { .src = &client, .dst = &server, .service = &web },
	  "{reporter=\"destination\"," SRC_CLIENT("unknown") DST_WEB DST_SERVER END("-", "unknown") LOCALITY "}" },
	{ "to the outside: the locality of the source alone", { .outbound = true, .src = &client },
	  "{reporter=\"source\"," SRC_CLIENT("unknown") UNKNOWN_SERVICE UNKNOWN_DST END("-", "unknown")
	  ",source_region=\"r1\",source_zone=\"z1\",destination_region=\"unknown\",destination_zone=\"unknown\"}" },
	{ "a record replaces all that is said",
	  { .mtls = true, .src = &client, .dst = &server, .service = &web,
	    .src_said = &none, .src_principal = "spiffe://td/ns/demo/sa/client" },
	  "{reporter=\"destination\"," SRC_CLIENT("spiffe://td/ns/demo/sa/client") DST_WEB DST_SERVER
	  END("-", "mutual_tls") LOCALITY "}" },
};
/* clang-format on */

static void has_line(const struct flow_metrics *set, const char *name, const char *labels)
{
	char *text = text_of(set, METRICS_TEXT), *line = NULL;

	ck_assert_int_gt(asprintf(&line, "\n" OPENED "%s 1\n", labels), 0);
	ck_assert_msg(strstr(text, line), "%s: expected%sin\n%s", name, line, text);
	free(line);
	free(text);
}

START_TEST(labels)
{
	struct flow_metrics *set = flow_metrics_new();

	flow_metrics_opened(set, &rows[_i].parties);
	has_line(set, rows[_i].name, rows[_i].labels);
	flow_metrics_free(set);
}
END_TEST

/* A peer of another network, by its baggage; what is no name is left out. */
START_TEST(said)
{
	struct hb_baggage baggage = {
		.cluster = hb_span("two"),
		.ns = hb_span("far"),
		.workload = hb_span("cart"),
		.service = hb_span("cart-svc"),
		.version = hb_span("\"} 1 x"),
		.region = hb_span("r2"),
	};
	struct flow_parties parties = { .mtls = true,
		                        .src_said = &baggage,
		                        .src_principal = "spiffe://td/ns/far/sa/c" };
	struct flow_metrics *set = flow_metrics_new();

	flow_metrics_opened(set, &parties);
	has_line(
	    set, "source",
	    "{reporter=\"destination\",source_workload=\"cart\","
	    "source_canonical_service=\"cart-svc\",source_canonical_revision=\"unknown\","
	    "source_workload_namespace=\"far\",source_principal=\"spiffe://td/ns/far/sa/c\","
	    "source_app=\"cart\",source_version=\"unknown\",source_cluster=\"two\"," UNKNOWN_SERVICE
		UNKNOWN_DST END("-", "mutual_tls") ",source_region=\"r2\",source_zone=\"unknown\","
						   "destination_region=\"unknown\","
						   "destination_zone=\"unknown\"}");
	parties = (struct flow_parties){ .outbound = true,
		                         .mtls = true,
		                         .dst_said = &baggage,
		                         .dst_principal = "spiffe://td/ns/far/sa/c" };
	flow_metrics_opened(set, &parties);
	has_line(set, "destination",
	         "{reporter=\"source\"," UNKNOWN_SRC UNKNOWN_SERVICE
	         "destination_workload=\"cart\",destination_canonical_service=\"cart-svc\","
	         "destination_canonical_revision=\"unknown\","
	         "destination_workload_namespace=\"far\","
	         "destination_principal=\"spiffe://td/ns/far/sa/c\",destination_app=\"cart\","
	         "destination_version=\"unknown\",destination_cluster=\"two\"," END(
		     "-", "mutual_tls") ",source_region=\"unknown\",source_zone=\"unknown\","
	                                "destination_region=\"r2\","
	                                "destination_zone=\"unknown\"}");
	flow_metrics_free(set);
}
END_TEST

START_TEST(values_are_escaped_and_cut)
{
	char name[3000] = "a\"b\\c\nd";
	struct workload odd = server;
	struct flow_parties parties = { .dst = &odd };
	struct flow_metrics *set = flow_metrics_new();
	const char *at;
	char *text;

	for (size_t i = strlen(name); i + 2 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa9", 3);
	odd.workload_name = name;
	flow_metrics_opened(set, &parties);
	text = text_of(set, METRICS_TEXT);
	at = strstr(text, "destination_workload=\"a\\\"b\\\\c\\nd\xc3\xa9");
	ck_assert_ptr_nonnull(at);
	at = strchr(at, ',') - 1; /* its quote; before it a whole character, at most 1024 bytes */
	ck_assert_int_eq(at[-1], '\xa9');
	free(text);
	flow_metrics_free(set);
}
END_TEST

/* Beyond the limit all is counted still, but as unknown, and that is counted too. */
START_TEST(only_so_many_rows)
{
	struct flow_metrics *set = flow_metrics_new();
	struct metrics *other = metrics_new();
	struct hb_relay_group *rest = NULL, *again;
	char name[32];

	for (unsigned i = 0; i < FLOW_ROWS_MAX + 10; i++) {
		struct hb_baggage baggage = { 0 };
		struct flow_parties parties = { .src_said = &baggage };

		snprintf(name, sizeof(name), "w%u", i);
		baggage.workload = hb_span(name);
		rest = flow_metrics_opened(set, &parties);
	}
	again = flow_metrics_opened(set, &(struct flow_parties){ .outbound = false });
	ck_assert_ptr_eq(again, rest);
	has_line(
	    set, "the first has its own",
	    "{reporter=\"destination\",source_workload=\"w0\","
	    "source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\","
	    "source_workload_namespace=\"unknown\",source_principal=\"unknown\","
	    "source_app=\"w0\",source_version=\"unknown\",source_cluster="
	    "\"unknown\"," UNKNOWN_SERVICE UNKNOWN_DST END(
		"-", "unknown") ",source_region=\"unknown\",source_zone=\"unknown\","
				"destination_region=\"unknown\",destination_zone=\"unknown\"}");
	flow_metrics_failed_early(set, true);
	flow_metrics_report(set, other);
	/* Two of the rows are those of the unknown. */
	ck_assert_uint_eq(*metrics_at(other, METRIC_UNLABELLED, NULL), 12);
	ck_assert_uint_eq(*metrics_at(other, METRIC_FAILED_EARLY, (const char *[]){ "source" }), 1);
	metrics_free(other);
	flow_metrics_free(set);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("flow_metrics");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, nothing);
	tcase_add_test(tc, counted);
	tcase_add_loop_test(tc, labels, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, said);
	tcase_add_test(tc, values_are_escaped_and_cut);
	tcase_add_test(tc, only_so_many_rows);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
