/*
 * discard: a reset, and streams that free themselves.
 */
#include "proxy/discard.h"

#include <sys/socket.h>

void discard_fd(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* or else it is a FIN */
	close(fd);
}

void discard_stream(struct hb_stream *stream, struct hb_end why)
{
	stream->events = &hb_stream_orphan_events;
	hb_stream_close(stream, why);
}
