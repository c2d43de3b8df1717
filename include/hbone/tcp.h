/*
 * tcp: a connected stream socket (TCP or Unix) as a stream.
 *
 * Writes are gathered and sent once per turn, or when 128 KiB wait; the backlog is full above
 * HB_TCP_HIGH and drained below HB_TCP_LOW, or less where memory is tight (buf.h). close(clean)
 * flushes, shuts down and waits for the peer's end for at most the linger time, so that what we
 * wrote is not lost to a reset (RFC 9293 3.6; reference/datapath 8, L2); the flush may take longer
 * as long as the peer takes bytes. close(code < 0) resets. A peer's reset is noticed while paused,
 * too, a tenth of a second late; bytes that were not read by then are lost, as they are in any
 * program that a reset overtakes. Ends it reports: layer tcp; -ECONNRESET, -ETIMEDOUT, -EPIPE ...
 * as the kernel says, or HB_E_USER_TIME where a user timeout was asked for.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/loop.h>
#include <hbone/stream.h>

#define HB_TCP_HIGH          (256u * 1024)
#define HB_TCP_LOW           (64u * 1024)
#define HB_TCP_LINGER_MS     5000u
#define HB_TCP_LINGER_MAX_MS 120000u

struct hb_tcp_options {
	uint32_t
	    read_max; /* bytes per buf: HB_BUF_READ_MAX for app legs, HB_BUF_PAYLOAD below TLS */
	bool unpaced; /* choose an unpaced congestion control: legs that stay on this node */
	uint32_t keepalive_idle_s, keepalive_interval_s, keepalive_probes; /* idle 0: off */
	/* How long sent bytes may stay unacknowledged, also for want of a reader (RFC 5482); 0: the
	 * kernel's own limits. */
	uint32_t user_timeout_ms;
	uint32_t linger_ms; /* at most HB_TCP_LINGER_MAX_MS; 0: HB_TCP_LINGER_MS */
	/* It was accepted from a socket that hb_tcp_prepare() was given with the same options. */
	bool inherited;
};

/* What is accepted from @fd, which listens or will, has @options from birth: a system call for each
 * that need not be made for each connection. */
void hb_tcp_prepare(int fd, const struct hb_tcp_options *options);

/* The stream is open and owns @fd, also on failure (NULL: no memory). Options that the socket's
 * kind or the kernel does not know are ignored. */
struct hb_stream *hb_tcp_new(struct hb_loop *loop, int fd, const struct hb_tcp_options *options);
/* A socket that listens on @addr, for hb_loop_accept(); yours to close. Or -errno. */
int hb_tcp_listen(const struct hb_addr *addr);
