/*
 * discard: the events of a stream without an owner.
 */
#include "proxy/discard.h"

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_nothing(struct hb_stream *s)
{
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	hb_stream_free(s);
}

static const struct hb_stream_events events = {
	.on_open = on_nothing,
	.on_data = on_data,
	.on_finish = on_nothing,
	.on_full = on_nothing,
	.on_drained = on_nothing,
	.on_closed = on_closed,
};

void discard(struct hb_stream *stream, struct hb_end why)
{
	if (!stream)
		return;
	stream->events = &events;
	stream->owner = NULL;
	hb_stream_close(stream, why);
}
