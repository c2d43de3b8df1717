/*
 * sizes: what an idle flow costs in user memory, by part, counted at malloc: both agents' halves in
 * one process, over socket pairs, through real TLS and HTTP/2.
 *
 *   sizes [--flows N] [--check]
 *
 * It opens N flows of 750 to a connection, as a pool does, carries 64 KiB each way on every one,
 * lets them fall silent, and says what is held then, and what is left when they are closed. --check
 * compares with the table below and ends with 1 where a part has grown: then make it small again,
 * or say in the table why it may be larger.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>
#include <hbone/tls.h>
#include <hbone/tunnel.h>

#include "log.h"
#include "proxy/flow.h"
#include "support/testca.h"

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void); /* gcc ships no header for it */
#endif

#define FLOWS_PER_CONNECTION 750u
#define FLOWS_MAX            3000u
#define CONNECTIONS_MAX      (FLOWS_MAX / FLOWS_PER_CONNECTION)
#define CARRIED_BYTES        65536u
#define TURNS_MAX            200000u

#define BAGGAGE                                                                                    \
	"k8s.cluster.name=cluster1,k8s.namespace.name=bench,k8s.deployment.name=server,"           \
	"service.name=server,service.version=v1"

/* Bytes per idle flow, both agents together, that a part may take. */
enum part { PART_TCP, PART_TUNNEL, PART_FLOW, PART_CARRIED, PART_CONNECTION, PARTS };
static const struct {
	const char *what;
	long bytes_max;
} parts[PARTS] = {

	[PART_TCP] = { "two app sockets as streams", 190 },
	[PART_TUNNEL] = { "both ends of a tunnel", 615 },
	[PART_FLOW] = { "two flows with their relays", 140 },
	[PART_CARRIED] = { "left by what was carried", 40 },
	[PART_CONNECTION] = { "a 750th of a connection", 90 },
};
#define TOTAL_MAX 1000

struct one { /* a flow: app a - near - tunnel - far - app b */
	int app_a, app_b;
	struct hb_stream *near, *far;
	struct hb_stream *asked, *served; /* the tunnel's ends */
};

struct connection { /* the two ends of one */
	struct hb_stream *tls[2];
	struct hb_h2 *h2[2];
};

static struct {
	struct hb_loop *loop;
	struct flows flows;
	struct hb_tls_ctx *ctx[2];
	struct connection connections[CONNECTIONS_MAX];
	struct one all[FLOWS_MAX];
	size_t count; /* flows */
	size_t ready, asked, served, gone;
} lab;

static long held_bytes(void)
{
	size_t slabs = hb_slabs_bytes(hb_loop_slabs(lab.loop));

	hb_buf_pool_trim(hb_loop_pool(lab.loop), 0);
#if defined(__SANITIZE_ADDRESS__)
	return (long)(__sanitizer_get_current_allocated_bytes() + slabs);
#else
	struct mallinfo2 info = mallinfo2();

	return (long)(info.uordblks + info.hblkhd + slabs);
#endif
}

static long rss_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (!file || fscanf(file, "%*d %ld", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void fail(const char *what)
{
	fprintf(stderr, "sizes: %s\n", what);
	exit(1);
}

/* Turns until *@value is @want. */
static void until(const size_t *value, size_t want, const char *what)
{
	for (unsigned i = 0; *value != want; i++)
		if (i == TURNS_MAX || hb_loop_turn(lab.loop, 5) < 0)
			fail(what);
}

static void idle_a_while(void)
{
	for (int i = 0; i < 50; i++)
		(void)hb_loop_turn(lab.loop, 5);
}

static void pair_of_sockets(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		fail("no sockets; the limit of descriptors?");
}

static struct hb_stream *tcp_of(int fd, uint32_t read_max)
{
	struct hb_tcp_options options = { .read_max = read_max };
	struct hb_stream *stream = hb_tcp_new(lab.loop, fd, &options);

	if (!stream)
		fail("no memory");
	return stream;
}

/* ---- connections ---- */

static void on_nothing(struct hb_stream *stream)
{
}

static void on_data(struct hb_stream *stream, struct hb_buf *chain)
{
	hb_buf_free_all(chain);
}

static void on_lost(struct hb_stream *stream, struct hb_end why)
{
	fail(hb_strerror(why.code));
}

static void on_tunnel_open(struct hb_stream *tunnel)
{
	lab.asked++;
}

static const struct hb_stream_events tunnel_events = {
	.on_open = on_tunnel_open,
	.on_data = on_data,
	.on_finish = on_nothing,
	.on_full = on_nothing,
	.on_drained = on_nothing,
	.on_closed = on_lost,
};

/* Requests come in the order they were made. */
static void on_request(struct hb_h2 *h2, struct hb_stream *tunnel)
{
	struct one *one = &lab.all[lab.served++];

	tunnel->events = &tunnel_events;
	hb_tunnel_accept(tunnel, BAGGAGE);
	one->served = tunnel;
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	hb_h2_free(h2);
	lab.gone++;
}

static const struct hb_h2_events h2_events = {
	.on_request = on_request,
	.on_closed = on_h2_closed,
};

static void on_tls_open(struct hb_stream *tls)
{
	struct connection *connection = tls->owner;
	bool server = tls == connection->tls[HB_TLS_SERVER];
	struct hb_h2_options options = { .role = server ? HB_H2_SERVER : HB_H2_CLIENT };

	connection->h2[server] = hb_h2_new(lab.loop, tls, &options, &h2_events, connection);
	if (!connection->h2[server])
		fail("no memory");
	lab.ready++;
}

static const struct hb_stream_events tls_events = {
	.on_open = on_tls_open,
	.on_closed = on_lost,
};

static void connect_both(struct connection *connection)
{
	static const char *const server[] = { "spiffe://cluster.local/ns/bench/sa/b" };
	int fds[2];

	pair_of_sockets(fds);
	for (int role = 0; role < 2; role++) {
		struct hb_tls_options options = { .role = role ? HB_TLS_SERVER : HB_TLS_CLIENT,
			                          .ctx = lab.ctx[role],
			                          .identities = server,
			                          .identities_count = role ? 0 : 1 };
		struct hb_stream *tls =
		    hb_tls_new(lab.loop, tcp_of(fds[role], HB_BUF_PAYLOAD), &options);

		if (!tls)
			fail("no memory");
		connection->tls[options.role] = tls;
		tls->owner = connection;
		tls->events = &tls_events;
	}
}

static void make_contexts(void)
{
	static const char *const names[] = { "URI:spiffe://cluster.local/ns/bench/sa/a",
		                             "URI:spiffe://cluster.local/ns/bench/sa/b" };
	struct testca *ca = testca_new("sizes");

	for (int role = 0; role < 2; role++) {
		struct testca_leaf leaf = { .san = names[role] };
		struct testca_pem pem = testca_leaf(ca, &leaf);
		struct hb_tls_material material = { .chain = pem.chain,
			                            .key = pem.key,
			                            .roots = testca_pem(ca) };
		const char *why = "";

		if (hb_tls_ctx_new(&material, &lab.ctx[role], &why) < 0)
			fail(why);
		testca_pem_done(&pem);
	}
	testca_free(ca);
}

/* ---- flows ---- */

static void begin_flow(enum flow_direction direction, struct hb_stream *a, struct hb_stream *b)
{
	static const char *const texts[FLOW_TEXTS] = {
		[FLOW_POD] = "bench/pod-a",
		[FLOW_SRC_WORKLOAD] = "pod-a",
		[FLOW_SRC_NS] = "bench",
		[FLOW_SRC_IDENTITY] = "spiffe://cluster.local/ns/bench/sa/a",
		[FLOW_SRC_CLUSTER] = "cluster1",
		[FLOW_DST_SERVICE] = "server.bench.svc.cluster.local",
		[FLOW_DST_WORKLOAD] = "server-6d4f9c7b5-x2x8q",
		[FLOW_DST_NS] = "bench",
		[FLOW_DST_IDENTITY] = "spiffe://cluster.local/ns/bench/sa/b",
		[FLOW_DST_CLUSTER] = "cluster1",
		[FLOW_AUTHORITY] = "10.2.0.11:8080",
		[FLOW_POLICY] = "bench/allow-all",
	};
	struct flow *flow = flow_new(&lab.flows, NULL, "bench/pod-a", direction);

	if (!flow || flow_set_texts(flow, texts) < 0)
		fail("no memory");
	flow_join(flow, a, b);
}

static void move(int from, int to)
{
	static const uint8_t bytes[CARRIED_BYTES];
	size_t out = 0, in = 0;

	for (unsigned i = 0; in < sizeof(bytes); i++) {
		uint8_t sink[65536];
		ssize_t n = out < sizeof(bytes) ? write(from, bytes + out, sizeof(bytes) - out) : 0;

		out += n > 0 ? (size_t)n : 0;
		n = read(to, sink, sizeof(sink));
		in += n > 0 ? (size_t)n : 0;
		if (i == TURNS_MAX || hb_loop_turn(lab.loop, 1) < 0)
			fail("the bytes did not arrive");
	}
}

static void open_apps(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		struct one *one = &lab.all[i];
		int a[2], b[2];

		pair_of_sockets(a);
		pair_of_sockets(b);
		one->app_a = a[0];
		one->app_b = b[0];
		one->near = tcp_of(a[1], HB_BUF_READ_MAX);
		one->far = tcp_of(b[1], HB_BUF_READ_MAX);
		/* As in a flow; nothing comes yet, so they need no owner. */
		hb_stream_resume(one->near);
		hb_stream_resume(one->far);
	}
}

static void open_tunnels(size_t from, size_t to)
{
	struct hb_tunnel_request request = {
		.authority = "10.2.0.11:8080",
		.baggage = BAGGAGE,
		.forwarded = "for=\"10.1.0.11:40001\"",
		.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
	};

	for (size_t i = from; i < to; i++) {
		struct connection *connection = &lab.connections[i / FLOWS_PER_CONNECTION];
		struct hb_stream *tunnel = hb_tunnel_open(connection->h2[0], &request);

		if (!tunnel)
			fail("no room for a tunnel");
		tunnel->events = &tunnel_events;
		lab.all[i].asked = tunnel;
		until(&lab.asked, i + 1, "a tunnel did not open");
	}
}

static void join_flows(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		begin_flow(FLOW_OUTBOUND, lab.all[i].near, lab.all[i].asked);
		begin_flow(FLOW_INBOUND, lab.all[i].served, lab.all[i].far);
	}
}

static void carry(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		move(lab.all[i].app_a, lab.all[i].app_b);
		move(lab.all[i].app_b, lab.all[i].app_a);
	}
}

static void close_all(void)
{
	for (size_t i = 0; i < lab.count; i++) {
		close(lab.all[i].app_a);
		close(lab.all[i].app_b);
	}
	until(&lab.flows.count, 0, "flows are left");
}

static void close_connections(size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (int role = 0; role < 2; role++)
			hb_h2_close(lab.connections[i].h2[role], HB_END_CLEAN);
	until(&lab.gone, 2 * count, "connections are left");
}

static int report(const long figures[PARTS], long total, bool check)
{
	int result = 0;

	for (int i = 0; i < PARTS; i++) {
		bool grown = check && figures[i] > parts[i].bytes_max;

		printf("%6ld bytes  %s%s\n", figures[i], parts[i].what, grown ? "  TOO MUCH" : "");
		result |= grown;
	}
	printf("%6ld bytes  an idle flow, both agents%s\n", total,
	       check && total > TOTAL_MAX ? "  TOO MUCH" : "");
	return result || (check && total > TOTAL_MAX);
}

/* Opens what is asked for, step by step, and says what each step left behind. */
static long measure(size_t connections, long figures[PARTS], long *ret_rss_one, long *ret_rss)
{
	long at[PARTS + 1], flows = (long)lab.count - 1, total = 0;

	/* The first of each makes what is made once. */
	connect_both(&lab.connections[0]);
	until(&lab.ready, 2, "no connection");
	open_apps(0, 1);
	open_tunnels(0, 1);
	join_flows(0, 1);
	carry(0, 1);
	idle_a_while();
	*ret_rss_one = rss_kib();

	at[0] = held_bytes();
	for (size_t i = 1; i < connections; i++)
		connect_both(&lab.connections[i]);
	until(&lab.ready, 2 * connections, "no connection");
	idle_a_while();
	at[1] = held_bytes();
	open_apps(1, lab.count);
	idle_a_while();
	at[2] = held_bytes();
	open_tunnels(1, lab.count);
	idle_a_while();
	at[3] = held_bytes();
	join_flows(1, lab.count);
	idle_a_while();
	at[4] = held_bytes();
	carry(1, lab.count);
	idle_a_while();
	at[5] = held_bytes();
	*ret_rss = rss_kib();

	figures[PART_CONNECTION] = (at[1] - at[0]) / (long)(lab.count - FLOWS_PER_CONNECTION);
	figures[PART_TCP] = (at[2] - at[1]) / flows;
	figures[PART_TUNNEL] = (at[3] - at[2]) / flows;
	figures[PART_FLOW] = (at[4] - at[3]) / flows;
	figures[PART_CARRIED] = (at[5] - at[4]) / flows;
	for (int i = 0; i < PARTS; i++)
		total += figures[i];
	return total;
}

static void parse(int argc, char **argv, bool *ret_check)
{
	lab.count = 2 * FLOWS_PER_CONNECTION;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--check") == 0)
			*ret_check = true;
		else if (strcmp(argv[i], "--flows") == 0 && i + 1 < argc)
			lab.count = strtoul(argv[++i], NULL, 10);
		else
			fail("usage: sizes [--flows N] [--check]");
	}
	if (lab.count < 2 * FLOWS_PER_CONNECTION || lab.count > FLOWS_MAX ||
	    lab.count % FLOWS_PER_CONNECTION)
		fail("--flows: expected 1500, 2250 or 3000");
}

int main(int argc, char **argv)
{
	long figures[PARTS], total, rss_one, rss_all;
	size_t connections;
	bool check = false;
	char why[64];
	int result;

	parse(argc, argv, &check);
	connections = lab.count / FLOWS_PER_CONNECTION;
	if (log_set_levels("off", why, sizeof(why)) < 0)
		fail(why);
	lab.loop = hb_loop_new(NULL);
	if (!lab.loop)
		fail("no loop");
	flows_init(&lab.flows, lab.loop, 1, 1);
	make_contexts();

	total = measure(connections, figures, &rss_one, &rss_all);
	result = report(figures, total, check);
	close_all();
	close_connections(connections);
	idle_a_while();
	printf("resident: %ld KiB with one flow, %ld with %zu, %ld when all are closed\n", rss_one,
	       rss_all, lab.count, rss_kib());
	flows_done(&lab.flows);
	for (int role = 0; role < 2; role++)
		hb_tls_ctx_unref(lab.ctx[role]);
	hb_loop_free(lab.loop);
	return result;
}
