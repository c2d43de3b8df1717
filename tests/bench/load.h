/*
 * load: what the parts of the load generator share: the options, and the two roles.
 */
#pragma once

#include "measure.h"
#include "net.h"

/* One write of the bulk client; what most applications' copy loops are at most. */
#define LOAD_BULK_BYTES 131072
/* The largest message of a ping-pong. */
#define LOAD_MESSAGE_MAX 65536

enum load_mode {
	LOAD_BULK,     /* write as fast as it goes, on each connection */
	LOAD_PINGPONG, /* one message and its echo at a time, on each connection */
	LOAD_CONNECT,  /* connect, one message and its echo, close; again */
	LOAD_HOLD,     /* open with one echo each, keep idle until standard input ends */
};

struct load_client_options {
	enum load_mode mode;
	struct net_addr to;
	unsigned int conns;   /* at once; LOAD_HOLD: in all */
	unsigned int size;    /* bytes of a message */
	double warm, seconds; /* before, and in, the window that counts */
	struct measure measure;
};

/* Both print one line of key=value on standard output; 0, or 1 after a sentence on stderr. */
int load_client(const struct load_client_options *options);
/* Takes in and counts all of @sink, echoes all of @echo, until SIGTERM. */
int load_server(const struct net_addr *sink, const struct net_addr *echo, struct measure_far *far);
