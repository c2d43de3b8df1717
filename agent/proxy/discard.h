/*
 * discard: ends a stream that nobody wants; it frees itself when it is closed.
 */
#pragma once

#include <hbone/stream.h>

/* Takes @stream, in any state; @why has a code < 0. */
static inline void discard(struct hb_stream *stream, struct hb_end why)
{
	stream->events = &hb_stream_orphan_events;
	hb_stream_close(stream, why);
}
