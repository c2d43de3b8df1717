/*
 * resolver: host names to addresses, as the node itself would find them: /etc/hosts, resolv.conf
 * and whatever else its C library is told to ask, from the namespace the agent lives in.
 *
 * The library's lookup blocks, so it is done by a few threads of the resolver's own, started when
 * they are needed first. Loops of any thread ask; the answer comes to the loop that asked. Who asks
 * for a name that is being looked up waits for the same lookup. Answers are kept for a short time,
 * which is ours, as the C library does not tell the name server's.
 *
 * Knows nothing of endpoints, families that somebody prefers, or connections.
 * Thread: any; a question belongs to the loop it was asked from. The lock inside is held for a few
 * steps and never during a lookup.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/loop.h>

#define RESOLVER_HOST_MAX    253u /* bytes of a name; RFC 1035 2.3.4, as text */
#define RESOLVER_FAMILY_MAX  16u  /* addresses kept of each family */
#define RESOLVER_IPS_MAX     (2 * RESOLVER_FAMILY_MAX)
#define RESOLVER_DEADLINE_MS 10000u
#define RESOLVER_KNOWN_MS    5000u /* a found name is not looked up again before */
#define RESOLVER_UNKNOWN_MS  1000u /* nor one that was not found */

struct resolver;
struct resolver_question;

/* All 0: as it is used. For tests, and for who needs other bounds. */
struct resolver_options {
	unsigned threads_max;   /* lookups at once; 0: 4 */
	unsigned names_max;     /* known or being looked up; 0: 4096, as ztunnel's */
	unsigned lookups_max;   /* names that wait for their lookup, or are in it; 0: 256 */
	unsigned questions_max; /* that wait for an answer; 0: 16384 */
	unsigned deadline_ms;   /* of a question; 0: RESOLVER_DEADLINE_MS */
	/* In place of getaddrinfo(), on a thread of the resolver's: at most @max into @ips.
	 * The number of them, or -errno. */
	int (*lookup)(void *owner, const char *host, struct hb_ip *ips, size_t max);
	/* In place of the monotonic clock, on any thread. */
	uint64_t (*now_ms)(void *owner);
	void *owner;
};

/* @options NULL: all 0. NULL: no memory. */
struct resolver *resolver_new(const struct resolver_options *options);
/*
 * After the loops that asked have made their last turn: what still waits is forgotten, untold. Does
 * not wait for lookups: a thread that is in one ends after it. Takes NULL.
 */
void resolver_free(struct resolver *resolver);

/*
 * The answer, on the loop that asked, once, and never from inside resolver_ask(). The question is
 * gone after it.
 * @err: 0: @ips has @count > 0 addresses, of both families, in the library's order (RFC 6724);
 *       -ENOENT no such name, or none with an address; -EAGAIN the name servers do not answer or
 *       fail; -ETIMEDOUT not known by the deadline; -EBUSY one of the bounds above; -EINVAL
 *       no name, or a longer one than RESOLVER_HOST_MAX; -ENOMEM; or another -errno.
 */
typedef void resolver_done(void *ctx, int err, const struct hb_ip *ips, size_t count);

/* @host: copied; an address as text is its own answer. NULL: no memory, and no answer comes. */
struct resolver_question *resolver_ask(struct resolver *resolver, struct hb_loop *loop,
                                       const char *host, resolver_done *done, void *ctx);
/* On the thread of its loop, before the answer: none comes. Takes NULL. */
void resolver_cancel(struct resolver_question *question);

/* One of the errors above as a clause: "the name servers do not answer". Never NULL. */
const char *resolver_strerror(int err);
