/*
 * xds: the client against a server that is played: what it asks, answers, keeps and forgets.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "unit/agent/control/xds_rig.h"

START_TEST(first_requests)
{
	struct rig rig;

	rig_init(&rig, NULL);
	ck_assert_uint_eq(server.sent_count, 2);
	ck_assert_str_eq(server.sent[0], "node Address");
	ck_assert_str_eq(server.sent[1], "node Authorization");
	ck_assert_int_eq(xds_view(rig.xds)->state, XDS_CONNECTING);
	server.events->on_open(server.ctx);
	ck_assert_int_eq(xds_view(rig.xds)->state, XDS_CONNECTED);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_CONNECTED, NULL), 1);
	rig_done(&rig);
}
END_TEST

START_TEST(ready_after_both_acks)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_say(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
	ck_assert_str_eq(server.sent[2], "Address nonce=1");
	ck_assert(rig_has(&rig, "a"));
	ck_assert(!server.paused);
	ck_assert(!xds_is_ready(rig.xds));
	rig_say(&rig, SAY_POLICY); /* empty: an answer like any other */
	ck_assert_str_eq(server.sent[3], "Authorization nonce=2");
	ck_assert(xds_is_ready(rig.xds));
	rig_say(&rig, SAY_POLICY);
	ck_assert_uint_eq(rig.readies, 1);
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert(xds_is_ready(rig.xds)); /* for ever */
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_CONNECTED, NULL), 0);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_MESSAGES, URL_POLICY), 2);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_BYTES, URL_ADDRESS), 6);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_RESOURCES, URL_ADDRESS), 1);
	rig_done(&rig);
}
END_TEST

START_TEST(nack_applies_in_part)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_say(&rig, SAY_POLICY);
	rig_say(&rig, "2:{1:'1' 2:{2:{1:{20:'bad' 5:2}}} 3:'bad'} " WORKLOAD("a", "1") SAY_ADDRESS);
	ck_assert_str_eq(server.sent[3], "Address nonce=1 error=3 bad: tunnel_protocol is 2, "
	                                 "expected 0 to 1");
	ck_assert(rig_has(&rig, "a") && !rig_has(&rig, "bad"));
	ck_assert(!xds_is_ready(rig.xds)); /* a NACK does not count */
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_NACKS, URL_ADDRESS), 1);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_REJECTED, URL_ADDRESS), 1);
	ck_assert_ptr_nonnull(strstr(xds_view(rig.xds)->last_nack, "tunnel_protocol"));
	rig_say(&rig, WORKLOAD("bad", "2") SAY_ADDRESS);
	ck_assert_str_eq(server.sent[4], "Address nonce=1");
	ck_assert(xds_is_ready(rig.xds));
	/* What was refused was not recorded in that version: it is in the next one. */
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert_ptr_nonnull(strstr(server.sent[0], "v[bad=2]"));
	rig_done(&rig);
}
END_TEST

START_TEST(unknown_types_are_acked)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_say(&rig, WORKLOAD("a", "1") "4:'x.Cluster' 5:'9'");
	ck_assert_str_eq(server.sent[2], "Cluster nonce=9");
	ck_assert(!rig_has(&rig, "a"));
	ck_assert_uint_eq(rig.publishes, 0);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_MESSAGES, "unknown"), 1);
	rig_done(&rig);
}
END_TEST

START_TEST(versions_on_reconnect)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_say(&rig, WORKLOAD("a", "77") SAY_ADDRESS);
	rig_say(&rig, "2:{2:{2:{1:'p' 2:'n'}} 3:'n/p'} " SAY_POLICY);
	rig_end(&rig, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "");
	ck_assert_str_eq(server.sent[0], "node Address v[a=77]");
	/* Policies have no version, and are named nevertheless: so we hear which are gone. */
	ck_assert_str_eq(server.sent[1], "node Authorization v[n/p]");
	/* An answer without resources is one, too; what was not named in it stays. */
	rig_say(&rig, SAY_ADDRESS);
	ck_assert(rig_has(&rig, "a"));
	rig_say(&rig, "6:'a' " SAY_ADDRESS);
	ck_assert(!rig_has(&rig, "a"));
	rig_end(&rig, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "");
	ck_assert_str_eq(server.sent[0], "node Address");
	ck_assert_uint_eq(xds_view(rig.xds)->connects, 2);
	rig_done(&rig);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	enum grpc_kind kind;
	int code;
	const char *message;
	bool came; /* something did on this stream */
	const char *reason;
} ends[] = { /* 2.9 */
	{ "no connection", GRPC_END_CONNECT, GRPC_UNAVAILABLE, "refused", false, "ConnectionError" },
	{ "no token", GRPC_END_TOKEN, GRPC_UNAUTHENTICATED, "empty", false, "ConnectionError" },
	{ "refused at once", GRPC_END_SERVER, GRPC_UNAUTHENTICATED, "authentication failure", false, "ConnectionError" },
	{ "too many streams", GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "request rate limit exceeded", false, "ConnectionError" },
	{ "max age", GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "", true, "Reconnect" },
	{ "server died", GRPC_END_LOST, GRPC_UNAVAILABLE, "", true, "Reconnect" },
	{ "unknown", GRPC_END_SERVER, GRPC_UNKNOWN, "", true, "Reconnect" },
	{ "cancelled", GRPC_END_SERVER, GRPC_CANCELLED, "", true, "Reconnect" },
	{ "deadline", GRPC_END_SERVER, GRPC_DEADLINE_EXCEEDED, "", true, "Reconnect" },
	{ "transport is closing", GRPC_END_SERVER, GRPC_UNAVAILABLE, "transport is closing", true, "Reconnect" },
	{ "goaway in words", GRPC_END_SERVER, GRPC_UNAVAILABLE, "closing: received prior goaway: x", true, "Reconnect" },
	{ "unavailable otherwise", GRPC_END_SERVER, GRPC_UNAVAILABLE, "no caches", true, "Error" },
	{ "permission denied", GRPC_END_SERVER, GRPC_PERMISSION_DENIED, "", true, "Error" },
	{ "exhausted", GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "", true, "Error" },
	{ "too large", GRPC_END_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED, "", false, "Error" },
	{ "no gRPC", GRPC_END_PROTOCOL, GRPC_INTERNAL, "", false, "Error" },
	{ "clean end", GRPC_END_SERVER, GRPC_OK, "", true, "Complete" },
};
/* clang-format on */

START_TEST(stream_ends)
{
	struct rig rig;

	rig_init(&rig, NULL);
	if (ends[_i].came)
		rig_say(&rig, SAY_ADDRESS);
	rig_end(&rig, ends[_i].kind, ends[_i].code, ends[_i].message);
	ck_assert_msg(rig_metric(&rig, METRIC_XDS_ENDS, ends[_i].reason) == 1, "%s", ends[_i].name);
	/* None without a wait, and it begins small only where the last stream was of use. */
	ck_assert_uint_eq(server.waits, 1);
	ck_assert_msg(server.resets == ends[_i].came, "%s: %u", ends[_i].name, server.resets);
	ck_assert_uint_eq(server.calls, 2);
	rig_done(&rig);
}
END_TEST

/* The names of two workloads do not fit; the one of a policy does. */
static void begin_trimmed(struct rig *rig, uint32_t settle_ms)
{
	rig_init(rig, &(struct xds_options){ .request_max = 80, .settle_ms = settle_ms });
	rig_say(rig,
	        WORKLOAD("one-name", "0123456789") WORKLOAD("another", "0123456789") SAY_ADDRESS);
	rig_say(rig, "2:{2:{2:{1:'p' 2:'n'}} 3:'n/p'} " SAY_POLICY);
	rig_end(rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert_str_eq(server.sent[0], "node Address");
	ck_assert_str_eq(server.sent[1], "node Authorization v[n/p]");
}

static bool lacks_one_name(const struct rig *rig)
{
	return !rig_has(rig, "one-name") && !xds_is_busy(rig->xds);
}

START_TEST(trimmed_and_replaced)
{
	struct rig rig;

	begin_trimmed(&rig, 1);
	rig_say(&rig, WORKLOAD("another", "0123456789") WORKLOAD("third", "0") SAY_ADDRESS);
	rig_say(&rig, SAY_POLICY);
	rig_until(&rig, lacks_one_name);
	ck_assert(rig_has(&rig, "another") && rig_has(&rig, "third"));
	/* Whose names were told has lost nothing, and of the sweep nothing was told or counted. */
	ck_assert_ptr_nonnull(snapshot_policy_by_key(rig.snapshot, "n/p"));
	ck_assert_uint_eq(server.sent_count, 4);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_MESSAGES, URL_ADDRESS), 2);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_RESOURCES, URL_ADDRESS), 2);
	ck_assert(!server.paused);
	/* The stream goes on, and now silence means nothing. */
	rig_say(&rig, WORKLOAD("fourth", "0") SAY_ADDRESS);
	ck_assert(rig_has(&rig, "another") && rig_has(&rig, "fourth"));
	rig_done(&rig);
}
END_TEST

/* What is only not yet told stays: after each part, and when the stream ends between them. */
START_TEST(trimmed_and_told_in_three_parts)
{
	struct rig rig;

	begin_trimmed(&rig, 0);
	rig_say(&rig, WORKLOAD("third", "0") SAY_ADDRESS);
	ck_assert(rig_has(&rig, "one-name") && rig_has(&rig, "another"));
	rig_say(&rig, WORKLOAD("another", "1") SAY_ADDRESS);
	ck_assert(rig_has(&rig, "one-name") && rig_has(&rig, "another"));
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert(rig_has(&rig, "one-name") && rig_has(&rig, "another"));
	rig_say(&rig, WORKLOAD("third", "0") SAY_ADDRESS);
	rig_say(&rig, WORKLOAD("another", "1") SAY_ADDRESS);
	rig_say(&rig, WORKLOAD("one-name", "1") SAY_ADDRESS);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_RESOURCES, URL_ADDRESS), 3);
	ck_assert(rig_has(&rig, "one-name") && rig_has(&rig, "another") && rig_has(&rig, "third"));
	rig_done(&rig);
}
END_TEST

/* A large mesh changes all the time: that alone does not put off what is due. */
START_TEST(trimmed_and_never_quiet)
{
	struct rig rig;
	unsigned rounds = 0;

	begin_trimmed(&rig, 100);
	for (; rounds < 20000 && !lacks_one_name(&rig); rounds++) {
		while (server.sent_count > 2) /* answers */
			free(server.sent[--server.sent_count]);
		if (xds_is_busy(rig.xds))
			ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
		else
			rig_say(&rig, rounds % 2 ? WORKLOAD("another", "1") SAY_ADDRESS
			                         : WORKLOAD("another", "2") SAY_ADDRESS);
	}
	ck_assert_uint_lt(rounds, 20000);
	ck_assert(rig_has(&rig, "another"));
	rig_done(&rig);
}
END_TEST

START_TEST(trimmed_and_ends_in_the_sweep)
{
	struct grpc_status status = { .code = GRPC_UNAVAILABLE,
		                      .kind = GRPC_END_LOST,
		                      .message = "" };
	struct rig rig;

	begin_trimmed(&rig, 1);
	rig_say(&rig, WORKLOAD("another", "1") SAY_ADDRESS);
	while (!xds_is_busy(rig.xds))
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert(server.paused);
	server.call = NULL;
	server.events->on_end(server.ctx, &status);
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert(lacks_one_name(&rig) && rig_has(&rig, "another"));
	ck_assert_str_eq(server.sent[0], "node Address v[another=1]");
	/* And freed in one. */
	rig_done(&rig);
	begin_trimmed(&rig, 1);
	rig_say(&rig, WORKLOAD("another", "1") SAY_ADDRESS);
	while (!xds_is_busy(rig.xds))
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	rig_done(&rig);
}
END_TEST

START_TEST(trimmed_and_no_memory_in_the_sweep)
{
	struct rig rig;

	begin_trimmed(&rig, 1);
	rig_say(&rig, WORKLOAD("another", "1") SAY_ADDRESS);
	rig.publish_err = -ENOMEM;
	while (server.cancels == 0)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert(rig_has(&rig, "one-name"));
	rig.publish_err = 0;
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	/* Without versions both names fit. */
	ck_assert(strstr(server.sent[0], "v[one-name]") && strstr(server.sent[0], "v[another]"));
	rig_done(&rig);
}
END_TEST

/* As many names as make a request that this server does not take. */
static void say_many(struct rig *rig)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; i < 3000; i++)
		fprintf(out, "2:{1:'0123456789abcdef' 2:{2:{1:{20:'%d'}}} 3:'%d'} ", i, i);
	fputs(SAY_ADDRESS, out);
	fclose(out);
	rig_say(rig, text);
	free(text);
}

static bool lacks_two(const struct rig *rig)
{
	return !rig_has(rig, "2");
}

START_TEST(limit_is_learned)
{
	struct rig rig;

	rig_init(&rig, &(struct xds_options){ .settle_ms = 1 });
	say_many(&rig);
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert_ptr_nonnull(strstr(server.sent[0], "v[2999=0123456789abcdef]"));
	rig_end(&rig, GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, "request rate limit exceeded");
	ck_assert_ptr_nonnull(strstr(server.sent[0], "v["));
	rig_end(&rig, GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED,
	        "grpc: received message larger than max (5000000 vs. 4194304)");
	ck_assert_str_eq(server.sent[0], "node Address");
	rig_say(&rig, WORKLOAD("1", "0") SAY_ADDRESS);
	rig_until(&rig, lacks_two);
	ck_assert(rig_has(&rig, "1"));
	rig_done(&rig);
}
END_TEST

/* What cannot be made smaller is sent again, but less and less often, though something came. */
START_TEST(limit_below_our_least)
{
	const char *const why = "grpc: received message larger than max (50 vs. 40)";
	struct rig rig;

	rig_init(&rig, NULL);
	for (int i = 0; i < 3; i++) {
		rig_say(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
		rig_end(&rig, GRPC_END_SERVER, GRPC_RESOURCE_EXHAUSTED, why);
		ck_assert_str_eq(server.sent[0], "node Address v[a=1]");
	}
	ck_assert_uint_eq(server.waits, 3);
	ck_assert_uint_eq(server.resets, 0);
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_ENDS, "Error"), 3);
	rig_end(&rig, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "");
	ck_assert_uint_eq(server.resets, 0); /* nothing came on that one */
	rig_say(&rig, SAY_ADDRESS);
	rig_end(&rig, GRPC_END_GOAWAY, GRPC_UNAVAILABLE, "");
	ck_assert_uint_eq(server.resets, 1);
	rig_done(&rig);
}
END_TEST

START_TEST(call_ends_while_a_response_is_taken)
{
	struct grpc_status status = { .code = GRPC_UNAVAILABLE,
		                      .kind = GRPC_END_LOST,
		                      .message = "" };
	struct rig rig;

	rig_init(&rig, NULL);
	rig_hand(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
	ck_assert(server.paused);
	server.call = NULL;
	server.events->on_end(server.ctx, &status);
	ck_assert(xds_is_busy(rig.xds));
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	/* Taken, not answered; and the next stream knows of it. */
	ck_assert(rig_has(&rig, "a"));
	ck_assert_uint_eq(server.sent_count, 2);
	ck_assert_str_eq(server.sent[0], "node Address v[a=1]");
	ck_assert(!xds_is_busy(rig.xds));
	rig_done(&rig);
}
END_TEST

/* However often, and though something good came on each stream: waits grow, from stream to stream,
 * until one is of use to its end. */
START_TEST(no_response_at_all)
{
	struct rig rig;

	rig_init(&rig, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		if (i > 1)
			rig_say(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
		rig_say(&rig, "2:5 " SAY_ADDRESS);
		ck_assert_uint_eq(server.cancels, i);
		while (!server.call)
			ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
		ck_assert_uint_eq(server.waits, i);
		ck_assert_uint_eq(server.resets, 0);
	}
	ck_assert_str_eq(server.sent[0], "node Address v[a=1]");
	ck_assert_uint_eq(rig_metric(&rig, METRIC_XDS_ENDS, "Error"), 3);
	rig_say(&rig, "2:{3:'a'} " SAY_ADDRESS); /* refused, but a response, and answered */
	rig_end(&rig, GRPC_END_LOST, GRPC_UNAVAILABLE, "");
	ck_assert_uint_eq(server.resets, 1);
	rig_done(&rig);
}
END_TEST

START_TEST(not_published)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_say(&rig, WORKLOAD("a", "1") WORKLOAD("b", "1") SAY_ADDRESS);
	rig.publish_err = -ENOMEM;
	rig_say(&rig, WORKLOAD("a", "2") "6:'b' " SAY_ADDRESS);
	ck_assert_uint_eq(server.cancels, 1);
	ck_assert(rig_has(&rig, "a") && rig_has(&rig, "b"));
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	/* Both names, neither version: all comes again, and what is gone is told again. */
	ck_assert(strstr(server.sent[0], "v[a]") && strstr(server.sent[0], "v[b]"));
	rig.publish_err = 0;
	rig_say(&rig, WORKLOAD("a", "2") "6:'b' " SAY_ADDRESS);
	ck_assert(rig_has(&rig, "a") && !rig_has(&rig, "b"));
	rig_done(&rig);
}
END_TEST

START_TEST(cannot_send)
{
	struct rig rig;

	rig_init(&rig, NULL);
	server.refuses = true;
	rig_say(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
	ck_assert_uint_eq(server.cancels, 1);
	ck_assert(rig_has(&rig, "a"));
	ck_assert(!xds_is_ready(rig.xds));
	server.refuses = false;
	while (!server.call)
		ck_assert_int_eq(hb_loop_turn(rig.loop, 1), 0);
	ck_assert_uint_eq(server.sent_count, 2);
	rig_done(&rig);
}
END_TEST

START_TEST(freed_in_the_middle)
{
	struct rig rig;

	rig_init(&rig, NULL);
	rig_hand(&rig, WORKLOAD("a", "1") SAY_ADDRESS);
	rig_done(&rig);
	ck_assert_uint_eq(server.cancels, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, first_requests);
	tcase_add_test(tcase, ready_after_both_acks);
	tcase_add_test(tcase, nack_applies_in_part);
	tcase_add_test(tcase, unknown_types_are_acked);
	tcase_add_test(tcase, versions_on_reconnect);
	tcase_add_loop_test(tcase, stream_ends, 0, HB_ARRAY_LEN(ends));
	tcase_add_test(tcase, trimmed_and_replaced);
	tcase_add_test(tcase, trimmed_and_told_in_three_parts);
	tcase_add_test(tcase, trimmed_and_never_quiet);
	tcase_add_test(tcase, trimmed_and_ends_in_the_sweep);
	tcase_add_test(tcase, trimmed_and_no_memory_in_the_sweep);
	tcase_add_test(tcase, limit_is_learned);
	tcase_add_test(tcase, limit_below_our_least);
	tcase_add_test(tcase, call_ends_while_a_response_is_taken);
	tcase_add_test(tcase, no_response_at_all);
	tcase_add_test(tcase, not_published);
	tcase_add_test(tcase, cannot_send);
	tcase_add_test(tcase, freed_in_the_middle);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
