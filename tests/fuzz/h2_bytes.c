/*
 * h2_bytes: the owners of the connection and of its streams: each stream's owner follows a plan.
 */
#include "h2_bytes.h"

#include <assert.h>
#include <string.h>

#include <hbone/list.h>
#include <hbone/tunnel.h>

#include "input.h"
#include "support/pair.h"
#include "support/probe.h"

#define PLANS     8
#define TUNNELS   4     /* that a client opens */
#define BODY_SIZE 70000 /* what a talkative owner says: more than a first window */
#define WIRE_MAX  60000
#define FINE_MAX  4000 /* more than this is not cut into pieces of a few bytes */

/* What an owner does with its stream. */
enum plan {
	READ,       /* all, and finish when the peer has */
	ECHO,       /* the same, and send it back */
	IGNORE,     /* never read */
	TALK,       /* say much and finish */
	REFUSE_401, /* server: an answer; client: close before it is open */
	REFUSE_503,
	RESET,      /* at once */
	CLOSE,      /* cleanly, at once */
	LATER,      /* server: answer when all bytes have come; client: as READ */
	CLOSE_OPEN, /* cleanly, as soon as it is open */
	RESET_ON_DATA,
	PAUSE_ON_DATA, /* and go on when all bytes have come */
	PLANS_COUNT,
};

enum ending { BY_FINISH, BY_RESET, BY_DRAIN, BY_CLOSE, BY_ERROR, ENDINGS };

struct run {
	struct hb_h2 *h2; /* NULL: closed */
	enum hb_h2_role role;
	struct hb_list apps;
	unsigned streams;
	uint8_t plans[PLANS];
};

struct app { /* one stream's owner */
	struct hb_list node;
	struct run *run;
	struct hb_stream *stream;
	enum plan plan;
	bool open, finished, full;
};

static const struct hb_end reset = { HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET };

static void say(struct app *app, size_t len)
{
	while (len > 0) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(input_loop()));
		size_t n = hb_min_size(len, HB_BUF_READ_MAX);

		assert(buf);
		memset(buf->data, 'a', n);
		buf->len = (uint32_t)n;
		hb_stream_write(app->stream, buf);
		len -= n;
	}
}

/* It carries bytes now. */
static void start(struct app *app)
{
	app->open = true;
	if (app->plan == TALK) {
		say(app, BODY_SIZE);
		hb_stream_finish(app->stream);
	}
	if (app->plan == CLOSE_OPEN)
		hb_stream_close(app->stream, HB_END_CLEAN);
	else if (app->plan != IGNORE)
		hb_stream_resume(app->stream);
}

static void on_open(struct hb_stream *s)
{
	struct app *app = s->owner;

	assert(!app->open && app->run->role == HB_H2_CLIENT);
	start(app);
}

static void on_data(struct hb_stream *s, struct hb_buf *chain)
{
	struct app *app = s->owner;

	assert(app->open && !app->finished && chain && hb_buf_chain_bytes(chain) > 0);
	if (app->plan == ECHO) {
		hb_stream_write(s, chain);
		return;
	}
	hb_buf_free_all(chain);
	if (app->plan == RESET_ON_DATA)
		hb_stream_close(s, reset);
	if (app->plan == PAUSE_ON_DATA)
		hb_stream_pause(s);
}

static void on_finish(struct hb_stream *s)
{
	struct app *app = s->owner;

	assert(app->open && !app->finished);
	app->finished = true;
	hb_stream_finish(s);
	if (app->plan != READ)
		hb_stream_close(s, HB_END_CLEAN);
}

static void on_full(struct hb_stream *s)
{
	struct app *app = s->owner;

	assert(!app->full);
	app->full = true;
}

static void on_drained(struct hb_stream *s)
{
	struct app *app = s->owner;

	assert(app->full);
	app->full = false;
}

static void on_stream_closed(struct hb_stream *s, struct hb_end why)
{
	struct app *app = s->owner;

	assert(why.code <= 0 && hb_strerror(why.code));
	hb_list_remove(&app->node);
	hb_stream_free(s);
	free(app);
}

static const struct hb_stream_events stream_events = {
	.on_open = on_open,
	.on_data = on_data,
	.on_finish = on_finish,
	.on_full = on_full,
	.on_drained = on_drained,
	.on_closed = on_stream_closed,
};

static struct app *app_new(struct run *run, struct hb_stream *s)
{
	struct app *app = calloc(1, sizeof(*app));

	assert(app);
	app->run = run;
	app->stream = s;
	app->plan = run->plans[run->streams++ % PLANS] % PLANS_COUNT;
	hb_list_add(&run->apps, &app->node);
	s->owner = app;
	s->events = &stream_events;
	return app;
}

static void answer(struct app *app)
{
	hb_tunnel_accept(app->stream, "k8s.pod.name=p");
	start(app);
}

static void on_request(struct hb_h2 *h2, struct hb_stream *s)
{
	struct app *app = app_new(hb_h2_owner(h2), s);
	struct hb_tunnel_authority authority;
	int status = hb_tunnel_request_parse(s, &authority);
	struct hb_tunnel_said said;

	assert(app->run->role == HB_H2_SERVER && hb_h2_of(s) == h2);
	hb_tunnel_read(s, &said);
	assert(said.baggage.workload.len <= HB_BAGGAGE_VALUE_MAX &&
	       said.service.len <= HB_HOST_MAX);
	if (status)
		hb_tunnel_refuse(s, status);
	else if (app->plan == REFUSE_401 || app->plan == REFUSE_503)
		hb_tunnel_refuse(s, app->plan == REFUSE_401 ? 401 : 503);
	else if (app->plan == RESET)
		hb_stream_close(s, reset);
	else if (app->plan == CLOSE)
		hb_stream_close(s, HB_END_CLEAN);
	else if (app->plan != LATER)
		answer(app);
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct run *run = hb_h2_owner(h2);

	assert(run->h2 == h2 && hb_list_is_empty(&run->apps) && hb_h2_streams(h2) == 0);
	run->h2 = NULL;
	hb_h2_free(h2);
}

static const struct hb_h2_events server_events = {
	.on_request = on_request,
	.on_closed = on_h2_closed,
};
static const struct hb_h2_events client_events = { .on_closed = on_h2_closed };

static void open_tunnels(struct run *run)
{
	struct hb_tunnel_request request = { .authority = "10.0.0.1:80",
		                             .forwarded = "for=\"10.0.0.2:1\"" };

	for (unsigned i = 0; i < TUNNELS && run->h2; i++) {
		struct hb_stream *s = hb_tunnel_open(run->h2, &request);
		struct app *app = s ? app_new(run, s) : NULL;

		if (app && app->plan == RESET)
			hb_stream_close(s, reset);
		else if (app && app->plan == CLOSE)
			hb_stream_close(s, HB_END_CLEAN);
	}
}

/* All bytes have come: those who waited for that go on. */
static void go_on(struct run *run)
{
	hb_list_for_each_safe (node, &run->apps) {
		struct app *app = hb_container_of(node, struct app, node);

		if (app->plan == LATER && !app->open && run->role == HB_H2_SERVER)
			answer(app);
		if (app->plan == PAUSE_ON_DATA)
			hb_stream_resume(app->stream);
	}
}

static void end(struct run *run, struct probe *raw, enum ending ending)
{
	switch (ending) {
	case BY_FINISH:
		probe_finish(raw);
		break;
	case BY_RESET:
		probe_close(raw, reset);
		break;
	case BY_DRAIN:
		if (run->h2)
			hb_h2_drain(run->h2);
		break;
	case BY_CLOSE:
	case BY_ERROR:
		if (run->h2)
			hb_h2_close(run->h2, ending == BY_CLOSE ? HB_END_CLEAN : reset);
		break;
	case ENDINGS:
		break;
	}
	input_turn(2);
}

/* Nobody may be left, however little the peer has said. */
static void clear(struct run *run, struct probe *raw)
{
	if (run->h2)
		hb_h2_close(run->h2, HB_END_CLEAN);
	probe_close(raw, HB_END_CLEAN);
	input_turn(2);
	/* Streams whose last bytes wait for their owner outlive the connection's end. */
	hb_list_for_each_safe (node, &run->apps)
		hb_stream_close(hb_container_of(node, struct app, node)->stream, reset);
	input_turn(2);
	assert(!run->h2 && !raw->stream && !raw->broken);
	assert(hb_list_is_empty(&run->apps));
	assert(hb_buf_pool_slots_out(hb_loop_pool(input_loop())) == 0);
}

/*
 * Frames whose lengths are right, so that what they say is reached: of each the input has type,
 * flags, stream, length and payload. From 240 on a length stands for a thousand bytes and more that
 * are not in the input.
 */
static size_t frames(struct input *in, enum hb_h2_role role, uint8_t *out)
{
	static const char start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
	size_t skip = role == HB_H2_SERVER ? 0 : 24, n = sizeof(start) - skip;

	memcpy(out, start + skip, n); /* with the NUL: an empty SETTINGS ends with it */
	while (in->left > 0 && n < WIRE_MAX - 20000) {
		uint8_t type = input_byte(in), flags = input_byte(in), id = input_byte(in);
		uint8_t said = input_byte(in);
		size_t payload = said < 240 ? hb_min_size(said, in->left) : (said - 239u) * 1000;

		memcpy(out + n,
		       (uint8_t[]){ 0, (uint8_t)(payload >> 8), (uint8_t)payload, type, flags, 0, 0,
		                    0, id },
		       HB_FRAME_HEADER);
		n += HB_FRAME_HEADER;
		if (said < 240) {
			memcpy(out + n, in->at, payload);
			in->at += payload;
			in->left -= payload;
		} else {
			memset(out + n, 'x', payload);
		}
		n += payload;
	}
	return n;
}

void h2_bytes_run(enum hb_h2_role role, const uint8_t *bytes, size_t len)
{
	static const uint32_t pieces[] = { 0, 1, 2, 7, 9, 10, 100, 1000 };
	static uint8_t wire[WIRE_MAX];
	struct input in = { bytes, len };
	struct hb_h2_options options = { .role = role, .streams_max = 16 };
	struct run run = { .role = role };
	uint8_t how = input_byte(&in), cut = input_byte(&in), framed = input_byte(&in);
	uint32_t piece = pieces[how % HB_ARRAY_LEN(pieces)];
	struct hb_stream *ends[2];
	struct probe raw;
	size_t first;

	for (size_t i = 0; i < PLANS; i++)
		run.plans[i] = input_byte(&in);
	if (how & 0x80)
		options.stream_window = 1000;
	if (how & 0x40)
		options.header_list_max = 300;
	hb_list_init(&run.apps);
	pair_new(input_loop(), ends);
	probe_init(&raw, ends[0]);
	raw.hold = true;
	if (!(how & 0x20)) /* else it never reads */
		probe_resume(&raw);
	run.h2 = hb_h2_new(input_loop(), ends[1], &options,
	                   role == HB_H2_SERVER ? &server_events : &client_events, &run);
	assert(run.h2);
	if (role == HB_H2_CLIENT)
		open_tunnels(&run);
	input_turn(1);

	if (framed & 1)
		in = (struct input){ wire, frames(&in, role, wire) };
	if (in.left > FINE_MAX && piece && piece < 64)
		piece = 64;
	pair_split(ends[1], piece);
	first = in.left * cut / UINT8_MAX;
	probe_write(&raw, input_loop(), in.at, first, HB_BUF_PAYLOAD);
	input_turn(1);
	go_on(&run);
	probe_write(&raw, input_loop(), in.at + first, in.left - first, HB_BUF_PAYLOAD);
	input_turn(1);
	go_on(&run);
	input_turn(1);
	end(&run, &raw, (how >> 3 & 3) + (cut & 1));
	clear(&run, &raw);
	probe_done(&raw);
}
