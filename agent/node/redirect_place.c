/*
 * redirect_place: finds the cgroup to attach to and prepares the directory to pin in.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "node/redirect_own.h"

/*
 * A directory inside the bpffs that we mounted, for it can hold no file: whoever finds it, after a
 * kill -9 too, knows that the mount is culvert's to remove.
 */
#define MARKER "mounted_by_culvert"

/* kernfs gives the top of a hierarchy this inode, whatever part of it a mount shows. */
#define CGROUP_ROOT_INO 1

static bool is_on(const char *path, long magic)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == (__fsword_t)magic;
}

/*
 * In a private cgroup namespace a cgroup2 mount shows the container's own cgroup as its root:
 * attached there, the hooks would silently cover the agent alone.
 */
static bool is_cgroup_root(const char *path)
{
	struct stat st;

	return is_on(path, CGROUP2_SUPER_MAGIC) && stat(path, &st) == 0 &&
	       st.st_ino == CGROUP_ROOT_INO;
}

/* The first cgroup2 mount whose top is the hierarchy's. 0; -ENOENT: no mount, -EXDEV: no top. */
static int find_cgroup_root(char *out, size_t size)
{
	FILE *mounts = fopen("/proc/thread-self/mountinfo", "re");
	char *line = NULL;
	size_t capacity = 0;
	int err = -ENOENT;

	if (!mounts)
		return -errno;
	while (err != 0 && getline(&line, &capacity, mounts) >= 0) {
		char at[1024];
		const char *tail = strstr(line, " - ");

		/* proc(5): "id parent dev root mount-point options [optional]... - fstype ..." */
		if (!tail || strncmp(tail, " - cgroup2 ", 11) != 0 ||
		    sscanf(line, "%*s %*s %*s %*s %1023s", at) != 1)
			continue;
		err = is_cgroup_root(at) && strlen(at) < size ? 0 : -EXDEV;
		if (err == 0)
			snprintf(out, size, "%s", at);
	}
	free(line);
	fclose(mounts);
	return err;
}

int redirect_place_cgroup(struct redirect *redirect, const char *wanted, char *why, size_t why_size)
{
	size_t size = sizeof(redirect->cgroup_dir);
	int err;

	if (wanted && wanted[0]) {
		if (strlen(wanted) >= size)
			return redirect_explain(-ENAMETOOLONG, why, why_size, "cgroup directory");
		if (!is_on(wanted, CGROUP2_SUPER_MAGIC))
			return redirect_explain(-EINVAL, why, why_size,
			                        "%s is not on a cgroup2 file system", wanted);
		snprintf(redirect->cgroup_dir, size, "%s", wanted);
	} else {
		err = find_cgroup_root(redirect->cgroup_dir, size);
		if (err == -EXDEV)
			return redirect_explain(err, why, why_size,
			                        "cgroup2 is mounted, but not from the top of its "
			                        "hierarchy: use the host's mount");
		if (err < 0)
			return redirect_explain(err, why, why_size, "no cgroup2 mount found");
	}
	redirect->cgroup_fd = open(redirect->cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (redirect->cgroup_fd < 0)
		return redirect_explain(-errno, why, why_size, "cannot open %s",
		                        redirect->cgroup_dir);
	return 0;
}

static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	int len = snprintf(part, sizeof(part), "%s", path);

	for (int i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		part[i] = 0;
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		part[i] = path[i];
	}
	return 0;
}

int redirect_place_pins(struct redirect *redirect, char *why, size_t why_size)
{
	const char *dir = redirect->pin_dir;
	char marker[PATH_MAX];
	int err = make_dirs(dir);

	if (err < 0)
		return redirect_explain(err, why, why_size, "cannot make the pin directory %s",
		                        dir);
	if (!is_on(dir, BPF_FS_MAGIC)) {
		redirect_path(redirect, MARKER, marker);
		if (mount("culvert", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
			return redirect_explain(-errno, why, why_size, "cannot mount bpffs on %s",
			                        dir);
		if (mkdir(marker, 0700) < 0) {
			err = -errno;
			(void)umount2(dir, MNT_DETACH);
			return redirect_explain(err, why, why_size, "cannot make %s", marker);
		}
	}
	redirect->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (redirect->dir_fd < 0)
		return redirect_explain(-errno, why, why_size, "cannot open %s", dir);
	if (flock(redirect->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		hb_close_fd(&redirect->dir_fd);
		redirect->dir_fd = -1;
		return redirect_explain(err, why, why_size,
		                        "another agent uses the pin directory %s", dir);
	}
	return 0;
}

void redirect_place_done(struct redirect *redirect, bool remove)
{
	char marker[PATH_MAX];
	bool ours;

	hb_close_fd(&redirect->cgroup_fd);
	redirect->cgroup_fd = -1;
	if (redirect->dir_fd < 0)
		return;
	redirect_path(redirect, MARKER, marker);
	ours = remove && rmdir(marker) == 0;
	hb_close_fd(&redirect->dir_fd);
	redirect->dir_fd = -1;
	if (ours)
		(void)umount2(redirect->pin_dir, MNT_DETACH);
	/* Not empty means that somebody else keeps things in it: theirs to remove. */
	if (remove)
		(void)rmdir(redirect->pin_dir);
}
