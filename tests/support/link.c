/*
 * link: two ends of HTTP/2 in one loop.
 */
#include "support/link.h"

#include <check.h>
#include <string.h>

#include "support/tls_rig.h"

void link_ctxs_new(struct hb_tls_ctx *ret_ctxs[2])
{
	struct testca *ca = testca_new("link");

	ret_ctxs[HB_TLS_CLIENT] =
	    rig_ctx(ca, &(struct testca_leaf){ .san = "URI:" LINK_CLIENT }, testca_pem(ca));
	ret_ctxs[HB_TLS_SERVER] =
	    rig_ctx(ca, &(struct testca_leaf){ .san = "URI:" LINK_SERVER }, testca_pem(ca));
	testca_free(ca);
}

/* ---- h2 ---- */

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct link_end *end = hb_h2_owner(h2);
	struct link *link = end->link;

	if (link->on_request) {
		link->on_request(link, stream);
		return;
	}
	ck_assert_uint_lt(end->streams_count, LINK_STREAMS);
	probe_init(&end->streams[end->streams_count++], stream);
	if (link->answer == 200) {
		hb_tunnel_accept(stream, "");
		hb_stream_resume(stream);
	} else if (link->answer) {
		hb_tunnel_refuse(stream, link->answer);
	}
}

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct link_end *end = hb_h2_owner(h2);

	end->closes++;
	end->why = why;
	end->h2 = NULL;
	end->tls = NULL;
	hb_h2_free(h2);
}

static const struct hb_h2_events h2_events = { .on_request = on_request, .on_closed = on_closed };

static void h2_up(struct link_end *end, struct hb_stream *lower)
{
	struct hb_h2_options options = end->link->options[end->role];

	options.role = end->role;
	end->h2 = hb_h2_new(end->link->loop, lower, &options, &h2_events, end);
	ck_assert_ptr_nonnull(end->h2);
}

/* ---- tls ---- */

static void tls_on_open(struct hb_stream *tls)
{
	h2_up(tls->owner, tls);
}

static void tls_on_closed(struct hb_stream *tls, struct hb_end why)
{
	struct link_end *end = tls->owner;

	end->closes++;
	end->why = why;
	end->tls = NULL;
	hb_stream_free(tls);
}

static const struct hb_stream_events tls_events = {
	.on_open = tls_on_open,
	.on_closed = tls_on_closed,
};

static void tls_up(struct link_end *end)
{
	static const char *const server = LINK_SERVER;
	enum hb_tls_role role = end->role == HB_H2_CLIENT ? HB_TLS_CLIENT : HB_TLS_SERVER;
	struct hb_tls_options options = {
		.role = role,
		.ctx = end->link->ctxs[role],
		.identities = &server,
		.identities_count = 1,
	};

	end->tls = hb_tls_new(end->link->loop, end->wire, &options);
	ck_assert_ptr_nonnull(end->tls);
	end->tls->owner = end;
	end->tls->events = &tls_events;
}

/* ---- the link ---- */

void link_init(struct link *link, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
               const struct hb_h2_options *options)
{
	memset(link, 0, sizeof(*link));
	link->loop = loop;
	link->ctxs = ctxs;
	link->answer = 200;
	for (int i = 0; i < 2; i++) {
		link->ends[i].link = link;
		link->ends[i].role = (enum hb_h2_role)i;
		if (options)
			link->options[i] = *options;
	}
}

void link_end_up(struct link *link, enum hb_h2_role role, struct hb_stream *wire)
{
	struct link_end *end = &link->ends[role];

	end->wire = wire;
	if (link->ctxs)
		tls_up(end);
	else
		h2_up(end, wire);
}

void link_up(struct link *link, struct hb_loop *loop, struct hb_tls_ctx *const *ctxs,
             const struct hb_h2_options *options)
{
	struct hb_stream *wires[2];

	link_init(link, loop, ctxs, options);
	pair_new(loop, wires);
	for (int i = 0; i < 2; i++) {
		pair_linger(wires[i], 50);
		link_end_up(link, (enum hb_h2_role)i, wires[i]);
	}
}

bool link_wait_ready(struct link *link)
{
	for (unsigned i = 0; i < 200 && (!link->ends[0].h2 || !link->ends[1].h2); i++)
		turn_some(link->loop, 1);
	return link->ends[0].h2 && link->ends[1].h2;
}

struct probe *link_open(struct link *link)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };
	struct link_end *client = &link->ends[HB_H2_CLIENT];
	struct probe *probe = &client->streams[client->streams_count];
	struct hb_stream *stream = client->h2 ? hb_tunnel_open(client->h2, &request) : NULL;

	if (!stream)
		return NULL;
	ck_assert_uint_lt(client->streams_count, LINK_STREAMS);
	client->streams_count++;
	probe_init(probe, stream);
	probe_resume(probe);
	return probe;
}

bool link_is_over(const struct link *link)
{
	for (int i = 0; i < 2; i++) {
		const struct link_end *end = &link->ends[i];

		if (!end->closes)
			return false;
		for (unsigned j = 0; j < end->streams_count; j++)
			if (end->streams[j].stream)
				return false;
	}
	return true;
}

static void close_end(struct link_end *end, struct hb_end why)
{
	if (end->h2)
		hb_h2_close(end->h2, why);
	else if (end->tls)
		hb_stream_close(end->tls, why);
}

void link_down(struct link *link)
{
	for (int i = 0; i < 2; i++)
		close_end(&link->ends[i], hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
	for (unsigned i = 0; i < 500 && !link_is_over(link); i++)
		turn_some(link->loop, 1);
	ck_assert_msg(link_is_over(link), "something never ends");
	for (int i = 0; i < 2; i++) {
		struct link_end *end = &link->ends[i];

		ck_assert_uint_eq(end->closes, 1);
		for (unsigned j = 0; j < end->streams_count; j++) {
			ck_assert_msg(!end->streams[j].broken, "%s stream %u: %s",
			              i == HB_H2_CLIENT ? "client" : "server", j,
			              end->streams[j].broken);
			ck_assert_uint_eq(end->streams[j].closes, 1);
			probe_done(&end->streams[j]);
		}
	}
}
