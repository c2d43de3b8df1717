/*
 * loop_choice: io_uring where it is to be had; where it is refused, in whatever way, epoll and a
 * reason; where it was asked for by name, the error.
 */
#include <check.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <hbone/loop.h>

/* From here on this process gets @error from a system call, as in a container's sandbox. */
static void refuse(unsigned call, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = HB_ARRAY_LEN(filter), .filter = filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static struct hb_loop *open_loop(enum hb_loop_choice backend)
{
	return hb_loop_new(&(struct hb_loop_options){ .backend = backend });
}

static int seen;

static void on_poll(struct hb_op *op, int res)
{
	(void)op;
	seen = res;
}

static void must_work(struct hb_loop *loop)
{
	struct hb_op op = { .done = on_poll };
	int fd = eventfd(1, EFD_CLOEXEC);

	hb_loop_poll(loop, &op, fd, POLLIN);
	while (op.base.in_flight)
		ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);
	ck_assert_int_eq(seen, POLLIN);
	close(fd);
	hb_loop_free(loop);
}

/* clang-format off */
static const struct {
	const char *name;
	unsigned call;
	int error;
	const char *reason;
} refusals[] = {
	{ "seccomp profile of a container", SYS_io_uring_setup, EPERM, "not permitted" },
	{ "kernel without it", SYS_io_uring_setup, ENOSYS, "without it" },
	{ "locked memory used up", SYS_io_uring_setup, ENOMEM, "no memory" },
	{ "kernel older than our flags", SYS_io_uring_setup, EINVAL, "6.1" },
	{ "no probe, no buffer ring", SYS_io_uring_register, EINVAL, "operations" },
};
/* clang-format on */

START_TEST(refused)
{
	const char *name = refusals[_i].name, *reason;
	struct hb_loop *loop;

	refuse(refusals[_i].call, refusals[_i].error);
	loop = open_loop(HB_LOOP_IO_URING);
	ck_assert_msg(!loop, "%s: io_uring all the same", name);
	ck_assert_msg(errno != 0, "%s: no error", name);
	if (refusals[_i].call == SYS_io_uring_setup)
		ck_assert_msg(errno == refusals[_i].error, "%s: errno %d", name, errno);

	loop = open_loop(HB_LOOP_AUTO);
	ck_assert_msg(loop, "%s: no loop", name);
	ck_assert_str_eq(hb_loop_backend(loop), "epoll");
	reason = hb_loop_fallback_reason(loop);
	ck_assert_msg(reason && strstr(reason, refusals[_i].reason), "%s: reason is %s", name,
	              reason ? reason : "absent");
	must_work(loop);
}
END_TEST

START_TEST(epoll_by_name)
{
	struct hb_loop *loop = open_loop(HB_LOOP_EPOLL);

	ck_assert_ptr_nonnull(loop);
	ck_assert_str_eq(hb_loop_backend(loop), "epoll");
	ck_assert_ptr_null(hb_loop_fallback_reason(loop));
	must_work(loop);
}
END_TEST

START_TEST(automatic)
{
	struct hb_loop *by_name = open_loop(HB_LOOP_IO_URING);
	struct hb_loop *loop = open_loop(HB_LOOP_AUTO);

	ck_assert_ptr_nonnull(loop);
	ck_assert_str_eq(hb_loop_backend(loop), by_name ? "io_uring" : "epoll");
	ck_assert_int_eq(!hb_loop_fallback_reason(loop), !!by_name);
	must_work(loop);
	hb_loop_free(by_name);
}
END_TEST

START_TEST(nonsense)
{
	errno = 0;
	ck_assert_ptr_null(open_loop((enum hb_loop_choice)17));
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop_choice");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, refused, 0, HB_ARRAY_LEN(refusals));
	tcase_add_test(tc, epoll_by_name);
	tcase_add_test(tc, automatic);
	tcase_add_test(tc, nonsense);
	suite_add_tcase(suite, tc);
	/* A refusal cannot be taken back: each in a process of its own, whatever CK_FORK says. */
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
