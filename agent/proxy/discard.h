/*
 * discard: ends what nobody wants.
 */
#pragma once

#include <hbone/stream.h>

/* Closes a socket so that its peer sees a reset at once, whatever it has sent. */
void discard_fd(int fd);
/* Takes @stream, in any state; @why has a code < 0. It frees itself when it is closed. */
void discard_stream(struct hb_stream *stream, struct hb_end why);
