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
#include <hbone/headers.h>

struct hb_tunnel_request {     /* what a CONNECT says; strings may be NULL or empty: left out */
	const char *authority; /* "ip:port", "[ip]:port" or "host:port" */
	const char *baggage;   /* sent always, may be empty */
	const char *forwarded;
	const char *traceparent;
	/* x-forwarded-network: our own network, on the inner CONNECT of double HBONE and nowhere
	 * else; NULL is left out, and "" is sent (reference/datapath 1.8). */
	const char *network;
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
/*
 * What a request or an answer says of where it comes from (reference/datapath 1.8): for telemetry,
 * never for trust. Views, as valid as hb_h2_header() says.
 */
struct hb_tunnel_said {
	bool has_baggage;
	struct hb_baggage baggage; /* of all its lines together; of more than 32 none is read */
	struct hb_span service;    /* the first host= of the forwarded lines; len 0: none */
	bool has_trace;            /* one line, and well formed (W3C Trace Context 3.2) */
	struct hb_traceparent trace;
	bool has_network;       /* x-forwarded-network is there, */
	struct hb_span network; /* and its first line says this, which may be nothing */
};
void hb_tunnel_read(const struct hb_stream *stream, struct hb_tunnel_said *ret_said);

/* @baggage NULL: left out. From here on the stream is open. */
void hb_tunnel_accept(struct hb_stream *stream, const char *baggage);
/* Answers @status, ends the stream; on_closed follows with HB_E_STATUS(status), side us. */
void hb_tunnel_refuse(struct hb_stream *stream, int status);
