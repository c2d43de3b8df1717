/*
 * tcp: how a stream ends against a peer that is a bare socket in the test's own hand.
 */
#include <check.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>

#include "support/any_loop.h"

#define LINGER_MS       60
#define USER_TIMEOUT_MS 300 /* longer than the kernel's shortest wait between two probes */

static struct hb_loop *loop;
static struct hb_stream *s; /* NULL once closed */
static int peer;
static unsigned fulls, draineds, finishes, closeds;
static uint64_t got;
static struct hb_end why;
static struct hb_end close_in_data; /* code < 0: abort from inside on_data */

static void on_data(struct hb_stream *stream, struct hb_buf *chain)
{
	ck_assert_uint_eq(closeds, 0);
	got += hb_buf_chain_bytes(chain);
	hb_buf_free_all(chain);
	if (close_in_data.code)
		hb_stream_close(stream, close_in_data);
}

static void on_finish(struct hb_stream *stream)
{
	finishes++;
}

static void on_full(struct hb_stream *stream)
{
	fulls++;
}

static void on_drained(struct hb_stream *stream)
{
	draineds++;
}

static void on_closed(struct hb_stream *stream, struct hb_end end)
{
	closeds++;
	why = end;
	s = NULL;
	hb_stream_free(stream);
}

static const struct hb_stream_events events = { NULL,    on_data,    on_finish,
	                                        on_full, on_drained, on_closed };

static void turn(void)
{
	ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
}

#define turn_until(condition)                                                                      \
	for (unsigned turns_ = 0; !(condition); turns_++) {                                        \
		ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);                                     \
		ck_assert_uint_lt(turns_, 100000);                                                 \
	}

static void open_with(int family, uint32_t user_timeout_ms)
{
	struct hb_tcp_options options = { .read_max = HB_BUF_READ_MAX,
		                          .linger_ms = LINGER_MS,
		                          .user_timeout_ms = user_timeout_ms };
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fds[2], listener, small = 32 * 1024;

	if (family == AF_UNIX) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	} else {
		/* Buffers that do not grow, so that blocked stays blocked. */
		listener = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		ck_assert_int_eq(bind(listener, (struct sockaddr *)&sa, len), 0);
		ck_assert_int_eq(listen(listener, 1), 0);
		ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
		fds[0] = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&sa, len), 0);
		fds[1] = accept(listener, NULL, NULL);
		close(listener);
	}
	peer = fds[1];
	s = hb_tcp_new(loop, fds[0], &options);
	ck_assert_ptr_nonnull(s);
	s->events = &events;
}

static void setup(void)
{
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	open_with(AF_INET, 0);
}

static void setup_user_timeout(void)
{
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	open_with(AF_INET, USER_TIMEOUT_MS);
}

static void setup_unix(void)
{
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	open_with(AF_UNIX, 0);
}

static void teardown(void)
{
	if (s)
		hb_stream_close(s, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	turn_until(!s);
	ck_assert_uint_eq(closeds, 1);
	if (peer >= 0)
		close(peer);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
}

static void write_bytes(size_t bytes, uint32_t each)
{
	while (bytes > 0) {
		struct hb_buf *buf = hb_buf_new(hb_loop_pool(loop));

		ck_assert_ptr_nonnull(buf);
		buf->len = (uint32_t)hb_min_size(bytes, each);
		memset(buf->data, 'x', buf->len);
		bytes -= buf->len;
		hb_stream_write(s, buf);
	}
}

static ssize_t peer_read(size_t max)
{
	static char into[1 << 16];

	return recv(peer, into, hb_min_size(max, sizeof(into)), MSG_DONTWAIT);
}

static void peer_reset(void)
{
	struct linger reset = { 1, 0 };

	setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(peer);
	peer = -1;
}

/* Fills both kernels' buffers, so that a send stays in flight. */
/* The bytes that were written. */
static uint64_t block_sending(void)
{
	unsigned n = 0;

	for (; !fulls; n++) {
		ck_assert_uint_lt(n, 10000);
		write_bytes(HB_BUF_PAYLOAD, HB_BUF_PAYLOAD);
		turn();
	}
	return (uint64_t)n * HB_BUF_PAYLOAD;
}

static void ends_with(enum hb_layer layer, enum hb_side side, int code)
{
	turn_until(!s);
	ck_assert_int_eq(why.code, code);
	ck_assert_int_eq(why.layer, layer);
	ck_assert_int_eq(why.side, side);
}

START_TEST(peer_resets_while_we_read)
{
	hb_stream_resume(s);
	turn();
	peer_reset();
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET);
	ck_assert_uint_eq(finishes, 0);
}
END_TEST

START_TEST(peer_resets_while_we_are_paused)
{
	turn();
	peer_reset();
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET);
}
END_TEST

/* The watch of the first pause has been set, is taken back, and set again. */
START_TEST(peer_resets_while_we_are_paused_again)
{
	uint64_t start_ms = hb_loop_now_ms(loop);

	while (hb_loop_now_ms(loop) <= start_ms + 120)
		ck_assert_int_eq(hb_loop_turn(loop, 20), 0);
	hb_stream_resume(s);
	if (_i)
		turn();
	hb_stream_pause(s);
	turn();
	peer_reset();
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET);
}
END_TEST

START_TEST(peer_resets_while_we_send)
{
	block_sending();
	peer_reset();
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET);
}
END_TEST

START_TEST(peer_half_closes)
{
	hb_stream_resume(s);
	ck_assert_int_eq(send(peer, "abc", 3, 0), 3);
	shutdown(peer, SHUT_WR);
	turn_until(finishes);
	ck_assert_uint_eq(got, 3);
	write_bytes(1000, 100);
	turn();
	ck_assert_int_eq(peer_read(2000), 1000);
	hb_stream_resume(s);
	hb_stream_pause(s);
	hb_stream_resume(s);
	turn();
	ck_assert_uint_eq(finishes, 1);
	hb_stream_close(s, HB_END_CLEAN);
	ends_with(HB_LAYER_NONE, HB_SIDE_NONE, 0);
	ck_assert_int_eq(peer_read(1), 0);
}
END_TEST

START_TEST(we_half_close)
{
	hb_stream_resume(s);
	write_bytes(5000, 5000);
	hb_stream_finish(s);
	hb_stream_finish(s);
	turn();
	ck_assert_int_eq(peer_read(6000), 5000);
	ck_assert_int_eq(peer_read(1), 0);
	write_bytes(10, 10); /* too late: dropped */
	ck_assert_int_eq(send(peer, "still here", 10, 0), 10);
	turn_until(got == 10);
	close(peer);
	peer = -1;
	turn_until(finishes);
	ck_assert_uint_eq(closeds, 0);
	hb_stream_close(s, HB_END_CLEAN);
	ends_with(HB_LAYER_NONE, HB_SIDE_NONE, 0);
}
END_TEST

START_TEST(clean_close_reaches_a_slow_reader)
{
	uint64_t read = 0, written;

	written = block_sending();
	hb_stream_close(s, HB_END_CLEAN);
	for (ssize_t n = 1; n != 0; read += n > 0 ? (uint64_t)n : 0) {
		turn();
		n = peer_read(20000);
		ck_assert(n >= 0 || errno == EAGAIN);
	}
	ck_assert_uint_eq(read, written);
	ck_assert_uint_eq(closeds, 0);
	close(peer);
	peer = -1;
	ends_with(HB_LAYER_NONE, HB_SIDE_NONE, 0);
}
END_TEST

START_TEST(clean_close_drops_what_comes)
{
	uint64_t start = hb_loop_now_ms(loop);
	char bytes[4096] = { 0 };

	write_bytes(10, 10);
	hb_stream_close(s, HB_END_CLEAN);
	turn();
	ck_assert_int_eq(peer_read(100), 10);
	ck_assert_int_eq(peer_read(100), 0);
	/* This peer has much to say and never ends. */
	while (s) {
		(void)send(peer, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		ck_assert_int_eq(hb_loop_turn(loop, 5), 0);
	}
	ck_assert_int_eq(why.code, 0);
	ck_assert_uint_ge(hb_loop_now_ms(loop), start + LINGER_MS);
	ck_assert_uint_eq(got, 0);
}
END_TEST

START_TEST(clean_close_gives_up_on_a_reader_that_does_not_come)
{
	block_sending();
	write_bytes(512 * 1024, HB_BUF_PAYLOAD);
	hb_stream_close(s, HB_END_CLEAN);
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, -ETIMEDOUT);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	bool reading, sending, closing;
} aborts[] = {
	{ "at once", false, false, false },
	{ "while reading", true, false, false },
	{ "while sending", false, true, false },
	{ "while both", true, true, false },
	{ "while closing", true, true, true },
};
/* clang-format on */

START_TEST(abort_is_a_reset)
{
	ssize_t n;

	if (aborts[_i].reading)
		hb_stream_resume(s);
	turn();
	if (aborts[_i].sending)
		block_sending();
	if (aborts[_i].closing)
		hb_stream_close(s, HB_END_CLEAN);
	hb_stream_close(s, hb_end(HB_LAYER_RELAY, HB_SIDE_US, HB_E_IDLE));
	hb_stream_close(s, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	hb_stream_close(s, HB_END_CLEAN);
	ck_assert_uint_eq(closeds, 0);
	ends_with(HB_LAYER_RELAY, HB_SIDE_US, HB_E_IDLE);
	do
		n = peer_read(1 << 16);
	while (n > 0);
	ck_assert_msg(n < 0 && errno == ECONNRESET, "%s: %zd", aborts[_i].name, n);
}
END_TEST

START_TEST(abort_inside_on_data)
{
	char bytes[60000] = { 0 };

	close_in_data = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY);
	hb_stream_resume(s);
	turn();
	ck_assert_int_gt(send(peer, bytes, sizeof(bytes), MSG_DONTWAIT), 0);
	ends_with(HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY);
}
END_TEST

START_TEST(full_and_drained)
{
	block_sending();
	ck_assert_uint_eq(fulls, 1);
	ck_assert_uint_eq(draineds, 0);
	write_bytes(100, 100); /* grows, but stays correct */
	turn();
	ck_assert_uint_eq(fulls, 1);
	while (!draineds) {
		ck_assert_int_gt(peer_read(1 << 16), 0);
		turn();
	}
	ck_assert_uint_eq(fulls, 1);
}
END_TEST

/* Small bytes each on a slot of their own: a reader that does not come must not pin them all. */
START_TEST(small_bufs_do_not_pin_slots)
{
	size_t blocked;

	block_sending();
	blocked = hb_buf_pool_slots_out(hb_loop_pool(loop));
	for (int n = 0; n < 200; n++) {
		write_bytes(1000, 10);
		turn();
	}
	/* 20000 bufs; their slots are half full at least, but for the latest. */
	ck_assert_uint_lt(hb_buf_pool_slots_out(hb_loop_pool(loop)),
	                  blocked + 200 * 1000 / (HB_BUF_PAYLOAD / 2) + 32);
	ck_assert_uint_eq(fulls, 1);
}
END_TEST

START_TEST(paused_gets_nothing)
{
	hb_stream_resume(s);
	turn();
	hb_stream_pause(s);
	ck_assert_int_eq(send(peer, "abc", 3, 0), 3);
	shutdown(peer, SHUT_WR);
	for (int i = 0; i < 5; i++)
		turn();
	ck_assert_uint_eq(got + finishes, 0);
	hb_stream_resume(s);
	turn_until(finishes);
	ck_assert_uint_eq(got, 3);
}
END_TEST

START_TEST(free_before_any_turn)
{
	write_bytes(10, 10);
	hb_stream_close(s, hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN));
	ends_with(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN);
}
END_TEST

/* Bit 0: it is noticed by reading; else while the stream is paused, too. */
START_TEST(peer_does_not_take_what_was_sent)
{
	if (_i)
		hb_stream_resume(s);
	block_sending();
	ends_with(HB_LAYER_TCP, HB_SIDE_PEER, HB_E_USER_TIME);
}
END_TEST

/* ends_with, without a word on which error: Unix sockets say EPIPE where TCP says ECONNRESET. */
START_TEST(unix_peer_goes_while_we_send)
{
	block_sending();
	close(peer);
	peer = -1;
	turn_until(!s);
	ck_assert_msg(why.code == -EPIPE || why.code == -ECONNRESET, "%d", why.code);
}
END_TEST

static void add_common(TCase *tc)
{
	tcase_add_test(tc, peer_half_closes);
	tcase_add_test(tc, we_half_close);
	tcase_add_test(tc, clean_close_reaches_a_slow_reader);
	tcase_add_test(tc, clean_close_drops_what_comes);
	tcase_add_test(tc, clean_close_gives_up_on_a_reader_that_does_not_come);
	tcase_add_test(tc, abort_inside_on_data);
	tcase_add_test(tc, full_and_drained);
	tcase_add_test(tc, small_bufs_do_not_pin_slots);
	tcase_add_test(tc, paused_gets_nothing);
	tcase_add_test(tc, free_before_any_turn);
}

int main(void)
{
	Suite *suite = suite_create("tcp_ends");
	TCase *tcp = tcase_create("TCP"), *local = tcase_create("Unix"),
	      *timed = tcase_create("user timeout");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcp, setup, teardown);
	tcase_add_checked_fixture(local, setup_unix, teardown);
	tcase_add_test(tcp, peer_resets_while_we_read);
	tcase_add_test(tcp, peer_resets_while_we_are_paused);
	tcase_add_loop_test(tcp, peer_resets_while_we_are_paused_again, 0, 2);
	tcase_add_test(tcp, peer_resets_while_we_send);
	tcase_add_loop_test(tcp, abort_is_a_reset, 0, HB_ARRAY_LEN(aborts));
	tcase_add_checked_fixture(timed, setup_user_timeout, teardown);
	tcase_add_loop_test(timed, peer_does_not_take_what_was_sent, 0, 2);
	tcase_add_test(local, unix_peer_goes_while_we_send);
	add_common(tcp);
	add_common(local);
	suite_add_tcase(suite, tcp);
	suite_add_tcase(suite, local);
	suite_add_tcase(suite, timed);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
