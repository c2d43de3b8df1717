/*
 * ca_codec: the bytes that protoc makes of the upstream messages, with google.protobuf.Struct.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "control/ca_codec.h"

/* clang-format off */
static const struct {
	const char *name, *csr, *impersonate, *hex;
} requests[] = {
	{ "vector: csr C, a day, for a pod", "C", "spiffe://cluster.local/ns/a/sa/b", /* reference/controlplane 3.9 */
	  "0a01431880a305223c0a3a0a14496d706572736f6e617465644964656e74"
	  "69747912221a207370696666653a2f2f636c75737465722e6c6f63616c2f6e732f612f73612f62" },
	{ "for itself", "c", NULL, "0a01631880a305" },
	{ "for a pod", "c", "spiffe://td/ns/a/sa/b",
	  "0a01631880a30522310a2f0a14496d706572736f6e617465644964656e74"
	  "69747912171a157370696666653a2f2f74642f6e732f612f73612f62" },
};

static const struct {
	const char *name, *hex;
	int err;
	size_t count;
	const char *last;
} responses[] = {
	{ "leaf and root", "0a046c6561660a04726f6f74", 0, 2, "root" },
	{ "nothing", "", 0, 0, NULL },
	{ "empty elements", "0a000a00", 0, 2, "" },
	{ "a field that is not known", "0a01611001", 0, 1, "a" },
	{ "cut", "0a046c6561", -EBADMSG, 0, NULL },
	{ "another type in its place", "0801", -EBADMSG, 0, NULL },
	{ "a length beyond all", "0affffffff0f", -EBADMSG, 0, NULL },
};
/* clang-format on */

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t len = strlen(hex) / 2;
	unsigned byte;

	for (size_t i = 0; i < len; i++) {
		ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
	return len;
}

START_TEST(request)
{
	uint8_t want[256], *bytes;
	size_t len = unhex(requests[_i].hex, want), size;

	ck_assert_int_eq(
	    ca_encode_request(requests[_i].csr, 86400, requests[_i].impersonate, &bytes, &size), 0);
	ck_assert_msg(size == len && memcmp(bytes, want, len) == 0, "%s", requests[_i].name);
	free(bytes);
}
END_TEST

START_TEST(response)
{
	struct ca_response got = { 0 };
	uint8_t bytes[256];
	size_t len = unhex(responses[_i].hex, bytes);
	int err = ca_decode_response(bytes, len, &got);

	ck_assert_msg(err == responses[_i].err, "%s: %d", responses[_i].name, err);
	ck_assert_uint_eq(got.count, responses[_i].count);
	if (responses[_i].last)
		ck_assert_str_eq(got.elements[got.count - 1], responses[_i].last);
	ca_response_done(&got);
	ca_response_done(&got);
}
END_TEST

START_TEST(too_many_elements)
{
	struct ca_response got = { 0 };
	uint8_t bytes[2 * (CA_ELEMENTS_MAX + 1)];

	for (size_t i = 0; i < sizeof(bytes); i += 2) {
		bytes[i] = 0x0a;
		bytes[i + 1] = 0;
	}
	ck_assert_int_eq(ca_decode_response(bytes, sizeof(bytes), &got), -E2BIG);
	ck_assert_int_eq(ca_decode_response(bytes, sizeof(bytes) - 2, &got), 0);
	ck_assert_uint_eq(got.count, CA_ELEMENTS_MAX);
	ca_response_done(&got);
	ck_assert_int_eq(ca_decode_response(bytes, CA_RESPONSE_MAX + 1, &got), -E2BIG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ca_codec");
	TCase *tc = tcase_create("bytes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, request, 0, HB_ARRAY_LEN(requests));
	tcase_add_loop_test(tc, response, 0, HB_ARRAY_LEN(responses));
	tcase_add_test(tc, too_many_elements);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
