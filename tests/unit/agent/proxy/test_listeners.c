/*
 * listeners: all sockets of a pod or none, in a namespace of the test's own; exits 77 when it may
 * not make one.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "node/netns.h"
#include "proxy/listeners.h"
#include "support/own_netns.h"

#define WORKERS 2

static const struct podnet captured; /* by BPF */
static struct hb_loop *loop;
static struct listeners listeners;
static int netns_fd;
static unsigned ready;

static void on_ready(struct listeners *l)
{
	ready++;
}

static void up(void)
{
	char why[64];

	ck_assert_int_eq(log_set_levels("off", why, sizeof(why)), 0);
	loop = hb_loop_new(NULL);
	netns_fd = netns_open("/proc/self/ns/net");
	ck_assert(loop && netns_fd >= 0);
	ready = 0;
	listeners = (struct listeners){
		.pod = "demo/a",
		.netns_fd = netns_fd,
		.workers = WORKERS,
		.ipv6 = true,
		.net = &captured,
		.on_ready = on_ready,
	};
}

static void down(void)
{
	listeners_stop(&listeners);
	close(netns_fd);
	hb_loop_free(loop);
}

/* Turns for a little more than one retry. */
static void turn(void)
{
	uint64_t end = hb_loop_now_ms(loop) + LISTENERS_RETRY_MS + 500;

	while (!ready && hb_loop_now_ms(loop) < end)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
}

static int take(const char *ip, uint16_t port, bool reuse)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, ip, &sa.sin_addr);
	if (reuse)
		ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

START_TEST(all_sockets_listen)
{
	int fds[POD_SOCKETS], listening, one;
	socklen_t len = sizeof(listening);

	listeners_start(&listeners, loop);
	ck_assert_uint_eq(ready, 0);
	turn();
	ck_assert_uint_eq(ready, 1);
	ck_assert_str_eq(listeners.reason, "");
	for (unsigned w = 0; w < WORKERS; w++) {
		listeners_take(&listeners, w, fds);
		for (int i = 0; i < POD_SOCKETS; i++) {
			struct hb_addr addr;

			if (i / 2 == POD_SOCKS) {
				ck_assert_int_lt(fds[i], 0); /* it is switched off */
				continue;
			}
			ck_assert_int_ge(fds[i], 0);
			one = getsockopt(fds[i], SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
			ck_assert_int_eq(one, 0);
			ck_assert_int_eq(listening, 1);
			ck_assert_int_eq(hb_addr_of_local(fds[i], &addr), 0);
			ck_assert(hb_ip_is_loopback(&addr.ip));
			ck_assert_int_eq(hb_ip_is_v4(&addr.ip), i % 2 == 0);
			close(fds[i]);
		}
	}
}
END_TEST

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* ztunnel's test_inpod_config_port_reuse, test_inpod_config_no_port_reuse, and what is ours. */
/* clang-format off */
static const struct {
	const char *name;
	struct podnet net;
	bool ipv6;
	unsigned sockets; /* for each worker */
	bool keeps_source;
} ruled[] = {
	{ "test_inpod_config_port_reuse", { .capture = PODNET_RULES, .mark = 1337 }, true, 3, true },
	{ "test_inpod_config_no_port_reuse", { .capture = PODNET_RULES, .mark = 1337, .no_port_reuse = true }, true, 3, true },
	{ "IPv4 only", { .capture = PODNET_RULES, .mark = 7 }, false, 3, true },
	{ "no mark", { .capture = PODNET_RULES }, true, 3, true },
	{ "source required", { .capture = PODNET_RULES, .source = PODNET_SOURCE_MUST }, true, 3, true },
	{ "source never", { .capture = PODNET_RULES, .source = PODNET_SOURCE_NEVER }, true, 3, false },
	{ "SOCKS5", { .capture = PODNET_RULES, .socks5 = true }, true, 4, true },
};
/* clang-format on */

static void check_ruled(const char *name, const struct podnet *net, int fd, int place)
{
	bool socks = place / 2 == POD_SOCKS;
	struct hb_addr addr;

	ck_assert_int_eq(hb_addr_of_local(fd, &addr), 0);
	ck_assert_msg(hb_ip_is_loopback(&addr.ip) == socks, "%s: place %d", name, place);
	ck_assert_msg(option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1, "%s: listens", name);
	ck_assert_msg(option(fd, SOL_SOCKET, SO_REUSEADDR) == 1, "%s: SO_REUSEADDR", name);
	ck_assert_msg(option(fd, SOL_SOCKET, SO_REUSEPORT) == !net->no_port_reuse,
	              "%s: SO_REUSEPORT", name);
	ck_assert_msg((uint32_t)option(fd, SOL_SOCKET, SO_MARK) == net->mark, "%s: SO_MARK", name);
	ck_assert_msg(option(fd, SOL_IP, IP_TRANSPARENT) == (net->source != PODNET_SOURCE_NEVER),
	              "%s: IP_TRANSPARENT", name);
	if (place % 2)
		ck_assert_msg(option(fd, SOL_IPV6, IPV6_V6ONLY) == 0, "%s: both families", name);
}

START_TEST(by_rules)
{
	int fds[POD_SOCKETS];

	listeners.net = &ruled[_i].net;
	listeners.ipv6 = ruled[_i].ipv6;
	ck_assert_msg(listeners_open(&listeners) == 0, "%s: %s", ruled[_i].name, listeners.reason);
	ck_assert_int_eq(listeners.keeps_source, ruled[_i].keeps_source);
	for (unsigned w = 0; w < WORKERS; w++) {
		unsigned count = 0;

		listeners_take(&listeners, w, fds);
		for (int i = 0; i < POD_SOCKETS; i++) {
			if (fds[i] < 0)
				continue;
			count++;
			ck_assert_int_eq(i % 2, ruled[_i].ipv6 && i / 2 != POD_SOCKS);
			check_ruled(ruled[_i].name, &ruled[_i].net, fds[i], i);
			close(fds[i]);
		}
		ck_assert_msg(count == ruled[_i].sockets, "%s: %u", ruled[_i].name, count);
	}
}
END_TEST

/* Two instances in a rolling upgrade: with SO_REUSEPORT both, without only one. */
START_TEST(a_second_instance)
{
	struct podnet net = { .capture = PODNET_RULES, .no_port_reuse = _i };
	struct listeners second;

	listeners.net = &net;
	second = listeners;
	ck_assert_int_eq(listeners_open(&listeners), 0);
	ck_assert_int_eq(listeners_open(&second), _i ? -EADDRINUSE : 0);
	if (_i)
		ck_assert_ptr_nonnull(strstr(second.reason, "port 15001 is taken by "));
	listeners_stop(&listeners);
	listeners_stop(&second);
	ck_assert_int_eq(listeners_open(&second), 0);
	listeners_stop(&second);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *ip;
	uint16_t port;
	bool reuse;
} takers[] = {
	{ "an app on all addresses", "0.0.0.0", 15008, false },
	{ "an app on loopback", "127.0.0.1", 15006, false },
	{ "an app that would share the port", "127.0.0.1", 15001, true },
};
/* clang-format on */

START_TEST(waits_for_a_port_and_names_it)
{
	char want[32];
	int fd = take(takers[_i].ip, takers[_i].port, takers[_i].reuse);

	listeners_start(&listeners, loop);
	turn();
	ck_assert_msg(ready == 0, "%s", takers[_i].name);
	snprintf(want, sizeof(want), "port %u is taken by ", takers[_i].port);
	ck_assert_msg(strncmp(listeners.reason, want, strlen(want)) == 0, "%s: %s", takers[_i].name,
	              listeners.reason);
	ck_assert_ptr_null(listeners.fds); /* none is held meanwhile */
	close(fd);
	turn();
	ck_assert_msg(ready == 1, "%s", takers[_i].name);
	ck_assert_str_eq(listeners.reason, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("listeners");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (own_netns() < 0) {
		printf("skipped: needs root to make a network namespace\n");
		srunner_free(runner);
		return 77;
	}
	tcase_add_checked_fixture(tc, up, down);
	tcase_add_test(tc, all_sockets_listen);
	tcase_add_loop_test(tc, waits_for_a_port_and_names_it, 0, HB_ARRAY_LEN(takers));
	tcase_add_loop_test(tc, by_rules, 0, HB_ARRAY_LEN(ruled));
	tcase_add_loop_test(tc, a_second_instance, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
