/*
 * relay: apps joined by relays, with and without a tunnel between, where each wire in turn is cut
 * or stalled at every byte, in both directions. Each relay reports once, and what ended first; both
 * its legs are freed; no app takes a truncated transfer for a whole one.
 *
 *   direct:     app A = leg A = relay = leg B = app B
 *   tunnelled:  app A = leg A = relay - tunnel = wire = tunnel - relay = leg B = app B
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/relay.h>

#include "support/any_loop.h"
#include "support/held.h"
#include "support/link.h"

#define TURNS      20000
#define QUIET      40 /* turns in which all that can happen without the wire has happened */
#define KEPT_BYTES 65536

enum wire { LEG_A, LEG_B, TUNNEL_WIRE, WIRES };

static const char *const wire_names[WIRES] = { "leg A", "leg B", "the tunnel's wire" };
static const size_t said[2] = { 60, 90 }; /* by app A, by app B */
static uint8_t bytes[128];

struct app {
	struct probe probe;
	bool finished, closed;
};

struct hop {
	struct hb_relay relay;
	unsigned starts, done;
	struct hb_end why;
};

struct chain {
	struct hb_loop *loop;
	bool tunnelled;
	struct link link; /* only of a tunnelled chain */
	struct app apps[2];
	struct hop hops[2];
	struct hb_stream *wires[WIRES][2];
	struct hb_stream *legs[2]; /* our ends of the legs, before a relay has them */
	struct hb_stream *tunnel;  /* the client's, while it opens */
};

struct run {
	enum wire wire;
	int to; /* which end is told the bytes */
	bool stall;
	uint32_t split;
	uint64_t at;
};

/* ---- joining ---- */

static void on_done(struct hb_relay *relay, struct hb_end why)
{
	struct hop *hop = hb_container_of(relay, struct hop, relay);

	hop->done++;
	hop->why = why;
}

static struct hb_relay_group group = { .on_done = on_done };

static void join(struct hop *hop, struct chain *chain, struct hb_stream *a, struct hb_stream *b)
{
	hop->starts++;
	hb_relay_start(&hop->relay, chain->loop, a, b, NULL, &group);
}

static void drop_leg(struct chain *chain, int i, struct hb_end why)
{
	struct hb_stream *leg = hb_take(&chain->legs[i]);

	if (!leg)
		return;
	leg->events = &hb_stream_orphan_events;
	hb_stream_close(leg, why);
}

static void tunnel_on_open(struct hb_stream *tunnel)
{
	struct chain *chain = tunnel->owner;

	chain->tunnel = NULL;
	if (chain->legs[0])
		join(&chain->hops[0], chain, hb_take(&chain->legs[0]), tunnel);
	else
		hb_stream_close(tunnel, hb_end(HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_CANCELLED));
}

static void tunnel_on_closed(struct hb_stream *tunnel, struct hb_end why)
{
	struct chain *chain = tunnel->owner;

	chain->tunnel = NULL;
	hb_stream_free(tunnel);
	drop_leg(chain, 0, why);
}

static const struct hb_stream_events opening_events = {
	.on_open = tunnel_on_open,
	.on_closed = tunnel_on_closed,
};

/* The app left before there was a tunnel. */
static void leg_on_closed(struct hb_stream *leg, struct hb_end why)
{
	struct chain *chain = leg->owner;

	for (int i = 0; i < 2; i++)
		if (chain->legs[i] == leg)
			chain->legs[i] = NULL;
	hb_stream_free(leg);
}

static const struct hb_stream_events leg_events = { .on_closed = leg_on_closed };

static void on_request(struct link *link, struct hb_stream *stream)
{
	struct chain *chain = link->owner;

	if (!chain->legs[1]) {
		hb_tunnel_refuse(stream, 503);
		stream->events = &hb_stream_orphan_events;
		return;
	}
	hb_tunnel_accept(stream, NULL);
	join(&chain->hops[1], chain, stream, hb_take(&chain->legs[1]));
}

static void chain_up(struct chain *chain, struct hb_loop *loop, bool tunnelled)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };

	memset(chain, 0, sizeof(*chain));
	chain->loop = loop;
	chain->tunnelled = tunnelled;
	for (int i = 0; i < 2; i++) {
		struct hb_stream **leg = chain->wires[i ? LEG_B : LEG_A];

		pair_new(loop, leg);
		pair_linger(leg[0], 60000);
		pair_linger(leg[1], 60000);
		probe_init(&chain->apps[i].probe, leg[0]);
		probe_resume(&chain->apps[i].probe);
		chain->legs[i] = leg[1];
		leg[1]->owner = chain;
		leg[1]->events = &leg_events;
	}
	if (!tunnelled) {
		join(&chain->hops[0], chain, hb_take(&chain->legs[0]), hb_take(&chain->legs[1]));
		return;
	}
	link_up(&chain->link, loop, NULL, NULL);
	chain->link.on_request = on_request;
	chain->link.owner = chain;
	for (int i = 0; i < 2; i++) {
		chain->wires[TUNNEL_WIRE][i] = chain->link.ends[i].wire;
		pair_linger(chain->link.ends[i].wire, 60000);
	}
	chain->tunnel = hb_tunnel_open(chain->link.ends[HB_H2_CLIENT].h2, &request);
	ck_assert_ptr_nonnull(chain->tunnel);
	chain->tunnel->owner = chain;
	chain->tunnel->events = &opening_events;
}

/* ---- playing ---- */

/* App A speaks and finishes; app B answers the finish; each closes when both are through. */
static void act(struct chain *chain, int i)
{
	struct app *app = &chain->apps[i];

	if (!app->probe.stream)
		return;
	if (!app->finished && (i == 0 || app->probe.finishes)) {
		probe_write(&app->probe, chain->loop, bytes, said[i], 41);
		probe_finish(&app->probe);
		app->finished = true;
	} else if (app->finished && app->probe.finishes && !app->closed) {
		probe_close(&app->probe, HB_END_CLEAN);
		app->closed = true;
	}
}

static bool is_over(const struct chain *chain)
{
	for (int i = 0; i < 2; i++) {
		if (chain->apps[i].probe.stream || chain->legs[i] ||
		    chain->hops[i].done < chain->hops[i].starts)
			return false;
	}
	return !chain->tunnel && (!chain->tunnelled || link_is_over(&chain->link));
}

static void drain_when_idle(struct chain *chain)
{
	struct hb_h2 *h2 = chain->link.ends[HB_H2_CLIENT].h2;

	if (chain->tunnelled && h2 && !chain->tunnel &&
	    chain->hops[0].done == chain->hops[0].starts)
		hb_h2_drain(h2);
	/* An app whose way in was never opened does not wait for ever, either. */
	if (chain->tunnelled && chain->link.ends[HB_H2_SERVER].closes)
		drop_leg(chain, 1, hb_end(HB_LAYER_TUNNEL, HB_SIDE_PEER, HB_E_CANCELLED));
}

static bool play(struct chain *chain, unsigned turns)
{
	for (unsigned n = 0; n < turns && !is_over(chain); n++) {
		turn_some(chain->loop, 1);
		act(chain, 0);
		act(chain, 1);
		drain_when_idle(chain);
	}
	return is_over(chain);
}

/* ---- judging ---- */

static const char *app_wrong(const struct chain *chain, int i, bool whole)
{
	const struct app *app = &chain->apps[i];
	const struct probe *probe = &app->probe;

	if (probe->broken)
		return probe->broken;
	if (probe->finishes && (probe->len != said[!i] || memcmp(probe->data, bytes, probe->len)))
		return "a truncated transfer looks finished";
	if (probe->end.code == 0 && !(app->finished && probe->finishes))
		return "a clean end that was not";
	if (whole && probe->end.code != 0)
		return "the app's end is not clean";
	return NULL;
}

static const char *hop_wrong(const struct chain *chain, unsigned i, const struct run *run)
{
	const struct hop *hop = &chain->hops[i];
	const struct hb_end *why = &hop->why;
	/* The wire that is cut is a leg of this relay, or lies below one. */
	bool near =
	    !chain->tunnelled || run->wire == TUNNEL_WIRE || run->wire == (i ? LEG_B : LEG_A);

	if (!hop->starts)
		return run->stall ? "a relay that never was" : NULL;
	if (hop->done != 1)
		return "not one report";
	if (why->code == 0 &&
	    (hb_relay_bytes(&hop->relay.a) != said[0] || hb_relay_bytes(&hop->relay.b) != said[1]))
		return "a truncated flow is reported as a success";
	if (run->stall)
		return why->code == 0 ? NULL : "not clean";
	if (why->code == 0 || (near && why->layer == HB_LAYER_TCP && why->code == -ECONNRESET))
		return NULL;
	/* The other relay's reset, or the cancel of an owner that never came to have one. */
	if (!near && why->layer == HB_LAYER_H2 &&
	    why->code == (chain->hops[0].starts ? HB_E_RST(10) : HB_E_RST(8)))
		return NULL;
	return "not what ended first";
}

static void judge(const struct chain *chain, const struct run *run)
{
	const char *wrong = NULL;

	for (int i = 0; i < 2 && !wrong; i++) {
		wrong = app_wrong(chain, i, run->stall);
		if (!wrong && (i == 0 || chain->tunnelled))
			wrong = hop_wrong(chain, (unsigned)i, run);
	}
	ck_assert_msg(!wrong, "%s, %s at byte %llu to end %d of %s, split %u: %s (%s; %s)",
	              chain->tunnelled ? "tunnelled" : "direct", run->stall ? "stalled" : "cut",
	              (unsigned long long)run->at, run->to, wire_names[run->wire], run->split,
	              wrong, hb_strerror(chain->hops[0].why.code),
	              hb_strerror(chain->hops[1].why.code));
}

static void try_run(struct hb_loop *loop, bool tunnelled, const struct run *run)
{
	struct chain chain;
	struct hb_stream *to;

	chain_up(&chain, loop, tunnelled);
	to = chain.wires[run->wire][run->to];
	for (int w = 0; w < WIRES; w++)
		for (int i = 0; i < 2; i++)
			if (chain.wires[w][i])
				pair_split(chain.wires[w][i], run->split);
	if (run->stall)
		pair_stall_at(to, run->at);
	else
		pair_cut(to, run->at);
	if (run->stall && !play(&chain, QUIET))
		pair_stall(to, false);
	if (!play(&chain, TURNS))
		ck_abort_msg("%s, %s at byte %llu to end %d of %s: it never ends",
		             tunnelled ? "tunnelled" : "direct", run->stall ? "stalled" : "cut",
		             (unsigned long long)run->at, run->to, wire_names[run->wire]);
	judge(&chain, run);
	if (tunnelled)
		link_down(&chain.link);
	for (int i = 0; i < 2; i++)
		probe_done(&chain.apps[i].probe);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
}

/* Bytes that come through each wire when nothing is done to it. */
static void count(void *owner, const uint8_t *what, size_t len)
{
	*(uint64_t *)owner += len;
}

static void measure(struct hb_loop *loop, bool tunnelled, uint64_t told[WIRES][2])
{
	struct chain chain;

	chain_up(&chain, loop, tunnelled);
	for (int w = 0; w < WIRES; w++)
		for (int i = 0; i < 2; i++)
			if (chain.wires[w][i])
				pair_tap(chain.wires[w][i], count, &told[w][i]);
	ck_assert_msg(play(&chain, TURNS), "undisturbed, it never ends");
	judge(&chain, &(struct run){ .stall = true });
	if (tunnelled)
		link_down(&chain.link);
	for (int i = 0; i < 2; i++)
		probe_done(&chain.apps[i].probe);
}

/* Bit 0: tunnelled; bit 1: stalled, not cut; bit 2: byte by byte. */
START_TEST(disturbed_at_every_byte)
{
	struct run run = { .stall = _i & 2, .split = _i & 4 ? 1 : 0 };
	struct hb_loop *loop = test_loop_new(NULL);
	uint64_t told[WIRES][2] = { 0 };
	unsigned fds, runs = 0;
	size_t held = 0;

	ck_assert_ptr_nonnull(loop);
	measure(loop, _i & 1, told);
	fds = held_fds();
	for (run.wire = 0; run.wire < WIRES; run.wire++) {
		for (run.to = 0; run.to < 2; run.to++) {
			if (run.wire == TUNNEL_WIRE && !(_i & 1))
				continue;
			for (run.at = 0; run.at <= told[run.wire][run.to]; run.at++) {
				try_run(loop, _i & 1, &run);
				runs++;
			}
			if (!held)
				held = held_bytes(loop);
		}
	}
	ck_assert_uint_eq(held_fds(), fds);
	ck_assert_uint_le(held_bytes(loop), held + KEPT_BYTES);
	hb_loop_free(loop);
	printf("%s, %s, split %u: %u runs\n", _i & 1 ? "tunnelled" : "direct",
	       run.stall ? "stalled" : "cut", run.split, runs);
	fflush(stdout);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("relay");
	TCase *tc = tcase_create("every byte");
	SRunner *runner = srunner_create(suite);
	int failed;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 1);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, disturbed_at_every_byte, 0, 8);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
