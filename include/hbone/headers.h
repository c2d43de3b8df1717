/*
 * headers: what a CONNECT and its answer say besides where to go: baggage, forwarded, traceparent
 * and x-forwarded-network (reference/datapath 1.8). They feed telemetry and decide nothing about
 * trust. Pure: what is parsed lies in the text that was given, nothing is allocated.
 *
 * A header whose value has bytes that HTTP does not show (other than tab, space to '~') says
 * nothing at all, as with ztunnel.
 */
#pragma once

#include <hbone/addr.h>

struct hb_span { /* a piece of a text that is kept elsewhere; not ended by NUL; len 0: absent */
	const char *text;
	size_t len;
};

/* @text NULL is absent. */
struct hb_span hb_span(const char *text);

/* ---- baggage: who a workload says it is ---- */

#define HB_BAGGAGE_VALUE_MAX 253  /* longer values are cut, both ways */
#define HB_BAGGAGE_SIZE      2048 /* any of ours, with the final NUL */

enum hb_workload_type {
	HB_WORKLOAD_DEPLOYMENT,
	HB_WORKLOAD_CRONJOB,
	HB_WORKLOAD_POD,
	HB_WORKLOAD_JOB,
};

struct hb_baggage {
	struct hb_span cluster, ns, workload, service, version, region, zone;
	enum hb_workload_type type; /* of workload */
};

/*
 * Writes @out in ztunnel's order and returns it; "" when nothing is known. Absent values are left
 * out, and so are those that cannot stand in it, as nothing is escaped: with ',', '=', blanks or
 * other bytes than '!' to '~'.
 */
const char *hb_baggage_format(const struct hb_baggage *baggage, char out[HB_BAGGAGE_SIZE]);
/*
 * Reads all of a message's baggage lines, the later value wins. Unknown keys are passed over; what
 * follows a second '=' is dropped. 0; or -EINVAL: one of them cannot be shown, so there is none.
 */
int hb_baggage_parse(const struct hb_span *lines, size_t count, struct hb_baggage *ret_baggage);

/* ---- forwarded: whom we speak for, and for which service ---- */

#define HB_HOST_MAX       253 /* RFC 1035 2.3.4, as text */
#define HB_FORWARDED_SIZE (HB_ADDR_STRLEN + HB_HOST_MAX + sizeof("for=\"\";host="))

/* for="<src>", and ;host=<host> unless @host is NULL, empty or no host's name. Returns @out. */
const char *hb_forwarded_format(const struct hb_addr *src, const char *host,
                                char out[HB_FORWARDED_SIZE]);
/* The first element that is host=, without its quotes; absent also when it is too long. */
struct hb_span hb_forwarded_host(const char *text, size_t len);

/* ---- traceparent: the flow's id in every log it comes through ---- */

#define HB_TRACEPARENT_LEN 55 /* 00-<32 hex>-<16 hex>-<2 hex> */

struct hb_traceparent {
	uint8_t trace_id[16], parent_id[8]; /* neither all zero */
	uint8_t flags;
};

/* Ends with NUL; returns @out. */
const char *hb_traceparent_format(const struct hb_traceparent *parent,
                                  char out[HB_TRACEPARENT_LEN + 1]);
/* 0, or -EINVAL: not exactly four pieces of those lengths in hex, or an id of zeros (W3C Trace
 * Context 3.2.2). Any version but ff is read; capital letters are. */
int hb_traceparent_parse(const char *text, size_t len, struct hb_traceparent *ret_parent);

/* ---- x-forwarded-network: double HBONE's inner CONNECT says where it comes from ---- */

/* It names another network than @own (letters' case apart), so an address of there means nothing
 * here. A value that cannot be shown names none: false. */
bool hb_network_differs(const char *said, size_t len, const char *own);
