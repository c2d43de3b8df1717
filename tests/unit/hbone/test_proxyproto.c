/*
 * proxyproto: the bytes that a waypoint reads, and those that a reader of ours must survive.
 */
#include <hbone/proxyproto.h>

#include <check.h>
#include <string.h>

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define ID  "spiffe://td/ns/a/sa/b"

#define BYTES(text) text, sizeof(text) - 1

/* clang-format off */
static const struct {
	const char *name, *src, *dst, *identity;
	const char *want;
	size_t want_len;
} encoded[] = {
	{ "IPv4", "10.0.0.1:4096", "10.0.0.2:80", NULL,
	  BYTES(SIG "\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x10\x00\x00\x50") },
	{ "IPv6", "[fd00::1]:4096", "[fd00::2]:80", "",
	  BYTES(SIG "\x21\x21\x00\x24"
	        "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"
	        "\x10\x00\x00\x50") },
	{ "IPv4 to IPv6", "10.0.0.1:4096", "[fd00::2]:80", NULL, BYTES(SIG "\x21\x01\x00\x00") },
	{ "with an identity", "10.0.0.1:4096", "10.0.0.2:80", ID,
	  BYTES(SIG "\x21\x11\x00\x24\x0a\x00\x00\x01\x0a\x00\x00\x02\x10\x00\x00\x50"
	        "\xd0\x00\x15" ID) },
	{ "only an identity", "[fd00::1]:4096", "10.0.0.2:80", ID,
	  BYTES(SIG "\x21\x01\x00\x18\xd0\x00\x15" ID) },
};

#define V4 "\x0a\x00\x00\x01\x0a\x00\x00\x02\x10\x00\x00\x50"

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	int want;
	const char *src, *identity; /* NULL: none */
} decoded[] = {
	{ "bytes of the app behind", BYTES(SIG "\x21\x11\x00\x0c" V4 "GET /"), 28,
	  "10.0.0.1:4096", NULL },
	{ "LOCAL, whatever it says", BYTES(SIG "\x20\x11\x00\x03xyz"), 19, NULL, NULL },
	{ "LOCAL of no family", BYTES(SIG "\x20\x00\x00\x00"), 16, NULL, NULL },
	{ "of no family", BYTES(SIG "\x21\x00\x00\x00"), 16, NULL, NULL },
	{ "TLVs of others", BYTES(SIG "\x21\x11\x00\x2c" V4 "\x04\x00\x02xx\xd1\x00\x00\xd0\x00\x15" ID),
	  60, "10.0.0.1:4096", ID },
	{ "the first identity", BYTES(SIG "\x21\x01\x00\x1b\xd0\x00\x15" ID "\xd0\x00\x00"), 43, NULL, ID },
	{ "nothing yet", BYTES(""), 0, NULL, NULL },
	{ "version 1", BYTES("PROXY TCP4"), -EINVAL, NULL, NULL },
	{ "TLS", BYTES("\x16\x03\x01"), -EINVAL, NULL, NULL },
	{ "version 3", BYTES(SIG "\x31"), -EINVAL, NULL, NULL },
	{ "an unknown command", BYTES(SIG "\x22"), -EINVAL, NULL, NULL },
	{ "UDP", BYTES(SIG "\x21\x12"), -EINVAL, NULL, NULL },
	{ "a Unix socket", BYTES(SIG "\x21\x31"), -EINVAL, NULL, NULL },
	{ "too short for its addresses", BYTES(SIG "\x21\x11\x00\x0b"), -EINVAL, NULL, NULL },
	{ "too short for IPv6", BYTES(SIG "\x21\x21\x00\x0c"), -EINVAL, NULL, NULL },
	{ "longer than we read", BYTES(SIG "\x21\x11\xff\xff"), -EMSGSIZE, NULL, NULL },
	{ "LOCAL and longer", BYTES(SIG "\x20\x00\x0f\xf1"), -EMSGSIZE, NULL, NULL },
	{ "a TLV cut in its header", BYTES(SIG "\x21\x11\x00\x0e" V4 "\xd0\x00"), -EINVAL, NULL, NULL },
	{ "a TLV cut in its value", BYTES(SIG "\x21\x11\x00\x10" V4 "\xd0\x00\x02x"), -EINVAL, NULL, NULL },
	{ "an empty identity", BYTES(SIG "\x21\x11\x00\x0f" V4 "\xd0\x00\x00"), -EINVAL, NULL, NULL },
	{ "an identity of another form", BYTES(SIG "\x21\x01\x00\x07\xd0\x00\x04user"), -EINVAL, NULL, NULL },
	{ "a line's end in it", BYTES(SIG "\x21\x01\x00\x16\xd0\x00\x13spiffe:///ns//sa/\r\n"), -EINVAL,
	  NULL, NULL },
};
/* clang-format on */

static struct hb_addr addr(const char *text)
{
	struct hb_addr addr;

	ck_assert_int_eq(hb_addr_parse(text, strlen(text), &addr), 0);
	return addr;
}

START_TEST(encode)
{
	struct hb_addr src = addr(encoded[_i].src), dst = addr(encoded[_i].dst);
	uint8_t out[HB_PROXY_ENCODED_MAX];
	struct hb_proxy back;
	size_t len = encoded[_i].want_len;
	const char *identity = encoded[_i].identity ? encoded[_i].identity : "";
	int n = hb_proxy_encode(&src, &dst, encoded[_i].identity, out, sizeof(out));

	ck_assert_msg(n == (int)len && memcmp(out, encoded[_i].want, len) == 0, "%s: %d bytes",
	              encoded[_i].name, n);
	ck_assert_msg(hb_proxy_encode(&src, &dst, encoded[_i].identity, out, len) == n, "%s",
	              encoded[_i].name);
	ck_assert_msg(hb_proxy_encode(&src, &dst, encoded[_i].identity, out, len - 1) == -EMSGSIZE,
	              "%s", encoded[_i].name);

	ck_assert_int_eq(hb_proxy_decode(out, len, &back), n);
	if (back.has_addrs)
		ck_assert(hb_addr_equal(&back.src, &src) && hb_addr_equal(&back.dst, &dst));
	ck_assert_uint_eq(back.identity_len, strlen(identity));
	ck_assert(!back.identity_len || !memcmp(back.identity, identity, back.identity_len));
	/* It comes in pieces: each but the last asks for more. */
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *part = malloc(cut ? cut : 1); /* the sanitizer sees a byte too many */

		memcpy(part, out, cut);
		ck_assert_msg(hb_proxy_decode(part, cut, &back) == 0, "%s: cut at %zu",
		              encoded[_i].name, cut);
		free(part);
	}
}
END_TEST

START_TEST(decode)
{
	uint8_t *bytes = malloc(decoded[_i].len ? decoded[_i].len : 1);
	struct hb_proxy proxy = { 0 };
	struct hb_addr src;
	int n;

	memcpy(bytes, decoded[_i].bytes, decoded[_i].len);
	n = hb_proxy_decode(bytes, decoded[_i].len, &proxy);
	ck_assert_msg(n == decoded[_i].want, "%s: %d", decoded[_i].name, n);
	ck_assert_msg(proxy.has_addrs == (decoded[_i].src != NULL), "%s", decoded[_i].name);
	if (proxy.has_addrs) {
		src = addr(decoded[_i].src);
		ck_assert_msg(hb_addr_equal(&proxy.src, &src), "%s", decoded[_i].name);
	}
	ck_assert_msg((proxy.identity != NULL) == (decoded[_i].identity != NULL), "%s",
	              decoded[_i].name);
	if (proxy.identity)
		ck_assert_msg(proxy.identity_len == strlen(decoded[_i].identity) &&
		                  !memcmp(proxy.identity, decoded[_i].identity, proxy.identity_len),
		              "%s", decoded[_i].name);
	free(bytes);
}
END_TEST

START_TEST(identity_is_capped)
{
	static uint8_t out[HB_PROXY_ENCODED_MAX];
	struct hb_addr src = addr("[fd00::1]:1"), dst = addr("[fd00::2]:2");
	char identity[HB_PROXY_IDENTITY_MAX + 2] = "spiffe://td/ns/a/sa/";
	struct hb_proxy proxy;

	memset(identity + strlen(identity), 'b', sizeof(identity) - strlen(identity) - 1);
	ck_assert_int_eq(hb_proxy_encode(&src, &dst, identity, out, sizeof(out)), -EMSGSIZE);
	identity[HB_PROXY_IDENTITY_MAX] = '\0';
	ck_assert_int_eq(hb_proxy_encode(&src, &dst, identity, out, sizeof(out)), sizeof(out));
	ck_assert_int_eq(hb_proxy_decode(out, sizeof(out), &proxy), sizeof(out));
	ck_assert_uint_eq(proxy.identity_len, HB_PROXY_IDENTITY_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proxyproto");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, encode, 0, HB_ARRAY_LEN(encoded));
	tcase_add_loop_test(tc, decode, 0, HB_ARRAY_LEN(decoded));
	tcase_add_test(tc, identity_is_capped);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
