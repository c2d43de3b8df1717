/*
 * grpc_wire: messages wherever they are split, prefixes that promise too much, and what a status
 * says.
 */
#include "control/grpc_wire.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <hbone/base.h>

#include "control/grpc.h"

/* "one", "", a message of 9,000 bytes, "end" */
#define LARGE 9000u

static uint8_t stream[LARGE + 64];
static size_t stream_len;

static void put(const void *message, uint32_t size)
{
	grpc_prefix_encode(stream + stream_len, size);
	memcpy(stream + stream_len + GRPC_PREFIX, message, size);
	stream_len += GRPC_PREFIX + size;
}

static void setup(void)
{
	static uint8_t large[LARGE];

	for (size_t i = 0; i < LARGE; i++)
		large[i] = (uint8_t)(i * 31);
	stream_len = 0;
	put("one", 3);
	put("", 0);
	put(large, LARGE);
	put("end", 3);
}

static const uint32_t sizes[] = { 3, 0, LARGE, 3 };

/* Feeds [from, to); counts what came and compares. */
static unsigned feed(struct grpc_reader *reader, size_t from, size_t to, unsigned count)
{
	const uint8_t *data = stream + from;
	size_t len = to - from, size;
	uint8_t *message;
	enum grpc_read got;

	while ((got = grpc_reader_take(reader, &data, &len, &message, &size)) ==
	       GRPC_READ_MESSAGE) {
		size_t end = (size_t)(data - stream);

		ck_assert_ptr_nonnull(message);
		ck_assert_uint_lt(count, HB_ARRAY_LEN(sizes));
		ck_assert_uint_eq(size, sizes[count]);
		ck_assert_mem_eq(message, stream + end - size, size);
		free(message);
		count++;
	}
	ck_assert_int_eq(got, GRPC_READ_ALL);
	ck_assert_uint_eq(len, 0);
	return count;
}

START_TEST(split_in_two_at_every_byte)
{
	for (size_t at = 0; at <= stream_len; at += at < 40 || at + 40 > stream_len ? 1 : 97) {
		struct grpc_reader reader = { .max = LARGE };
		unsigned count = feed(&reader, 0, at, 0);

		count = feed(&reader, at, stream_len, count);
		ck_assert_uint_eq(count, HB_ARRAY_LEN(sizes));
		ck_assert(!grpc_reader_is_inside(&reader));
	}
}
END_TEST

START_TEST(split_in_pieces_of_every_size)
{
	for (size_t piece = 1; piece < 24; piece++) {
		struct grpc_reader reader = { .max = LARGE };
		unsigned count = 0;

		for (size_t at = 0; at < stream_len; at += piece)
			count = feed(&reader, at, hb_min_size(at + piece, stream_len), count);
		ck_assert_uint_eq(count, HB_ARRAY_LEN(sizes));
	}
}
END_TEST

START_TEST(cut_inside)
{
	struct grpc_reader reader = { .max = LARGE };

	(void)feed(&reader, 0, 3, 0);
	ck_assert(grpc_reader_is_inside(&reader));
	(void)feed(&reader, 3, 6, 0);
	ck_assert(grpc_reader_is_inside(&reader));
	grpc_reader_done(&reader);
	ck_assert(!grpc_reader_is_inside(&reader));
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	uint32_t max;
	uint8_t prefix[GRPC_PREFIX];
	enum grpc_read want;
} prefixes[] = {
	{ "at the limit", 100, { 0, 0, 0, 0, 100 }, GRPC_READ_ALL },
	{ "above it by one", 100, { 0, 0, 0, 0, 101 }, GRPC_READ_TOO_LARGE },
	{ "4 GiB", 200u << 20, { 0, 255, 255, 255, 255 }, GRPC_READ_TOO_LARGE },
	{ "200 MiB, of which nothing has come", 200u << 20, { 0, 0x0c, 0x80, 0, 0 }, GRPC_READ_ALL },
	{ "compressed", 100, { 1, 0, 0, 0, 1 }, GRPC_READ_COMPRESSED },
	{ "flags that nobody knows", 100, { 0x80, 0, 0, 0, 1 }, GRPC_READ_COMPRESSED },
};
/* clang-format on */

START_TEST(prefixes_by_table)
{
	struct grpc_reader reader = { .max = prefixes[_i].max };
	const uint8_t *data = prefixes[_i].prefix;
	size_t len = GRPC_PREFIX, size;
	uint8_t *message = NULL;

	ck_assert_int_eq(grpc_reader_take(&reader, &data, &len, &message, &size),
	                 prefixes[_i].want);
	/* Nothing is taken ahead of what comes. */
	ck_assert_uint_eq(reader.room, 0);
	ck_assert_ptr_null(reader.message);
	grpc_reader_done(&reader);
}
END_TEST

START_TEST(memory_follows_what_came)
{
	struct grpc_reader reader = { .max = 200u << 20 };
	static const uint8_t prefix[GRPC_PREFIX] = { 0, 0x0c, 0x80, 0, 0 }, bytes[10000];
	const uint8_t *data = prefix;
	size_t len = GRPC_PREFIX, size, came = 0;
	uint8_t *message;

	ck_assert_int_eq(grpc_reader_take(&reader, &data, &len, &message, &size), GRPC_READ_ALL);
	for (int i = 0; i < 50; i++) {
		data = bytes;
		len = sizeof(bytes);
		ck_assert_int_eq(grpc_reader_take(&reader, &data, &len, &message, &size),
		                 GRPC_READ_ALL);
		came += sizeof(bytes);
		ck_assert_uint_le(reader.room, 2 * came);
	}
	grpc_reader_done(&reader);
}
END_TEST

/* clang-format off */
static const struct { const char *text; int want; } statuses[] = {
	{ "0", 0 }, { "16", 16 }, { "99", 99 }, { "007", 7 }, { "", -1 }, { "-1", -1 }, { "x", -1 },
	{ "1 ", -1 }, { "4294967297", -1 }, { "999999999", 999999999 },
};

static const struct { const char *name, *text, *want; } messages[] = {
	{ "plain", "not now", "not now" },
	{ "escaped", "no%20token%21", "no token!" },
	{ "a percent sign", "100%25", "100%" },
	{ "small letters", "%7e", "~" },
	{ "no escape at all", "100% of it", "100% of it" },
	{ "at the end", "50%", "50%" },
	{ "half at the end", "50%2", "50%2" },
	{ "not hex", "%zz%4g", "%zz%4g" },
	{ "a line's end", "a%0Ab%0d", "a?b?" },
	{ "a NUL", "a%00b", "a?b" },
	{ "UTF-8", "%C3%A9", "??" },
	{ "once, not twice", "%2541", "%41" },
	{ "nothing", "", "" },
};
/* clang-format on */

START_TEST(statuses_by_table)
{
	ck_assert_int_eq(grpc_status_decode(statuses[_i].text, strlen(statuses[_i].text)),
	                 statuses[_i].want);
}
END_TEST

START_TEST(messages_by_table)
{
	char out[64];
	size_t len = strlen(messages[_i].text);

	ck_assert_uint_eq(grpc_message_decode(messages[_i].text, len, out, sizeof(out)),
	                  strlen(messages[_i].want));
	ck_assert_msg(strcmp(out, messages[_i].want) == 0, "%s: \"%s\"", messages[_i].name, out);
	/* However little room there is. */
	for (size_t size = 1; size < sizeof(out); size++) {
		memset(out, 'x', sizeof(out));
		ck_assert_uint_lt(grpc_message_decode(messages[_i].text, len, out, size), size);
		ck_assert_uint_lt(strlen(out), size);
	}
}
END_TEST

START_TEST(codes_that_stand_for_others)
{
	static const struct {
		int from, want;
	} http[] = {
		{ 400, GRPC_INTERNAL },      { 401, GRPC_UNAUTHENTICATED },
		{ 403, GRPC_PERMISSION_DENIED }, { 404, GRPC_UNIMPLEMENTED },
		{ 429, GRPC_UNAVAILABLE },   { 502, GRPC_UNAVAILABLE },
		{ 503, GRPC_UNAVAILABLE },   { 504, GRPC_UNAVAILABLE },
		{ 500, GRPC_UNKNOWN },       { 302, GRPC_UNKNOWN },
	}, resets[] = {
		{ 0, GRPC_INTERNAL },        { 2, GRPC_INTERNAL },
		{ 7, GRPC_UNAVAILABLE },     { 8, GRPC_CANCELLED },
		{ 11, GRPC_RESOURCE_EXHAUSTED }, { 12, GRPC_PERMISSION_DENIED },
	};

	for (size_t i = 0; i < HB_ARRAY_LEN(http); i++)
		ck_assert_int_eq(grpc_code_of_http(http[i].from), http[i].want);
	for (size_t i = 0; i < HB_ARRAY_LEN(resets); i++)
		ck_assert_int_eq(grpc_code_of_reset(resets[i].from), resets[i].want);
	ck_assert_str_eq(grpc_code_name(16), "Unauthenticated");
	ck_assert_str_eq(grpc_code_name(14), "Unavailable");
	ck_assert_ptr_null(grpc_code_name(17));
	ck_assert_ptr_null(grpc_code_name(-1));
	for (int kind = 0; kind < GRPC_END_KINDS; kind++)
		ck_assert_ptr_nonnull(grpc_kind_name((enum grpc_kind)kind));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grpc_wire");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, split_in_two_at_every_byte);
	tcase_add_test(tc, split_in_pieces_of_every_size);
	tcase_add_test(tc, cut_inside);
	tcase_add_loop_test(tc, prefixes_by_table, 0, HB_ARRAY_LEN(prefixes));
	tcase_add_test(tc, memory_follows_what_came);
	tcase_add_loop_test(tc, statuses_by_table, 0, HB_ARRAY_LEN(statuses));
	tcase_add_loop_test(tc, messages_by_table, 0, HB_ARRAY_LEN(messages));
	tcase_add_test(tc, codes_that_stand_for_others);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
