/*
 * server: takes HBONE tunnels from whoever has a certificate of its trust domain, and echoes.
 *   server ADDRESS:PORT CERTIFICATES KEY ROOTS        (PEM files)
 */
#include <hbone/serve.h>
#include <stdio.h>
#include <string.h>

static struct hb_loop *loop;
static struct hb_serve_options options;

static void on_closed(struct hb_stream *tunnel, struct hb_end why)
{
	fprintf(stderr, "server: tunnel ended: %s\n", hb_strerror(why.code));
	hb_stream_free(tunnel);
}

static const struct hb_stream_events echo = {
	.on_data = hb_stream_write, /* bytes change owner, and go back as they came */
	.on_finish = hb_stream_finish,
	.on_full = hb_stream_pause, /* who does not read the echo is not read from */
	.on_drained = hb_stream_resume,
	.on_closed = on_closed,
};

/* A proxy would look at @to, decide whether @peer may, dial it and relay. */
static void on_tunnel(void *owner, struct hb_stream *tunnel, const struct hb_tunnel_authority *to,
                      const char *peer)
{
	fprintf(stderr, "server: tunnel from %s\n", peer);
	tunnel->events = &echo;
	hb_tunnel_accept(tunnel, NULL);
	hb_stream_resume(tunnel);
}

static void on_accept(struct hb_accept *accept, int fd)
{
	if (fd >= 0)
		hb_serve_new(loop, fd, &options);
}

int main(int argc, char **argv)
{
	char why[256] = "usage: server ADDRESS:PORT CERTIFICATES KEY ROOTS";
	struct hb_accept accept;
	struct hb_addr addr;
	int fd = -1;

	options.on_tunnel = on_tunnel;
	if (argc == 5 && hb_addr_parse(argv[1], strlen(argv[1]), &addr) == 0 &&
	    hb_tls_ctx_load(argv[2], argv[3], argv[4], &options.ctx, why, sizeof(why)) == 0)
		fd = hb_tcp_listen(&addr);
	loop = fd < 0 ? NULL : hb_loop_new(NULL);
	if (!loop)
		return fprintf(stderr, "server: %s\n", why), 1;
	hb_loop_accept(loop, &accept, fd, on_accept);
	return hb_loop_run(loop) < 0;
}
