/*
 * redirect_links: attaches programs by pinned links, so that they stay when we die, and takes the
 * pinned links of a predecessor over without a moment in which nothing is attached.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <culvert.skel.h>

#include "node/redirect_own.h"

#define LINK_PREFIX "link_"
#define POD_PREFIX  "pod_"
#define MAP_PREFIX  "map"

static void pod_path(const struct redirect *redirect, uint64_t cookie, char out[PATH_MAX])
{
	char name[sizeof(POD_PREFIX) + 16];

	snprintf(name, sizeof(name), POD_PREFIX "%016" PRIx64, cookie);
	redirect_path(redirect, name, out);
}

/* Unpinning alone detaches when the kernel gets round to it; this is done when it returns. */
static void detach_and_unpin(const char *path)
{
	hb_cleanup(hb_close_fd) int fd = bpf_obj_get(path);

	if (fd >= 0)
		(void)bpf_link_detach(fd);
	(void)unlink(path);
}

/* Attaches @prog_fd to @target_fd and pins it in place of what is pinned there. Fd or -errno. */
static int attach_anew(int prog_fd, int target_fd, enum bpf_attach_type type, const char *path)
{
	hb_cleanup(hb_close_fd) int fd = bpf_link_create(prog_fd, target_fd, type, NULL);
	int err, ret;

	if (fd < 0) {
		ret = fd;
		fd = -1;
		return ret;
	}
	detach_and_unpin(path);
	err = bpf_obj_pin(fd, path);
	if (err < 0)
		return err;
	ret = fd;
	fd = -1;
	return ret;
}

static bool is_of_cgroup(int link_fd, int cgroup_fd)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	struct stat st;

	return bpf_obj_get_info_by_fd(link_fd, &info, &len) == 0 && fstat(cgroup_fd, &st) == 0 &&
	       info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == st.st_ino;
}

static int attach_cgroup(struct redirect *redirect, const struct bpf_program *prog)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(prog);
	int fd, prog_fd = bpf_program__fd(prog);
	char name[64], path[PATH_MAX];

	snprintf(name, sizeof(name), LINK_PREFIX "%s", bpf_program__name(prog));
	redirect_path(redirect, name, path);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		redirect->took_over = true;
		if (is_of_cgroup(fd, redirect->cgroup_fd) &&
		    bpf_link_update(fd, prog_fd, NULL) == 0)
			return fd;
		close(fd);
	}
	return attach_anew(prog_fd, redirect->cgroup_fd, type, path);
}

/* -EPERM from an attach by root: somebody else sits there and does not share. */
static int explain_attach(struct redirect *redirect, int err, const struct bpf_program *prog,
                          char *why, size_t why_size)
{
	struct bpf_prog_info info = { 0 };
	__u32 flags = 0, ids[1] = { 0 }, count = 1, len = sizeof(info);
	hb_cleanup(hb_close_fd) int fd = -1;

	if (err != -EPERM)
		return redirect_explain(err, why, why_size, "cannot attach %s to %s",
		                        bpf_program__name(prog), redirect->cgroup_dir);
	if (bpf_prog_query(redirect->cgroup_fd, bpf_program__expected_attach_type(prog), 0, &flags,
	                   ids, &count) == 0 &&
	    count == 1 && !(flags & BPF_F_ALLOW_MULTI))
		fd = bpf_prog_get_fd_by_id(ids[0]);
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		return redirect_explain(err, why, why_size,
		                        "cannot attach %s to %s: program %u (%s) is attached there "
		                        "without BPF_F_ALLOW_MULTI and lets no other join",
		                        bpf_program__name(prog), redirect->cgroup_dir, info.id,
		                        info.name);
	return redirect_explain(err, why, why_size,
	                        "cannot attach %s to %s: a capability is missing, or a program "
	                        "without BPF_F_ALLOW_MULTI sits at or above it",
	                        bpf_program__name(prog), redirect->cgroup_dir);
}

int redirect_links_attach(struct redirect *redirect, char *why, size_t why_size)
{
	/* Names first, capture last: no moment shows an app its loopback address. */
	const struct bpf_program *progs[REDIRECT_CGROUP_LINKS] = {
		redirect->skel->progs.cv_peername4, redirect->skel->progs.cv_peername6,
		redirect->skel->progs.cv_sockname4, redirect->skel->progs.cv_sockname6,
		redirect->skel->progs.cv_sockops,   redirect->skel->progs.cv_connect4,
		redirect->skel->progs.cv_connect6,
	};

	for (size_t i = 0; i < REDIRECT_CGROUP_LINKS; i++) {
		int fd = attach_cgroup(redirect, progs[i]);

		if (fd < 0)
			return explain_attach(redirect, fd, progs[i], why, why_size);
		redirect->link_fd[i] = fd;
	}
	return 0;
}

void redirect_links_close(struct redirect *redirect)
{
	for (size_t i = 0; i < REDIRECT_CGROUP_LINKS; i++) {
		hb_close_fd(&redirect->link_fd[i]);
		redirect->link_fd[i] = -1;
	}
}

int redirect_link_pod(struct redirect *redirect, uint64_t cookie, int netns_fd)
{
	hb_cleanup(hb_close_fd) int fd = -1;
	char path[PATH_MAX];

	pod_path(redirect, cookie, path);
	fd = bpf_obj_get(path);
	if (fd >= 0 && bpf_link_update(fd, redirect->inbound_prog_fd, NULL) == 0)
		return 0;
	/*
	 * A namespace may be gone and its pin still there; cookies are never used twice, so that
	 * pin is nobody's, and attach_anew() replaces it.
	 */
	hb_close_fd(&fd);
	fd = attach_anew(redirect->inbound_prog_fd, netns_fd, BPF_SK_LOOKUP, path);
	return fd < 0 ? fd : 0;
}

int redirect_unlink_pod(struct redirect *redirect, uint64_t cookie)
{
	char path[PATH_MAX];

	pod_path(redirect, cookie, path);
	if (faccessat(AT_FDCWD, path, F_OK, 0) < 0)
		return -errno;
	detach_and_unpin(path);
	return 0;
}

/* Calls @on_entry for every name below pin_dir that begins with @prefix; it may unlink it. */
static void for_each_pin(struct redirect *redirect, const char *prefix,
                         void (*on_entry)(struct redirect *, const char *name, void *arg),
                         void *arg)
{
	DIR *dir = opendir(redirect->pin_dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			on_entry(redirect, entry->d_name, arg);
	closedir(dir);
}

static void refresh_pod(struct redirect *redirect, const char *name, void *arg)
{
	hb_cleanup(hb_close_fd) int fd = -1;
	char path[PATH_MAX];

	redirect_path(redirect, name, path);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_link_update(fd, redirect->inbound_prog_fd, NULL) == -ENOLINK)
		(void)unlink(path);
}

void redirect_links_refresh_pods(struct redirect *redirect)
{
	for_each_pin(redirect, POD_PREFIX, refresh_pod, NULL);
}

struct sweep {
	bool (*keep)(const struct redirect *, uint64_t cookie);
};

static void sweep_pod(struct redirect *redirect, const char *name, void *arg)
{
	const struct sweep *sweep = arg;
	char path[PATH_MAX], *end;
	uint64_t cookie = strtoull(name + strlen(POD_PREFIX), &end, 16);

	if (*end == 0 && sweep->keep(redirect, cookie))
		return;
	redirect_path(redirect, name, path);
	detach_and_unpin(path);
}

void redirect_links_sweep_pods(struct redirect *redirect,
                               bool (*keep)(const struct redirect *, uint64_t cookie))
{
	struct sweep sweep = { keep };

	for_each_pin(redirect, POD_PREFIX, sweep_pod, &sweep);
}

static void remove_link(struct redirect *redirect, const char *name, void *arg)
{
	char path[PATH_MAX];

	redirect_path(redirect, name, path);
	detach_and_unpin(path);
}

static void remove_map(struct redirect *redirect, const char *name, void *arg)
{
	char path[PATH_MAX];

	redirect_path(redirect, name, path);
	(void)unlink(path);
}

static void remove_other_layout(struct redirect *redirect, const char *name, void *arg)
{
	const char *ours = arg;

	if (strncmp(name, ours, strlen(ours)) != 0)
		remove_map(redirect, name, NULL);
}

void redirect_remove_other_layouts(struct redirect *redirect)
{
	char ours[16];

	snprintf(ours, sizeof(ours), MAP_PREFIX "%u_", CV_LAYOUT);
	for_each_pin(redirect, MAP_PREFIX, remove_other_layout, ours);
}

void redirect_remove_pins(struct redirect *redirect)
{
	for_each_pin(redirect, LINK_PREFIX, remove_link, NULL);
	for_each_pin(redirect, POD_PREFIX, remove_link, NULL);
	for_each_pin(redirect, MAP_PREFIX, remove_map, NULL);
}
