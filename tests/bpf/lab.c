/*
 * lab: namespaces, sockets with deadlines, and the agent's part of an enrolment.
 */
#include "bpf/lab.h"

#include <check.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/netns.h"

_Noreturn static void skip(const char *reason)
{
	printf("SKIP: %s\n", reason);
	exit(77);
}

static int new_netns(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		skip("cannot make a network namespace");
	fd = netns_open("/proc/thread-self/ns/net");
	netns_leave();
	return fd;
}

void lab_run(int netns_fd, const char *form, ...)
{
	char command[512];
	va_list args;
	int status;

	va_start(args, form);
	vsnprintf(command, sizeof(command), form, args);
	va_end(args);
	ck_assert_int_eq(netns_enter(netns_fd), 0);
	status = system(command);
	netns_leave();
	ck_assert_msg(status == 0, "%s: status %d", command, status);
}

void lab_build(struct lab *lab)
{
	*lab = (struct lab){ .pod_fd = -1,
		             .out_fd = -1,
		             .outbound = { -1, -1 },
		             .inbound = { -1, -1 },
		             .hbone = { -1, -1 } };
	if (geteuid() != 0)
		skip("not root");
	ck_assert_int_eq(netns_init(), 0);
	lab->pod_fd = new_netns();
	lab->out_fd = new_netns();
	if (netns_cookie(lab->pod_fd, &lab->pod_cookie) < 0)
		skip("the kernel has no SO_NETNS_COOKIE");
	lab_run(lab->out_fd, "ip link add out0 type veth peer name pod0 netns /proc/%d/fd/%d",
	        getpid(), lab->pod_fd);
	lab_run(lab->out_fd, "ip link set lo up && ip addr add " LAB_OUT4 "/24 dev out0 && "
	                     "ip addr add " LAB_OUT6 "/64 dev out0 nodad && "
	                     "ip link set out0 addrgenmode none up && "
	                     "ip addr add fe80::1/64 dev out0 nodad");
	lab_run(lab->pod_fd, "ip link set lo up && ip addr add " LAB_POD4 "/24 dev pod0 && "
	                     "ip addr add " LAB_POD6 "/64 dev pod0 nodad && "
	                     "ip link set pod0 addrgenmode none up && "
	                     "ip addr add fe80::2/64 dev pod0 nodad && "
	                     "ip route add default via " LAB_OUT4 " && "
	                     "ip -6 route add default via " LAB_OUT6);
}

void lab_load(struct lab *lab)
{
	struct redirect_options options = { .pin_dir = lab->pin_dir, .cgroup_dir = "" };
	char why[512] = "";
	int err;

	snprintf(lab->pin_dir, sizeof(lab->pin_dir), "/run/culvert-test-%d/bpf", getpid());
	err = redirect_open(&options, &lab->redirect, why, sizeof(why));
	if (err == -EPERM || err == -ENOENT || err == -EXDEV)
		skip(why);
	ck_assert_msg(err == 0, "%s", why);
}

void lab_listen_all(struct lab *lab)
{
	lab->outbound[0] = lab_listen(lab->pod_fd, "127.0.0.1:15001");
	lab->outbound[1] = lab_listen(lab->pod_fd, "[::1]:15001");
	lab->inbound[0] = lab_listen(lab->pod_fd, "127.0.0.1:0");
	lab->inbound[1] = lab_listen(lab->pod_fd, "[::1]:0");
	lab->hbone[0] = lab_listen(lab->pod_fd, "127.0.0.1:0");
	lab->hbone[1] = lab_listen(lab->pod_fd, "[::1]:0");
}

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		hb_close_fd(&fds[i]);
		fds[i] = -1;
	}
}

void lab_close_all(struct lab *lab)
{
	close_pair(lab->outbound);
	close_pair(lab->inbound);
	close_pair(lab->hbone);
}

int lab_enrol(struct lab *lab)
{
	struct hb_ip ips[2];
	char why[256];
	struct redirect_pod pod = {
		.netns_fd = lab->pod_fd,
		.cookie = lab->pod_cookie,
		.ips = ips,
		.ips_count = 2,
		.inbound_fd = { lab->inbound[0], lab->inbound[1] },
		.hbone_fd = { lab->hbone[0], lab->hbone[1] },
		.outbound_port = LAB_PORT,
	};
	int err;

	ck_assert_int_eq(hb_ip_parse(LAB_POD4, strlen(LAB_POD4), &ips[0]), 0);
	ck_assert_int_eq(hb_ip_parse(LAB_POD6, strlen(LAB_POD6), &ips[1]), 0);
	err = redirect_enrol(lab->redirect, &pod, why, sizeof(why));
	ck_assert_msg(err == 0, "%s", why);
	return err;
}

void lab_tear(struct lab *lab)
{
	char parent[64];

	redirect_close(lab->redirect);
	lab->redirect = NULL;
	lab_close_all(lab);
	hb_close_fd(&lab->pod_fd);
	hb_close_fd(&lab->out_fd);
	snprintf(parent, sizeof(parent), "/run/culvert-test-%d", getpid());
	(void)rmdir(parent);
}

struct hb_addr lab_addr(const char *text)
{
	struct hb_addr addr;

	ck_assert_msg(hb_addr_parse(text, strlen(text), &addr) == 0, "%s", text);
	return addr;
}

int lab_listen(int netns_fd, const char *at)
{
	struct hb_addr addr = lab_addr(at);
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&addr, &sa);
	int fd = netns_socket(netns_fd, sa.ss_family, SOCK_STREAM), on = 1;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
	ck_assert_msg(bind(fd, (struct sockaddr *)&sa, len) == 0, "%s: %s", at, strerror(errno));
	ck_assert_int_eq(listen(fd, 128), 0);
	return fd;
}

/* An AF_INET6 socket is given the mapped form of an IPv4 address. */
static socklen_t sockaddr_for(int fd, const char *to, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct hb_addr addr = lab_addr(to);
	socklen_t len = sizeof(int);
	int family;

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len), 0);
	if (family == AF_INET)
		return hb_addr_to_sockaddr(&addr, out);
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(addr.port) };
	memcpy(&in6->sin6_addr, addr.ip.b, sizeof(addr.ip.b));
	if (addr.ip.b[0] == 0xfe && addr.ip.b[1] == 0x80)
		in6->sin6_scope_id = 2; /* the only cable */
	return sizeof(*in6);
}

int lab_dial_on(int fd, const char *to)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_for(fd, to, &sa);
	int err = 0;

	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&wait, 1, LAB_WAIT) != 1)
		return -ETIMEDOUT;
	len = sizeof(err);
	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	return -err;
}

int lab_dial(int netns_fd, const char *to)
{
	struct hb_addr addr = lab_addr(to);
	int err,
	    fd = netns_socket(netns_fd, hb_ip_is_v4(&addr.ip) ? AF_INET : AF_INET6, SOCK_STREAM);

	ck_assert_int_ge(fd, 0);
	err = lab_dial_on(fd, to);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

int lab_accept(int listener, int ms, struct hb_addr *ret_peer)
{
	struct pollfd wait = { .fd = listener, .events = POLLIN };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd;

	if (poll(&wait, 1, ms) != 1)
		return -ETIMEDOUT;
	fd = accept4(listener, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ret_peer)
		ck_assert_int_eq(hb_addr_from_sockaddr((struct sockaddr *)&sa, ret_peer), 0);
	return fd;
}

const char *lab_local(int fd)
{
	static char text[HB_ADDR_STRLEN];
	struct hb_addr addr;

	return hb_addr_of_local(fd, &addr) < 0 ? "" : hb_addr_format(&addr, text, sizeof(text));
}

const char *lab_peer(int fd)
{
	static char text[HB_ADDR_STRLEN];
	struct hb_addr addr;

	return hb_addr_of_peer(fd, &addr) < 0 ? "" : hb_addr_format(&addr, text, sizeof(text));
}

uint64_t lab_count(struct lab *lab, const char *reason)
{
	struct redirect_count counts[64];
	int n = redirect_counts(lab->redirect, counts, HB_ARRAY_LEN(counts));

	ck_assert_int_gt(n, 0);
	for (int i = 0; i < n; i++) {
		ck_assert_ptr_nonnull(counts[i].reason);
		if (strcmp(counts[i].reason, reason) == 0)
			return counts[i].value;
	}
	ck_abort_msg("no reason %s", reason);
	return 0;
}
