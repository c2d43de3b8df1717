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
	uint32_t generation;      /* tells its events from those of a watch before it */
	bool ends;                /* an end, an error or urgent data was seen; see on_event() */
	struct hb_recv *recv;     /* from its first arming until it is forgotten */
	struct hb_accept *accept; /* while in flight */
	struct hb_op *out;        /* a connect or sendmsg that waits for room */
	const struct msghdr *msg; /* of the sendmsg */
	struct hb_list polls;     /* that wait */
};

struct hb_epoll {
	int fd;
	struct hb_slabs *slabs;    /* the loop's: watches come and go with connections */
	uint32_t generation;       /* of the newest watch */
	struct hb_watch **watches; /* by descriptor; NULL: not watched */
	size_t watches_len;
	struct hb_list ended;   /* operations whose result is to be told */
	struct hb_list ready;   /* accepts and receivers, to be run or, if value < 0, told */
	bool told_without_wait; /* the turn before asked the kernel nothing */
};

/*
 * The watch of @fd, registered now if there was none: then *ret_is_new is true and the kernel
 * reports what is there already. 0 or -errno.
 */
int hb_watch_get(struct hb_epoll *epoll, int fd, struct hb_watch **ret_watch, bool *ret_is_new);
struct hb_watch *hb_watch_lookup(struct hb_epoll *epoll, int fd); /* or NULL */
/* Ends it when nobody waits for it any more. */
void hb_watch_put(struct hb_epoll *epoll, struct hb_watch *watch);
/* That an event with this data is for, or NULL when it has ended. */
struct hb_watch *hb_watch_of_event(struct hb_epoll *epoll, uint64_t data);
void hb_watch_free_all(struct hb_epoll *epoll);
/* Gives back room for descriptors that are not watched. */
void hb_watch_trim(struct hb_epoll *epoll);
