/*
 * redirect_own: what the files of redirect share among themselves. Nobody else includes it.
 *
 *   redirect.c        open, close, and what is left when either fails
 *   redirect_place.c  where to attach and where to pin: cgroup2, bpffs (no BPF in it)
 *   redirect_load.c   maps and programs into the kernel
 *   redirect_links.c  links: attach, take over, detach
 *   redirect_pods.c   pods, sockets and counts in the maps
 */
#pragma once

#include <culvert/maps.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/redirect.h"

struct culvert; /* the skeleton */

#define REDIRECT_CGROUP_LINKS 7

struct redirect {
	char pin_dir[PATH_MAX / 2]; /* leaves room for the names below it */
	int dir_fd;                 /* pin_dir, locked while we live; -1 before */
	int cgroup_fd;
	char cgroup_dir[PATH_MAX / 2];
	bool took_over;      /* pins of a predecessor were there: a failed open must leave them */
	uint64_t own_cookie; /* of our own netns, which is never a pod */
	struct culvert *skel;
	int pods_fd, agent_sk_fd, listeners_fd, local_ips_fd, counts_fd; /* the skeleton's */
	int inbound_prog_fd;                                             /* the skeleton's */
	int link_fd[REDIRECT_CGROUP_LINKS];
	uint64_t enrolled[CV_PODS_MAX]; /* by this process */
	size_t enrolled_count;
};

/* Prints one sentence into @why and returns @err; ends it with ": <words of err>" if err < 0. */
int redirect_explain(int err, char *why, size_t why_size, const char *form, ...)
    __attribute__((format(printf, 4, 5)));
/* A path below pin_dir; names are ours and short. */
void redirect_path(const struct redirect *redirect, const char *name, char out[PATH_MAX]);

int redirect_place_cgroup(struct redirect *redirect, const char *wanted, char *why,
                          size_t why_size);
int redirect_place_pins(struct redirect *redirect, char *why, size_t why_size);
/* Unlocks; @remove: also removes the directory, and the mount if it is ours. */
void redirect_place_done(struct redirect *redirect, bool remove);

int redirect_load(struct redirect *redirect, char *why, size_t why_size);
void redirect_unload(struct redirect *redirect);

/* The cgroup hooks. Those of a predecessor are swapped for ours without a gap. */
int redirect_links_attach(struct redirect *redirect, char *why, size_t why_size);
/* The predecessor's pods get the new sk_lookup program; links of dead namespaces go. */
void redirect_links_refresh_pods(struct redirect *redirect);
void redirect_links_close(struct redirect *redirect);
int redirect_link_pod(struct redirect *redirect, uint64_t cookie, int netns_fd);
int redirect_unlink_pod(struct redirect *redirect, uint64_t cookie);
/* Detaches and unpins pods for which @keep says no. */
void redirect_links_sweep_pods(struct redirect *redirect,
                               bool (*keep)(const struct redirect *, uint64_t cookie));
/* Maps pinned by an agent that laid them out otherwise; no program of ours refers to them. */
void redirect_remove_other_layouts(struct redirect *redirect);
/* Every link and map of ours, whoever pinned it. */
void redirect_remove_pins(struct redirect *redirect);
