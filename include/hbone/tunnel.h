/*
 * tunnel: HBONE, both ends: a CONNECT on an HTTP/2 connection is a stream of bytes
 * (RFC 9113 8.5; reference/datapath 1.7 to 1.10, 1.15).
 *
 * Client: a tunnel is opening until the peer answers 200; then on_open. Any other answer closes it
 * with layer tunnel, side peer, HB_E_STATUS(n). GOAWAY and REFUSED_STREAM before the answer close
 * it with HB_E_GOAWAY and HB_E_REFUSED: nothing was processed, another connection may be tried.
 * Server: on_request is told what is wanted; hb_tunnel_accept() answers 200, hb_tunnel_refuse()
 * any other status.
 *
 * An abort (close with code < 0) is RST_STREAM: CONNECT_ERROR for -ECONNRESET and kin, CANCEL
 * otherwise; a received RST_STREAM is never a clean end (NO_ERROR after both sides finished is).
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/h2.h>

struct hb_tunnel_request {     /* what a CONNECT says; strings may be NULL or empty: left out */
	const char *authority; /* "ip:port", "[ip]:port" or "host:port" */
	const char *baggage;   /* sent always, may be empty */
	const char *forwarded;
	const char *traceparent;
};

/* Opens a tunnel on @h2, a client connection. NULL: no room or no memory. */
struct hb_stream *hb_tunnel_open(struct hb_h2 *h2, const struct hb_tunnel_request *request);

/* Server side. */
struct hb_tunnel_authority {
	bool is_ip;
	struct hb_addr addr; /* is_ip */
	const char *host;    /* else: name, not ended by NUL */
	size_t host_len;
	uint16_t port;
};
/* 0, or -EINVAL: not "host:port" with a port of 0 to 65535. @text need not end with NUL. */
int hb_tunnel_authority_parse(const char *text, size_t len, struct hb_tunnel_authority *ret);

/*
 * Reads a request told by hb_h2_events.on_request. 0: a CONNECT with an authority; or the HTTP
 * status that it should be refused with (400).
 */
int hb_tunnel_request_parse(struct hb_stream *stream, struct hb_tunnel_authority *ret);
/* @baggage NULL: left out. From here on the stream is open. */
void hb_tunnel_accept(struct hb_stream *stream, const char *baggage);
/* Answers @status, ends the stream; on_closed follows with HB_E_STATUS(status), side us. */
void hb_tunnel_refuse(struct hb_stream *stream, int status);
