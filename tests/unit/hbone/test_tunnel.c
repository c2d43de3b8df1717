/*
 * tunnel: what a CONNECT says, field by field in ztunnel's order, and what is read of what a peer
 * said, in however many lines.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/pair.h"
#include "support/probe.h"

static struct hb_loop *loop;
static struct hb_h2 *ends[2]; /* client, server */
static struct probe near, far;
static unsigned closes;
static char said[1024]; /* what the request said */

static struct hb_header header(const char *name, const char *value)
{
	return (struct hb_header){ name, value, strlen(name), strlen(value) };
}

static void add_span(char *out, size_t size, const char *name, struct hb_span span)
{
	size_t len = strlen(out);

	if (span.len)
		snprintf(out + len, size - len, "%s=%.*s ", name, (int)span.len, span.text);
}

/* One text for all that hb_tunnel_read() finds. */
static void describe(const struct hb_stream *stream, char *out, size_t size)
{
	char trace[HB_TRACEPARENT_LEN + 1];
	struct hb_tunnel_said read;

	hb_tunnel_read(stream, &read);
	out[0] = 0;
	if (read.has_baggage)
		strcat(out, "baggage ");
	add_span(out, size, "cluster", read.baggage.cluster);
	add_span(out, size, "ns", read.baggage.ns);
	add_span(out, size, "workload", read.baggage.workload);
	add_span(out, size, "service", read.service);
	if (read.has_trace)
		strcat(strcat(out, "trace="), hb_traceparent_format(&read.trace, trace) + 36);
	if (read.has_trace)
		strcat(out, " ");
	if (read.has_network)
		strcat(out, "network ");
	add_span(out, size, "network", read.network);
}

/* The fields as they came, then nothing. */
static void list(const struct hb_stream *stream, char *out, size_t size)
{
	static const char *const names[] = { ":method",   ":authority",  "baggage",
		                             "forwarded", "traceparent", "x-forwarded-network" };
	const struct hb_header *before = NULL;

	out[0] = 0;
	for (size_t i = 0; i < HB_ARRAY_LEN(names); i++) {
		const struct hb_header *line = hb_h2_header(stream, names[i]);

		ck_assert_msg(!line || !before || line > before, "%s is out of order", names[i]);
		before = line ? line : before;
		if (line && line->value_len == 0)
			strcat(strcat(out, names[i]), "='' ");
		else if (line)
			add_span(out, size, names[i],
			         (struct hb_span){ line->value, line->value_len });
	}
}

static void (*note)(const struct hb_stream *stream, char *out, size_t size);

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	note(stream, said, sizeof(said));
	probe_init(&far, stream);
}

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	hb_h2_free(h2);
	closes++;
}

static const struct hb_h2_events events = { .on_request = on_request, .on_closed = on_closed };

static void up(void)
{
	struct hb_stream *wires[2];

	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	pair_new(loop, wires);
	memset(&near, 0, sizeof(near));
	memset(&far, 0, sizeof(far));
	closes = 0;
	said[0] = 0;
	for (int i = 0; i < 2; i++) {
		struct hb_h2_options options = { .role = i ? HB_H2_SERVER : HB_H2_CLIENT };

		ends[i] = hb_h2_new(loop, wires[i], &options, &events, NULL);
		ck_assert_ptr_nonnull(ends[i]);
	}
}

static void down(void)
{
	hb_h2_close(ends[0], hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(loop, &closes, 2, 200));
	probe_done(&near);
	probe_done(&far);
	hb_loop_free(loop);
}

#define TRACE "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

/* clang-format off */
static const struct {
	struct hb_tunnel_request request;
	const char *want;
} requests[] = {
	{ { .authority = "10.0.0.1:80" }, ":method=CONNECT :authority=10.0.0.1:80 baggage='' " },
	{ { "[fd00::1]:80", "a=b", "for=\"1.2.3.4:5\"", TRACE, NULL },
	  ":method=CONNECT :authority=[fd00::1]:80 baggage=a=b forwarded=for=\"1.2.3.4:5\" traceparent=" TRACE " " },
	{ { "web:80", "a=b", "", "", "net1" },
	  ":method=CONNECT :authority=web:80 baggage=a=b x-forwarded-network=net1 " },
	{ { "web:80", "", "f", TRACE, "" },
	  ":method=CONNECT :authority=web:80 baggage='' forwarded=f traceparent=" TRACE " x-forwarded-network='' " },
};
/* clang-format on */

START_TEST(a_request_in_ztunnels_order)
{
	up();
	note = list;
	probe_init(&near, hb_tunnel_open(ends[0], &requests[_i].request));
	turn_some(loop, 10);
	ck_assert_str_eq(said, requests[_i].want);
	down();
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *lines[8][2], *want;
} reads[] = {
	{ "nothing", { { 0 } }, "" },
	{ "an empty baggage is one", { { "baggage", "" } }, "baggage " },
	{ "one line of each",
	  { { "baggage", "k8s.namespace.name=a,k8s.pod.name=p" }, { "forwarded", "for=x;host=web" },
	    { "traceparent", TRACE }, { "x-forwarded-network", "n1" } },
	  "baggage ns=a workload=p service=web trace=0123456789abcdef-01 network network=n1 " },
	{ "baggage of several lines, others between",
	  { { "baggage", "k8s.cluster.name=c" }, { "x", "y" }, { "baggage", "k8s.namespace.name=a" },
	    { "baggage", "k8s.cluster.name=d,k8s.job.name=j" } },
	  "baggage cluster=d ns=a workload=j " },
	{ "one line of it cannot be shown",
	  { { "baggage", "k8s.cluster.name=c" }, { "baggage", "k8s.namespace.name=\xc3\xa9" } }, "" },
	{ "the first forwarded line with a host",
	  { { "forwarded", "for=a" }, { "forwarded", "for=b;host=web" }, { "forwarded", "host=api" } },
	  "service=web " },
	{ "two traceparents are none", { { "traceparent", TRACE }, { "traceparent", TRACE } }, "" },
	{ "a bad traceparent", { { "traceparent", "00-1-2-3" } }, "" },
	{ "an empty network is one", { { "x-forwarded-network", "" } }, "network " },
	{ "the first network", { { "x-forwarded-network", "a" }, { "x-forwarded-network", "b" } },
	  "network network=a " },
	{ "names are whole", { { "baggag", "k8s.cluster.name=c" }, { "baggage2", "k8s.cluster.name=d" } }, "" },
};
/* clang-format on */

START_TEST(what_a_peer_says)
{
	struct hb_header headers[16];
	size_t n = 2;

	up();
	note = describe;
	headers[0] = header(":method", "CONNECT");
	headers[1] = header(":authority", "10.0.0.1:80");
	for (size_t i = 0; i < 8 && reads[_i].lines[i][0]; i++)
		headers[n++] = header(reads[_i].lines[i][0], reads[_i].lines[i][1]);
	probe_init(&near, hb_h2_request(ends[0], headers, n));
	turn_some(loop, 10);
	ck_assert_ptr_nonnull(far.stream);
	ck_assert_msg(strcmp(said, reads[_i].want) == 0, "%s: %s", reads[_i].name, said);
	down();
}
END_TEST

/* 32 lines are read, 33 are none. */
START_TEST(lines_of_baggage_are_bounded)
{
	struct hb_header headers[64];
	size_t n = 2;

	up();
	note = describe;
	headers[0] = header(":method", "CONNECT");
	headers[1] = header(":authority", "10.0.0.1:80");
	while (n < (size_t)(2 + 32 + _i))
		headers[n++] = header("baggage", "k8s.cluster.name=c");
	probe_init(&near, hb_h2_request(ends[0], headers, n));
	turn_some(loop, 10);
	ck_assert_str_eq(said, _i ? "" : "baggage cluster=c ");
	down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tunnel");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, a_request_in_ztunnels_order, 0, HB_ARRAY_LEN(requests));
	tcase_add_loop_test(tc, what_a_peer_says, 0, HB_ARRAY_LEN(reads));
	tcase_add_loop_test(tc, lines_of_baggage_are_bounded, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
