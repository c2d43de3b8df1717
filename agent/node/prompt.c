/*
 * prompt: sched_setattr(2), for which the C library has no function.
 */
#include "node/prompt.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sched/types.h>

/* 0 or -errno. */
static int read_own(struct sched_attr *ret)
{
	return syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) < 0 ? -errno : 0;
}

int prompt(void)
{
	struct sched_attr attr = { .size = sizeof(attr) };
	int err = read_own(&attr);

	if (err < 0)
		return err;
	attr.sched_runtime = PROMPT_SLICE_NS;
	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 ? -errno : 0;
}

uint64_t prompt_slice_ns(void)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	return read_own(&attr) < 0 ? 0 : attr.sched_runtime;
}
