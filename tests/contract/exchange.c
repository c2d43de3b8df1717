/*
 * exchange: plays it, and judges how it ended.
 */
#include "contract/exchange.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum tunnel { BOTH_FINISH, REFUSED, SERVER_FIRST };

static const uint8_t *words(void)
{
	static uint8_t bytes[1024];

	for (size_t i = 0; i < sizeof(bytes) && !bytes[1]; i++)
		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (uint8_t)(j * 7 + 1);
	return bytes;
}

static void on_request(struct link *link, struct hb_stream *stream)
{
	struct link_end *server = &link->ends[HB_H2_SERVER];
	unsigned i = server->streams_count++;

	ck_assert_uint_lt(i, EXCHANGE_TUNNELS);
	probe_init(&server->streams[i], stream);
	if (i == REFUSED) {
		hb_tunnel_refuse(stream, 503);
		return;
	}
	hb_tunnel_accept(stream, "k8s.cluster.name=here");
	probe_resume(&server->streams[i]);
}

struct link *exchange_bottom(struct exchange *x)
{
	return x->is_double ? &x->outer : &x->link;
}

static void on_outer_request(struct link *outer, struct hb_stream *stream)
{
	struct exchange *x = outer->owner;

	hb_tunnel_accept(stream, "");
	link_end_up(&x->link, HB_H2_SERVER, stream);
}

void exchange_up(struct exchange *x, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
                 bool is_double)
{
	struct link *bottom;

	memset(x, 0, sizeof(*x));
	x->len[HB_H2_CLIENT] = 60;
	x->len[HB_H2_SERVER] = 90;
	x->is_double = is_double;
	link_init(&x->link, loop, ctxs, NULL);
	bottom = exchange_bottom(x);
	link_up(bottom, loop, ctxs, NULL);
	for (int i = 0; i < 2; i++)
		pair_linger(bottom->ends[i].wire, 60000); /* longer than any stall */
	x->outer.on_request = on_outer_request;
	x->outer.owner = x;
	x->link.on_request = on_request;
}

/* Double: asks for the outer tunnel, begins in it, and ends it when all within is over. */
static void act_outside(struct exchange *x)
{
	struct link_end *client = &x->outer.ends[HB_H2_CLIENT];
	struct link_end *inner = x->link.ends;

	if (client->streams_count == 0 && !inner[HB_H2_CLIENT].wire)
		x->asked = link_open(&x->outer);
	if (x->asked && x->asked->opens && x->asked->stream) {
		struct hb_stream *stream = hb_take(&x->asked->stream);

		hb_stream_pause(stream);
		client->streams_count = 0;
		x->asked = NULL;
		link_end_up(&x->link, HB_H2_CLIENT, stream);
	}
	if (inner[HB_H2_CLIENT].closes && client->h2)
		hb_h2_drain(client->h2);
	/* An end that was never begun has ended as well. */
	for (int i = 0; i < 2 && link_is_over(&x->outer); i++)
		if (!inner[i].wire && !inner[i].closes) {
			inner[i].closes = 1;
			inner[i].why = x->outer.ends[i].why;
		}
}

bool exchange_is_over(const struct exchange *x)
{
	return link_is_over(&x->link) && (!x->is_double || link_is_over(&x->outer));
}

static bool is_open(const struct exchange *x, int role, unsigned i)
{
	const struct probe *probe = &x->link.ends[role].streams[i];

	return probe->stream && i != REFUSED && (role == HB_H2_SERVER || probe->opens);
}

static void speak(struct exchange *x, int role, unsigned i)
{
	struct exchange_side *did = &x->did[role][i];
	struct probe *probe = &x->link.ends[role].streams[i];
	bool last = i == SERVER_FIRST ? role == HB_H2_CLIENT : role == HB_H2_SERVER;

	if (!is_open(x, role, i))
		return;
	if (!did->wrote) {
		probe_write(probe, x->link.loop, words(), x->len[role], 37);
		did->wrote = true;
	} else if (!did->finished && (!last || probe->finishes)) {
		probe_finish(probe);
		did->finished = true;
	} else if (did->finished && probe->finishes && !did->closed) {
		probe_close(probe, HB_END_CLEAN);
		did->closed = true;
	}
}

/* One step of each owner, as a relay on either side would make it. */
static void act(struct exchange *x)
{
	struct link_end *client = &x->link.ends[HB_H2_CLIENT];
	unsigned over = 0;

	if (x->is_double)
		act_outside(x);
	for (unsigned i = client->streams_count; client->h2 && i < EXCHANGE_TUNNELS; i++)
		if (!link_open(&x->link))
			break;
	for (unsigned i = 0; i < client->streams_count; i++) {
		speak(x, HB_H2_CLIENT, i);
		over += client->streams[i].closes;
	}
	for (unsigned i = 0; i < x->link.ends[HB_H2_SERVER].streams_count; i++)
		speak(x, HB_H2_SERVER, i);
	if (client->h2 && over == EXCHANGE_TUNNELS)
		hb_h2_drain(client->h2); /* as the pool does with an idle one */
}

bool exchange_play(struct exchange *x, unsigned turns)
{
	for (unsigned i = 0; i < turns && !exchange_is_over(x); i++) {
		turn_some(x->link.loop, 1);
		act(x);
	}
	return exchange_is_over(x);
}

static const char *stream_wrong(const struct exchange *x, int role, unsigned i, bool whole)
{
	const struct probe *probe = &x->link.ends[role].streams[i];
	size_t due = x->len[!role];
	bool both = x->did[role][i].finished && probe->finishes;

	if (probe->broken)
		return probe->broken;
	if (probe->closes != 1)
		return "not one end";
	if (probe->finishes && (probe->len != due || memcmp(probe->data, words(), due) != 0))
		return "a truncated transfer looks finished";
	if (memcmp(probe->data ? probe->data : words(), words(), probe->len) != 0)
		return "wrong bytes";
	if (probe->end.code == 0 && !both)
		return "a clean end that was not";
	if (whole && i == REFUSED && probe->end.code != HB_E_STATUS(503))
		return "not refused";
	if (whole && i != REFUSED && !(both && probe->end.code == 0))
		return "not clean";
	return NULL;
}

const char *exchange_wrong(const struct exchange *x, bool whole)
{
	for (int role = 0; role < 2; role++) {
		const struct link_end *end = &x->link.ends[role];

		if (end->closes != 1)
			return "the connection has no end";
		if (whole && (end->streams_count != EXCHANGE_TUNNELS || end->why.code != 0))
			return "the connection did not end cleanly";
		for (unsigned i = 0; i < end->streams_count; i++) {
			const char *wrong = stream_wrong(x, role, i, whole);

			if (wrong)
				return wrong;
		}
	}
	return NULL;
}

void exchange_down(struct exchange *x)
{
	link_down(&x->link);
	if (x->is_double)
		link_down(&x->outer);
}
