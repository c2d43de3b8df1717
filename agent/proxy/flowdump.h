/*
 * flowdump: flows as JSON, for the admin socket: pieces that a comma joins. Any text that a peer
 * chose is escaped. Pure but for the stream it writes to.
 */
#pragma once

#include <stdio.h>

#include "proxy/flow.h"

/* One text as a JSON string with its quotes; bytes outside ASCII become \u00XX. */
void flowdump_text(FILE *out, const char *text);
/* One object of /connections. */
void flowdump_connection(FILE *out, const struct flow *flow, uint64_t now_ms);
/* One object of /config_dump's workloadState (reference/operations 6.5). */
void flowdump_state(FILE *out, const struct flow *flow);
