/*
 * lab: a pod and an outside joined by a cable, the agent's listeners in the pod, and the real
 * redirection loaded at the cgroup's root.
 *
 * The namespaces have no names and vanish with the program. Names of addresses:
 *   pod      10.99.0.2, fd99::2, fe80::2       outside  10.99.0.1, fd99::1
 * Thread: one. What cannot work here (not root, no bpffs, ...) ends the program with 77.
 */
#pragma once

#include <hbone/addr.h>

#include "node/redirect.h"

#define LAB_POD4 "10.99.0.2"
#define LAB_POD6 "fd99::2"
#define LAB_OUT4 "10.99.0.1"
#define LAB_OUT6 "fd99::1"
#define LAB_PORT 15001
#define LAB_WAIT                                                                                   \
	20000         /* ms: an emulated machine is slow; nothing waits that long unless broken    \
	               */
#define LAB_BRIEF 300 /* ms: to see that nothing comes */

struct lab {
	int pod_fd, out_fd; /* namespaces */
	uint64_t pod_cookie;
	char pin_dir[64];
	struct redirect *redirect;
	int outbound[2], inbound[2], hbone[2]; /* the agent's listeners, v4 and v6; -1: closed */
};

/* Namespaces and cable only. */
void lab_build(struct lab *lab);
/* Opens the redirection, prints why and leaves with 77 when this machine cannot. */
void lab_load(struct lab *lab);
/* The agent's listeners, and enrolment with both addresses. 0 or -errno. */
void lab_listen_all(struct lab *lab);
void lab_close_all(struct lab *lab);
int lab_enrol(struct lab *lab);
/* Everything away. */
void lab_tear(struct lab *lab);

/* Runs a shell command inside a namespace. */
void lab_run(int netns_fd, const char *form, ...) __attribute__((format(printf, 2, 3)));

struct hb_addr lab_addr(const char *text);
/* A listener on "ip:port"; port 0 is any. */
int lab_listen(int netns_fd, const char *at);
/* Connects a socket of any family; waits. 0 or -errno. */
int lab_dial_on(int fd, const char *to);
/* A plain connection from that namespace: socket or -errno. */
int lab_dial(int netns_fd, const char *to);
/* Waits at most @ms; @ret_peer as accept() told it, may be NULL. Socket or -ETIMEDOUT. */
int lab_accept(int listener, int ms, struct hb_addr *ret_peer);
/* Text of getsockname() and getpeername(), in a buffer of their own each; "" when they fail. */
const char *lab_local(int fd);
const char *lab_peer(int fd);
uint64_t lab_count(struct lab *lab, const char *reason);
