/*
 * grpc: a gRPC client: calls on one HTTP/2 connection over TLS to one server (the gRPC protocol
 * over HTTP/2; reference/controlplane 2.1 to 2.3).
 *
 * A channel dials when a call needs it, and lets its connection go when there has been no call for
 * GRPC_IDLE_MS. It never retries: each call that fails says so once, and its owner decides when to
 * ask again (backoff.h). What can change meanwhile is read anew: the token for each call, the roots
 * and the server's addresses for each connection.
 *
 * Knows nothing of protobuf: a message is bytes. No compression either way.
 *
 * Ownership: the channel owns its calls. A call is gone after on_end or grpc_call_cancel(), and is
 * not to be asked for anything from then on.
 * No event runs inside a function of this header. Any of them may be called inside an event.
 * Thread: the loop's own.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/loop.h>

#define GRPC_MESSAGE_MAX (4u << 20)  /* bytes of one message, where nothing else is said */
#define GRPC_QUEUE_MAX   (16u << 20) /* bytes that wait to be sent on one call */
#define GRPC_IDLE_MS     20000u
#define GRPC_ADDRESSES   16 /* of one host that are tried */

enum grpc_code { /* of the protocol */
	         GRPC_OK = 0,
	         GRPC_CANCELLED = 1,
	         GRPC_UNKNOWN = 2,
	         GRPC_INVALID_ARGUMENT = 3,
	         GRPC_DEADLINE_EXCEEDED = 4,
	         GRPC_NOT_FOUND = 5,
	         GRPC_PERMISSION_DENIED = 7,
	         GRPC_RESOURCE_EXHAUSTED = 8,
	         GRPC_UNIMPLEMENTED = 12,
	         GRPC_INTERNAL = 13,
	         GRPC_UNAVAILABLE = 14,
	         GRPC_UNAUTHENTICATED = 16,
};

/* What ended a call. All but SERVER were made here, with the code that comes closest. */
enum grpc_kind {
	GRPC_END_SERVER,  /* it answered: the code is its own, or stands for its HTTP status */
	GRPC_END_CONNECT, /* could not connect: the name, TCP, TLS, the roots; it never answered */
	GRPC_END_TOKEN,   /* the token could not be read; nothing was sent */
	GRPC_END_LOST,    /* the connection or the stream broke */
	GRPC_END_GOAWAY,  /* the server lets its connections go: call again, it need not be later */
	GRPC_END_DEADLINE,  /* deadline_ms have passed */
	GRPC_END_TOO_LARGE, /* a message is above max_message */
	GRPC_END_PROTOCOL,  /* the answer is not gRPC */
	GRPC_END_LOCAL,     /* no memory, or no room on the connection */
	GRPC_END_KINDS,
};

struct grpc_status {
	int code; /* enum grpc_code, or any other that the server sent */
	enum grpc_kind kind;
	/* One sentence; the server's own words where kind is SERVER, printable and clipped to 1000
	 * bytes; "" where it said nothing. Valid inside on_end. Never the token. */
	const char *message;
};

/* Where names become addresses. @count 0: there are none, and @why says so in a clause. */
typedef void (*grpc_resolved)(void *asker, const struct hb_ip *ips, size_t count, const char *why);
struct grpc_resolver {
	void *ctx;
	/* Looks up @host; @on_done comes once, later, on the loop's thread, unless forget() comes
	 * before. -errno: it could not even be asked, and nothing comes. */
	int (*resolve)(void *ctx, const char *host, grpc_resolved on_done, void *asker);
	/* @asker is no more: its on_done does not come. */
	void (*forget)(void *ctx, void *asker);
};

struct grpc_header {
	const char *name, *value; /* the name in any case; it is lower on the wire */
};

struct grpc_channel_config { /* copied, all but the resolver's ctx */
	/* "https://host:port", or without "https://"; the host is a DNS name, an IPv4 address or
	 * [IPv6]. It is what the certificate must name, to the letter, and the SNI if it is a name.
	 */
	const char *url;
	/*
	 * A path of a PEM file, read for each connection; "SYSTEM": the machine's own roots; or PEM
	 * text. What has no "-----BEGIN" is a path, also where there is no such file yet.
	 */
	const char *roots;
	const char *alt_host; /* another name that the certificate may have; NULL or "": none */
	/*
	 * A path of a file, read for each call, its white space around left out; or the token
	 * itself. What begins with '/' or "./" or names a file is a path. NULL or "": no
	 * authentication.
	 */
	const char *token;
	const char *cluster_id; /* header clusterid; NULL or "": none */
	const struct grpc_header *headers;
	size_t headers_count;  /* at most GRPC_HEADERS_MAX */
	bool tls12, pqc;       /* struct hb_tls_profile */
	uint32_t connect_ms;   /* for all addresses, of which each gets its share; 0: 5000 */
	uint32_t handshake_ms; /* TLS; 0: 5000 */
	uint32_t keepalive_ms; /* silence before a PING while there is a call; at least 15000; 0:
	                          30000 */
	uint32_t keepalive_timeout_ms; /* for its answer; 0: 10000 */
	uint32_t window; /* bytes of one call that may be on their way to us; 0: 4 MiB */
	struct grpc_resolver resolver; /* resolve NULL: only addresses can be dialled */
};

#define GRPC_HEADERS_MAX 32

struct grpc_channel;
struct grpc_call;

/* NULL: the config is wrong (or no memory), with one sentence in @why. Reads no file but the
 * token's name. */
struct grpc_channel *grpc_channel_new(struct hb_loop *loop,
                                      const struct grpc_channel_config *config, char *why,
                                      size_t why_size);
/*
 * Cancels its calls, and ends its connections; the channel is gone after @on_closed, which comes
 * once, from the loop, and may be NULL. Takes no NULL channel, and not twice.
 */
void grpc_channel_close(struct grpc_channel *channel, void (*on_closed)(void *owner), void *owner);
/* "host:port" as in the URL. */
const char *grpc_channel_target(const struct grpc_channel *channel);
/* The address of the connection that new calls take, or NULL: there is none at present. */
const struct hb_addr *grpc_channel_peer(const struct grpc_channel *channel);
/* 0: @config could be a channel's; -EINVAL with a sentence in @why. Pure. */
int grpc_channel_check(const struct grpc_channel_config *config, char *why, size_t why_size);

struct grpc_call_options {
	uint32_t deadline_ms; /* from now to the end of the call; 0: none */
	/* Of one message that comes, bytes; 0: GRPC_MESSAGE_MAX. Memory is taken as it comes. */
	uint32_t max_message;
	uint32_t max_send; /* of one message that goes; 0: GRPC_MESSAGE_MAX */
};

struct grpc_events {
	/* The server has answered with headers; what was sent before is on its way. May be NULL. */
	void (*on_open)(void *ctx);
	/* One whole message, yours to free(); never NULL, also where @size is 0. The call may be
	 * paused, cancelled and sent to in here. */
	void (*on_message)(void *ctx, uint8_t *bytes, size_t size);
	/* Once, last. A unary call without an answer and code 0 is possible: its owner says so. */
	void (*on_end)(void *ctx, const struct grpc_status *status);
};

/*
 * A call of @path ("/package.Service/Method"): unary or a stream, there is no difference here.
 * Messages may be sent at once; they go when there is a connection, and the token is read then.
 * NULL: no memory, or 256 calls live.
 */
struct grpc_call *grpc_call_new(struct grpc_channel *channel, const char *path,
                                const struct grpc_call_options *options,
                                const struct grpc_events *events, void *ctx);
/* Copies @message. False: it is above max_send, more than GRPC_QUEUE_MAX would wait, the call was
 * finished, or there is no memory; the call goes on as if it had not been asked. */
bool grpc_call_send(struct grpc_call *call, const void *message, size_t size);
void grpc_call_finish(struct grpc_call *call); /* no message follows */
/* No on_message until resumed, but one that is being told; the server stops when a window is full.
 * The end waits, too, but for those that are not the server's. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);
void grpc_call_cancel(struct grpc_call *call); /* no event after it; the call is gone */

/* "connection lost", "deadline": for logs and metrics. */
const char *grpc_kind_name(enum grpc_kind kind);
/* "Unavailable", as istiod and ztunnel write it; "Code(99)"-like text is never needed: NULL for a
 * code that the protocol does not know. */
const char *grpc_code_name(int code);
