/*
 * takeover: what is left in the kernel when an agent is killed, when the next one starts, when one
 * closes, and when one cannot start.
 */
#include <check.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <bpf/bpf.h>
#include <culvert/maps.h>

#include "bpf/lab.h"
#include "node/netns.h"

static struct lab lab;

static void setup(void)
{
	lab_build(&lab);
	lab_load(&lab);
}

static void teardown(void)
{
	lab_tear(&lab);
}

static void pin_path(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", lab.pin_dir, name);
}

static void pod_pin_path(char out[128])
{
	char name[32];

	snprintf(name, sizeof(name), "pod_%016llx", (unsigned long long)lab.pod_cookie);
	pin_path(out, name);
}

static bool has_pin(const char *name)
{
	char path[128];

	pin_path(path, name);
	return access(path, F_OK) == 0;
}

static bool has_pod_pin(void)
{
	char path[128];

	pod_pin_path(path);
	return access(path, F_OK) == 0;
}

/* Which program a pinned link runs. */
static __u32 prog_of(const char *path)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(path);

	ck_assert_int_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	return info.prog_id;
}

/* The pod's connections are captured and answered with the right destination. */
static void expect_captured(void)
{
	int app = lab_dial(lab.pod_fd, LAB_OUT4 ":80");
	int ours = lab_accept(lab.outbound[0], LAB_WAIT, NULL);

	ck_assert_int_ge(app, 0);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), LAB_OUT4 ":80");
	close(ours);
	close(app);
}

static void expect_steered(const char *to, bool v6)
{
	int app = lab_dial(lab.out_fd, to);
	int ours = lab_accept(lab.inbound[v6], LAB_WAIT, NULL);

	ck_assert_int_ge(app, 0);
	ck_assert_int_ge(ours, 0);
	ck_assert_str_eq(lab_local(ours), to);
	close(ours);
	close(app);
}

/* Both ways refused at once, although apps listen in clear at both ends. */
static void expect_refused(void)
{
	int in_pod = lab_listen(lab.pod_fd, "[::]:8080"),
	    outside = lab_listen(lab.out_fd, "[::]:80");

	ck_assert_int_eq(lab_dial(lab.pod_fd, LAB_OUT4 ":80"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.pod_fd, "[" LAB_OUT6 "]:80"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.out_fd, LAB_POD4 ":8080"), -ECONNREFUSED);
	ck_assert_int_eq(lab_dial(lab.out_fd, "[" LAB_POD6 "]:8080"), -ECONNREFUSED);
	close(in_pod);
	close(outside);
}

/* As if there were no mesh. */
static void expect_untouched(void)
{
	int in_pod = lab_listen(lab.pod_fd, "[::]:8080"),
	    outside = lab_listen(lab.out_fd, "[::]:80");
	int fds[2] = { lab_dial(lab.pod_fd, LAB_OUT4 ":80"),
		       lab_dial(lab.out_fd, LAB_POD4 ":8080") };
	int served[2] = { lab_accept(outside, LAB_WAIT, NULL), lab_accept(in_pod, LAB_WAIT, NULL) };

	for (int i = 0; i < 2; i++) {
		ck_assert_int_ge(fds[i], 0);
		ck_assert_int_ge(served[i], 0);
		close(fds[i]);
		close(served[i]);
	}
	close(in_pod);
	close(outside);
}

static int open_at(const char *pin_dir, const char *cgroup_dir, struct redirect **ret, char *why,
                   size_t why_size)
{
	struct redirect_options options = { .pin_dir = pin_dir, .cgroup_dir = cgroup_dir };

	return redirect_open(&options, ret, why, why_size);
}

/* An agent that enrols the pod, serves it, and is killed in the middle of it. */
static void live_and_die(void)
{
	struct redirect *redirect = NULL;
	char why[256] = "", byte;
	int ready[2];
	pid_t agent;

	redirect_close(lab.redirect);
	lab.redirect = NULL;
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	agent = fork();
	ck_assert_int_ge(agent, 0);
	if (agent == 0) {
		if (open_at(lab.pin_dir, "", &redirect, why, sizeof(why)) < 0)
			_exit(1);
		lab.redirect = redirect;
		lab_listen_all(&lab);
		lab_enrol(&lab);
		expect_captured();
		expect_steered(LAB_POD4 ":8080", false);
		if (write(ready[1], "1", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	ck_assert_int_eq(kill(agent, SIGKILL), 0);
	ck_assert_int_eq(waitpid(agent, NULL, 0), agent);
}

START_TEST(killed_agent_leaves_pods_refused)
{
	char pod_pin[128];
	__u32 old_prog;

	live_and_die();
	ck_assert(has_pin("link_cv_connect4"));
	ck_assert(has_pod_pin());
	expect_refused();
	pod_pin_path(pod_pin);
	old_prog = prog_of(pod_pin);
	/* The next one inherits them refused, and serves them again once enrolled. */
	lab_load(&lab);
	ck_assert_uint_ne(prog_of(pod_pin), old_prog);
	expect_refused();
	lab_listen_all(&lab);
	lab_enrol(&lab);
	expect_captured();
	expect_steered(LAB_POD4 ":8080", false);
	expect_steered("[" LAB_POD6 "]:8080", true);
	ck_assert_int_eq(redirect_forget_stale(lab.redirect), 0);
	expect_captured();
	expect_steered(LAB_POD4 ":8080", false);
}
END_TEST

START_TEST(stale_pods_are_forgotten)
{
	live_and_die();
	lab_load(&lab);
	expect_refused();
	ck_assert_int_eq(redirect_forget_stale(lab.redirect), 1);
	ck_assert(!has_pod_pin());
	expect_untouched();
	ck_assert_int_eq(redirect_forget_stale(lab.redirect), 0);
}
END_TEST

/* A link that the map of pods knows nothing of: its agent died between two steps. */
START_TEST(orphaned_link_is_swept)
{
	char from[128], to[128];

	live_and_die();
	pod_pin_path(from);
	pin_path(to, "pod_00000000000000ff");
	ck_assert_int_eq(rename(from, to), 0);
	lab_load(&lab);
	ck_assert_int_eq(redirect_forget_stale(lab.redirect), 1);
	ck_assert(!has_pin("pod_00000000000000ff"));
	expect_untouched();
}
END_TEST

START_TEST(pod_died_meanwhile)
{
	live_and_die();
	close(lab.pod_fd);
	close(lab.out_fd);
	lab_build(&lab); /* other namespaces, the same addresses */
	lab_load(&lab);
	lab_listen_all(&lab);
	lab_enrol(&lab);
	ck_assert_int_eq(redirect_forget_stale(lab.redirect), 1);
	expect_captured();
	expect_steered(LAB_POD4 ":8080", false);
}
END_TEST

static void attached_ids(__u32 ids[64], __u32 *count, enum bpf_attach_type type)
{
	int root = open("/sys/fs/cgroup/unified", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		root = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*count = 64;
	ck_assert_int_eq(bpf_prog_query(root, type, 0, NULL, ids, count), 0);
	close(root);
}

START_TEST(close_leaves_nothing)
{
	__u32 ids[64], count, prog;
	char path[128], parent[64];
	struct statfs fs;

	lab_listen_all(&lab);
	lab_enrol(&lab);
	expect_captured();
	pin_path(path, "link_cv_connect4");
	prog = prog_of(path);

	redirect_close(lab.redirect);
	lab.redirect = NULL;
	ck_assert_int_eq(access(lab.pin_dir, F_OK), -1);
	snprintf(parent, sizeof(parent), "/run/culvert-test-%d", getpid());
	ck_assert_int_eq(statfs(parent, &fs), 0);
	ck_assert(fs.f_type != BPF_FS_MAGIC);
	attached_ids(ids, &count, BPF_CGROUP_INET4_CONNECT);
	for (__u32 i = 0; i < count; i++)
		ck_assert_uint_ne(ids[i], prog);
	lab_close_all(&lab);
	expect_untouched();
}
END_TEST

START_TEST(second_agent_is_told)
{
	struct redirect *second = NULL;
	char why[256] = "";

	ck_assert_int_eq(open_at(lab.pin_dir, "", &second, why, sizeof(why)), -EBUSY);
	ck_assert_ptr_nonnull(strstr(why, "another agent"));
	/* And the first has lost nothing by it. */
	ck_assert(has_pin("link_cv_connect4"));
	lab_listen_all(&lab);
	lab_enrol(&lab);
	expect_captured();
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *pin_dir, *cgroup_dir;
	int want;
	const char *says;
} bad_places[] = {
	{ "relative pin directory", "run/culvert", "", -EINVAL, "absolute path" },
	{ "pin directory is a file", "/etc/passwd", "", -ENOTDIR, "cannot" },
	{ "no cgroup2 there", "/run/culvert-test-none", "/tmp", -EINVAL, "not on a cgroup2" },
};
/* clang-format on */

START_TEST(bad_place)
{
	struct redirect *redirect = NULL;
	char why[512] = "";
	int err =
	    open_at(bad_places[_i].pin_dir, bad_places[_i].cgroup_dir, &redirect, why, sizeof(why));

	ck_assert_msg(err == bad_places[_i].want, "%s: %d, %s", bad_places[_i].name, err, why);
	ck_assert_msg(strstr(why, bad_places[_i].says) != NULL, "%s: %s", bad_places[_i].name, why);
	ck_assert_int_eq(access("/run/culvert-test-none", F_OK), -1);
}
END_TEST

/* Somebody sits in the cgroup and shares it with nobody. */
START_TEST(cgroup_is_taken)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET4_CONNECT);
	int prog = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "selfish", "GPL", pass, 2, &opts);
	struct redirect *redirect = NULL;
	char cgroup[96], pins[64], why[512] = "";
	int fd, err;

	snprintf(pins, sizeof(pins), "/run/culvert-test-%d/taken", getpid());
	snprintf(cgroup, sizeof(cgroup), "%s/culvert-test-%d",
	         access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified"
	                                                     : "/sys/fs/cgroup",
	         getpid());
	ck_assert_int_ge(prog, 0);
	ck_assert_int_eq(mkdir(cgroup, 0700), 0);
	fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(bpf_prog_attach(prog, fd, BPF_CGROUP_INET4_CONNECT, 0), 0);
	err = open_at(pins, cgroup, &redirect, why, sizeof(why));
	close(fd);
	close(prog);
	ck_assert_int_eq(rmdir(cgroup), 0);
	ck_assert_int_eq(err, -EPERM);
	ck_assert_msg(strstr(why, "(selfish)") && strstr(why, "ALLOW_MULTI"), "%s", why);
	/* What was attached before that is away, and so is the place. */
	ck_assert_int_eq(access(pins, F_OK), -1);
}
END_TEST

static void pin_other_map(const char *name)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_pods", 8, 4, 16, NULL);
	char path[128];

	ck_assert_int_ge(fd, 0);
	pin_path(path, name);
	(void)unlink(path);
	ck_assert_int_eq(bpf_obj_pin(fd, path), 0);
	close(fd);
}

/* An upgrade: one map of a layout that has gone, and one of ours that has another shape. */
START_TEST(maps_of_another_layout)
{
	char name[32];

	live_and_die();
	snprintf(name, sizeof(name), "map%u_cv_pods", CV_LAYOUT);
	ck_assert(has_pin(name));
	pin_other_map(name);
	pin_other_map("map0_cv_pods");
	lab_load(&lab);
	ck_assert(!has_pin("map0_cv_pods"));
	lab_listen_all(&lab);
	lab_enrol(&lab);
	expect_captured();
	expect_steered(LAB_POD4 ":8080", false);
}
END_TEST

START_TEST(foreign_mount_stays)
{
	redirect_close(lab.redirect);
	lab.redirect = NULL;
	ck_assert_int_eq(mkdir(lab.pin_dir, 0700), 0);
	ck_assert_int_eq(mount("test", lab.pin_dir, "bpf", 0, NULL), 0);
	lab_load(&lab);
	redirect_close(lab.redirect);
	lab.redirect = NULL;
	ck_assert_int_eq(umount(lab.pin_dir), 0);
	ck_assert_int_eq(rmdir(lab.pin_dir), 0);
}
END_TEST

static int enrol_with(int netns_fd, uint64_t cookie, const char *ip, size_t ips, uint16_t port,
                      char *why, size_t why_size)
{
	struct hb_ip list[CV_POD_IPS_MAX + 1];
	struct redirect_pod pod = { .netns_fd = netns_fd,
		                    .cookie = cookie,
		                    .ips = list,
		                    .ips_count = ips,
		                    .inbound_fd = { lab.inbound[0], lab.inbound[1] },
		                    .hbone_fd = { -1, -1 },
		                    .outbound_port = port };

	for (size_t i = 0; i < HB_ARRAY_LEN(list); i++)
		ck_assert_int_eq(hb_ip_parse(ip, strlen(ip), &list[i]), 0);
	return redirect_enrol(lab.redirect, &pod, why, why_size);
}

START_TEST(enrolment_is_checked)
{
	int home = netns_open("/proc/thread-self/ns/net");
	uint64_t own;
	char why[256] = "";

	ck_assert_int_eq(netns_cookie(home, &own), 0);
	ck_assert_int_eq(enrol_with(home, own, LAB_POD4, 1, 1, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "hostNetwork"));
	ck_assert_int_eq(enrol_with(lab.pod_fd, own, LAB_POD4, 1, 1, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "cookie"));
	ck_assert_int_eq(enrol_with(lab.pod_fd, lab.pod_cookie, LAB_POD4, 0, 1, why, sizeof(why)),
	                 -EINVAL);
	ck_assert_int_eq(enrol_with(lab.pod_fd, lab.pod_cookie, LAB_POD4, CV_POD_IPS_MAX + 1, 1,
	                            why, sizeof(why)),
	                 -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "1 to 8 addresses"));
	ck_assert_int_eq(
	    enrol_with(lab.pod_fd, lab.pod_cookie, "127.0.0.1", 1, 1, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(enrol_with(lab.pod_fd, lab.pod_cookie, LAB_POD4, 1, 0, why, sizeof(why)),
	                 -EINVAL);
	close(home);
	expect_untouched();
}
END_TEST

/* A pod's address list changes; then the address goes to another pod before the first is gone. */
START_TEST(addresses_move)
{
	char why[256] = "";
	uint64_t other;

	lab_listen_all(&lab);
	lab_enrol(&lab);
	lab_run(lab.pod_fd, "ip addr add 10.99.0.3/24 dev pod0");
	ck_assert_int_eq(
	    enrol_with(lab.pod_fd, lab.pod_cookie, "10.99.0.3", 1, LAB_PORT, why, sizeof(why)), 0);
	expect_steered("10.99.0.3:8080", false);
	/* No longer enrolled, and no listener of ours left behind it. */
	ck_assert_int_eq(lab_dial(lab.out_fd, LAB_POD4 ":8080"), -ECONNREFUSED);
	ck_assert_uint_gt(lab_count(&lab, "in_pass_unknown_ip"), 0);

	ck_assert_int_eq(netns_cookie(lab.out_fd, &other), 0);
	ck_assert_int_eq(enrol_with(lab.out_fd, other, "10.99.0.3", 1, LAB_PORT, why, sizeof(why)),
	                 0);
	lab_enrol(&lab);
	ck_assert_int_eq(
	    enrol_with(lab.pod_fd, lab.pod_cookie, "10.99.0.3", 1, LAB_PORT, why, sizeof(why)), 0);
	ck_assert_int_eq(redirect_unenrol(lab.redirect, other), 0);
	expect_steered("10.99.0.3:8080", false);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("takeover");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, killed_agent_leaves_pods_refused);
	tcase_add_test(tc, stale_pods_are_forgotten);
	tcase_add_test(tc, orphaned_link_is_swept);
	tcase_add_test(tc, pod_died_meanwhile);
	tcase_add_test(tc, close_leaves_nothing);
	tcase_add_test(tc, second_agent_is_told);
	tcase_add_loop_test(tc, bad_place, 0, HB_ARRAY_LEN(bad_places));
	tcase_add_test(tc, cgroup_is_taken);
	tcase_add_test(tc, maps_of_another_layout);
	tcase_add_test(tc, foreign_mount_stays);
	tcase_add_test(tc, enrolment_is_checked);
	tcase_add_test(tc, addresses_move);
	suite_add_tcase(suite, tc);
	srunner_set_fork_status(runner, CK_NOFORK); /* exit code 77 of the lab must come through */
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
