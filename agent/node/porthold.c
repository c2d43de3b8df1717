/*
 * porthold: reads the kernel's socket tables of the namespace, then looks for the process that has
 * the socket open. Only for error messages: it may take some milliseconds on a full node.
 */
#include "node/porthold.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "node/netns.h"
#include "node/sockline.h"

#define LINES_MAX 200000 /* of a socket table */
#define LINKS_MAX 200000 /* descriptors looked at before we give up */

struct holder {
	int pid;
	char name[32];
};

/* A listener says more than a connection, that more than a remnant. 0: nothing there. */
static int rank(const struct sockline *line)
{
	if (line->local.port == 0)
		return 0;
	return line->state == SOCKLINE_LISTEN ? 3 : line->inode != 0 ? 2 : 1;
}

/* The table is bound to the namespace when it is opened and may be read outside it. */
static FILE *open_table(int netns_fd, const char *path)
{
	FILE *table;

	if (netns_enter(netns_fd) < 0)
		return NULL;
	table = fopen(path, "re");
	netns_leave();
	return table;
}

static void search_table(int netns_fd, const char *path, uint16_t port, struct sockline *best)
{
	FILE *table = open_table(netns_fd, path);
	struct sockline found;
	char line[512];

	if (!table)
		return; /* no IPv6, for one */
	for (int i = 0; i < LINES_MAX && fgets(line, sizeof(line), table); i++)
		if (sockline_parse(line, &found) == 0 && found.local.port == port &&
		    rank(&found) > rank(best))
			*best = found;
	fclose(table);
}

static bool has_open(int proc_fd, const char *pid, const char *wanted, int *links)
{
	char path[288], link[64];
	struct dirent *entry;
	bool found = false;
	ssize_t len;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		hb_close_fd(&fd);
		return false; /* ended meanwhile, or not ours to see */
	}
	while (!found && *links < LINKS_MAX && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		(*links)++;
		len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = 0;
		found = strcmp(link, wanted) == 0;
	}
	closedir(dir);
	return found;
}

static void read_name(int proc_fd, const char *pid, char *out, size_t size)
{
	char path[288];
	hb_cleanup(hb_close_fd) int fd = -1;
	ssize_t len = 0;

	snprintf(path, sizeof(path), "%s/comm", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		len = read(fd, out, size - 1);
	out[len > 0 ? len : 0] = 0;
	out[strcspn(out, "\n")] = 0;
}

static bool is_in(int proc_fd, const char *pid, const struct stat *netns)
{
	char path[288];
	struct stat st;

	snprintf(path, sizeof(path), "%s/ns/net", pid);
	return fstatat(proc_fd, path, &st, 0) == 0 && st.st_ino == netns->st_ino &&
	       st.st_dev == netns->st_dev;
}

/* @inside: only processes that live in the namespace, else only the others. */
static bool search_processes(const struct stat *netns, bool inside, uint64_t inode, int *links,
                             struct holder *ret_holder)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char wanted[48];
	bool found = false;

	if (!proc)
		return false;
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	while (!found && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    is_in(dirfd(proc), entry->d_name, netns) != inside ||
		    !has_open(dirfd(proc), entry->d_name, wanted, links))
			continue;
		ret_holder->pid = (int)strtol(entry->d_name, NULL, 10);
		read_name(dirfd(proc), entry->d_name, ret_holder->name, sizeof(ret_holder->name));
		found = true;
	}
	closedir(proc);
	return found;
}

static void describe_holder(int netns_fd, uint64_t inode, char *out, size_t size)
{
	struct holder holder = { 0 };
	struct stat netns;
	int links = 0;

	/* Most likely it is one of the pod's own; a socket can be held from elsewhere, as ours are.
	 */
	if (inode != 0 && fstat(netns_fd, &netns) == 0 &&
	    (search_processes(&netns, true, inode, &links, &holder) ||
	     search_processes(&netns, false, inode, &links, &holder)))
		snprintf(out, size, "%s (pid %d)", holder.name, holder.pid);
	else
		snprintf(out, size, "a process we cannot see");
}

int porthold_describe(int netns_fd, uint16_t port, char *out, size_t size)
{
	char local[HB_ADDR_STRLEN], peer[HB_ADDR_STRLEN], holder[64];
	struct sockline best = { .state = 0 };

	search_table(netns_fd, "/proc/thread-self/net/tcp", port, &best);
	search_table(netns_fd, "/proc/thread-self/net/tcp6", port, &best);
	if (rank(&best) == 0)
		return -ENOENT;
	hb_addr_format(&best.local, local, sizeof(local));
	hb_addr_format(&best.peer, peer, sizeof(peer));
	if (best.state == SOCKLINE_TIME_WAIT) {
		snprintf(out, size, "a TIME_WAIT socket to %s", peer);
		return 0;
	}
	if (best.inode == 0) {
		snprintf(out, size, "a closing connection to %s", peer);
		return 0;
	}
	describe_holder(netns_fd, best.inode, holder, sizeof(holder));
	if (best.state == SOCKLINE_LISTEN)
		snprintf(out, size, "%s, listening on %s", holder, local);
	else
		snprintf(out, size, "an ephemeral connection of %s to %s", holder, peer);
	return 0;
}
