/*
 * client: what comes from stdin, a connected socket, goes through an HBONE tunnel, and back.
 *   client PEER:PORT CERTIFICATES KEY ROOTS PEER-IDENTITY AUTHORITY      (PEM files)
 */
#include <hbone/pool.h>
#include <hbone/relay.h>
#include <stdio.h>
#include <string.h>

static struct hb_loop *loop;
static struct hb_pool *pool;
static struct hb_relay relay; /* between the tunnel and stdin */
static struct hb_end end;
static void on_empty(void *owner)
{
	hb_loop_stop(loop);
}
static void on_done(struct hb_relay *done, struct hb_end why)
{
	end = why;
	hb_pool_drain(pool, on_empty, NULL); /* the peer is told goodbye */
}
static struct hb_relay_group group = { .on_done = on_done };
static void on_tunnel(struct hb_pool_wait *wait, struct hb_stream *tunnel, const char *peer,
                      struct hb_end why)
{
	struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX };
	struct hb_stream *app = tunnel ? hb_tcp_new(loop, STDIN_FILENO, &options) : NULL;

	if (app)
		hb_relay_start(&relay, loop, app, tunnel, 0, &group);
	else if (tunnel)
		exit(2); /* no memory */
	else
		on_done(&relay, why);
}

int main(int argc, char **argv)
{
	char why[256] = "usage: client PEER:PORT CERTIFICATES KEY ROOTS PEER-IDENTITY AUTHORITY";
	struct hb_pool_key key = { .peers = (const char *const *)&argv[5], .peers_count = 1 };
	struct hb_pool_wait wait = { .on_tunnel = on_tunnel };
	struct hb_tls_ctx *ctx;

	if (argc != 7 || hb_addr_parse(argv[1], strlen(argv[1]), &key.dst) < 0 ||
	    hb_tls_ctx_load(argv[2], argv[3], argv[4], &ctx, why, sizeof(why)) < 0)
		return fprintf(stderr, "client: %s\n", why), 1;
	key.identity = hb_tls_ctx_identity(ctx);
	loop = hb_loop_new(NULL);
	pool = loop ? hb_pool_new(loop, &(struct hb_pool_options){ 0 }) : NULL;
	if (!pool)
		return perror("client"), 1;
	hb_pool_get(pool, &wait, &key, ctx, &(struct hb_tunnel_request){ .authority = argv[6] });
	hb_loop_run(loop);
	hb_pool_free(pool);
	hb_tls_ctx_unref(ctx);
	hb_loop_free(loop);
	fprintf(stderr, "client: %s\n", hb_strerror(end.code));
	return end.code != 0;
}
