/*
 * load: what the parts of the load generator share: the options, and the two roles.
 */
#pragma once

#include "measure.h"
#include "net.h"

/* One write of a bulk sender; what most applications' copy loops are at most. */
#define LOAD_BULK_BYTES 131072
/* One read of a bulk receiver. */
#define LOAD_READ_BYTES 262144
/* So that one connection whose peer keeps up cannot keep the others waiting. */
#define LOAD_WRITES_TURN 8
/* The largest message of a ping-pong. */
#define LOAD_MESSAGE_MAX 65536

enum load_mode {
	LOAD_BULK,     /* write as fast as it goes, on each connection */
	LOAD_PULL,     /* the other direction: read what the server writes so */
	LOAD_PINGPONG, /* one message and its echo at a time, on each connection */
	LOAD_CONNECT,  /* connect, one message and its echo, close; again */
	LOAD_HOLD,     /* open with one echo each, keep idle until standard input ends */
	LOAD_OPEN,     /* messages at times set beforehand, whether echoes came or not */
};

struct load_client_options {
	enum load_mode mode;
	struct net_addr to;
	unsigned int conns;   /* at once; LOAD_HOLD: in all */
	unsigned int size;    /* bytes of a message */
	double rate;          /* LOAD_OPEN: messages per second, on all connections together */
	double warm, seconds; /* before, and in, the window that counts */
	struct measure measure;
};

/* Both print one line of key=value on standard output; 0, or 1 after a sentence on stderr. */
int load_client(const struct load_client_options *options);
int load_open(const struct load_client_options *options); /* LOAD_OPEN; the others: load_client */

struct load_ports {
	struct net_addr sink;   /* all that comes is taken in and counted */
	struct net_addr echo;   /* all that comes goes back */
	struct net_addr source; /* writes as fast as it goes, from accept on */
};
/* Until SIGTERM. */
int load_server(const struct load_ports *ports, struct measure_far *far);
