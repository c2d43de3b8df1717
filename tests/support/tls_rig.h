/*
 * tls_rig: two ends and the wire between them in the hands of the test: it passes on what it likes,
 * in pieces of the size it likes, and cuts where it likes.
 *
 *   client probe - tls - tcp - wire[0] | test | wire[1] - tcp - tls - server probe
 *
 * With one end only the test speaks on that end's wire itself.
 */
#pragma once

#include <hbone/tls.h>

#include "support/probe.h"
#include "support/testca.h"

#define RIG_PIECE 65536

struct tls_rig {
	struct hb_loop *loop;
	struct probe ends[2]; /* by enum hb_tls_role */
	struct hb_stream *tcps[2];
	int wire[2];         /* by enum hb_tls_role; -1: no such end */
	size_t passed[2];    /* bytes that came from this end */
	size_t cut_after[2]; /* both ways end (FIN) when so many came from it; SIZE_MAX: never */
	size_t piece;        /* bytes passed on at once, at most RIG_PIECE */
	bool is_cut;
	size_t lost[2]; /* bytes that came from this end afterwards */
	struct tls_rig_held {
		uint8_t bytes[RIG_PIECE];
		size_t len, at;
	} held[2]; /* came from this end, not yet passed on */
};

/* The context of a leaf of @ca that trusts @roots. Aborts when there is none. */
struct hb_tls_ctx *rig_ctx(const struct testca *ca, const struct testca_leaf *leaf,
                           const char *roots);

struct hb_tls_ctx *rig_ctx_with(const struct testca *ca, const struct testca_leaf *leaf,
                                const char *roots, const struct hb_tls_profile *profile);
/* The key exchange that two of ours agree on, as hb_tls_describe() says it. */
const char *rig_group(void);

/* A wire on @loop without ends. */
void rig_up(struct tls_rig *rig, struct hb_loop *loop);
/* Puts one end on it, opening and reading. */
void rig_end(struct tls_rig *rig, const struct hb_tls_options *options);
/* A turn of the loop, then of the wire. */
void rig_turn(struct tls_rig *rig, uint64_t wait_ms);
/* Turns until *@what >= @want; false: it did not come in @turns. */
bool rig_until(struct tls_rig *rig, const unsigned *what, unsigned want, unsigned turns);
bool rig_until_size(struct tls_rig *rig, const size_t *what, size_t want, unsigned turns);
/* Closes what is still open and checks that both ends kept to the contract of streams. */
void rig_down(struct tls_rig *rig);
