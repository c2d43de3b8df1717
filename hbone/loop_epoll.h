/*
 * loop_epoll: what the files of the epoll backend share.
 */
#pragma once

#include "loop_internal.h"

/*
 * A descriptor that epoll watches, as long as somebody here waits for it. It is registered once,
 * edge-triggered, for everything; who is told what is decided by these fields alone, so that
 * arming, pausing and waiting for room cost no system call.
 */
struct hb_watch {
	int fd;
	bool ends;                /* an end, an error or urgent data was seen; see on_event() */
	struct hb_recv *recv;     /* from its first arming until it is forgotten */
	struct hb_accept *accept; /* while in flight */
	struct hb_op *out;        /* a connect or sendmsg that waits for room */
	const struct msghdr *msg; /* of the sendmsg */
	struct hb_list polls;     /* that wait */
};

struct hb_epoll {
	int fd;
	struct hb_slabs *slabs; /* the loop's: watches come and go with connections */
	uint16_t generation;    /* of the newest watch */
	/* By descriptor, who waits for it: 0, nobody; else the address of its watch, or of the
	 * receiver that waits alone, as most do, which needs no watch, and 1; and in the upper 16
	 * bits the generation, which tells its events from those of who waited before. */
	uint64_t *watched;
	size_t watched_len;
	struct hb_list ended;   /* operations whose result is to be told */
	struct hb_list ready;   /* accepts and receivers, to be run or, if they failed, told */
	bool told_without_wait; /* the turn before asked the kernel nothing */
};

/*
 * The watch of @fd, registered now if there was none: then *ret_is_new is true and the kernel
 * reports what is there already. 0 or -errno.
 */
int hb_watch_get(struct hb_epoll *epoll, int fd, struct hb_watch **ret_watch, bool *ret_is_new);
struct hb_watch *hb_watch_lookup(struct hb_epoll *epoll, int fd); /* or NULL */
/* Ends it when nobody but a receiver waits for it any more. */
void hb_watch_put(struct hb_epoll *epoll, struct hb_watch *watch);
/* The same for a receiver, which waits until it is forgotten; more than once is once. */
int hb_watch_recv(struct hb_epoll *epoll, struct hb_recv *recv, bool *ret_is_new);
void hb_watch_forget(struct hb_epoll *epoll, struct hb_recv *recv);
/* Who waits for the descriptor that an event with this data is of: one of both, or none, when who
 * it was for has gone. */
void hb_watch_of_event(struct hb_epoll *epoll, uint64_t data, struct hb_watch **ret_watch,
                       struct hb_recv **ret_alone);
void hb_watch_free_all(struct hb_epoll *epoll);
/* Gives back room for descriptors that are not watched. */
void hb_watch_trim(struct hb_epoll *epoll);
