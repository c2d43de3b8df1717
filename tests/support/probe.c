/*
 * probe: remembers what a stream tells.
 */
#include "support/probe.h"

#include <string.h>

/* How many operations are on the stack, of any stream: none may tell an event. */
static unsigned asking;

static void breach(struct probe *probe, const char *what)
{
	if (!probe->broken)
		probe->broken = what;
}

static void heard(struct probe *probe, const char *inside)
{
	if (asking)
		breach(probe, inside);
}

static void on_open(struct hb_stream *s)
{
	struct probe *probe = s->owner;

	heard(probe, "on_open inside an operation");
	if (probe->opens++ || probe->datas || probe->closes)
		breach(probe, "on_open out of order");
}

/* What the test wants to be done inside the event. */
static void act(struct probe *probe)
{
	if (probe->pauses)
		probe_pause(probe);
	if (probe->closes_in)
		probe_close(probe, probe->closes_with);
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct probe *probe = s->owner;

	heard(probe, "on_data inside an operation");
	if (probe->finishes || probe->closes)
		breach(probe, "on_data after the end");
	if (probe->paused)
		breach(probe, "on_data while paused");
	if (!chain)
		breach(probe, "on_data without data");
	probe->datas++;
	for (struct hb_buf *buf = chain; buf; buf = buf->next) {
		if (!buf->len)
			breach(probe, "an empty buffer");
		if (!probe->hold) {
			while (probe->size < probe->len + buf->len) {
				probe->size = probe->size ? probe->size * 2 : 65536;
				probe->data = realloc(probe->data, probe->size);
				if (!probe->data)
					abort();
			}
			memcpy(probe->data + probe->len, buf->data, buf->len);
		}
		probe->len += buf->len;
	}
	hb_buf_free_all(chain);
	act(probe);
}

static void on_finish(struct hb_stream *s)
{
	struct probe *probe = s->owner;

	heard(probe, "on_finish inside an operation");
	if (probe->paused)
		breach(probe, "on_finish while paused");
	if (probe->finishes++ || probe->closes)
		breach(probe, "on_finish twice or after the end");
	act(probe);
}

static void on_full(struct hb_stream *s)
{
	struct probe *probe = s->owner;

	heard(probe, "on_full inside an operation");
	if (probe->closes)
		breach(probe, "on_full after the end");
	if (probe->fulls++ != probe->draineds)
		breach(probe, "on_full without on_drained");
}

static void on_drained(struct hb_stream *s)
{
	struct probe *probe = s->owner;

	heard(probe, "on_drained inside an operation");
	if (probe->closes)
		breach(probe, "on_drained after the end");
	if (++probe->draineds != probe->fulls)
		breach(probe, "on_drained without on_full");
}

static void on_closed(struct hb_stream *s, struct hb_end why)
{
	struct probe *probe = s->owner;

	heard(probe, "on_closed inside an operation");
	if (probe->closes++)
		breach(probe, "on_closed twice");
	probe->end = why;
	probe->stream = NULL;
	hb_stream_free(s);
}

static const struct hb_stream_events events = {
	.on_open = on_open,
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

void probe_init(struct probe *probe, struct hb_stream *s)
{
	*probe = (struct probe){ .stream = s };
	s->owner = probe;
	s->events = &events;
}

void probe_done(struct probe *probe)
{
	free(probe->data);
	probe->data = NULL;
}

void probe_write(struct probe *probe, struct hb_loop *loop, const void *data, size_t len,
                 size_t piece)
{
	const uint8_t *at = data;

	while (len > 0 && probe->stream) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));
		size_t n = hb_min_size(hb_min_size(len, piece), HB_BUF_READ_MAX);

		if (!buf)
			abort();
		memcpy(buf->data, at, n);
		buf->len = (uint32_t)n;
		probe->written += n;
		asking++;
		hb_stream_write(probe->stream, buf);
		asking--;
		at += n;
		len -= n;
	}
}

void probe_finish(struct probe *probe)
{
	asking++;
	if (probe->stream)
		hb_stream_finish(probe->stream);
	asking--;
}

void probe_pause(struct probe *probe)
{
	asking++;
	probe->paused = true;
	if (probe->stream)
		hb_stream_pause(probe->stream);
	asking--;
}

void probe_resume(struct probe *probe)
{
	asking++;
	probe->paused = false;
	if (probe->stream)
		hb_stream_resume(probe->stream);
	asking--;
}

void probe_close(struct probe *probe, struct hb_end why)
{
	asking++;
	if (probe->stream)
		hb_stream_close(probe->stream, why);
	asking--;
}

bool turn_until(struct hb_loop *loop, const unsigned *what, unsigned want, unsigned turns)
{
	for (unsigned i = 0; i < turns && *what < want; i++)
		if (hb_loop_turn(loop, 100) < 0)
			return false;
	return *what >= want;
}

bool turn_until_size(struct hb_loop *loop, const size_t *what, size_t want, unsigned turns)
{
	for (unsigned i = 0; i < turns && *what < want; i++)
		if (hb_loop_turn(loop, 100) < 0)
			return false;
	return *what >= want;
}

void turn_some(struct hb_loop *loop, unsigned turns)
{
	while (turns--)
		(void)hb_loop_turn(loop, 0);
}
