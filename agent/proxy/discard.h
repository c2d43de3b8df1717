/*
 * discard: ends a stream that nobody wants: reads nothing, frees it when it is closed.
 */
#pragma once

#include <hbone/stream.h>

/* Takes @stream, in any state; @why has a code < 0. Takes NULL. */
void discard(struct hb_stream *stream, struct hb_end why);
