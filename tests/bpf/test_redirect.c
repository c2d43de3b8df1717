/*
 * redirect: the real programs between real sockets: who is captured, what the sockets say then, and
 * what is refused.
 */
#include <check.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "bpf/lab.h"
#include "node/netns.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static struct lab lab;

static void setup(void)
{
	lab_build(&lab);
	lab_load(&lab);
	lab_listen_all(&lab);
	lab_enrol(&lab);
}

static void teardown(void)
{
	lab_tear(&lab);
}

enum client { PLAIN, DUAL, BOUND_IP, BOUND_DEVICE, MPTCP };

/* clang-format off */
static const struct {
	const char *name;
	enum client client;
	const char *to, *seen_as; /* seen_as: the pod's address of that family */
	int v6;                   /* which listener of ours gets it */
} captures[] = {
	{ "IPv4", PLAIN, "10.99.0.1:80", LAB_POD4, 0 },
	{ "IPv6", PLAIN, "[fd99::1]:80", LAB_POD6, 1 },
	{ "IPv4 mapped on an IPv6 socket", DUAL, "10.99.0.1:80", LAB_POD4, 0 },
	{ "IPv6 on a dual-stack socket", DUAL, "[fd99::1]:443", LAB_POD6, 1 },
	{ "an address nobody has", PLAIN, "10.96.0.1:443", LAB_POD4, 0 },
	{ "our own ports elsewhere", PLAIN, "10.99.0.1:15008", LAB_POD4, 0 },
	{ "bound to the pod's address, IPv4", BOUND_IP, "10.99.0.1:81", LAB_POD4, 0 },
	{ "bound to the pod's address, IPv6", BOUND_IP, "[fd99::1]:81", LAB_POD6, 1 },
	{ "bound to the device, IPv4", BOUND_DEVICE, "10.99.0.1:82", LAB_POD4, 0 },
	{ "bound to the device, IPv6", BOUND_DEVICE, "[fd99::1]:82", LAB_POD6, 1 },
	{ "MPTCP, IPv4", MPTCP, "10.99.0.1:83", LAB_POD4, 0 },
	{ "MPTCP, IPv6", MPTCP, "[fd99::1]:83", LAB_POD6, 1 },
};
/* clang-format on */

static int mptcp_socket(int family)
{
	int fd;

	ck_assert_int_eq(netns_enter(lab.pod_fd), 0);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP);
	netns_leave();
	return fd;
}

static int client_socket(enum client client, bool v6)
{
	struct sockaddr_storage sa;
	struct hb_addr own = lab_addr(v6 ? "[" LAB_POD6 "]:0" : LAB_POD4 ":0");
	int family = v6 || client == DUAL ? AF_INET6 : AF_INET;
	int fd =
	    client == MPTCP ? mptcp_socket(family) : netns_socket(lab.pod_fd, family, SOCK_STREAM);
	socklen_t len;

	if (client == BOUND_IP) {
		len = hb_addr_to_sockaddr(&own, &sa);
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	}
	if (client == BOUND_DEVICE)
		ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "pod0", 5), 0);
	return fd;
}

START_TEST(captured)
{
	const char *name = captures[_i].name;
	int app, ours, fd = client_socket(captures[_i].client, captures[_i].v6);
	struct hb_addr shown, own;
	char text[HB_ADDR_STRLEN];

	if (fd < 0 && captures[_i].client == MPTCP) {
		printf("skipped: %s: the kernel has no MPTCP\n", name);
		return;
	}
	ck_assert_msg((app = lab_dial_on(fd, captures[_i].to)) == 0, "%s: %d", name, app);
	ours = lab_accept(lab.outbound[captures[_i].v6], LAB_WAIT, &shown);
	ck_assert_msg(ours >= 0, "%s: not captured", name);
	ck_assert_msg(strcmp(lab_local(ours), captures[_i].to) == 0, "%s: original destination %s",
	              name, lab_local(ours));
	ck_assert_msg(strcmp(lab_peer(fd), captures[_i].to) == 0, "%s: the app sees peer %s", name,
	              lab_peer(fd));
	ck_assert_int_eq(hb_addr_of_local(fd, &own), 0);
	hb_ip_format(&own.ip, text, sizeof(text));
	ck_assert_msg(strcmp(text, captures[_i].seen_as) == 0, "%s: the app sees itself as %s",
	              name, text);
	/* Both ends speak of one address and port. */
	ck_assert_msg(hb_addr_equal(&own, &shown), "%s: accept() told %s", name,
	              hb_addr_format(&shown, text, sizeof(text)));
	ck_assert_str_eq(lab_peer(ours), hb_addr_format(&shown, text, sizeof(text)));
	close(fd);
	close(ours);
}
END_TEST

/* Bytes go both ways, and the names stay when the far end is closed already. */
START_TEST(carries_bytes)
{
	int app = lab_dial(lab.pod_fd, "10.99.0.1:80"), ours;
	char got[8] = "";

	ck_assert_int_ge(app, 0);
	ck_assert_int_eq(send(app, "hello", 5, 0), 5);
	close(app);
	ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), "10.99.0.1:80");
	ck_assert_int_eq(recv(ours, got, sizeof(got), MSG_WAITALL), 5);
	ck_assert_str_eq(got, "hello");
	close(ours);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *listen, *to;
} own_traffic[] = {
	{ "loopback, IPv4", "127.0.0.1:8080", "127.0.0.1:8080" },
	{ "loopback, IPv6", "[::1]:8080", "[::1]:8080" },
	{ "unspecified, IPv4", "127.0.0.1:8080", "0.0.0.0:8080" },
	{ "the pod's own address, IPv4", "0.0.0.0:8080", LAB_POD4 ":8080" },
	{ "the pod's own address, IPv6", "[::]:8080", "[" LAB_POD6 "]:8080" },
};
/* clang-format on */

START_TEST(own_traffic_is_left_alone)
{
	const char *name = own_traffic[_i].name;
	int app = lab_listen(lab.pod_fd, own_traffic[_i].listen);
	int fd = lab_dial(lab.pod_fd, own_traffic[_i].to);
	int served = lab_accept(app, LAB_WAIT, NULL);

	ck_assert_msg(fd >= 0, "%s: %d", name, fd);
	ck_assert_msg(served >= 0, "%s: did not reach the app", name);
	close(served);
	close(fd);
	close(app);
}
END_TEST

/* A socket once captured, cut and connected again to loopback must tell the truth again. */
START_TEST(names_are_forgotten)
{
	int app = lab_listen(lab.pod_fd, "127.0.0.1:8080");
	int fd = netns_socket(lab.pod_fd, AF_INET, SOCK_STREAM), ours;
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	ck_assert_int_eq(lab_dial_on(fd, "10.99.0.1:80"), 0);
	ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);
	ck_assert_int_ge(ours, 0);
	ck_assert_int_eq(connect(fd, &none, sizeof(none)), 0);
	ck_assert_int_eq(lab_dial_on(fd, "127.0.0.1:8080"), 0);
	ck_assert_str_eq(lab_peer(fd), "127.0.0.1:8080");
	ck_assert_msg(strncmp(lab_local(fd), "127.0.0.1:", 10) == 0, "%s", lab_local(fd));
	close(ours);
	close(fd);
	close(app);
}
END_TEST

#define MANY 40

/* More than there are ports, as each comes from an address of its own; IPv6 cannot (it has one). */
START_TEST(more_connections_than_ports)
{
	bool dual = _i;
	int app[MANY], ours[MANY];

	lab_run(lab.pod_fd, "echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range");
	for (int i = 0; i < MANY; i++) {
		app[i] = netns_socket(lab.pod_fd, dual ? AF_INET6 : AF_INET, SOCK_STREAM);
		ck_assert_int_ge(app[i], 0);
		ck_assert_int_eq(
		    lab_dial_on(app[i], dual ? "[::ffff:10.99.0.1]:80" : "10.99.0.1:80"), 0);
		ours[i] = lab_accept(lab.outbound[0], LAB_WAIT, NULL);
		ck_assert_int_ge(ours[i], 0);
		ck_assert_str_eq(lab_local(ours[i]), "10.99.0.1:80");
		ck_assert_msg(strncmp(lab_peer(ours[i]), LAB_POD4 ":", 10) == 0, "%s",
		              lab_peer(ours[i]));
		ck_assert_msg(strncmp(lab_local(app[i]), LAB_POD4 ":", 10) == 0, "%s",
		              lab_local(app[i]));
	}
	for (int i = 0; i < MANY; i++) {
		close(app[i]);
		close(ours[i]);
	}
	lab_run(lab.pod_fd, "echo 32768 60999 >/proc/sys/net/ipv4/ip_local_port_range");
}
END_TEST

/* Refused, and dialled again on the same socket: it keeps its source, and works. */
START_TEST(dialled_again)
{
	int fd = netns_socket(lab.pod_fd, AF_INET, SOCK_STREAM), ours;

	hb_close_fd(&lab.outbound[0]);
	ck_assert_int_eq(lab_dial_on(fd, "10.99.0.1:80"), -ECONNREFUSED);
	lab.outbound[0] = lab_listen(lab.pod_fd, "127.0.0.1:15001");
	ck_assert_int_eq(lab_dial_on(fd, "10.99.0.1:80"), -ECONNABORTED); /* the first one's end */
	ck_assert_int_eq(lab_dial_on(fd, "10.99.0.1:80"), 0);
	ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), "10.99.0.1:80");
	close(ours);
	close(fd);
}
END_TEST

/* Somebody dials our listener: it shows its own address, by which the agent knows. */
START_TEST(our_listener_dialled)
{
	int fd = lab_dial(lab.pod_fd, "127.0.0.1:15001");
	int ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);

	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), "127.0.0.1:15001");
	close(ours);
	close(fd);
}
END_TEST

START_TEST(exempt_is_not_captured)
{
	static const char *const to[] = { LAB_OUT4 ":90", "[" LAB_OUT6 "]:90" };
	int app = lab_listen(lab.out_fd, to[_i]);
	int fd = netns_socket(lab.pod_fd, _i ? AF_INET6 : AF_INET, SOCK_STREAM), served;

	ck_assert_int_eq(redirect_exempt(lab.redirect, fd, NULL), 0);
	ck_assert_int_eq(lab_dial_on(fd, to[_i]), 0);
	served = lab_accept(app, LAB_WAIT, NULL);
	ck_assert_int_ge(served, 0);
	ck_assert_str_eq(lab_peer(fd), to[_i]);
	close(served);
	close(fd);
	close(app);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *listen, *from, *to, *client;
} presents[] = {
	{ "IPv4", "0.0.0.0:8080", "127.0.7.7:0", LAB_POD4 ":8080", "192.0.2.7:4242" },
	{ "IPv6", "[::]:8080", "[::1]:0", "[" LAB_POD6 "]:8080", "[2001:db8::7]:4242" },
	{ "IPv4 to a dual-stack app", "[::]:8080", "127.0.7.7:0", LAB_POD4 ":8080", "192.0.2.7:4242" },
	{ "app on the pod's address", LAB_POD4 ":8080", "127.0.7.7:0", LAB_POD4 ":8080", "192.0.2.7:1" },
};
/* clang-format on */

START_TEST(app_sees_its_client)
{
	const char *name = presents[_i].name;
	struct hb_addr client = lab_addr(presents[_i].client), from = lab_addr(presents[_i].from);
	struct hb_addr shown;
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&from, &sa);
	int app = lab_listen(lab.pod_fd, presents[_i].listen), served;
	int fd = netns_socket(lab.pod_fd, sa.ss_family, SOCK_STREAM);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(redirect_exempt(lab.redirect, fd, &client), 0);
	ck_assert_msg(lab_dial_on(fd, presents[_i].to) == 0, "%s", name);
	served = lab_accept(app, LAB_WAIT, &shown);
	ck_assert_msg(served >= 0, "%s: did not reach the app", name);
	ck_assert_msg(hb_addr_equal(&shown, &client), "%s: accept() told %s", name,
	              lab_peer(served));
	ck_assert_msg(strcmp(lab_peer(served), presents[_i].client) == 0, "%s: peer %s", name,
	              lab_peer(served));
	ck_assert_msg(strcmp(lab_local(served), presents[_i].to) == 0, "%s: local %s", name,
	              lab_local(served));
	close(served);
	close(fd);
	close(app);
}
END_TEST

/* What a refused presentation left behind is not shown to the next client of the same tuple. */
START_TEST(presentation_dies_with_its_connect)
{
	struct hb_addr client = lab_addr("192.0.2.9:1"), from = lab_addr("127.0.7.8:40000");
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&from, &sa);
	int app, served, fd = netns_socket(lab.pod_fd, AF_INET, SOCK_STREAM);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(redirect_exempt(lab.redirect, fd, &client), 0);
	ck_assert_int_eq(lab_dial_on(fd, LAB_POD4 ":8081"), -ECONNREFUSED);
	close(fd);
	app = lab_listen(lab.pod_fd, "0.0.0.0:8081");
	fd = netns_socket(lab.pod_fd, AF_INET, SOCK_STREAM);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(lab_dial_on(fd, LAB_POD4 ":8081"), 0);
	served = lab_accept(app, LAB_WAIT, NULL);
	ck_assert_str_eq(lab_peer(served), "127.0.7.8:40000");
	close(served);
	close(fd);
	close(app);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *to;
	int v6;
	bool hbone;
} steered[] = {
	{ "a port with an app, IPv4", LAB_POD4 ":8080", 0, false },
	{ "a port with an app, IPv6", "[" LAB_POD6 "]:8080", 1, false },
	{ "a port without an app", LAB_POD4 ":1", 0, false },
	{ "the last port, IPv6", "[" LAB_POD6 "]:65535", 1, false },
	{ "our outbound port from outside", LAB_POD4 ":15001", 0, false },
	{ "our plaintext port from outside", "[" LAB_POD6 "]:15006", 1, false },
	{ "HBONE, IPv4", LAB_POD4 ":15008", 0, true },
	{ "HBONE, IPv6", "[" LAB_POD6 "]:15008", 1, true },
};
/* clang-format on */

START_TEST(inbound_is_steered)
{
	const char *name = steered[_i].name;
	int app = lab_listen(lab.pod_fd, "[::]:8080");
	/* The outside is not enrolled: that it reaches the pod by its name shows that too. */
	int fd = lab_dial(lab.out_fd, steered[_i].to);
	int *listeners = steered[_i].hbone ? lab.hbone : lab.inbound;
	struct hb_addr shown, real;
	int ours = lab_accept(listeners[steered[_i].v6], LAB_WAIT, &shown);

	ck_assert_msg(fd >= 0, "%s: %d", name, fd);
	ck_assert_msg(ours >= 0, "%s: not steered", name);
	ck_assert_msg(strcmp(lab_local(ours), steered[_i].to) == 0, "%s: local %s", name,
	              lab_local(ours));
	ck_assert_int_eq(hb_addr_of_local(fd, &real), 0);
	ck_assert_msg(hb_addr_equal(&shown, &real), "%s: accept() told %s", name, lab_peer(ours));
	ck_assert_str_eq(lab_peer(fd), steered[_i].to);
	ck_assert_int_eq(lab_accept(app, 0, NULL), -ETIMEDOUT);
	close(ours);
	close(fd);
	close(app);
}
END_TEST

/* Round the policy by the address that no control plane knows of. */
START_TEST(link_local_is_refused)
{
	int app = lab_listen(lab.pod_fd, "[::]:8080");

	ck_assert_int_eq(lab_dial(lab.out_fd, "[fe80::2]:8080"), -ECONNREFUSED);
	close(app);
}
END_TEST

START_TEST(every_way_out_is_counted)
{
	uint64_t before[3] = { lab_count(&lab, "out_captured"), lab_count(&lab, "in_steered"),
		               lab_count(&lab, "handshake_consumed") };
	int app = lab_dial(lab.pod_fd, "10.99.0.1:80");
	int peer = lab_dial(lab.out_fd, LAB_POD4 ":80");
	int ours[2] = { lab_accept(lab.outbound[0], LAB_WAIT, NULL),
		        lab_accept(lab.inbound[0], LAB_WAIT, NULL) };

	ck_assert_uint_eq(lab_count(&lab, "out_captured"), before[0] + 1);
	ck_assert_uint_eq(lab_count(&lab, "in_steered"), before[1] + 1);
	ck_assert_uint_eq(lab_count(&lab, "handshake_consumed"), before[2] + 1);
	close(app);
	close(peer);
	close(ours[0]);
	close(ours[1]);
}
END_TEST

/* With SYN cookies the listener keeps nothing of the SYN, and sk_lookup runs again on the ACK. */
START_TEST(syn_cookies_change_nothing)
{
	int app, peer, ours;

	lab_run(lab.pod_fd, "echo 2 >/proc/sys/net/ipv4/tcp_syncookies");
	app = lab_dial(lab.pod_fd, "10.99.0.1:80");
	ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);
	ck_assert_int_ge(app, 0);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), "10.99.0.1:80");
	close(ours);
	close(app);
	peer = lab_dial(lab.out_fd, "[" LAB_POD6 "]:8080");
	ours = lab_accept(lab.inbound[1], LAB_WAIT, NULL);
	ck_assert_int_ge(peer, 0);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), "[" LAB_POD6 "]:8080");
	close(ours);
	close(peer);
	lab_run(lab.pod_fd, "echo 1 >/proc/sys/net/ipv4/tcp_syncookies");
}
END_TEST

/* One member in the map stands for its whole reuseport group. */
START_TEST(reuseport_group)
{
	int fds[32], first = 0, second = 0;
	int twin = lab_listen(lab.pod_fd, lab_local(lab.inbound[0]));

	for (size_t i = 0; i < HB_ARRAY_LEN(fds); i++)
		ck_assert_int_ge(fds[i] = lab_dial(lab.out_fd, LAB_POD4 ":8080"), 0);
	for (size_t i = 0; i < HB_ARRAY_LEN(fds); i++) {
		int got = lab_accept(lab.inbound[0], 0, NULL);

		if (got >= 0) {
			first++;
		} else {
			got = lab_accept(twin, LAB_WAIT, NULL);
			ck_assert_int_ge(got, 0);
			second++;
		}
		close(got);
		close(fds[i]);
	}
	ck_assert_msg(first > 0 && second > 0, "%d and %d", first, second);
	close(twin);
}
END_TEST

/* Last on the list: it closes what the others need. */
START_TEST(closed_listeners_refuse)
{
	int app = lab_listen(lab.pod_fd, "[::]:8080"), fd, served;

	lab_close_all(&lab);
	ck_assert_int_eq(lab_dial(lab.out_fd, LAB_POD4 ":8080"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.out_fd, "[" LAB_POD6 "]:8080"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.pod_fd, LAB_OUT4 ":80"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.pod_fd, "[" LAB_OUT6 "]:80"), -ECONNREFUSED);
	/* Unenrolled, the pod is as if we had never been. */
	ck_assert_int_eq(redirect_unenrol(lab.redirect, lab.pod_cookie), 0);
	ck_assert_int_eq(redirect_unenrol(lab.redirect, lab.pod_cookie), -ENOENT);
	fd = lab_dial(lab.out_fd, LAB_POD4 ":8080");
	served = lab_accept(app, LAB_WAIT, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(served, 0);
	close(served);
	close(fd);
	close(app);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redirect");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 0);
	tcase_add_loop_test(tc, captured, 0, HB_ARRAY_LEN(captures));
	tcase_add_test(tc, carries_bytes);
	tcase_add_loop_test(tc, own_traffic_is_left_alone, 0, HB_ARRAY_LEN(own_traffic));
	tcase_add_test(tc, names_are_forgotten);
	tcase_add_loop_test(tc, more_connections_than_ports, 0, 2);
	tcase_add_test(tc, dialled_again);
	tcase_add_test(tc, our_listener_dialled);
	tcase_add_loop_test(tc, exempt_is_not_captured, 0, 2);
	tcase_add_loop_test(tc, app_sees_its_client, 0, HB_ARRAY_LEN(presents));
	tcase_add_test(tc, presentation_dies_with_its_connect);
	tcase_add_loop_test(tc, inbound_is_steered, 0, HB_ARRAY_LEN(steered));
	tcase_add_test(tc, link_local_is_refused);
	tcase_add_test(tc, every_way_out_is_counted);
	tcase_add_test(tc, syn_cookies_change_nothing);
	tcase_add_test(tc, reuseport_group);
	tcase_add_test(tc, closed_listeners_refuse);
	suite_add_tcase(suite, tc);
	srunner_set_fork_status(runner, CK_NOFORK); /* one lab for all */
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
