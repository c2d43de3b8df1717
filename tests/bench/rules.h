/*
 * rules: what the relays are told on their command line: pairs of an address to listen on and one
 * to connect to.
 *
 * Thread: one. They live as long as the process.
 */
#pragma once

#include "net.h"

struct rule {
	int listen_fd;
	struct net_addr to;
};

/*
 * Opens the listeners of @argv (FROM TO [FROM TO]...) and adds them to @epoll_fd, each with its
 * rule as data. 0; or the exit status, after a sentence on standard error.
 */
int rules_open(int argc, char **argv, int epoll_fd);
/* The rule that @data of an event is, or NULL when it is something else. */
const struct rule *rules_find(const void *data);
