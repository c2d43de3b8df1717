/*
 * rules: what the relays are told on their command line: pairs of an address to listen on and one
 * to connect to.
 *
 * Thread: one. They live as long as the process.
 */
#pragma once

#include "net.h"

#include <stdint.h>

struct rule {
	int listen_fd;
	struct net_addr to;
};

struct rules_relay {
	void (*on_accepted)(const struct rule *rule, int fd); /* takes @fd */
	void (*on_event)(void *data, uint32_t events);        /* of what the relay added itself */
	void (*on_turn_end)(void);
};

/*
 * Opens the listeners of @argv (FROM TO [FROM TO]...), says "ready" on standard output and serves
 * them with @epoll_fd for ever. Comes back with the exit status, after a sentence on standard
 * error, only when it cannot.
 */
int rules_serve(int argc, char **argv, int epoll_fd, const struct rules_relay *relay);
