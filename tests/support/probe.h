/*
 * probe: an owner of a stream that only remembers what it was told, and complains when the contract
 * of stream.h is broken: data after finish, anything after closed, full and drained out of turn,
 * data or finish while paused, any event inside an operation. The last two are seen when the
 * stream is asked through the functions here.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/stream.h>

struct probe {
	struct hb_stream *stream; /* NULL once closed; freed by the probe */
	uint8_t *data;
	size_t len, size;
	size_t written; /* by probe_write() */
	unsigned opens, datas, finishes, fulls, draineds, closes;
	struct hb_end end;
	const char *broken; /* the first breach, or NULL */
	bool pauses;        /* at every on_data */
	bool closes_in;     /* at the first on_data or on_finish, with closes_with */
	struct hb_end closes_with;
	bool hold;   /* keeps no bytes, only counts them */
	bool paused; /* was asked to be, and not to go on again */
};

/* Takes the events of @s; does not resume it. */
void probe_init(struct probe *probe, struct hb_stream *s);
void probe_done(struct probe *probe);

/* Writes @len bytes in bufs of at most @piece. */
void probe_write(struct probe *probe, struct hb_loop *loop, const void *data, size_t len,
                 size_t piece);

/* As hb_stream_finish() and its kin; nothing once it is closed. */
void probe_finish(struct probe *probe);
void probe_pause(struct probe *probe);
void probe_resume(struct probe *probe);
void probe_close(struct probe *probe, struct hb_end why);

/* Turns @loop until *@what is at least @want, at most @turns times of @wait_ms. true: it came. */
bool turn_until(struct hb_loop *loop, const unsigned *what, unsigned want, unsigned turns);
bool turn_until_size(struct hb_loop *loop, const size_t *what, size_t want, unsigned turns);
/* Turns a number of times without waiting. */
void turn_some(struct hb_loop *loop, unsigned turns);
