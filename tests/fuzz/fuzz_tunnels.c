/*
 * fuzz_tunnels: a client and a server of ours over a pair in memory, and an input that plays their
 * owners and the wire: tunnels are opened and answered, bytes written, ends finished, reset, closed
 * and paused; the wire splits, stalls and cuts; connections drain and close.
 *
 * Holds: every byte that comes is the right one; a finish is told only after all bytes were; while
 * nothing was cut, bytes that were written to living tunnels arrive once nobody is in the way; all
 * ends, once, and nothing stays.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tunnel.h>

#include "input.h"
#include "support/pair.h"
#include "support/probe.h"

#define TUNNELS_MAX 12
#define ACTIONS_MAX 200
#define BYTES_MAX   150000 /* written by one input */
#define FINE_MAX    5000   /* the same once the wire is cut into pieces below FINE */
#define FINE        64

enum side { CLIENT, SERVER, SIDES };

enum action {
	OPEN,
	ANSWER,
	WRITE,
	WRITE_ALSO, /* more often */
	FINISH,
	RESET,
	CLOSE,
	PAUSE,
	RESUME,
	SPLIT,
	STALL,
	FLOW,
	CUT,
	DRAIN,
	CLOSE_ALL,
	TURN,
	ACTIONS,
};

struct half { /* one side's view of a tunnel */
	struct probe probe;
	size_t sent;
	bool made, open, finished, closed; /* finished, closed: by its owner */
};

struct tunnel {
	struct half half[SIDES];
};

struct world {
	struct hb_h2 *h2[SIDES];       /* NULL: closed */
	struct hb_stream *wire[SIDES]; /* what each reads from; valid while its h2 is */
	struct tunnel tunnels[TUNNELS_MAX];
	unsigned opened;
	size_t written, written_max;
	bool disturbed; /* somebody has cut, closed or drained: bytes may be lost with reason */
};

static uint8_t text[BYTES_MAX + TUNNELS_MAX * SIDES * 251];

/* Each direction of each tunnel says another text. */
static const uint8_t *text_of(unsigned i, enum side from)
{
	return text + (i * SIDES + from) * 251u;
}

static void make_text(void)
{
	for (size_t i = 0; !text[1] && i < sizeof(text); i++)
		text[i] = (uint8_t)((i * 2654435761u) >> 13);
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct world *w = hb_h2_owner(h2);
	enum side side = w->h2[CLIENT] == h2 ? CLIENT : SERVER;

	assert(w->h2[side] == h2 && hb_h2_streams(h2) == 0 && why.code <= 0);
	w->h2[side] = NULL;
	hb_h2_free(h2);
}

/* A tunnel's authority is its number. */
static void on_request(struct hb_h2 *h2, struct hb_stream *s)
{
	struct world *w = hb_h2_owner(h2);
	struct hb_tunnel_authority authority;
	struct half *half;

	assert(hb_tunnel_request_parse(s, &authority) == 0 && !authority.is_ip);
	assert(authority.port < w->opened);
	half = &w->tunnels[authority.port].half[SERVER];
	assert(!half->made);
	half->made = true;
	probe_init(&half->probe, s);
}

static const struct hb_h2_events events = { .on_request = on_request, .on_closed = on_h2_closed };

static void open_tunnel(struct world *w)
{
	char authority[16];
	struct hb_tunnel_request request = { .authority = authority };
	struct half *half;
	struct hb_stream *s;

	if (w->opened == TUNNELS_MAX || !w->h2[CLIENT])
		return;
	snprintf(authority, sizeof(authority), "t:%u", w->opened);
	s = hb_tunnel_open(w->h2[CLIENT], &request);
	if (!s)
		return;
	half = &w->tunnels[w->opened++].half[CLIENT];
	half->made = true;
	probe_init(&half->probe, s);
}

static bool can_write(const struct half *half, enum side side)
{
	return half->probe.stream && !half->finished && !half->closed &&
	       (side == SERVER ? half->open : half->probe.opens > 0);
}

static void answer(struct half *half, uint8_t how)
{
	if (!half->made || !half->probe.stream || half->open || half->closed)
		return;
	if (how % 8 == 7) {
		hb_tunnel_refuse(half->probe.stream, how & 8 ? 401 : 503);
		half->closed = true;
		return;
	}
	hb_tunnel_accept(half->probe.stream, how & 8 ? "" : NULL);
	half->open = true;
}

static void write_some(struct world *w, unsigned i, enum side side, uint8_t how)
{
	static const size_t lens[] = { 1, 9, 100, 1000, 4095, 4096, HB_BUF_READ_MAX, 40000 };
	struct half *half = &w->tunnels[i].half[side];
	size_t len = lens[how % HB_ARRAY_LEN(lens)];

	if (!can_write(half, side) || w->written + len > w->written_max)
		return;
	probe_write(&half->probe, input_loop(), text_of(i, side) + half->sent, len,
	            how & 0x80 ? 700 : HB_BUF_READ_MAX);
	half->sent += len;
	w->written += len;
}

static void act_on_half(struct world *w, enum action action, unsigned i, enum side side,
                        uint8_t how)
{
	struct half *half = &w->tunnels[i].half[side];

	if (!half->probe.stream)
		return;
	switch (action) {
	case FINISH:
		if (can_write(half, side)) {
			probe_finish(&half->probe);
			half->finished = true;
		}
		break;
	case RESET:
	case CLOSE:
		half->closed = true;
		probe_close(&half->probe, action == CLOSE
		                              ? HB_END_CLEAN
		                              : hb_end(HB_LAYER_TCP, HB_SIDE_PEER,
		                                       how & 1 ? -ECONNRESET : HB_E_IDLE));
		break;
	case PAUSE:
		probe_pause(&half->probe);
		break;
	case RESUME:
		probe_resume(&half->probe);
		break;
	default:
		break;
	}
}

static void act_on_wire(struct world *w, enum action action, enum side side, uint8_t how)
{
	static const uint32_t pieces[] = { 0, 1, 2, 8, 9, 100, 1000, 5000 };
	uint32_t piece = pieces[how % HB_ARRAY_LEN(pieces)];

	if (!w->h2[side])
		return;
	switch (action) {
	case SPLIT:
		if (piece && piece < FINE) {
			if (w->written > FINE_MAX)
				break; /* it would take long */
			w->written_max = FINE_MAX;
		}
		pair_split(w->wire[side], piece);
		break;
	case STALL:
	case FLOW:
		pair_stall(w->wire[side], action == STALL);
		break;
	case CUT:
		w->disturbed = true;
		pair_cut(w->wire[side], w->wire[side]->bytes_in + how * how);
		break;
	case DRAIN:
		w->disturbed = true;
		hb_h2_drain(w->h2[side]);
		break;
	case CLOSE_ALL:
		w->disturbed = true;
		hb_h2_close(w->h2[side], how & 1 ? HB_END_CLEAN
		                                 : hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
		break;
	default:
		break;
	}
}

static void act(struct world *w, uint8_t what, uint8_t where, uint8_t how)
{
	enum action action = what % ACTIONS;
	enum side side = where & 1;
	unsigned i = (where >> 1) % TUNNELS_MAX;

	if (action == OPEN)
		open_tunnel(w);
	else if (action == ANSWER)
		answer(&w->tunnels[i].half[SERVER], how);
	else if (action == WRITE || action == WRITE_ALSO)
		write_some(w, i, side, how);
	else if (action == TURN)
		input_turn(1);
	else if (action <= RESUME)
		act_on_half(w, action, i, side, how);
	else
		act_on_wire(w, action, side, how);
}

static void make(struct world *w, uint8_t how)
{
	static const uint32_t windows[] = { 0, 100, 5000, 100000 };
	struct hb_stream *ends[SIDES];

	pair_new(input_loop(), ends);
	if (how & 1)
		for (enum side side = CLIENT; side < SIDES; side++)
			pair_marks(ends[side], 10000, 1000);
	for (enum side side = CLIENT; side < SIDES; side++) {
		struct hb_h2_options options = {
			.role = side == CLIENT ? HB_H2_CLIENT : HB_H2_SERVER,
			.stream_window = windows[how >> 1 & 3],
			.connection_window = windows[how >> 3 & 3],
			.streams_max = how & 0x20 ? 3 : 0,
		};

		w->wire[side] = ends[side];
		w->h2[side] = hb_h2_new(input_loop(), ends[side], &options, &events, w);
		assert(w->h2[side]);
	}
}

/* What @to has been told of what @from has said. */
static void check_direction(const struct world *w, unsigned i, enum side from)
{
	const struct half *sender = &w->tunnels[i].half[from];
	const struct half *receiver = &w->tunnels[i].half[!from];
	const struct probe *probe = &receiver->probe;

	assert(!probe->broken);
	assert(probe->len <= sender->sent);
	assert(probe->len == 0 || memcmp(probe->data, text_of(i, from), probe->len) == 0);
	if (probe->finishes)
		assert(probe->len == sender->sent && (sender->finished || sender->closed));
	if (!w->disturbed && sender->probe.stream && probe->stream &&
	    can_write(sender, from) + sender->finished > 0 && !receiver->closed) {
		assert(probe->len == sender->sent);
		assert(!sender->finished || probe->finishes);
	}
}

/* Nobody is in the way any more. */
static void let_all_flow(struct world *w)
{
	for (enum side side = CLIENT; side < SIDES; side++)
		if (w->h2[side]) {
			pair_stall(w->wire[side], false);
			pair_split(w->wire[side], 0);
		}
	for (unsigned i = 0; i < w->opened; i++)
		for (enum side side = CLIENT; side < SIDES; side++)
			probe_resume(&w->tunnels[i].half[side].probe);
	input_turn(3);
	for (unsigned i = 0; i < w->opened; i++)
		for (enum side side = CLIENT; side < SIDES; side++)
			check_direction(w, i, side);
}

static void clear(struct world *w, uint8_t how)
{
	for (enum side side = CLIENT; side < SIDES; side++)
		if (w->h2[side] && (how & 0x40 || side == CLIENT))
			hb_h2_close(w->h2[side], HB_END_CLEAN);
	input_turn(2);
	if (w->h2[SERVER])
		hb_h2_close(w->h2[SERVER], HB_END_CLEAN);
	/* Whose last bytes were not read, or who has not said goodbye. */
	for (unsigned i = 0; i < w->opened; i++)
		for (enum side side = CLIENT; side < SIDES; side++)
			act_on_half(w, RESET, i, side, 0);
	input_turn(2);
	for (unsigned i = 0; i < w->opened; i++)
		for (enum side side = CLIENT; side < SIDES; side++) {
			struct half *half = &w->tunnels[i].half[side];

			assert(!half->probe.stream && half->probe.closes == half->made);
			assert(!half->probe.broken);
			probe_done(&half->probe);
		}
	assert(!w->h2[CLIENT] && !w->h2[SERVER]);
	assert(hb_buf_pool_slots_out(hb_loop_pool(input_loop())) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { bytes, len };
	struct world w = { .written_max = BYTES_MAX };
	uint8_t how = input_byte(&in);

	make_text();
	make(&w, how);
	input_turn(1);
	for (unsigned i = 0; in.left > 0 && i < ACTIONS_MAX; i++) {
		uint8_t what = input_byte(&in), where = input_byte(&in);

		act(&w, what, where, input_byte(&in));
	}
	let_all_flow(&w);
	clear(&w, how);
	return 0;
}
