/*
 * accesslog: the fields, their order, the level and the message, as ztunnel's readers expect them.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tls.h>

#include "log_format.h"
#include "proxy/accesslog.h"
#include "proxy/ends.h"

static struct flow *flow;
static struct flows flows;
static struct hb_loop *loop;
static struct flow_outcome outcome;
static struct accesslog_line line;

static struct hb_addr addr(const char *text)
{
	struct hb_addr parsed;

	ck_assert_int_eq(hb_addr_parse(text, strlen(text), &parsed), 0);
	return parsed;
}

/* A flow of client to server as the log wants it, in any state; without texts when @known is not.
 */
static void make(enum flow_direction direction, enum flow_state state, bool known)
{
	const char *texts[FLOW_TEXTS] = {
		[FLOW_POD] = "demo/client",
		[FLOW_SRC_WORKLOAD] = "client",
		[FLOW_SRC_NS] = "demo",
		[FLOW_SRC_IDENTITY] = "spiffe://td/ns/demo/sa/client",
		[FLOW_SRC_CLUSTER] = "one",
		[FLOW_DST_SERVICE] = "web.demo",
		[FLOW_DST_WORKLOAD] = "server",
		[FLOW_DST_NS] = "demo",
		[FLOW_DST_IDENTITY] = "spiffe://td/ns/demo/sa/server",
		[FLOW_DST_CLUSTER] = "two",
		[FLOW_AUTHORITY] = "10.0.0.2:80",
		[FLOW_POLICY] = "demo/deny",
	};
	struct hb_addr src, dst;

	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	flows_init(&flows, loop, 1, 1);
	flow = flow_new(&flows, NULL, NULL, direction);
	ck_assert_ptr_nonnull(flow);
	flow->state = (unsigned)state & 3;
	src = addr("10.0.0.1:1000");
	dst = addr("10.0.0.2:15008");
	ck_assert_int_eq(flow_set_path(flow, &src, &dst, NULL), 0);
	flow->start_ms = 100;
	/* As a relay that is done leaves it: bytes, doubled, and 1. */
	flow->relay.a.at = direction == FLOW_OUTBOUND ? 5 * 2 + 1 : 7 * 2 + 1;
	flow->relay.b.at = direction == FLOW_OUTBOUND ? 7 * 2 + 1 : 5 * 2 + 1;
	outcome = (struct flow_outcome){ .end_ms = 112, .error = "" };
	if (state == FLOW_CLOSED)
		flow->outcome = &outcome;
	if (known)
		ck_assert_int_eq(flow_set_texts(flow, texts), 0);
}

static void unmake(void)
{
	flow_path_put(&flows.paths, flow->path);
	hb_clutch_put(hb_clutch_of(flow, flow->place, sizeof(*flow)), flow->place, sizeof(*flow));
	ck_assert_uint_eq(flows.paths.count, 0);
	ck_assert_uint_eq(flows.paths.facts.blocks, 0);
	hb_loop_free(loop);
}

/* The line as "k=v k=v", texts quoted, absent ones left out: what the log makes of it. */
static const char *joined(void)
{
	static char out[2048];
	size_t used = 0;

	out[0] = 0;
	for (size_t i = 0; i < line.count; i++) {
		const struct log_field *field = &line.fields[i];
		const char *blank = used ? " " : "";

		if (field->kind == LOG_NUMBER)
			used += (size_t)snprintf(out + used, sizeof(out) - used, "%s%s=%llu", blank,
			                         field->key, (unsigned long long)field->number);
		else if (field->text && *field->text)
			used +=
			    (size_t)snprintf(out + used, sizeof(out) - used,
			                     field->kind == LOG_TEXT ? "%s%s=\"%s\"" : "%s%s=%s",
			                     blank, field->key, field->text);
	}
	unmake();
	return out;
}

#define SRC                                                                                        \
	"src.addr=10.0.0.1:1000 src.workload=\"client\" src.namespace=\"demo\" "                   \
	"src.identity=\"spiffe://td/ns/demo/sa/client\" src.cluster=\"one\" "
#define DST                                                                                        \
	"dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:80 dst.service=\"web.demo\" "             \
	"dst.workload=\"server\" dst.namespace=\"demo\" "                                          \
	"dst.identity=\"spiffe://td/ns/demo/sa/server\" dst.cluster=\"two\" "
#define COUNTS "bytes_sent=5 bytes_recv=7 duration=\"12ms\""

START_TEST(opened)
{
	make(FLOW_OUTBOUND, FLOW_OPEN, true);
	accesslog_build(flow, "-", &line);
	ck_assert_str_eq(line.message, "connection opened");
	ck_assert_int_eq(line.level, LOG_DEBUG);
	ck_assert_str_eq(joined(), SRC DST "direction=\"outbound\"");
}
END_TEST

START_TEST(complete)
{
	make(FLOW_INBOUND, FLOW_CLOSED, true);
	accesslog_build(flow, "-", &line);
	ck_assert_str_eq(line.message, "connection complete");
	ck_assert_int_eq(line.level, LOG_INFO);
	ck_assert_str_eq(joined(), SRC DST "direction=\"inbound\" " COUNTS);
}
END_TEST

START_TEST(denied)
{
	char error[] = "connection closed due to policy rejection: explicitly denied by: demo/deny";

	make(FLOW_PASSTHROUGH, FLOW_CLOSED, true);
	outcome.error = error;
	outcome.why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY);
	accesslog_build(flow, "DENY", &line);
	ck_assert_str_eq(line.message, "connection complete");
	ck_assert_int_eq(line.level, LOG_ERROR);
	ck_assert_str_eq(joined(),
	                 SRC DST "direction=\"inbound\" " COUNTS
	                         " error=\"connection closed due to policy rejection: explicitly "
	                         "denied by: demo/deny\" response_flags=\"DENY\" "
	                         "policy=\"demo/deny\" end=\"agent us denied by policy\"");
}
END_TEST

START_TEST(failed_early)
{
	char error[] = "attempted recursive call to ourselves";

	make(FLOW_OUTBOUND, FLOW_CLOSED, true);
	flow->early = true;
	outcome.error = error;
	outcome.why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_RECURSIVE);
	accesslog_build(flow, "-", &line);
	ck_assert_str_eq(line.message, "connection failed");
	ck_assert_int_eq(line.level, LOG_WARN);
	ck_assert_ptr_nonnull(strstr(joined(),
	                             "src.addr=10.0.0.1:1000 dst.addr=10.0.0.2:15008 "
	                             "direction=\"outbound\" error=\"attempted recursive call"));
}
END_TEST

START_TEST(absent_ones_are_left_out)
{
	make(FLOW_OUTBOUND, FLOW_CLOSED, false);
	accesslog_build(flow, "-", &line);
	ck_assert_str_eq(joined(), "src.addr=10.0.0.1:1000 dst.addr=10.0.0.2:15008 "
	                           "direction=\"outbound\" " COUNTS);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	enum hb_layer layer;
	int code;
	bool opening;
	const char *words, *flags;
	bool tunnelled;
	enum flow_direction direction;
} ends[] = {
	{ "clean", HB_LAYER_NONE, 0, false, "", "-", false, FLOW_OUTBOUND },
	{ "drain", HB_LAYER_AGENT, HB_E_DRAIN, false, "connection closed due to connection drain", "-", false, FLOW_OUTBOUND },
	{ "loop", HB_LAYER_AGENT, HB_E_RECURSIVE, true, "attempted recursive call to ourselves", "CONNECT", false, FLOW_OUTBOUND },
	{ "refused by the app", HB_LAYER_TCP, -ECONNREFUSED, true, "connection failed: Connection refused (os error 111)", "CONNECT", false, FLOW_INBOUND },
	{ "refused by the peer", HB_LAYER_TCP, -ECONNREFUSED, true, "io error: Connection refused (os error 111)", "CONNECT", true, FLOW_OUTBOUND },
	{ "refused by the app, plaintext", HB_LAYER_TCP, -ECONNREFUSED, true, "connection failed: Connection refused (os error 111)", "CONNECT", false, FLOW_PASSTHROUGH },
	{ "reset while open", HB_LAYER_TCP, -ECONNRESET, false, "io error: Connection reset by peer (os error 104)", "CONNECT", false, FLOW_OUTBOUND },
	{ "the peer's policy", HB_LAYER_TUNNEL, HB_E_STATUS(401), true, "http status: 401 Unauthorized", "CONNECT", false, FLOW_OUTBOUND },
	{ "no certificate", HB_LAYER_AGENT, HB_E_NO_CREDENTIAL, true, "identity error: ", "IDENTITY_ERROR", false, FLOW_OUTBOUND },
	{ "wrong peer", HB_LAYER_TLS, HB_E_PEER_IDENTITY, true, "tls error: peer certificate has none of the expected identities", "TLS_FAILURE", false, FLOW_OUTBOUND },
	{ "wrong client", HB_LAYER_TLS, HB_E_PEER_IDENTITY, true, "tls handshake error: peer certificate has none of the expected identities", "TLS_FAILURE", false, FLOW_INBOUND },
	{ "TLS breaks later", HB_LAYER_TLS, HB_E_TRUNCATED, false, "tls error: ", "CONNECT", false, FLOW_OUTBOUND },
	{ "revoked at first", HB_LAYER_TLS, HB_TLS_REVOKED, true, "tls error: ", "CERT_REVOKED", false, FLOW_OUTBOUND },
	{ "revoked later", HB_LAYER_TLS, HB_TLS_REVOKED, false, "connection closed: peer certificate revoked by CRL", "CERT_REVOKED", false, FLOW_OUTBOUND },
	{ "15008 does not answer", HB_LAYER_TCP, -ETIMEDOUT, true, "io error: ", "NETWORK_POLICY", true, FLOW_OUTBOUND },
	{ "an app does not answer", HB_LAYER_TCP, -ETIMEDOUT, true, "connection failed: ", "CONNECT", false, FLOW_INBOUND },
	{ "silence while open", HB_LAYER_TCP, -ETIMEDOUT, false, "io error: ", "CONNECT", true, FLOW_OUTBOUND },
	{ "policy has changed", HB_LAYER_AGENT, HB_E_POLICY_CHANGED, false, "connection closed due to policy change", "DENY", false, FLOW_OUTBOUND },
	{ "broken HTTP/2", HB_LAYER_H2, HB_E_H2, true, "h2 failed: ", "H2_HANDSHAKE_FAILURE", false, FLOW_OUTBOUND },
	{ "policy", HB_LAYER_AGENT, HB_E_POLICY, true, "io error: ", "DENY", false, FLOW_OUTBOUND },
};
/* clang-format on */

START_TEST(words_of_ends)
{
	struct hb_end why = hb_end(ends[_i].layer, HB_SIDE_PEER, ends[_i].code);
	const char *flags;
	char words[256];

	flow_explain(why, ends[_i].opening, ends[_i].direction, words, sizeof(words));
	if (*ends[_i].words && ends[_i].words[strlen(ends[_i].words) - 1] == ' ')
		ck_assert_msg(strncmp(words, ends[_i].words, strlen(ends[_i].words)) == 0, "%s: %s",
		              ends[_i].name, words);
	else
		ck_assert_msg(strcmp(words, ends[_i].words) == 0, "%s: %s", ends[_i].name, words);
	flags = response_flag_name(flow_response_flag(why, ends[_i].opening, ends[_i].tunnelled));
	ck_assert_msg(strcmp(flags, ends[_i].flags) == 0, "%s: %s", ends[_i].name, flags);
}
END_TEST

/*
 * Whole lines, as ztunnel writes them (reference/operations 4.2, 4.3): what reads its log reads
 * ours.
 */
#define WHEN             "2026-08-01T10:20:30.000001Z"
#define JSON_HEAD(level) "{\"level\":\"" level "\",\"time\":\"" WHEN "\",\"scope\":\"access\","

/* clang-format off */
static const struct {
	const char *name;
	enum flow_direction direction;
	enum flow_state state;
	bool known, early;
	const char *error;
	int code;
	const char *flags;
	const char *plain, *json;
} lines[] = {
	{ "opened, outbound", FLOW_OUTBOUND, FLOW_OPENING, true, false, "", 0, "-",
	  WHEN "\tdebug\taccess\tconnection opened\t" SRC DST "direction=\"outbound\"\n",
	  JSON_HEAD("debug") "\"message\":\"connection opened\",\"src.addr\":\"10.0.0.1:1000\","
	  "\"src.workload\":\"client\",\"src.namespace\":\"demo\","
	  "\"src.identity\":\"spiffe://td/ns/demo/sa/client\",\"src.cluster\":\"one\","
	  "\"dst.addr\":\"10.0.0.2:15008\",\"dst.hbone_addr\":\"10.0.0.2:80\",\"dst.service\":\"web.demo\","
	  "\"dst.workload\":\"server\",\"dst.namespace\":\"demo\","
	  "\"dst.identity\":\"spiffe://td/ns/demo/sa/server\",\"dst.cluster\":\"two\","
	  "\"direction\":\"outbound\"}\n" },
	{ "complete, inbound", FLOW_INBOUND, FLOW_CLOSED, true, false, "", 0, "-",
	  WHEN "\tinfo\taccess\tconnection complete\t" SRC DST "direction=\"inbound\" " COUNTS "\n", NULL },
	{ "complete, nothing is known", FLOW_OUTBOUND, FLOW_CLOSED, false, false, "", 0, "-",
	  WHEN "\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:1000 dst.addr=10.0.0.2:15008 "
	  "direction=\"outbound\" " COUNTS "\n",
	  JSON_HEAD("info") "\"message\":\"connection complete\",\"src.addr\":\"10.0.0.1:1000\","
	  "\"dst.addr\":\"10.0.0.2:15008\",\"direction\":\"outbound\",\"bytes_sent\":5,\"bytes_recv\":7,"
	  "\"duration\":\"12ms\"}\n" },
	{ "denied", FLOW_PASSTHROUGH, FLOW_CLOSED, false, false,
	  "connection closed due to policy rejection: allow policies exist, but none allowed", HB_E_POLICY, "DENY",
	  WHEN "\terror\taccess\tconnection complete\tsrc.addr=10.0.0.1:1000 dst.addr=10.0.0.2:15008 "
	  "direction=\"inbound\" " COUNTS " error=\"connection closed due to policy rejection: allow policies "
	  "exist, but none allowed\" response_flags=\"DENY\" end=\"agent us denied by policy\"\n", NULL },
	{ "failed early", FLOW_OUTBOUND, FLOW_CLOSED, true, true,
	  "no healthy upstream: 10.96.0.7:80", HB_E_NO_ROUTE, "-",
	  WHEN "\twarn\taccess\tconnection failed\tsrc.addr=10.0.0.1:1000 dst.addr=10.0.0.2:15008 "
	  "direction=\"outbound\" error=\"no healthy upstream: 10.96.0.7:80\"", NULL },
};
/* clang-format on */

static void is_line(const char *name, const char *got, size_t len, const char *want)
{
	bool whole = want[strlen(want) - 1] == '\n';

	ck_assert_msg(strncmp(got, want, strlen(want)) == 0 && (!whole || len == strlen(want)),
	              "%s: got '%.*s', expected '%s'", name, (int)len, got, want);
}

START_TEST(whole_lines)
{
	struct log_event event = { .time_us = 1785579630000001, .scope = "access" };
	char out[LOG_LINE_BYTES];

	make(lines[_i].direction, lines[_i].state, lines[_i].known);
	flow->early = lines[_i].early;
	outcome.error = lines[_i].error;
	outcome.why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, lines[_i].code);
	accesslog_build(flow, lines[_i].flags, &line);
	event.level = line.level;
	event.message = line.message;
	event.fields = line.fields;
	event.count = line.count;
	is_line(lines[_i].name, out, log_format_plain(&event, out), lines[_i].plain);
	if (lines[_i].json)
		is_line(lines[_i].name, out, log_format_json(&event, out), lines[_i].json);
	unmake();
}
END_TEST

/* Who a peer says it is: by its service, else by its workload (no pod's name is said). */
START_TEST(said_by_a_peer)
{
	struct hb_baggage baggage = { .workload = hb_span("web-v1"), .ns = hb_span("demo") };
	const char *texts[FLOW_TEXTS] = { NULL };
	struct ends_said said;

	ends_said_src(&baggage, &said, texts);
	ck_assert_str_eq(texts[FLOW_SRC_WORKLOAD], "web-v1");
	ck_assert_str_eq(texts[FLOW_SRC_NS], "demo");
	ck_assert_str_eq(texts[FLOW_SRC_CLUSTER], "");
	baggage.service = hb_span("web");
	ends_said_dst(&baggage, &said, texts);
	ck_assert_str_eq(texts[FLOW_DST_WORKLOAD], "web");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("accesslog");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, opened);
	tcase_add_test(tc, complete);
	tcase_add_test(tc, denied);
	tcase_add_test(tc, failed_early);
	tcase_add_test(tc, absent_ones_are_left_out);
	tcase_add_loop_test(tc, whole_lines, 0, HB_ARRAY_LEN(lines));
	tcase_add_test(tc, said_by_a_peer);
	tcase_add_loop_test(tc, words_of_ends, 0, HB_ARRAY_LEN(ends));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
