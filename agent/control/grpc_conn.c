/*
 * grpc_conn: one connection of a channel.
 *
 *   BEGUN --name--> RESOLVING --addresses--> DIALLING --connected--> SHAKING --certificate--> OPEN
 *     '---address in the URL------------------^  '-refused: the next      |                     |
 *                                                 | time, none left       | refused             |
 *                                                 v                       v                     v
 *                        gone; those who wait are told the reason         gone, with its calls
 */
#include "control/grpc_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>

#define SHARE_MIN_MS 250u /* of the time to connect, for one address */
#define LINGER_MS    500u /* for the server's answer to our end */

static const struct hb_tcp_options tcp = {
	.read_max = HB_BUF_PAYLOAD,
	.keepalive_idle_s = 300, /* reference/controlplane 2.1 */
	.keepalive_interval_s = 75,
	.keepalive_probes = 9,
	.linger_ms = LINGER_MS,
};

void grpc_conn_retire(struct grpc_conn *conn)
{
	if (conn->channel->current == conn)
		conn->channel->current = NULL;
}

static void conn_free(struct grpc_conn *conn)
{
	struct grpc_channel *channel = conn->channel;

	grpc_conn_retire(conn);
	hb_loop_timer_stop(channel->loop, &conn->timer);
	hb_list_remove(&conn->node);
	hb_tls_ctx_unref(conn->tls_ctx);
	free(conn);
	grpc_channel_look(channel);
}

/* It never opened. */
static void fail(struct grpc_conn *conn, const char *reason)
{
	struct grpc_channel *channel = conn->channel;
	const struct grpc_target *target = &channel->settings.target;
	char why[GRPC_WHY_SIZE], peer[HB_ADDR_STRLEN] = "";

	if (conn->state >= CONN_DIALLING && !target->is_address)
		hb_addr_format(&conn->peer, peer, sizeof(peer));
	snprintf(why, sizeof(why), "could not connect to %s%s%s%s: %s", target->authority,
	         *peer ? " (" : "", peer, *peer ? ")" : "", reason);
	if (channel->current == conn)
		grpc_channel_fail_waiting(channel, GRPC_END_CONNECT, why);
	conn_free(conn);
}

/* ---- HTTP/2 ---- */

static uint32_t idle_ms(const struct grpc_settings *settings)
{
	/* No PING goes meanwhile: without a call that is against the server's rules. */
	return hb_min_u32(GRPC_IDLE_MS, settings->keepalive_ms);
}

/* Those who waited for room on it are told: only a new call makes a new connection. */
static void leave(struct grpc_conn *conn, enum grpc_kind kind, const char *what)
{
	struct grpc_channel *channel = conn->channel;
	char why[GRPC_WHY_SIZE];

	if (channel->current != conn)
		return;
	snprintf(why, sizeof(why), "%s: %s", channel->settings.target.authority, what);
	grpc_channel_fail_waiting(channel, kind, why);
	grpc_conn_retire(conn);
}

static void on_change(struct hb_h2 *h2)
{
	struct grpc_conn *conn = hb_h2_owner(h2);
	struct grpc_channel *channel = conn->channel;

	if (hb_h2_streams(h2) > 0)
		hb_loop_timer_stop(channel->loop, &conn->timer);
	else if (!hb_timer_is_running(&conn->timer))
		hb_loop_timer_start(channel->loop, &conn->timer, idle_ms(&channel->settings));
	if (hb_h2_is_draining(h2))
		leave(conn, GRPC_END_GOAWAY, "lets its connections go");
	grpc_channel_look(channel);
}

static void on_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct grpc_conn *conn = hb_h2_owner(h2);

	leave(conn, GRPC_END_LOST, why.code ? hb_strerror(why.code) : "ended the connection");
	hb_h2_free(h2);
	conn_free(conn);
}

static const struct hb_h2_events h2_events = { .on_change = on_change, .on_closed = on_closed };

static void open_h2(struct grpc_conn *conn, struct hb_stream *lower)
{
	struct grpc_channel *channel = conn->channel;
	const struct grpc_settings *settings = &channel->settings;
	struct hb_h2_options options = {
		.role = HB_H2_CLIENT,
		.stream_window = settings->window,
		.connection_window = 4 * settings->window,
		.grown_max = 4 * settings->window,
		.header_list_max = 65536,
		.ping_interval_ms = settings->keepalive_ms,
		.ping_timeout_ms = settings->keepalive_timeout_ms,
		.ping_streams_only = true,
		.linger_ms = LINGER_MS,
	};

	conn->h2 = hb_h2_new(channel->loop, lower, &options, &h2_events, conn);
	if (!conn->h2) {
		fail(conn, "no memory");
		return;
	}
	conn->state = CONN_OPEN;
	hb_loop_timer_start(channel->loop, &conn->timer, idle_ms(settings));
	grpc_channel_look(channel);
}

/* ---- TLS ---- */

static void tls_on_open(struct hb_stream *s)
{
	struct grpc_conn *conn = s->owner;

	conn->tls = NULL;
	open_h2(conn, s);
}

static void say_tls(const struct grpc_settings *settings, struct hb_end why, char *out, size_t size)
{
	if (why.code == HB_E_PEER_IDENTITY)
		snprintf(out, size, "the server's certificate does not name %s%s%s",
		         settings->target.host, settings->alt_host ? " or " : "",
		         settings->alt_host ? settings->alt_host : "");
	else if (why.layer == HB_LAYER_TLS)
		snprintf(out, size, "TLS: %s", hb_strerror(why.code));
	else
		snprintf(out, size, "%s",
		         why.code ? hb_strerror(why.code) : "the server ended the connection");
}

static void tls_on_closed(struct hb_stream *s, struct hb_end why)
{
	struct grpc_conn *conn = s->owner;
	char reason[GRPC_WHY_SIZE - 400];

	hb_stream_free(s);
	conn->tls = NULL;
	conn->channel->turn++; /* another address may do better */
	say_tls(&conn->channel->settings, why, reason, sizeof(reason));
	fail(conn, reason);
}

static const struct hb_stream_events tls_events = {
	.on_open = tls_on_open,
	.on_closed = tls_on_closed,
};

static void shake(struct grpc_conn *conn, int fd)
{
	struct grpc_channel *channel = conn->channel;
	const struct grpc_settings *settings = &channel->settings;
	struct hb_tls_options options = {
		.role = HB_TLS_CLIENT,
		.ctx = conn->tls_ctx,
		.host = settings->target.host,
		.alt_host = settings->alt_host,
		.handshake_ms = settings->handshake_ms,
	};
	struct hb_stream *stream = hb_tcp_new(channel->loop, fd, &tcp);

	hb_loop_timer_stop(channel->loop, &conn->timer);
	conn->tls = stream ? hb_tls_new(channel->loop, stream, &options) : NULL;
	if (!conn->tls) {
		fail(conn, "no memory");
		return;
	}
	conn->state = CONN_SHAKING;
	conn->tls->events = &tls_events;
	conn->tls->owner = conn;
}

/* ---- TCP ---- */

static void dial_next(struct grpc_conn *conn, int err);

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct grpc_conn *conn = hb_container_of(dial, struct grpc_conn, dial);

	if (fd >= 0 && conn->gone) {
		close(fd);
		fd = -ECANCELED;
	}
	if (fd >= 0)
		shake(conn, fd);
	else if (conn->gone)
		conn_free(conn);
	else
		dial_next(conn, fd);
}

/* Each address gets an even share of the time that is left. @err: why the one before did not do. */
static void dial_next(struct grpc_conn *conn, int err)
{
	struct hb_loop *loop = conn->channel->loop;
	uint64_t now_ms = hb_loop_now_ms(loop);

	while (conn->tried < conn->ips_count && conn->due_ms > now_ms) {
		size_t left = conn->ips_count - conn->tried;
		size_t at = (conn->tried++ + conn->channel->turn) % conn->ips_count;
		uint32_t rest_ms = (uint32_t)(conn->due_ms - now_ms);
		uint32_t share_ms = rest_ms / (uint32_t)left;
		int fd;

		conn->peer.ip = conn->ips[at];
		fd = socket(hb_ip_is_v4(&conn->peer.ip) ? AF_INET : AF_INET6,
		            SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			err = -errno;
			continue;
		}
		conn->state = CONN_DIALLING;
		if (share_ms < SHARE_MIN_MS)
			share_ms = hb_min_u32(SHARE_MIN_MS, rest_ms);
		hb_dial_start(&conn->dial, loop, fd, &conn->peer, share_ms, on_dialled);
		return;
	}
	fail(conn, strerror(-err));
}

/* ---- the name, and the beginning ---- */

static void on_resolved(void *asker, const struct hb_ip *ips, size_t count, const char *why)
{
	struct grpc_conn *conn = asker;
	char reason[GRPC_WHY_SIZE - 400];

	if (count == 0) {
		snprintf(reason, sizeof(reason), "the name cannot be resolved: %s",
		         why ? why : "no addresses");
		fail(conn, reason);
		return;
	}
	conn->ips_count = hb_min_size(count, GRPC_ADDRESSES);
	memcpy(conn->ips, ips, conn->ips_count * sizeof(*ips));
	dial_next(conn, -ETIMEDOUT);
}

static void begin(struct grpc_conn *conn)
{
	struct grpc_channel *channel = conn->channel;
	const struct grpc_settings *settings = &channel->settings;
	const struct grpc_target *target = &settings->target;
	char why[GRPC_WHY_SIZE - 400];
	int err;

	if (channel->make_lower) {
		open_h2(conn, channel->make_lower(channel->make_lower_ctx));
		return;
	}
	if (grpc_roots(settings, &conn->tls_ctx, why, sizeof(why)) < 0) {
		fail(conn, why);
		return;
	}
	conn->due_ms = hb_loop_now_ms(channel->loop) + settings->connect_ms;
	conn->peer.port = target->addr.port;
	hb_loop_timer_start(channel->loop, &conn->timer, settings->connect_ms);
	if (target->is_address) {
		on_resolved(conn, &target->addr.ip, 1, NULL);
		return;
	}
	conn->state = CONN_RESOLVING;
	err = settings->resolver.resolve(settings->resolver.ctx, target->host, on_resolved, conn);
	if (err < 0) {
		conn->state = CONN_BEGUN;
		fail(conn, strerror(-err));
	}
}

static void on_time(struct hb_timer *timer)
{
	struct grpc_conn *conn = hb_container_of(timer, struct grpc_conn, timer);
	const struct grpc_resolver *resolver = &conn->channel->settings.resolver;

	switch (conn->state) {
	case CONN_BEGUN: /* the turn after it was asked for */
		begin(conn);
		break;
	case CONN_RESOLVING:
		resolver->forget(resolver->ctx, conn);
		fail(conn, "the name was not resolved in time");
		break;
	case CONN_OPEN: /* nobody has called for long */
		grpc_conn_retire(conn);
		hb_h2_drain(conn->h2);
		break;
	case CONN_DIALLING: /* the dial has its own time, which ends no later */
	case CONN_SHAKING:
		break;
	}
}

bool grpc_conn_start(struct grpc_channel *channel)
{
	struct grpc_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return false;
	conn->channel = channel;
	hb_timer_init(&conn->timer, on_time);
	hb_list_add(&channel->conns, &conn->node);
	channel->current = conn;
	hb_loop_timer_start(channel->loop, &conn->timer, 0);
	return true;
}

void grpc_conn_close(struct grpc_conn *conn)
{
	const struct grpc_resolver *resolver = &conn->channel->settings.resolver;

	conn->gone = true;
	grpc_conn_retire(conn);
	switch (conn->state) {
	case CONN_RESOLVING:
		resolver->forget(resolver->ctx, conn);
		conn_free(conn);
		break;
	case CONN_BEGUN:
		conn_free(conn);
		break;
	case CONN_DIALLING:
		hb_dial_cancel(&conn->dial);
		break;
	case CONN_SHAKING:
		hb_stream_close(conn->tls, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
		break;
	case CONN_OPEN:
		hb_h2_close(conn->h2, HB_END_CLEAN);
		break;
	}
}
