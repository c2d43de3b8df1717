/*
 * socks5: what a client says to a SOCKS5 server that knows CONNECT and no authentication (RFC 1928;
 * reference/datapath 1.17). Pure: bytes in, what to answer out, and never more than was wanted, so
 * that what is behind the request stays the app's.
 */
#pragma once

#include <hbone/addr.h>

#define SOCKS5_NAME_MAX  255u
#define SOCKS5_REPLY_LEN 10u

enum socks5_reply { /* RFC 1928 6 */
	            SOCKS5_SUCCEEDED = 0,
	            SOCKS5_HOST_UNREACHABLE = 4,
	            SOCKS5_NOT_SUPPORTED = 7, /* ztunnel's word for all that it does not serve */
};

enum socks5_next {
	SOCKS5_MORE,    /* bytes are wanted */
	SOCKS5_GREETED, /* answer SOCKS5_GREETING; then more are wanted */
	SOCKS5_CONNECT, /* it is said: name or dst */
	SOCKS5_REFUSED, /* answer reply, and close */
};

#define SOCKS5_GREETING     "\x05\x00"
#define SOCKS5_GREETING_LEN 2u

struct socks5 {
	uint8_t bytes[SOCKS5_NAME_MAX + 7]; /* of the part that is being read */
	uint16_t have, want;
	uint8_t step;
	enum socks5_reply reply;        /* REFUSED */
	char name[SOCKS5_NAME_MAX + 1]; /* CONNECT to a name, with dst's port; "": to dst */
	struct hb_addr dst;
};

void socks5_init(struct socks5 *socks);
/* Bytes that may be given next; 0 after CONNECT or REFUSED. */
size_t socks5_wants(const struct socks5 *socks);
/* @len: 1 to socks5_wants(). */
enum socks5_next socks5_take(struct socks5 *socks, const uint8_t *bytes, size_t len);
void socks5_format_reply(enum socks5_reply reply, uint8_t out[SOCKS5_REPLY_LEN]);
