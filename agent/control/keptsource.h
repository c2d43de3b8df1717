/*
 * keptsource: a source of certificates that remembers: what another source issues is kept by
 * laststate, with its key, and after a start each is handed out once before that source is asked,
 * if it is valid still. When it is renewed follows from its dates, as ever.
 *
 * What nobody asks for within KEPTSOURCE_UNASKED_MS of the start is wiped, and forgotten on the
 * disk. Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "control/certsource.h"

#define KEPTSOURCE_UNASKED_MS 600000u
#define KEPTSOURCE_NAME       "certificates" /* of the file of laststate */

struct laststate;

struct keptsource_options {
	struct cert_source *source; /* whoever issues; taken, also on failure */
	struct laststate *known;    /* borrowed; free the source before it */
	uint32_t unasked_ms;        /* 0: KEPTSOURCE_UNASKED_MS */
	/* Something was put or removed. */
	void (*on_change)(void *owner);
	void *owner;
};

/* What is kept and cannot be used (any more) is removed. NULL: no memory. */
struct cert_source *keptsource_new(struct hb_loop *loop, const struct keptsource_options *options);
/* @identity is needed no more. */
void keptsource_forget(struct cert_source *kept, const char *identity);

struct keptsource_counts {
	size_t found; /* certificates on the disk, at start, that could be used */
	size_t used;  /* of them, handed out */
};
struct keptsource_counts keptsource_counts(const struct cert_source *kept);
