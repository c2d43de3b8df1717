/*
 * kinds: every kind of stream, made open at both ends, each end with a probe.
 */
#pragma once

#include "support/link.h"

enum kind_bottom { OVER_PAIR, OVER_UNIX, OVER_TCP };
enum kind_top { PLAIN, TLS, TUNNEL, TUNNEL_IN_TLS, DOUBLE };

struct kind {
	const char *name;
	enum kind_bottom bottom;
	enum kind_top top;
	/* An abort at end @i comes to the far side as one. A Unix socket has no RST. */
	bool resets;
	/* After a clean close at end @i the far side may still be told an error: the server's
	 * tunnel does not wait for the client's end, and says so (RFC 9113 8.1). */
	bool hasty[2];
};

extern const struct kind kinds[];
extern const unsigned kinds_count;

struct ends {
	struct hb_loop *loop;
	const struct kind *kind;
	struct link link;  /* tunnels only */
	struct link outer; /* DOUBLE: what link runs in */
	struct hb_tls_ctx *ctxs[2];
	struct probe *end[2]; /* open, paused */
	struct probe own[2];  /* of kinds other than tunnels */
	uint32_t linger_ms;
	unsigned fds; /* held before */
};

/* @linger_ms: what a clean close waits, in every layer. */
void ends_up(struct ends *ends, const struct kind *kind, uint32_t linger_ms);
/* Ends what lives, and checks the contract, the buffers and the descriptors. */
void ends_down(struct ends *ends);
