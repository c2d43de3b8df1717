/*
 * podnet: sockets in a namespace of the test's own, and what they are told; exits 77 when it may
 * not make one. What rules redirect is tried in tests/netns/zds.sh.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "node/netns.h"
#include "node/podnet.h"
#include "support/own_netns.h"

static int netns_fd;

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* ztunnel's test_inpod_config_outbound_sockets. */
START_TEST(own_sockets_carry_the_mark)
{
	struct podnet net = { .capture = PODNET_RULES, .mark = _i % 2 ? 1337 : 0 };
	int family = _i / 2 ? AF_INET6 : AF_INET;
	int fd = podnet_socket(&net, netns_fd, family);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq((unsigned)option(fd, SOL_SOCKET, SO_MARK), net.mark);
	ck_assert_int_eq(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
	ck_assert_int_eq(option(fd, SOL_SOCKET, SO_DOMAIN), family);
	close(fd);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *ip;
	int family;
} foreign[] = {
	{ "IPv4", "192.0.2.7", AF_INET },
	{ "IPv6", "2001:db8::7", AF_INET6 },
};
/* clang-format on */

START_TEST(a_foreign_source)
{
	struct podnet net = { .capture = PODNET_RULES };
	int fd = podnet_socket(&net, netns_fd, foreign[_i].family);
	struct hb_addr bound;
	struct hb_ip ip;

	ck_assert_int_eq(hb_ip_parse(foreign[_i].ip, strlen(foreign[_i].ip), &ip), 0);
	ck_assert_msg(podnet_bind_foreign(fd, &ip) == 0, "%s", foreign[_i].name);
	ck_assert_int_eq(hb_addr_of_local(fd, &bound), 0);
	ck_assert_msg(hb_ip_equal(&bound.ip, &ip), "%s", foreign[_i].name);
	close(fd);
}
END_TEST

/* Nobody redirected it: then it is the listener's own address that was dialled. */
START_TEST(what_was_not_redirected)
{
	struct podnet net = { .capture = PODNET_RULES };
	struct hb_addr at = { { { [15] = 1 } }, (uint16_t)(4711 + _i) }, got;
	struct sockaddr_storage sa;
	int listener = podnet_socket(&net, netns_fd, AF_INET6), fd, accepted;
	socklen_t len;

	if (_i) /* the same by IPv4 */
		ck_assert_int_eq(hb_ip_parse("127.0.0.1", 9, &at.ip), 0);
	ck_assert_int_eq(bind(listener,
	                      (struct sockaddr *)&(struct sockaddr_in6){
				  .sin6_family = AF_INET6, .sin6_port = htons(at.port) },
	                      sizeof(struct sockaddr_in6)),
	                 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	len = hb_addr_to_sockaddr(&at, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, len), 0);
	accepted = accept(listener, NULL, NULL);
	ck_assert_int_ge(accepted, 0);
	ck_assert_int_eq(podnet_orig_dst(&net, accepted, &got), 0);
	ck_assert(hb_ip_equal(&got.ip, &at.ip));
	ck_assert_uint_eq(got.port, at.port);
	close(accepted);
	close(fd);
	close(listener);
}
END_TEST

static int own_namespace(void)
{
	int err = own_netns();

	if (err < 0)
		return err;
	netns_fd = netns_open("/proc/self/ns/net");
	return netns_fd < 0 ? netns_fd : 0;
}

int main(void)
{
	Suite *suite = suite_create("podnet");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (own_namespace() < 0) {
		printf("skipped: needs root to make a network namespace\n");
		srunner_free(runner);
		return 77;
	}
	tcase_add_loop_test(tc, own_sockets_carry_the_mark, 0, 4);
	tcase_add_loop_test(tc, a_foreign_source, 0, HB_ARRAY_LEN(foreign));
	tcase_add_loop_test(tc, what_was_not_redirected, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
