/*
 * decide: who is captured and who is steered, row by row.
 */
#include "bpf/decide.h"

#include <check.h>
#include <hbone/addr.h>
#include <string.h>

static struct cv_ip ip(const char *text)
{
	struct hb_ip hb;
	struct cv_ip out;

	ck_assert_msg(hb_ip_parse(text, strlen(text), &hb) == 0, "%s", text);
	memcpy(&out, &hb, sizeof(out));
	return out;
}

enum pod { NO_POD, INBOUND_ONLY, ENROLLED };

/* clang-format off */
static const struct {
	const char *name;
	enum pod pod;
	bool exempt;
	const char *dst;
	enum cv_reason want;
} connects[] = {
	{ "not enrolled", NO_POD, false, "10.0.0.1", CV_PASS_NOT_ENROLLED },
	{ "enrolment is not finished", INBOUND_ONLY, false, "10.0.0.1", CV_PASS_NOT_ENROLLED },
	{ "our own socket", ENROLLED, true, "10.0.0.1", CV_PASS_EXEMPT },
	{ "our own socket to loopback", ENROLLED, true, "127.0.0.1", CV_PASS_EXEMPT },
	{ "IPv4", ENROLLED, false, "10.0.0.1", CV_CAPTURED },
	{ "IPv6", ENROLLED, false, "fd00::1", CV_CAPTURED },
	{ "loopback", ENROLLED, false, "127.0.0.1", CV_PASS_LOOPBACK },
	{ "end of loopback", ENROLLED, false, "127.255.255.255", CV_PASS_LOOPBACK },
	{ "before loopback", ENROLLED, false, "126.255.255.255", CV_CAPTURED },
	{ "after loopback", ENROLLED, false, "128.0.0.0", CV_CAPTURED },
	{ "::1", ENROLLED, false, "::1", CV_PASS_LOOPBACK },
	{ "::2", ENROLLED, false, "::2", CV_CAPTURED },
	{ "0.0.0.0", ENROLLED, false, "0.0.0.0", CV_PASS_LOOPBACK },
	{ "::", ENROLLED, false, "::", CV_PASS_LOOPBACK },
	{ "IPv4-compatible is not mapped", ENROLLED, false, "::127.0.0.1", CV_CAPTURED },
	{ "the pod's IPv4", ENROLLED, false, "10.1.0.5", CV_PASS_SELF },
	{ "the pod's IPv6", ENROLLED, false, "fd01::5", CV_PASS_SELF },
	{ "one off the pod's", ENROLLED, false, "10.1.0.6", CV_CAPTURED },
	{ "the last of its addresses", ENROLLED, false, "10.9.9.9", CV_PASS_SELF },
	{ "link-local", ENROLLED, false, "fe80::1", CV_CAPTURED },
	{ "the metadata address", ENROLLED, false, "169.254.169.254", CV_CAPTURED },
};

static const struct {
	const char *name;
	__u32 ifindex;
	const char *remote, *local;
	__u16 port;
	enum cv_reason want;
} inbounds[] = {
	{ "a port", 2, "10.0.0.1", "10.1.0.5", 80, CV_IN_STEERED },
	{ "IPv6", 2, "fd00::1", "fd01::5", 80, CV_IN_STEERED },
	{ "HBONE", 2, "10.0.0.1", "10.1.0.5", 15008, CV_IN_STEERED_HBONE },
	{ "our outbound port", 2, "10.0.0.1", "10.1.0.5", 15001, CV_IN_STEERED },
	{ "our plaintext port", 2, "10.0.0.1", "10.1.0.5", 15006, CV_IN_STEERED },
	{ "over lo", 1, "10.0.0.1", "10.1.0.5", 80, CV_IN_PASS_LOOPBACK },
	{ "from 127/8 by eth0", 2, "127.9.9.9", "10.1.0.5", 80, CV_IN_PASS_LOOPBACK },
	{ "from ::1 by eth0", 2, "::1", "fd01::5", 80, CV_IN_PASS_LOOPBACK },
	{ "to itself, IPv4", 2, "10.1.0.5", "10.1.0.5", 80, CV_IN_PASS_SELF },
	{ "to itself, IPv6", 2, "fd01::5", "fd01::5", 80, CV_IN_PASS_SELF },
	{ "to itself, HBONE", 2, "10.1.0.5", "10.1.0.5", 15008, CV_IN_PASS_SELF },
};

static const struct {
	const char *name;
	bool known;
	const char *local;
	enum cv_reason want;
} unserved[] = {
	{ "a pod's address", true, "10.1.0.5", CV_IN_DROP_NO_LISTENER },
	{ "a pod's link-local address", true, "fe80::5", CV_IN_DROP_NO_LISTENER },
	{ "an address nobody enrolled", false, "10.1.0.6", CV_IN_PASS_UNKNOWN_IP },
	{ "link-local", false, "fe80::5", CV_IN_DROP_LINK_LOCAL },
	{ "end of link-local", false, "febf:ffff::1", CV_IN_DROP_LINK_LOCAL },
	{ "after link-local", false, "fec0::1", CV_IN_PASS_UNKNOWN_IP },
};
/* clang-format on */

START_TEST(connect_rows)
{
	struct cv_pod pod = { .flags = connects[_i].pod == ENROLLED ? CV_POD_OUTBOUND : 0 };
	struct cv_ip dst = ip(connects[_i].dst);
	enum cv_reason got;

	pod.ips[0] = ip("10.1.0.5");
	pod.ips[1] = ip("fd01::5");
	pod.ips[CV_POD_IPS_MAX - 1] = ip("10.9.9.9");
	got =
	    cv_decide_connect(connects[_i].pod == NO_POD ? NULL : &pod, connects[_i].exempt, &dst);
	ck_assert_msg(got == connects[_i].want, "%s: %d, want %d", connects[_i].name, got,
	              connects[_i].want);
}
END_TEST

START_TEST(inbound_rows)
{
	struct cv_ip remote = ip(inbounds[_i].remote), local = ip(inbounds[_i].local);
	enum cv_reason got =
	    cv_decide_inbound(inbounds[_i].ifindex, &remote, &local, inbounds[_i].port);

	ck_assert_msg(got == inbounds[_i].want, "%s: %d, want %d", inbounds[_i].name, got,
	              inbounds[_i].want);
}
END_TEST

START_TEST(unserved_rows)
{
	struct cv_ip local = ip(unserved[_i].local);
	enum cv_reason got = cv_decide_unserved(unserved[_i].known, &local);

	ck_assert_msg(got == unserved[_i].want, "%s: %d, want %d", unserved[_i].name, got,
	              unserved[_i].want);
}
END_TEST

/* Loopback, whatever the draw, but neither 127.0.0.1, where our listeners are, nor a broadcast. */
START_TEST(spread_rows)
{
	static const __u32 draws[] = { 0, 1, 0x7fffff, 0x800000, 0xffffffff, 0x12345678 };
	struct cv_ip lowest = ip("127.1.0.0"), highest = ip("127.128.255.255");
	struct cv_ip got = cv_ip_of_v4(cv_spread_source(draws[_i]));

	ck_assert(cv_ip_is_loopback(&got));
	ck_assert_uint_ge(bpf_ntohl(got.w[3]), bpf_ntohl(lowest.w[3]));
	ck_assert_uint_le(bpf_ntohl(got.w[3]), bpf_ntohl(highest.w[3]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("decide");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, connect_rows, 0, HB_ARRAY_LEN(connects));
	tcase_add_loop_test(tc, inbound_rows, 0, HB_ARRAY_LEN(inbounds));
	tcase_add_loop_test(tc, spread_rows, 0, 6);
	tcase_add_loop_test(tc, unserved_rows, 0, HB_ARRAY_LEN(unserved));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
