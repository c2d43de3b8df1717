/*
 * filesource: one certificate from files that somebody else renews (cert-manager, an operator): it
 * is for the identity that it names, and no other is to be had.
 *
 * The files are looked at twice a second, and read again whenever one of them has changed and come
 * to rest. What cannot be used is said, and what was read before stays until it ends.
 * Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "control/certsource.h"

#define FILESOURCE_LOOK_MS 500u

struct filesource_options { /* PEM files; paths are borrowed */
	const char *chain;  /* the leaf first, then intermediates */
	const char *key;
	const char *roots; /* one or more */
};

/* The files need not be there yet. NULL: no memory. */
struct cert_source *filesource_new(struct hb_loop *loop, const struct filesource_options *options);
