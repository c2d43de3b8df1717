/*
 * recheck: the revocation lists of one worker, and the second look at peers that were let in.
 *
 * When new lists come every connection is asked again whether its peer still stands, and twice a
 * minute for the dates: one that was revoked ends at once with all it carries, in either direction
 * (reference/datapath 1.5); one whose certificate has ended is drained.
 * Thread: the worker's own.
 */
#pragma once

#include <hbone/timer.h>

struct worker;
struct hb_tls_crls;

struct recheck {
	struct hb_tls_crls *crls; /* for handshakes, too; counted; NULL: none */
	struct hb_timer timer;
};

void recheck_start(struct worker *worker, struct hb_tls_crls *crls); /* takes a reference */
void recheck_stop(struct worker *worker);
