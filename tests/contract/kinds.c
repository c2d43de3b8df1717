/*
 * kinds: makes streams of every kind.
 */
#include "contract/kinds.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>

#include "support/any_loop.h"
#include "support/held.h"

/* clang-format off */
const struct kind kinds[] = {
	{ "pair",              OVER_PAIR, PLAIN,         true,  { false, false } },
	{ "unix socket",       OVER_UNIX, PLAIN,         false, { false, false } },
	{ "tcp",               OVER_TCP,  PLAIN,         true,  { false, false } },
	{ "tls over a pair",   OVER_PAIR, TLS,           true,  { false, false } },
	{ "tls over tcp",      OVER_TCP,  TLS,           true,  { false, false } },
	{ "tunnel",            OVER_PAIR, TUNNEL,        true,  { false, true } },
	{ "tunnel in tls",     OVER_PAIR, TUNNEL_IN_TLS, true,  { false, true } },
	{ "double HBONE",      OVER_PAIR, DOUBLE,        true,  { false, true } },
};
/* clang-format on */
const unsigned kinds_count = HB_ARRAY_LEN(kinds);

static void connected_tcp(int ret_fds[2])
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 65536;

	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(ret_fds[0], 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	ck_assert_int_eq(connect(ret_fds[0], (struct sockaddr *)&to, len), 0);
	ret_fds[1] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(ret_fds[1], 0);
	close(fd);
	/* What is fixed does not grow under the test's feet. */
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
		                 0);
		ck_assert_int_eq(setsockopt(ret_fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)),
		                 0);
	}
}

static void bottom_up(struct ends *ends, struct hb_stream *ret[2])
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = ends->linger_ms };
	int fds[2];

	if (ends->kind->bottom == OVER_PAIR) {
		pair_new(ends->loop, ret);
		pair_linger(ret[0], ends->linger_ms);
		pair_linger(ret[1], ends->linger_ms);
		return;
	}
	if (ends->kind->bottom == OVER_UNIX)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		connected_tcp(fds);
	for (int i = 0; i < 2; i++) {
		ret[i] = hb_tcp_new(ends->loop, fds[i], &tcp);
		ck_assert_ptr_nonnull(ret[i]);
	}
}

static void tls_up(struct ends *ends, struct hb_stream *stream[2])
{
	static const char *const server = LINK_SERVER;

	for (int i = 0; i < 2; i++) {
		struct hb_tls_options options = {
			.role = (enum hb_tls_role)i,
			.ctx = ends->ctxs[i],
			.identities = &server,
			.identities_count = 1,
		};

		stream[i] = hb_tls_new(ends->loop, stream[i], &options);
		ck_assert_ptr_nonnull(stream[i]);
	}
}

/* Both ends of a tunnel through @outer, without the probes that saw it open. */
static void outer_up(struct ends *ends, const struct hb_h2_options *options,
                     struct hb_stream *ret_wires[2])
{
	struct link *outer = &ends->outer;
	struct probe *probe;

	link_up(outer, ends->loop, ends->ctxs, options);
	for (int i = 0; i < 2; i++)
		pair_linger(outer->ends[i].wire, ends->linger_ms);
	ck_assert(link_wait_ready(outer));
	probe = link_open(outer);
	ck_assert(turn_until(ends->loop, &probe->opens, 1, 100));
	for (int i = 0; i < 2; i++) {
		ret_wires[i] = hb_take(&outer->ends[i].streams[0].stream);
		hb_stream_pause(ret_wires[i]);
		outer->ends[i].streams_count = 0;
	}
}

static void tunnel_up(struct ends *ends)
{
	struct hb_h2_options options = { .linger_ms = ends->linger_ms };
	bool tls = ends->kind->top != TUNNEL;
	struct link *link = &ends->link;
	struct hb_stream *wires[2];

	if (ends->kind->top == DOUBLE) {
		outer_up(ends, &options, wires);
		link_init(link, ends->loop, ends->ctxs, &options);
		for (int i = 0; i < 2; i++)
			link_end_up(link, (enum hb_h2_role)i, wires[i]);
	} else {
		link_up(link, ends->loop, tls ? ends->ctxs : NULL, &options);
		for (int i = 0; i < 2; i++)
			pair_linger(link->ends[i].wire, ends->linger_ms);
	}
	ck_assert(link_wait_ready(link));
	ends->end[0] = link_open(link);
	ck_assert_ptr_nonnull(ends->end[0]);
	ends->end[1] = &link->ends[HB_H2_SERVER].streams[0];
	ck_assert(turn_until(ends->loop, &ends->end[0]->opens, 1, 100));
}

void ends_up(struct ends *ends, const struct kind *kind, uint32_t linger_ms)
{
	struct hb_stream *streams[2];

	memset(ends, 0, sizeof(*ends));
	ends->kind = kind;
	ends->linger_ms = linger_ms;
	ends->loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(ends->loop);
	if (kind->top != PLAIN && kind->top != TUNNEL)
		link_ctxs_new(ends->ctxs);
	ends->fds = held_fds();
	if (kind->top >= TUNNEL) {
		tunnel_up(ends);
	} else {
		bottom_up(ends, streams);
		if (kind->top == TLS)
			tls_up(ends, streams);
		for (int i = 0; i < 2; i++) {
			ends->end[i] = &ends->own[i];
			probe_init(ends->end[i], streams[i]);
		}
		for (int i = 0; i < 2 && kind->top == TLS; i++)
			ck_assert(turn_until(ends->loop, &ends->end[i]->opens, 1, 200));
	}
	probe_pause(ends->end[0]);
	probe_pause(ends->end[1]);
}

void ends_down(struct ends *ends)
{
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED);

	for (int i = 0; i < 2; i++)
		probe_close(ends->end[i], why);
	for (int i = 0; i < 2; i++)
		ck_assert_msg(turn_until(ends->loop, &ends->end[i]->closes, 1, 200),
		              "%s: end %d never closes", ends->kind->name, i);
	if (ends->link.loop)
		link_down(&ends->link);
	if (ends->outer.loop)
		link_down(&ends->outer);
	turn_some(ends->loop, 5);
	for (int i = 0; i < 2; i++) {
		ck_assert_msg(!ends->end[i]->broken, "%s, end %d: %s", ends->kind->name, i,
		              ends->end[i]->broken);
		ck_assert_uint_eq(ends->end[i]->closes, 1);
		probe_done(ends->end[i]);
		hb_tls_ctx_unref(ends->ctxs[i]);
	}
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(ends->loop)), 0);
	ck_assert_uint_eq(held_fds(), ends->fds);
	hb_loop_free(ends->loop);
}
