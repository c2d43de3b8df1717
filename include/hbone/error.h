/*
 * error: one number for every way things fail, and the small value that says how a stream ended.
 *
 * 0 is success and -errno keeps its meaning. Our own codes lie below -10000; four ranges carry a
 * number that a peer or a library said, so that nothing is lost on the way to the access log.
 */
#pragma once

#include <stdint.h>

#include <hbone/base.h>

enum hb_error {
	HB_E_FIRST = -10001,
	HB_E_IDLE = -10001,           /* no byte in either direction for the idle time */
	HB_E_DRAIN = -10002,          /* we are going away and the drain time is over */
	HB_E_HANDSHAKE_TIME = -10003, /* the TLS handshake did not end in time */
	HB_E_CONNECT_TIME = -10004,   /* the CONNECT was not answered in time */
	HB_E_TRUNCATED = -10005,      /* TLS or TCP ended without saying so */
	HB_E_TLS = -10006,            /* TLS protocol failure without a better word */
	HB_E_TLS_NO_ALPN = -10007,    /* the peer does not speak h2 */
	HB_E_NO_CERT = -10008,        /* the peer showed no certificate */
	HB_E_PEER_IDENTITY = -10009,  /* its certificate is good but names none that we accept */
	HB_E_TRUST_DOMAIN = -10010,   /* its certificate belongs to another trust domain */
	HB_E_GOAWAY = -10011,        /* the peer's GOAWAY excluded this stream; safe to try again */
	HB_E_REFUSED = -10012,       /* REFUSED_STREAM: not processed; safe to try again */
	HB_E_PING_TIME = -10013,     /* no PING answer and no other sign of life */
	HB_E_H2 = -10014,            /* the peer broke HTTP/2 */
	HB_E_LIMIT = -10015,         /* one of our limits was hit */
	HB_E_POLICY = -10016,        /* policy denies it */
	HB_E_NO_ROUTE = -10017,      /* nothing healthy to send it to */
	HB_E_RECURSIVE = -10018,     /* it was dialled to one of our own ports */
	HB_E_CANCELLED = -10019,     /* the near side gave up first */
	HB_E_NO_CREDENTIAL = -10020, /* we have no certificate for the identity */
	HB_E_BAD_REQUEST = -10021,   /* the peer's CONNECT is not one that we serve */
	HB_E_UNKNOWN_WORKLOAD = -10022, /* the local pod is not in the mesh configuration */
	HB_E_FLOOD = -10023,            /* the peer sends far more frames than its work needs */
	HB_E_STALLED = -10024,     /* the peer stopped halfway: SETTINGS, a header block, reading */
	HB_E_TLS_VERSION = -10025, /* the peer offers no TLS 1.3 */
	HB_E_TLS_SUITE = -10026,   /* the peer offers no suite of ours */
	HB_E_HALF_CLOSED = -10027, /* one side had finished, and the other fell silent */
	HB_E_USER_TIME = -10028,   /* the peer's kernel did not take what was sent in time */
	HB_E_POOL_CONNECTIONS = -10029, /* limits of hbone/pool.h */
	HB_E_KEY_CONNECTIONS = -10030,
	HB_E_POOL_WAITERS = -10031,
	HB_E_KEY_WAITERS = -10032,
	HB_E_POLICY_CHANGED = -10033, /* policy allowed it, and now denies it */
	HB_E_NAME = -10034,           /* a host name has no address, or could not be looked up */
	HB_E_NOT_TLS = -10035,        /* what the peer says is no TLS at all */
	HB_E_LAST = -10035,
};

/* Numbers said by others. n is the HTTP status, the X509_V_ERR_*, the RST_STREAM code, the alert.
 */
#define HB_E_STATUS(n) (-20000 - (int)(n)) /* 0 <= n < 1000 */
#define HB_E_CERT(n)   (-30000 - (int)(n)) /* 0 <= n < 1000 */
#define HB_E_RST(n)    (-40000 - (int)(n)) /* 0 <= n < 1000 */
#define HB_E_ALERT(n)  (-50000 - (int)(n)) /* 0 <= n < 256, an alert the peer sent */

/* The number carried by a ranged code, or -1 when @code is not in the range that starts at @base.
 */
static inline int hb_error_number(int code, int base)
{
	return code <= base && code > base - 1000 ? base - code : -1;
}

enum hb_layer {
	HB_LAYER_NONE,
	HB_LAYER_TCP,
	HB_LAYER_TLS,
	HB_LAYER_H2,
	HB_LAYER_TUNNEL,
	HB_LAYER_RELAY,
	HB_LAYER_AGENT,
};

enum hb_side {
	HB_SIDE_NONE,
	HB_SIDE_US,
	HB_SIDE_PEER,
};

/* How something ended: said once where it happened, carried up unchanged. code 0 is a clean end. */
struct hb_end {
	enum hb_layer layer : 8;
	enum hb_side side : 8;
	int code;
};

#define HB_END_CLEAN ((struct hb_end){ HB_LAYER_NONE, HB_SIDE_NONE, 0 })

static inline struct hb_end hb_end(enum hb_layer layer, enum hb_side side, int code)
{
	return (struct hb_end){ layer, side, code };
}

/*
 * One short lower-case phrase for any code above, also -errno; never NULL. Text with a number in it
 * is formatted into a buffer of the calling thread and stays valid until its next call.
 */
const char *hb_strerror(int code);
const char *hb_layer_name(enum hb_layer layer);
const char *hb_side_name(enum hb_side side);
