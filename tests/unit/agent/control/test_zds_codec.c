/*
 * zds_codec: the byte vectors of reference/controlplane 3.9, and packets that are no messages.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "control/zds_codec.h"

/* clang-format off */
static const struct {
	const char *name, *hex;
	int want;
	enum zds_kind kind;
	bool has_info;
	const char *uid, *pod, *ns, *account;
} rows[] = {
	{ "add", "0a0e0a017812090a01611201621a0163", 0, ZDS_ADD, true, "x", "a", "b", "c" },
	{ "add without info", "0a030a0178", 0, ZDS_ADD, false, "x", "", "", "" },
	{ "add of nothing", "0a00", 0, ZDS_ADD, false, "", "", "", "" },
	{ "keep", "2a030a0178", 0, ZDS_KEEP, false, "x", "", "", "" },
	{ "del", "1203120178", 0, ZDS_DEL, false, "x", "", "", "" },
	{ "del with its uid where add has it", "12030a0178", 0, ZDS_DEL, false, "", "", "", "" },
	{ "snapshot sent", "1a00", 0, ZDS_SNAPSHOT_SENT, false, "", "", "", "" },
	{ "a field from the future", "1a007a0178", 0, ZDS_SNAPSHOT_SENT, false, "", "", "", "" },
	{ "the reserved trust domain", "0a110a0178120c0a01611201621a0163220164", 0, ZDS_ADD, true, "x", "a", "b", "c" },
	{ "the last of two", "0a030a01781a00", 0, ZDS_SNAPSHOT_SENT, false, "", "", "", "" },
	{ "empty", "", -EBADMSG, 0, false, "", "", "", "" },
	{ "an unknown message", "2200", -EBADMSG, 0, false, "", "", "", "" },
	{ "cut short", "0a0e0a0178", -EBADMSG, 0, false, "", "", "", "" },
	{ "not protobuf", "ffffffff", -EBADMSG, 0, false, "", "", "", "" },
	{ "a NUL in the uid", "0a040a027800", -EBADMSG, 0, false, "", "", "", "" },
	{ "a line break in the uid", "2a040a02780a", -EBADMSG, 0, false, "", "", "", "" },
	{ "a blank in the uid", "1204120278" "20", -EBADMSG, 0, false, "", "", "", "" },
	{ "a letter that is not ASCII in a name", "0a090a01781204" "0a02c3bc", -EBADMSG, 0, false, "", "", "", "" },
	{ "a slash in a namespace", "0a090a01781204" "1202612f", -EBADMSG, 0, false, "", "", "", "" },
	{ "a slash in the uid", "1204120278" "2f", 0, ZDS_DEL, false, "x/", "", "", "" },
};
/* clang-format on */

static size_t bytes_of(const char *hex, uint8_t *out)
{
	size_t len = strlen(hex) / 2;

	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
	return len;
}

START_TEST(decode)
{
	struct zds_request request;
	uint8_t bytes[64];
	int err = zds_decode(bytes, bytes_of(rows[_i].hex, bytes), &request);

	ck_assert_msg(err == rows[_i].want, "%s: %d, want %d", rows[_i].name, err, rows[_i].want);
	if (err)
		return;
	ck_assert_msg(request.kind == rows[_i].kind, "%s: kind %d", rows[_i].name, request.kind);
	ck_assert_msg(request.has_info == rows[_i].has_info, "%s: info", rows[_i].name);
	ck_assert_msg(strcmp(request.uid, rows[_i].uid) == 0 &&
	                  strcmp(request.name, rows[_i].pod) == 0 &&
	                  strcmp(request.ns, rows[_i].ns) == 0 &&
	                  strcmp(request.service_account, rows[_i].account) == 0,
	              "%s: %s %s %s %s", rows[_i].name, request.uid, request.name, request.ns,
	              request.service_account);
}
END_TEST

START_TEST(longest_packet)
{
	uint8_t bytes[ZDS_PACKET_MAX + 1] = { 0x2a, 0xfd, 0x07, 0x0a, 0xfa, 0x07 };
	struct zds_request request;

	memset(bytes + 6, 'u', sizeof(bytes) - 6);
	ck_assert_int_eq(zds_decode(bytes, ZDS_PACKET_MAX, &request), 0);
	ck_assert_uint_eq(strlen(request.uid), 1018);
	ck_assert_int_eq(zds_decode(bytes, ZDS_PACKET_MAX + 1, &request), -EMSGSIZE);
}
END_TEST

static void check_bytes(const uint8_t *bytes, size_t len, const char *hex)
{
	uint8_t want[64];

	ck_assert_uint_eq(len, bytes_of(hex, want));
	ck_assert_mem_eq(bytes, want, len);
}

START_TEST(encode)
{
	uint8_t bytes[ZDS_PACKET_MAX];
	char text[4096];

	check_bytes(bytes, zds_encode_hello(bytes), "0801");
	check_bytes(bytes, zds_encode_ack("", bytes), "0a00");
	check_bytes(bytes, zds_encode_ack("no", bytes), "0a040a026e6f");
	check_bytes(bytes, zds_encode_ack("n\xc3\n", bytes), "0a050a036e3f3f");
	memset(text, 'e', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	ck_assert_uint_eq(zds_encode_ack(text, bytes), 906);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zds_codec");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, decode, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, longest_packet);
	tcase_add_test(tc, encode);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
