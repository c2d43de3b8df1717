/*
 * netns: do this over there and come back. Thread: namespaces are per thread; enter and leave on
 * the same one, around as few lines as can be.
 */
#pragma once

#include <stdint.h>

/* Opens a namespace by path (/run/netns/x, /proc/1/ns/net). Descriptor or -errno. */
int netns_open(const char *path);
/* 0 or -errno; on failure the thread is where it was. */
int netns_enter(int netns_fd);
/* Back to the namespace the process started in. Aborts if that fails: nothing would be safe. */
void netns_leave(void);
/* Once, at start, before any thread. 0 or -errno. */
int netns_init(void);
/* The kernel's cookie of the namespace, as BPF sees it. 0 or -errno. */
int netns_cookie(int netns_fd, uint64_t *ret_cookie);

/* A socket of that namespace, non-blocking and close-on-exec; or -errno. */
int netns_socket(int netns_fd, int family, int type);
