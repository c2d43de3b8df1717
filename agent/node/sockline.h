/*
 * sockline: one line of the kernel's tables of TCP sockets, /proc/net/tcp and tcp6. Pure.
 */
#pragma once

#include <hbone/addr.h>

/* include/net/tcp_states.h, as the tables print them. */
enum { SOCKLINE_TIME_WAIT = 0x06, SOCKLINE_LISTEN = 0x0a };

struct sockline {
	struct hb_addr local, peer;
	unsigned state;
	uint64_t inode; /* 0: no process has it open any more */
};

/* 0; or -EINVAL: the table's heading, or another kind of line. */
int sockline_parse(const char *line, struct sockline *ret_line);
