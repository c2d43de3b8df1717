/*
 * sockline: lines as the kernel writes them, and others. The words of the addresses read the same
 * from both ends, so the rows hold on any machine.
 */
#include "node/sockline.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define REST " 00000000:00000000 00:00000000 00000000     0        0 "

/* clang-format off */
static const struct {
	const char *name, *line;
	const char *want; /* local peer state inode; NULL: refused */
} rows[] = {
	{ "a listener", "   0: 7F00007F:3AA0 00000000:0000 0A" REST "6187679 1 0000000087081171 100 0 0 10 0\n",
	  "127.0.0.127:15008 0.0.0.0:0 10 6187679" },
	{ "TIME_WAIT", "  12: 0A01010A:0050 0A02020A:FFFF 06" REST "0 3 0000000087081171\n",
	  "10.1.1.10:80 10.2.2.10:65535 6 0" },
	{ "IPv6", "   1: FD0000FD000000000000000001000001:0050 00000000000000000000000000000000:0000 0A" REST
	  "1 1 0000000087081171\n", "[fd00:fd::100:1]:80 [::]:0 10 1" },
	{ "the heading", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
	  "uid  timeout inode\n", NULL },
	{ "empty", "", NULL },
	{ "cut", "   0: 7F00007F:3AA0 00000000:0000 0A 00000000:00000000 00:00000000\n", NULL },
	{ "no port", "   0: 7F00007F 00000000:0000 0A" REST "1\n", NULL },
	{ "a short port", "   0: 7F00007F:3AA 00000000:0000 0A" REST "1\n", NULL },
	{ "a long port", "   0: 7F00007F:3AA00 00000000:0000 0A" REST "1\n", NULL },
	{ "a port with a sign", "   0: 7F00007F:-3AA 00000000:0000 0A" REST "1\n", NULL },
	{ "a state with a sign", "   0: 7F00007F:3AA0 00000000:0000 -A" REST "1\n", NULL },
	{ "a long state", "   0: 7F00007F:3AA0 00000000:0000 00A" REST "1\n", NULL },
	{ "an inode with a sign", "   0: 7F00007F:3AA0 00000000:0000 0A" REST "-1\n", NULL },
	{ "a short address", "   0: 7F0000F:3AA0 00000000:0000 0A" REST "1\n", NULL },
	{ "between the families", "   0: 7F00007F7F00007F:3AA0 00000000:0000 0A" REST "1\n", NULL },
};
/* clang-format on */

START_TEST(parse)
{
	char local[HB_ADDR_STRLEN], peer[HB_ADDR_STRLEN], got[192];
	struct sockline line;
	int err = sockline_parse(rows[_i].line, &line);

	ck_assert_msg(err == (rows[_i].want ? 0 : -EINVAL), "%s: %d", rows[_i].name, err);
	if (err)
		return;
	snprintf(got, sizeof(got), "%s %s %u %llu",
	         hb_addr_format(&line.local, local, sizeof(local)),
	         hb_addr_format(&line.peer, peer, sizeof(peer)), line.state,
	         (unsigned long long)line.inode);
	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sockline");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, parse, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
