/*
 * tcp_splice: what relay and tcp have agreed on, and nobody else uses: two sockets that are joined
 * may pass bytes on without showing them.
 *
 * Everything else stays as stream.h says: full and drained, finish, pause and closed are told as if
 * the bytes had been told by on_data and written to the other. Only what is copied is counted by
 * its chain; of what is spliced the owner is told how much.
 */
#pragma once

#include <hbone/stream.h>

struct hb_tcp_joined {
	struct hb_stream_events events;                  /* of both */
	struct hb_stream *(*other)(struct hb_stream *s); /* that @s is joined with */
	/* So many bytes have come from @from and were written to the other. */
	void (*on_spliced)(struct hb_stream *from, size_t bytes);
};

/*
 * The owner of both, which frees neither before both are closed, would write each one's data to the
 * other as it is: so tcp may do that. Their events are those of one struct hb_tcp_joined, and stay.
 * False when they are not both of tcp.
 */
bool hb_tcp_join(struct hb_stream *a, struct hb_stream *b);
