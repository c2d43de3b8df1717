/*
 * flow: texts, counters, the ring of ended ones, and both shapes of JSON.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "proxy/flow.h"
#include "proxy/flowdump.h"
#include "support/pair.h"
#include "support/probe.h"

static struct hb_loop *loop;
static struct flows flows;
static unsigned ended;
static struct flow_opening opening;
static struct flow *opened;
static struct hb_end aborted;

static void on_end(void *owner, struct flow *flow)
{
	ended++;
}

static void up(void)
{
	char why[64];

	ck_assert_int_eq(log_set_levels("off", why, sizeof(why)), 0);
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	flows_init(&flows, loop, 3, 4);
	flows.on_end = on_end;
	ended = 0;
}

static void down(void)
{
	flows_done(&flows);
	hb_loop_free(loop);
}

/* What an owner does: it ends the flow of which it was told that it is to end. */
static void on_abort(struct flow_opening *o, struct hb_end why)
{
	ck_assert_ptr_eq(o, &opening);
	aborted = why;
	flow_end(opened, why, NULL);
}

static struct flow *new_flow(enum flow_direction direction)
{
	opened = flow_new(&flows, NULL, NULL, direction);
	ck_assert_ptr_nonnull(opened);
	opening.abort = on_abort;
	opened->opening = &opening;
	return opened;
}

START_TEST(texts_are_kept_and_replaced)
{
	const char *first[FLOW_TEXTS] = { [FLOW_POD] = "a/b", [FLOW_POLICY] = "p" };
	const char *second[FLOW_TEXTS] = { [FLOW_POLICY] = "longer", [FLOW_DST_NS] = "" };
	struct flow *flow = new_flow(FLOW_OUTBOUND);
	char huge[FLOW_TEXT_MAX + 100];
	const char *third[FLOW_TEXTS] = { [FLOW_AUTHORITY] = huge };

	ck_assert_str_eq(flow_text(flow, FLOW_POD), "");
	ck_assert_int_eq(flow_set_texts(flow, first), 0);
	ck_assert_int_eq(flow_set_texts(flow, second), 0);
	ck_assert_str_eq(flow_text(flow, FLOW_POD), "a/b");
	ck_assert_str_eq(flow_text(flow, FLOW_POLICY), "longer");
	ck_assert_str_eq(flow_text(flow, FLOW_DST_NS), "");

	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = 0;
	ck_assert_int_eq(flow_set_texts(flow, third), 0);
	ck_assert_uint_eq(strlen(flow_text(flow, FLOW_AUTHORITY)), FLOW_TEXT_MAX);
	ck_assert_str_eq(flow_text(flow, FLOW_POLICY), "longer");
	flow_end(flow, HB_END_CLEAN, NULL);
}
END_TEST

START_TEST(ids_and_ring)
{
	for (unsigned i = 0; i < FLOWS_RECENT + 10; i++) {
		struct flow *flow = new_flow(FLOW_INBOUND);

		ck_assert_uint_eq(flow->id, 3 + 4 * i);
		flow_end(flow, HB_END_CLEAN, NULL);
	}
	ck_assert_uint_eq(flows.count, 0);
	ck_assert_uint_eq(ended, FLOWS_RECENT + 10);
	ck_assert_uint_eq(flows_recent(&flows, 0)->id, 3 + 4 * (FLOWS_RECENT + 9));
	ck_assert_uint_eq(flows_recent(&flows, FLOWS_RECENT - 1)->id, 3 + 4 * 10);
	ck_assert_ptr_null(flows_recent(&flows, FLOWS_RECENT));
}
END_TEST

/* Texts as long as a peer may make them: what is kept of them is bounded by bytes. */
START_TEST(ring_is_bounded_by_bytes)
{
	char huge[FLOW_TEXT_MAX + 1];
	const char *texts[FLOW_TEXTS] = {
		[FLOW_AUTHORITY] = huge, [FLOW_SRC_IDENTITY] = huge, [FLOW_DST_SERVICE] = huge
	};
	size_t kept = 0;

	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = 0;
	for (unsigned i = 0; i < FLOWS_RECENT; i++) {
		struct flow *flow = new_flow(FLOW_INBOUND);

		huge[0] = (char)(1 + i % 100);
		huge[1] = (char)(1 + i / 100);
		ck_assert_int_eq(flow_set_texts(flow, texts), 0);
		flow_end(flow, HB_END_CLEAN, NULL);
	}
	while (flows_recent(&flows, kept))
		kept++;
	ck_assert_uint_eq(flows_recent(&flows, 0)->id, 3 + 4 * (FLOWS_RECENT - 1));
	ck_assert_uint_lt(kept, FLOWS_RECENT_BYTES / (3 * FLOW_TEXT_MAX));
	ck_assert_uint_gt(kept, FLOWS_RECENT_BYTES / (3 * FLOW_TEXT_MAX) * 3 / 4);
	ck_assert_uint_eq(flows.paths.facts.blocks, kept);
}
END_TEST

START_TEST(same_texts_are_held_once)
{
	const char *both[FLOW_TEXTS] = { [FLOW_POD] = "a/b", [FLOW_POLICY] = "p" };
	const char *moved[FLOW_TEXTS] = { [FLOW_POD] = "a/b", [FLOW_DST_NS] = "p" };
	struct flow *first = new_flow(FLOW_INBOUND), *second = new_flow(FLOW_INBOUND);
	struct flow *third = new_flow(FLOW_INBOUND);

	ck_assert_int_eq(flow_set_texts(first, both), 0);
	ck_assert_int_eq(flow_set_texts(second, both), 0);
	ck_assert_int_eq(flow_set_texts(third, moved), 0);
	ck_assert_ptr_eq(first->path->facts, second->path->facts);
	ck_assert_ptr_ne(first->path->facts, third->path->facts);
	ck_assert_str_eq(flow_text(third, FLOW_DST_NS), "p");
	ck_assert_str_eq(flow_text(third, FLOW_POLICY), "");
	ck_assert_uint_eq(flows.paths.facts.blocks, 2);
	flow_end(first, HB_END_CLEAN, NULL);
	ck_assert_str_eq(flow_text(second, FLOW_POLICY), "p");
	flow_end(second, HB_END_CLEAN, NULL);
	flow_end(third, HB_END_CLEAN, NULL);
	flows_done(&flows);
	ck_assert_uint_eq(flows.paths.facts.blocks, 0);
}
END_TEST

/* What differs is the source's port, which each has of its own. */
START_TEST(same_paths_are_held_once)
{
	static const char *const srcs[] = { "10.0.0.1:1000", "10.0.0.1:65535", "10.0.0.3:1000" };
	static struct pod *const pod = NULL;
	struct hb_addr src, dst, orig_dst, got;
	struct flow *all[3];

	ck_assert_int_eq(hb_addr_parse("10.0.0.2:15008", 14, &dst), 0);
	ck_assert_int_eq(hb_addr_parse("[fd00::1]:80", 12, &orig_dst), 0);
	for (size_t i = 0; i < HB_ARRAY_LEN(all); i++) {
		all[i] = new_flow(FLOW_INBOUND);
		ck_assert_int_eq(hb_addr_parse(srcs[i], strlen(srcs[i]), &src), 0);
		ck_assert_int_eq(flow_set_path(all[i], &src, NULL, NULL), 0);
		ck_assert_int_eq(flow_set_path(all[i], NULL, &dst, &orig_dst), 0);
		ck_assert_ptr_eq(flow_pod(all[i]), pod);
	}
	for (size_t i = 0; i < HB_ARRAY_LEN(all); i++) {
		ck_assert_int_eq(hb_addr_parse(srcs[i], strlen(srcs[i]), &src), 0);
		got = flow_src(all[i]);
		ck_assert(hb_addr_equal(&got, &src));
		ck_assert(hb_addr_equal(flow_dst(all[i]), &dst));
		ck_assert(hb_addr_equal(flow_orig_dst(all[i]), &orig_dst));
	}
	ck_assert_ptr_eq(all[0]->path, all[1]->path);
	ck_assert_ptr_ne(all[0]->path, all[2]->path);
	ck_assert_uint_eq(flows.paths.count, 2);
	for (size_t i = 0; i < HB_ARRAY_LEN(all); i++)
		flow_end(all[i], HB_END_CLEAN, NULL);
	got = flow_src(flows_recent(&flows, 1)); /* it is remembered */
	ck_assert_uint_eq(got.port, 65535);
	ck_assert(hb_addr_equal(flow_dst(flows_recent(&flows, 0)), &dst));
	flows_done(&flows);
	ck_assert_uint_eq(flows.paths.count, 0);
}
END_TEST

START_TEST(ring_that_is_not_full)
{
	ck_assert_ptr_null(flows_recent(&flows, 0));
	flow_end(new_flow(FLOW_INBOUND), HB_END_CLEAN, NULL);
	ck_assert_ptr_nonnull(flows_recent(&flows, 0));
	ck_assert_ptr_null(flows_recent(&flows, 1));
}
END_TEST

START_TEST(an_opening_flow_is_aborted_by_its_owner)
{
	struct flow *flow = new_flow(FLOW_OUTBOUND);

	flow_abort(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert_int_eq(aborted.code, HB_E_DRAIN);
	ck_assert_uint_eq(ended, 1);
	ck_assert_str_eq(flows_recent(&flows, 0)->outcome->error,
	                 "connection closed due to connection drain");
}
END_TEST

/* Carries 5 bytes from a to b and 7 back; which is sent and which received, the direction says. */
START_TEST(bytes_by_direction)
{
	struct hb_stream *left[2], *right[2];
	struct probe client, server;
	struct flow *flow = new_flow((enum flow_direction)_i);
	const struct flow *copy;

	pair_new(loop, left);
	pair_new(loop, right);
	probe_init(&client, left[0]);
	probe_init(&server, right[1]);
	hb_stream_resume(left[0]);
	hb_stream_resume(right[1]);
	flow_join(flow, left[1], right[0]);
	probe_write(&client, loop, "hello", 5, 100);
	probe_write(&server, loop, "goodbye", 7, 100);
	ck_assert(turn_until_size(loop, &client.len, 7, 100));
	ck_assert(turn_until_size(loop, &server.len, 5, 100));
	ck_assert_uint_eq(flow_bytes_sent(flow), _i == FLOW_OUTBOUND ? 5 : 7);
	ck_assert_uint_eq(flow_bytes_recv(flow), _i == FLOW_OUTBOUND ? 7 : 5);

	flow_abort(flow, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ck_assert(turn_until(loop, &ended, 1, 100));
	ck_assert(turn_until(loop, &client.closes, 1, 100));
	ck_assert(turn_until(loop, &server.closes, 1, 100));
	copy = flows_recent(&flows, 0);
	ck_assert_ptr_nonnull(copy);
	ck_assert_int_eq(copy->outcome->why.code, HB_E_DRAIN);
	ck_assert_uint_eq(flow_bytes_sent(copy), _i == FLOW_OUTBOUND ? 5 : 7);
	probe_done(&client);
	probe_done(&server);
}
END_TEST

static json_t *dumped(const struct flow *flow, bool state)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	json_error_t error;
	json_t *json;

	if (state)
		flowdump_state(out, flow);
	else
		flowdump_connection(out, flow, 0);
	fclose(out);
	json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(json, "%s: %s", error.text, text);
	free(text);
	return json;
}

START_TEST(json_of_an_ended_flow)
{
	static const char *const keys[] = { "id",          "pod",        "direction", "src",
		                            "dst",         "hboneAddr",  "service",   "srcIdentity",
		                            "dstIdentity", "protocol",   "state",     "bytesSent",
		                            "bytesRecv",   "durationMs", "end",       "layer",
		                            "side",        "policy",     "error" };
	const char *texts[FLOW_TEXTS] = { [FLOW_POD] = "demo/a",
		                          [FLOW_AUTHORITY] = "10.0.0.1:80",
		                          [FLOW_SRC_IDENTITY] = "spiffe://x/\"\\\n\xff" };
	struct flow *flow = new_flow(FLOW_INBOUND);
	json_t *json;

	ck_assert_int_eq(flow_set_texts(flow, texts), 0);
	flow_end(flow, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNREFUSED), NULL);
	json = dumped(flows_recent(&flows, 0), false);
	for (size_t i = 0; i < HB_ARRAY_LEN(keys); i++)
		ck_assert_msg(json_object_get(json, keys[i]), "%s is missing", keys[i]);
	ck_assert_str_eq(json_string_value(json_object_get(json, "protocol")), "HBONE");
	ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "closed");
	ck_assert_str_eq(json_string_value(json_object_get(json, "layer")), "tcp");
	ck_assert_str_eq(json_string_value(json_object_get(json, "side")), "peer");
	ck_assert_str_eq(json_string_value(json_object_get(json, "end")), "Connection refused");
	ck_assert_str_eq(json_string_value(json_object_get(json, "srcIdentity")),
	                 "spiffe://x/\"\\\n\xc3\xbf");
	json_decref(json);
	json = dumped(flows_recent(&flows, 0), true);
	ck_assert(json_is_null(json_object_get(json, "originalDst")));
	json_decref(json);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("flow");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, texts_are_kept_and_replaced);
	tcase_add_test(tc, ids_and_ring);
	tcase_add_test(tc, ring_is_bounded_by_bytes);
	tcase_add_test(tc, same_texts_are_held_once);
	tcase_add_test(tc, same_paths_are_held_once);
	tcase_add_test(tc, ring_that_is_not_full);
	tcase_add_test(tc, an_opening_flow_is_aborted_by_its_owner);
	tcase_add_loop_test(tc, bytes_by_direction, FLOW_OUTBOUND, FLOW_PASSTHROUGH + 1);
	tcase_add_test(tc, json_of_an_ended_flow);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
