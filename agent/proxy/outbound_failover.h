/*
 * outbound_failover: may a connection that came to nothing be made to another endpoint? Only before
 * the app's first byte has left, which is always so until the far side stands. Pure.
 */
#pragma once

#include <hbone/error.h>

#define OUTBOUND_TRIES 3 /* endpoints in all */
/* For one that is not the last: TCP, TLS and the CONNECT's answer together. The last has the time
 * that each of them has. */
#define OUTBOUND_TRY_MS 3000u

/* False: it is for the app to know (a refusal by policy), or it would be no better elsewhere (what
 * we ourselves lack). */
bool outbound_may_try_elsewhere(struct hb_end why);
