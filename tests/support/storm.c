/*
 * storm: many TCP connections at once whose every byte and every close is checked at both ends.
 *
 *   storm server PORT  --connections N --seconds S
 *   storm client ADDR PORT --connections N --bytes B --resets R --seed X --seconds S
 *
 * Each connection moves B pseudo-random bytes each way in pseudo-random chunks and then ends in
 * one of the ways below. Everything follows from the seed, so a failure can be run again. The
 * client sends its plan in a header; both ends know what must come and how it must end.
 * Exit status: 0 all right, 1 something was wrong (one sentence per connection on stderr), 2 usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define CHUNK_MAX       65536
#define HEADER_BYTES    32
#define MAGIC           UINT64_C(0x73746f726d2e3031)

/*
 * How a connection ends. "first": that end finishes first, and the other keeps back its last bytes
 * until it has seen that, which proves that a half-close passes and that the other way stays open.
 */
enum way { WAY_FREE, WAY_CLIENT_FIRST, WAY_SERVER_FIRST, WAY_CLIENT_RESETS, WAY_SERVER_RESETS };
static const char *const way_names[] = { "each when done", "client first", "server first",
	                                 "client resets", "server resets" };

struct plan {
	uint64_t seed, bytes;
	uint32_t number;
	enum way way;
};

struct conn {
	int fd; /* -1: over */
	bool is_client, has_plan, connected;
	struct plan plan;
	uint8_t header[HEADER_BYTES];
	size_t header_done;
	uint64_t rng;       /* chunk sizes */
	uint32_t chunk_max; /* bytes; some connections are slow on purpose */
	uint64_t sent, received;
	uint64_t held;   /* our last bytes that wait for the peer's finish */
	bool saw_finish; /* the peer's FIN, after all its bytes */
	bool finished;   /* we sent our FIN */
	uint32_t events; /* as registered */
};

static struct {
	int epoll_fd, listen_fd;
	uint32_t wanted, begun, open, done, failed;
	uint64_t bytes_in, bytes_out;
	struct conn conns[CONNECTIONS_MAX];
} storm = { .listen_fd = -1 };

static uint64_t mix(uint64_t x) /* splitmix64 */
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t next_random(struct conn *c)
{
	return c->rng = mix(c->rng);
}

/* The bytes of one direction, from any offset on. */
static void fill(uint8_t *out, size_t len, uint64_t key, uint64_t offset)
{
	uint64_t word = mix(key ^ mix(offset / 8));

	for (size_t i = 0; i < len; i++) {
		out[i] = (uint8_t)(word >> (offset % 8 * 8));
		if (++offset % 8 == 0)
			word = mix(key ^ mix(offset / 8));
	}
}

static uint64_t key_of(const struct conn *c, bool from_client)
{
	return mix(c->plan.seed + (from_client ? 1 : 2));
}

static bool we_reset(const struct conn *c)
{
	return c->plan.way == (c->is_client ? WAY_CLIENT_RESETS : WAY_SERVER_RESETS);
}

static bool peer_resets(const struct conn *c)
{
	return c->plan.way == (c->is_client ? WAY_SERVER_RESETS : WAY_CLIENT_RESETS);
}

static void over(struct conn *c, const char *what, int error)
{
	if (what) {
		storm.failed++;
		fprintf(stderr,
		        "connection %u (%s, seed %#llx) at the %s: %s%s%s; sent %llu, received "
		        "%llu of %llu\n",
		        c->plan.number, way_names[c->plan.way], (unsigned long long)c->plan.seed,
		        c->is_client ? "client" : "server", what, error ? ": " : "",
		        error ? strerror(error) : "", (unsigned long long)c->sent,
		        (unsigned long long)c->received, (unsigned long long)c->plan.bytes);
	}
	storm.bytes_in += c->received;
	storm.bytes_out += c->sent;
	close(c->fd);
	c->fd = -1;
	storm.open--;
	storm.done++;
}

static void encode_plan(uint8_t out[HEADER_BYTES], const struct plan *plan)
{
	uint64_t words[4] = { MAGIC, plan->seed, plan->bytes,
		              (uint64_t)plan->number << 8 | plan->way };

	memcpy(out, words, HEADER_BYTES);
}

static bool decode_plan(const uint8_t in[HEADER_BYTES], struct plan *ret_plan)
{
	uint64_t words[4];

	memcpy(words, in, HEADER_BYTES);
	if (words[0] != MAGIC || (words[3] & 0xff) > WAY_SERVER_RESETS)
		return false;
	*ret_plan = (struct plan){ words[1], words[2], (uint32_t)(words[3] >> 8),
		                   (enum way)(words[3] & 0xff) };
	return true;
}

/* What both ends derive from the plan on their own. */
static void begin(struct conn *c)
{
	bool waits = c->plan.way == (c->is_client ? WAY_SERVER_FIRST : WAY_CLIENT_FIRST);

	c->has_plan = true;
	c->rng = mix(c->plan.seed ^ (c->is_client ? 0x11 : 0x22));
	c->chunk_max = UINT32_C(256) << next_random(c) % 9;
	if (waits)
		c->held = 1 + next_random(c) % c->plan.bytes;
}

/* The bytes we may have sent by now; a side that resets, or is reset, never sends its last. */
static uint64_t sendable(const struct conn *c)
{
	if (we_reset(c) || peer_resets(c))
		return c->plan.bytes / 2;
	return c->plan.bytes - (c->saw_finish ? 0 : c->held);
}

static bool receive_header(struct conn *c) /* true: go on reading */
{
	ssize_t n = recv(c->fd, c->header + c->header_done, HEADER_BYTES - c->header_done, 0);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			over(c, "ended inside the header", n ? errno : 0);
		return false;
	}
	c->header_done += (size_t)n;
	if (c->header_done < HEADER_BYTES)
		return false;
	if (!decode_plan(c->header, &c->plan)) {
		over(c, "the header is not a storm's", 0);
		return false;
	}
	begin(c);
	return true;
}

static void on_peer_end(struct conn *c, int error)
{
	if (peer_resets(c))
		over(c, error == ECONNRESET ? NULL : "expected a reset, saw another end", error);
	else if (error)
		over(c, "expected a clean end", error);
	else if (c->received != c->plan.bytes)
		over(c, "the peer finished early", 0);
	else
		c->saw_finish = true;
}

static void read_some(struct conn *c)
{
	static uint8_t got[CHUNK_MAX], want[CHUNK_MAX];
	ssize_t n;

	if (!c->has_plan && !receive_header(c))
		return;
	n = recv(c->fd, got, 1 + next_random(c) % c->chunk_max, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		on_peer_end(c, n ? errno : 0);
		return;
	}
	if (c->received + (uint64_t)n > c->plan.bytes) {
		over(c, "more bytes than were sent", 0);
		return;
	}
	fill(want, (size_t)n, key_of(c, !c->is_client), c->received);
	if (memcmp(got, want, (size_t)n) != 0) {
		over(c, "the bytes differ", 0);
		return;
	}
	c->received += (uint64_t)n;
}

static void write_some(struct conn *c)
{
	static uint8_t out[CHUNK_MAX];
	uint64_t left = sendable(c) - c->sent;
	size_t len = 1 + next_random(c) % c->chunk_max;
	ssize_t n;

	if (c->is_client && c->header_done < HEADER_BYTES) {
		encode_plan(c->header, &c->plan);
		n = send(c->fd, c->header + c->header_done, HEADER_BYTES - c->header_done,
		         MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			over(c, "could not send the header", errno);
		if (n > 0)
			c->header_done += (size_t)n;
		return;
	}
	if (left == 0)
		return;
	if (len > left)
		len = (size_t)left;
	fill(out, len, key_of(c, c->is_client), c->sent);
	n = send(c->fd, out, len, MSG_NOSIGNAL);
	if (n >= 0)
		c->sent += (uint64_t)n;
	else if (errno != EAGAIN && peer_resets(c))
		on_peer_end(c, errno == EPIPE ? ECONNRESET : errno);
	else if (errno != EAGAIN)
		over(c, "could not send", errno);
}

static void finish_when_due(struct conn *c)
{
	if (!c->has_plan)
		return;
	if (we_reset(c) && c->sent == sendable(c) && c->received == c->plan.bytes / 2) {
		struct linger now = { .l_onoff = 1, .l_linger = 0 };

		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		over(c, NULL, 0);
		return;
	}
	if (!c->finished && c->sent == c->plan.bytes) {
		if (shutdown(c->fd, SHUT_WR) < 0) {
			over(c, "could not finish", errno);
			return;
		}
		c->finished = true;
	}
	if (c->finished && c->saw_finish)
		over(c, NULL, 0);
}

/* After the peer's FIN a socket is readable for ever, so reading is switched off then. */
static void watch(struct conn *c)
{
	bool writes = c->is_client && (!c->connected || c->header_done < HEADER_BYTES);
	struct epoll_event event = { .data.ptr = c };

	writes = writes || (c->has_plan && c->sent < sendable(c));
	event.events = (c->saw_finish ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0);
	if (event.events == c->events)
		return;
	c->events = event.events;
	if (epoll_ctl(storm.epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0)
		over(c, "epoll_ctl", errno);
}

static void on_ready(struct conn *c, uint32_t events)
{
	if (!c->connected) {
		int error = 0;
		socklen_t len = sizeof(error);

		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error) {
			over(c, "could not connect", error);
			return;
		}
		c->connected = true;
	}
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !c->saw_finish)
		read_some(c);
	if (c->fd >= 0 && events & EPOLLOUT)
		write_some(c);
	if (c->fd >= 0)
		finish_when_due(c);
	if (c->fd >= 0)
		watch(c);
}

static struct conn *add(int fd, bool is_client)
{
	struct conn *c = &storm.conns[storm.begun++];
	struct epoll_event event = { .events = is_client ? EPOLLOUT : EPOLLIN, .data.ptr = c };

	*c = (struct conn){
		.fd = fd, .is_client = is_client, .connected = !is_client, .events = event.events
	};
	storm.open++;
	if (epoll_ctl(storm.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		over(c, "epoll_ctl", errno);
	return c;
}

static void on_accept(void)
{
	int fd;

	while (storm.begun < storm.wanted &&
	       (fd = accept4(storm.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		add(fd, false);
	if (storm.begun == storm.wanted) {
		close(storm.listen_fd);
		storm.listen_fd = -1;
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void run(int64_t deadline_ms)
{
	struct epoll_event events[64];

	while (storm.done < storm.wanted) {
		int64_t left_ms = deadline_ms - now_ms();
		int n = left_ms > 0 ? epoll_wait(storm.epoll_fd, events, 64, (int)left_ms) : 0;

		if (n == 0)
			break;
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (!c)
				on_accept();
			else if (c->fd >= 0)
				on_ready(c, events[i].events);
		}
	}
	for (uint32_t i = 0; i < storm.begun; i++) {
		if (storm.conns[i].fd >= 0)
			over(&storm.conns[i], "not over at the deadline", 0);
	}
	if (storm.begun < storm.wanted)
		fprintf(stderr, "only %u of %u connections came\n", storm.begun, storm.wanted);
}

static int listen_on(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6,
		                    .sin6_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int on = 1;

	storm.listen_fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(storm.listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(storm.listen_fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(storm.listen_fd, 1024) < 0)
		return -errno;
	return epoll_ctl(storm.epoll_fd, EPOLL_CTL_ADD, storm.listen_fd, &event) < 0 ? -errno : 0;
}

static int connect_all(const char *host, const char *port, uint64_t seed, uint64_t bytes,
                       uint32_t resets)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
	struct addrinfo *to;

	if (getaddrinfo(host, port, &hints, &to) != 0)
		return -EINVAL;
	for (uint32_t i = 0; i < storm.wanted; i++) {
		int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		struct conn *c;

		if (fd < 0 ||
		    (connect(fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS)) {
			int error = errno;

			freeaddrinfo(to);
			return -error;
		}
		c = add(fd, true);
		c->plan = (struct plan){ .seed = mix(seed + i), .bytes = bytes, .number = i };
		c->plan.way = i < resets ? WAY_CLIENT_RESETS + i % 2 : mix(c->plan.seed) % 3;
		begin(c);
	}
	freeaddrinfo(to);
	return 0;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t fallback)
{
	for (int i = 2; i + 1 < argc; i++) {
		if (strcmp(argv[i], name) == 0)
			return strtoull(argv[i + 1], NULL, 0);
	}
	return fallback;
}

int main(int argc, char **argv)
{
	bool is_client = argc > 3 && strcmp(argv[1], "client") == 0;
	bool is_server = argc > 2 && strcmp(argv[1], "server") == 0;
	uint64_t seed = option(argc, argv, "--seed", 1);
	uint64_t bytes = option(argc, argv, "--bytes", 1 << 20);
	int64_t deadline_ms = now_ms() + (int64_t)option(argc, argv, "--seconds", 60) * 1000;
	int error;

	storm.wanted = (uint32_t)option(argc, argv, "--connections", 200);
	if ((!is_client && !is_server) || storm.wanted > CONNECTIONS_MAX || bytes < 2) {
		fprintf(stderr, "usage: storm server PORT | client ADDR PORT [--connections N] "
		                "[--bytes B] [--resets R] [--seed X] [--seconds S]\n");
		return 2;
	}
	storm.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	error = is_client ? connect_all(argv[2], argv[3], seed, bytes,
	                                (uint32_t)option(argc, argv, "--resets", 0))
	                  : listen_on(argv[2]);
	if (error < 0) {
		fprintf(stderr, "storm %s: %s\n", argv[1], strerror(-error));
		return 1;
	}
	run(deadline_ms);
	printf("storm %s: %u connections, %u wrong, %llu bytes in, %llu bytes out\n", argv[1],
	       storm.done, storm.failed, (unsigned long long)storm.bytes_in,
	       (unsigned long long)storm.bytes_out);
	return storm.failed == 0 && storm.done == storm.wanted ? 0 : 1;
}
