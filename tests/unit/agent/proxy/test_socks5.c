/*
 * socks5: what a client says, whole and byte by byte, and what it is answered (reference/datapath
 * 1.17).
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "proxy/socks5.h"

#define GREETING "050100"

/* became: g greeted, C to an address, N to a name, and a digit: refused with that reply; "" more */
/* clang-format off */
static const struct {
	const char *name, *said, *became, *to;
	size_t left; /* bytes it does not want any more */
} rows[] = {
	{ "IPv4", GREETING "050100010a02000b1f90", "gC", "10.2.0.11:8080", 0 },
	{ "IPv6", GREETING "05010004fd0000020000000000000000000000110050", "gC", "[fd00:2::11]:80", 0 },
	{ "a name", GREETING "05010003056c6f63616c0050", "gN", "local:80", 0 },
	{ "what is behind is the app's", GREETING "050100010a02000b1f90474554", "gC", "10.2.0.11:8080", 3 },
	{ "several methods", "0503020100" "050100010a02000b1f90", "gC", "10.2.0.11:8080", 0 },
	{ "port 0", GREETING "050100010a02000b0000", "gC", "10.2.0.11:0", 0 },
	{ "an IPv4 address as IPv6", GREETING "0501000400000000000000000000ffff0a02000b0050", "gC", "10.2.0.11:80", 0 },
	{ "half a greeting", "0502", "", "", 0 },
	{ "half a request", GREETING "05010003", "g", "", 0 },
	{ "version 4", "0401", "7", "", 0 },
	{ "no methods", "0500", "7", "", 0 },
	{ "only methods with a password", "050102", "7", "", 0 },
	{ "BIND", GREETING "0502000100", "g7", "", 0 },
	{ "UDP", GREETING "0503000100", "g7", "", 0 },
	{ "another version in the request", GREETING "0401000100", "g7", "", 0 },
	{ "an unknown kind of address", GREETING "0501000200", "g7", "", 0 },
	{ "an empty name", GREETING "0501000300", "g7", "", 0 },
	{ "a name with a NUL", GREETING "0501000302610000" "50", "g4", "", 0 },
	{ "a name with a line break", GREETING "0501000302" "610a0050", "g4", "", 0 },
	{ "a name that is not ASCII", GREETING "0501000302" "c3bc0050", "g4", "", 0 },
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

static void note(const struct socks5 *socks, enum socks5_next next, char *became)
{
	char mark = next == SOCKS5_GREETED                   ? 'g'
	            : next == SOCKS5_CONNECT && *socks->name ? 'N'
	            : next == SOCKS5_CONNECT                 ? 'C'
	            : next == SOCKS5_REFUSED                 ? (char)('0' + socks->reply)
	                                                     : 0;

	became[strlen(became)] = mark;
}

/* In pieces of at most @piece bytes. What is left over is returned. */
static size_t play(const char *hex, size_t piece, struct socks5 *socks, char *became)
{
	uint8_t bytes[512];
	size_t len = bytes_of(hex, bytes), at = 0;

	socks5_init(socks);
	while (at < len && socks5_wants(socks)) {
		size_t n = hb_min_size(hb_min_size(piece, socks5_wants(socks)), len - at);

		note(socks, socks5_take(socks, bytes + at, n), became);
		at += n;
	}
	return len - at;
}

START_TEST(said)
{
	for (size_t piece = 1; piece <= 32; piece *= 2) {
		struct socks5 socks;
		char became[32] = "", to[300] = "";
		size_t left = play(rows[_i].said, piece, &socks, became);

		ck_assert_msg(strcmp(became, rows[_i].became) == 0, "%s: became %s, want %s",
		              rows[_i].name, became, rows[_i].became);
		ck_assert_msg(left == rows[_i].left, "%s: %zu left", rows[_i].name, left);
		if (strchr(became, 'C'))
			hb_addr_format(&socks.dst, to, sizeof(to));
		if (strchr(became, 'N'))
			snprintf(to, sizeof(to), "%s:%u", socks.name, socks.dst.port);
		ck_assert_msg(strcmp(to, rows[_i].to) == 0, "%s: to %s", rows[_i].name, to);
	}
}
END_TEST

START_TEST(longest_name)
{
	struct socks5 socks;
	uint8_t name[257];

	socks5_init(&socks);
	ck_assert_int_eq(socks5_take(&socks, (const uint8_t *)"\x05\xff", 2), SOCKS5_MORE);
	memset(name, 0, sizeof(name));
	ck_assert_int_eq(socks5_take(&socks, name, 255), SOCKS5_GREETED);
	ck_assert_int_eq(socks5_take(&socks, (const uint8_t *)"\x05\x01\x00\x03\xff", 5),
	                 SOCKS5_MORE);
	memset(name, 'n', sizeof(name));
	ck_assert_uint_eq(socks5_wants(&socks), 257);
	ck_assert_int_eq(socks5_take(&socks, name, 257), SOCKS5_CONNECT);
	ck_assert_uint_eq(strlen(socks.name), 255);
	ck_assert_uint_eq(socks5_wants(&socks), 0);
}
END_TEST

START_TEST(reply_bytes)
{
	uint8_t bytes[SOCKS5_REPLY_LEN];

	socks5_format_reply(SOCKS5_HOST_UNREACHABLE, bytes);
	ck_assert_mem_eq(bytes, "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", sizeof(bytes));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("socks5");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, said, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, longest_name);
	tcase_add_test(tc, reply_bytes);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
