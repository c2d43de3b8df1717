/*
 * serve: HANDSHAKE (tls is set) --peer proven--> SERVING (h2 is set) --> on_end, freed.
 */
#include <hbone/serve.h>

struct hb_serve {
	struct hb_serve_options options;
	struct hb_loop *loop;
	struct hb_stream *tls; /* lives below h2, too */
	struct hb_h2 *h2;      /* NULL: the handshake is not done */
};

/* Last: the owner hears no more of it. */
static void end(struct hb_serve *serve, struct hb_end why)
{
	if (serve->options.on_end)
		serve->options.on_end(serve->options.owner, why);
	free(serve);
}

static void on_request(struct hb_h2 *h2, struct hb_stream *tunnel)
{
	struct hb_serve *serve = hb_h2_owner(h2);
	struct hb_tunnel_authority to;
	int status = hb_tunnel_request_parse(tunnel, &to);

	if (status) {
		tunnel->events = &hb_stream_orphan_events;
		hb_tunnel_refuse(tunnel, status);
	} else {
		serve->options.on_tunnel(serve->options.owner, tunnel, &to,
		                         hb_tls_peer_identity(serve->tls));
	}
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct hb_serve *serve = hb_h2_owner(h2);

	hb_h2_free(h2);
	end(serve, why);
}

static const struct hb_h2_events h2_events = {
	.on_request = on_request,
	.on_closed = on_h2_closed,
};

static void on_tls_open(struct hb_stream *tls)
{
	struct hb_serve *serve = tls->owner;

	serve->options.h2.role = HB_H2_SERVER;
	serve->h2 = hb_h2_new(serve->loop, tls, &serve->options.h2, &h2_events, serve);
	if (!serve->h2)
		end(serve, hb_end(HB_LAYER_H2, HB_SIDE_US, -ENOMEM));
}

static void on_tls_closed(struct hb_stream *tls, struct hb_end why)
{
	struct hb_serve *serve = tls->owner;

	hb_stream_free(tls);
	end(serve, why);
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_closed = on_tls_closed,
};

struct hb_serve *hb_serve_new(struct hb_loop *loop, int fd, const struct hb_serve_options *options)
{
	static const struct hb_tcp_options tcp_default = { .read_max = HB_BUF_PAYLOAD };
	struct hb_serve *serve = calloc(1, sizeof(*serve));
	struct hb_tls_options tls = {
		.role = HB_TLS_SERVER,
		.ctx = options->ctx,
		.crls = options->crls,
	};
	struct hb_stream *tcp;

	if (!serve) {
		close(fd);
		return NULL;
	}
	serve->options = *options;
	serve->loop = loop;
	tcp = hb_tcp_new(loop, fd, options->tcp ? options->tcp : &tcp_default);
	serve->tls = tcp ? hb_tls_new(loop, tcp, &tls) : NULL;
	if (!serve->tls) {
		free(serve);
		return NULL;
	}
	serve->tls->owner = serve;
	serve->tls->events = &tls_events;
	return serve;
}

void hb_serve_drain(struct hb_serve *serve)
{
	if (serve->h2)
		hb_h2_drain(serve->h2);
	else
		hb_stream_close(serve->tls, hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_DRAIN));
}

void hb_serve_close(struct hb_serve *serve, struct hb_end why)
{
	if (serve->h2)
		hb_h2_close(serve->h2, why);
	else
		hb_stream_close(serve->tls, why);
}
