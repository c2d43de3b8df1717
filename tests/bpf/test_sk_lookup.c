/*
 * sk_lookup: the program alone, run by the kernel on made-up packets: which socket it picks, what
 * it drops, and that each way out counts its reason.
 */
#include <check.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <culvert.skel.h>
#include <culvert/maps.h>

#include "bpf/lab.h"
#include "node/netns.h"

static struct culvert *skel;
static int cpus;
static int home_fd;
static int listeners[2]; /* inbound and HBONE, dual-stack */

enum socket { NONE, INBOUND, HBONE };

#define POD4   "10.1.0.5"
#define POD6   "fd01::5"
#define GONE4  "10.1.0.6" /* enrolled, and its agent is gone */
#define OTHER4 "10.1.0.7" /* nobody's */
#define BAD4   "10.1.0.8" /* an IPv6-only listener was entered for an IPv4 address */

/* clang-format off */
static const struct {
	const char *name;
	int protocol;
	const char *remote, *local;
	__u16 port;
	int verdict;
	enum socket socket;
	enum cv_reason reason;
} rows[] = {
	{ "IPv4", IPPROTO_TCP, "10.0.0.1", POD4, 80, SK_PASS, INBOUND, CV_IN_STEERED },
	{ "IPv6", IPPROTO_TCP, "fd00::1", POD6, 80, SK_PASS, INBOUND, CV_IN_STEERED },
	{ "HBONE, IPv4", IPPROTO_TCP, "10.0.0.1", POD4, 15008, SK_PASS, HBONE, CV_IN_STEERED_HBONE },
	{ "HBONE, IPv6", IPPROTO_TCP, "fd00::1", POD6, 15008, SK_PASS, HBONE, CV_IN_STEERED_HBONE },
	{ "our outbound port", IPPROTO_TCP, "10.0.0.1", POD4, 15001, SK_PASS, INBOUND, CV_IN_STEERED },
	{ "UDP", IPPROTO_UDP, "10.0.0.1", POD4, 80, SK_PASS, NONE, CV_IN_PASS_NOT_TCP },
	{ "from 127/8", IPPROTO_TCP, "127.0.0.9", POD4, 80, SK_PASS, NONE, CV_IN_PASS_LOOPBACK },
	{ "from ::1", IPPROTO_TCP, "::1", POD6, 80, SK_PASS, NONE, CV_IN_PASS_LOOPBACK },
	{ "itself, IPv4", IPPROTO_TCP, POD4, POD4, 80, SK_PASS, NONE, CV_IN_PASS_SELF },
	{ "itself, IPv6", IPPROTO_TCP, POD6, POD6, 80, SK_PASS, NONE, CV_IN_PASS_SELF },
	{ "agent gone", IPPROTO_TCP, "10.0.0.1", GONE4, 80, SK_DROP, NONE, CV_IN_DROP_NO_LISTENER },
	{ "agent gone, HBONE", IPPROTO_TCP, "10.0.0.1", GONE4, 15008, SK_DROP, NONE, CV_IN_DROP_NO_LISTENER },
	{ "agent gone, to itself", IPPROTO_TCP, GONE4, GONE4, 80, SK_PASS, NONE, CV_IN_PASS_SELF },
	{ "nobody's address", IPPROTO_TCP, "10.0.0.1", OTHER4, 80, SK_PASS, NONE, CV_IN_PASS_UNKNOWN_IP },
	{ "link-local", IPPROTO_TCP, "fe80::1", "fe80::2", 80, SK_DROP, NONE, CV_IN_DROP_LINK_LOCAL },
	{ "listener of the wrong family", IPPROTO_TCP, "10.0.0.1", BAD4, 80, SK_DROP, NONE, CV_IN_DROP_ASSIGN },
};
/* clang-format on */

static struct cv_ip ip(const char *text)
{
	struct cv_ip out;
	struct hb_ip hb;

	ck_assert_int_eq(hb_ip_parse(text, strlen(text), &hb), 0);
	memcpy(&out, &hb, sizeof(out));
	return out;
}

static void know(const char *text, int inbound, int hbone)
{
	struct cv_listener_key key = { .local_ip = ip(text) };
	const int fds[CV_LISTENER_KINDS] = { inbound, hbone };
	__u64 cookie = 1, value;

	ck_assert_int_eq(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_local_ips), &key.local_ip,
	                                     &cookie, BPF_ANY),
	                 0);
	for (key.kind = 0; key.kind < CV_LISTENER_KINDS; key.kind++) {
		value = (__u64)fds[key.kind];
		if (fds[key.kind] >= 0)
			ck_assert_int_eq(bpf_map_update_elem(bpf_map__fd(skel->maps.cv_listeners),
			                                     &key, &value, BPF_ANY),
			                 0);
	}
}

static uint64_t count(enum cv_reason reason)
{
	uint64_t values[1024], sum = 0;
	__u32 key = reason;

	ck_assert_int_le(cpus, (int)HB_ARRAY_LEN(values));
	ck_assert_int_eq(bpf_map_lookup_elem(bpf_map__fd(skel->maps.cv_counts), &key, values), 0);
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

static uint64_t cookie_of(enum socket which)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (which != NONE)
		ck_assert_int_eq(
		    getsockopt(listeners[which - INBOUND], SOL_SOCKET, SO_COOKIE, &cookie, &len),
		    0);
	return cookie;
}

/* A SYN, IPv4 or IPv6. The kernel lets a test give no ingress_ifindex: that is left to decide. */
static struct bpf_sk_lookup packet(int row)
{
	struct cv_ip remote = ip(rows[row].remote), local = ip(rows[row].local);
	bool v4 = remote.w[2] == htonl(0xffff);
	struct bpf_sk_lookup ctx = { .family = v4 ? AF_INET : AF_INET6,
		                     .protocol = (__u32)rows[row].protocol,
		                     .remote_port = htons(40000),
		                     .local_port = rows[row].port };

	if (v4) {
		ctx.remote_ip4 = remote.w[3];
		ctx.local_ip4 = local.w[3];
	} else {
		memcpy(ctx.remote_ip6, &remote, sizeof(remote));
		memcpy(ctx.local_ip6, &local, sizeof(local));
	}
	return ctx;
}

START_TEST(verdict)
{
	struct bpf_sk_lookup in = packet(_i), out = { 0 };
	uint64_t before = count(rows[_i].reason);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &in, .ctx_size_in = sizeof(in),
	            .ctx_out = &out, .ctx_size_out = sizeof(out));
	int err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.cv_inbound), &opts);

	ck_assert_msg(err == 0, "%s: %s", rows[_i].name, strerror(-err));
	ck_assert_msg((int)opts.retval == rows[_i].verdict, "%s: verdict %u", rows[_i].name,
	              opts.retval);
	ck_assert_msg(out.cookie == cookie_of(rows[_i].socket), "%s: another socket",
	              rows[_i].name);
	ck_assert_msg(count(rows[_i].reason) == before + 1, "%s: not counted", rows[_i].name);
}
END_TEST

/* Not of a reuseport group: a test-run refuses to choose among its members. */
static int listener(int v6only)
{
	int fd = netns_socket(home_fd, AF_INET6, SOCK_STREAM);

	ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

static void setup(void)
{
	int gone = listener(0);

	listeners[0] = listener(0);
	listeners[1] = listener(0);
	know(POD4, listeners[0], listeners[1]);
	know(POD6, listeners[0], listeners[1]);
	know(GONE4, gone, gone);
	close(gone); /* its entries go with it */
	know(BAD4, listener(1), -1);
}

static void load_or_skip(void)
{
	if (geteuid() != 0 || netns_init() < 0) {
		printf("SKIP: not root\n");
		exit(77);
	}
	skel = culvert__open_and_load();
	if (!skel) {
		printf("SKIP: the programs do not load: %s\n", strerror(errno));
		exit(77);
	}
	cpus = libbpf_num_possible_cpus();
	home_fd = netns_open("/proc/thread-self/ns/net");
}

int main(void)
{
	Suite *suite = suite_create("sk_lookup");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	load_or_skip();
	tcase_add_unchecked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, verdict, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	culvert__destroy(skel);
	return failed ? 1 : 0;
}
