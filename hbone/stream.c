/*
 * stream: what all streams share: an owner for those that nobody wants.
 */
#include <hbone/stream.h>

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void nothing(struct hb_stream *s)
{
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	hb_stream_free(s);
}

const struct hb_stream_events hb_stream_orphan_events = {
	.on_data = on_data,
	.on_finish = nothing,
	.on_full = nothing,
	.on_drained = nothing,
	.on_closed = on_closed,
};
