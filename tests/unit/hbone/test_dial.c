/*
 * dial: connecting and accepting over loopback sockets: found, refused, given up, out of
 * descriptors.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>

#include <hbone/dial.h>

#include "support/any_loop.h"

#define MANY 200

struct caller {
	struct hb_dial dial;
	unsigned done;
	int fd;
};

struct host {
	struct hb_accept accept;
	struct hb_addr addr;
	int fd;
	int fds[MANY];
	unsigned accepted, errors, stopped;
	int error;
};

static struct hb_loop *loop;
static struct host host;
static struct caller callers[MANY];
static int fds_before;

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void on_accept(struct hb_accept *accept, int fd)
{
	struct host *h = hb_container_of(accept, struct host, accept);

	ck_assert_uint_eq(h->stopped, 0);
	if (fd == -ECANCELED) {
		h->stopped++;
	} else if (fd < 0) {
		h->errors++;
		h->error = fd;
	} else {
		ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
		ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		h->fds[h->accepted++] = fd;
	}
}

static void listen_on(const char *ip, int backlog, int flags)
{
	struct sockaddr_storage sa;
	socklen_t len;

	ck_assert_int_eq(hb_ip_parse(ip, strlen(ip), &host.addr.ip), 0);
	len = hb_addr_to_sockaddr(&host.addr, &sa);
	host.fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	ck_assert_int_eq(bind(host.fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(listen(host.fd, backlog), 0);
	ck_assert_int_eq(hb_addr_of_local(host.fd, &host.addr), 0);
}

static void on_dialled(struct hb_dial *dial, int fd)
{
	struct caller *c = hb_container_of(dial, struct caller, dial);

	c->done++;
	c->fd = fd;
}

static void call(struct caller *c, uint32_t deadline_ms)
{
	int family = hb_ip_is_v4(&host.addr.ip) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	hb_dial_start(&c->dial, loop, fd, &host.addr, deadline_ms, on_dialled);
	ck_assert_uint_eq(c->done, 0);
}

#define turn_until(condition)                                                                      \
	for (unsigned turns_ = 0; !(condition); turns_++) {                                        \
		ck_assert_int_eq(hb_loop_turn(loop, 1000), 0);                                     \
		ck_assert_uint_lt(turns_, 10000);                                                  \
	}

static void setup(void)
{
	fds_before = open_fds();
	loop = test_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	for (unsigned i = 0; i < host.accepted; i++)
		close(host.fds[i]);
	for (unsigned i = 0; i < MANY; i++)
		if (callers[i].done && callers[i].fd >= 0)
			close(callers[i].fd);
	close(host.fd);
	hb_loop_free(loop);
	ck_assert_int_eq(open_fds(), fds_before);
}

static void stop_accepting(void)
{
	hb_loop_accept_stop(&host.accept);
	hb_loop_accept_stop(&host.accept);
	ck_assert_uint_eq(host.stopped, 0);
	turn_until(host.stopped);
}

static unsigned all_done(unsigned n)
{
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++)
		done += callers[i].done;
	return done;
}

/* clang-format off */
static const struct {
	const char *ip;
	int flags;
} hosts[] = {
	{ "127.0.0.1", 0 },
	{ "::1", 0 },
	{ "127.0.0.1", SOCK_NONBLOCK },
};
/* clang-format on */

START_TEST(many_at_once)
{
	listen_on(hosts[_i].ip, MANY, hosts[_i].flags);
	hb_loop_accept(loop, &host.accept, host.fd, on_accept);
	for (unsigned i = 0; i < MANY; i++)
		call(&callers[i], 5000);
	turn_until(all_done(MANY) == MANY && host.accepted == MANY);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_int_ge(callers[i].fd, 0);
	ck_assert_uint_eq(host.errors, 0);
	/* An idle listener does not make the loop turn. */
	ck_assert_int_eq(hb_loop_turn(loop, 1), 0);
	hb_dial_cancel(&callers[0].dial); /* it is over: nothing */
	stop_accepting();
}
END_TEST

START_TEST(refused)
{
	listen_on("127.0.0.1", 1, 0);
	close(host.fd);
	host.fd = -1;
	call(&callers[0], 5000);
	turn_until(callers[0].done);
	ck_assert_int_eq(callers[0].fd, -ECONNREFUSED);
}
END_TEST

/* A listener that nobody accepts from answers no SYN once its queue is full. */
static void fill_queue(void)
{
	struct sockaddr_storage sa;
	socklen_t len;

	listen_on("127.0.0.1", 0, 0);
	len = hb_addr_to_sockaddr(&host.addr, &sa);
	for (unsigned i = 0; i < 2; i++) {
		host.fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(host.fds[i], (struct sockaddr *)&sa, len);
		host.accepted++;
	}
}

START_TEST(deadline)
{
	uint64_t start = hb_loop_now_ms(loop);

	fill_queue();
	call(&callers[0], 30);
	turn_until(callers[0].done);
	ck_assert_int_eq(callers[0].fd, -ETIMEDOUT);
	ck_assert_uint_ge(hb_loop_now_ms(loop), start + 30);
}
END_TEST

START_TEST(cancelled)
{
	fill_queue();
	call(&callers[0], 5000);
	if (_i)
		ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	hb_dial_cancel(&callers[0].dial);
	hb_dial_cancel(&callers[0].dial);
	ck_assert_uint_eq(callers[0].done, 0);
	turn_until(callers[0].done);
	ck_assert_int_eq(callers[0].fd, -ECANCELED);
	ck_assert_uint_eq(callers[0].done, 1);
}
END_TEST

/* Whoever wins, it is told once and no descriptor is lost. */
START_TEST(cancel_races_the_connection)
{
	listen_on("127.0.0.1", MANY, 0);
	for (unsigned i = 0; i < MANY; i++)
		call(&callers[i], 5000);
	ck_assert_int_eq(hb_loop_turn(loop, 0), 0);
	for (unsigned i = 0; i < MANY; i++)
		if (!callers[i].done)
			hb_dial_cancel(&callers[i].dial);
	turn_until(all_done(MANY) == MANY);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert(callers[i].fd >= 0 || callers[i].fd == -ECANCELED);
}
END_TEST

START_TEST(out_of_descriptors)
{
	struct rlimit before, tight;
	uint64_t start;
	int plug[MANY], plugs = 0;

	listen_on("127.0.0.1", 8, 0);
	hb_loop_accept(loop, &host.accept, host.fd, on_accept);
	call(&callers[0], 5000);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)callers[0].dial.fd + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	/* What is free below the limit is taken, too: the next open fails. */
	while (plugs < (int)HB_ARRAY_LEN(plug) && (plug[plugs] = dup(host.fd)) >= 0)
		plugs++;
	start = hb_loop_now_ms(loop);
	turn_until(host.errors);
	ck_assert_int_eq(host.error, -EMFILE);
	turn_until(host.errors == 2);
	ck_assert_uint_ge(hb_loop_now_ms(loop), start + 100);
	ck_assert_uint_eq(host.accepted, 0);
	if (_i) /* stopped while it pauses */
		stop_accepting();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (plugs > 0)
		close(plug[--plugs]);
	turn_until(callers[0].done && (host.accepted == 1 || host.stopped));
	if (!host.stopped)
		stop_accepting();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dial");
	TCase *tc = tcase_create("loopback");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, many_at_once, 0, HB_ARRAY_LEN(hosts));
	tcase_add_test(tc, refused);
	tcase_add_test(tc, deadline);
	tcase_add_loop_test(tc, cancelled, 0, 2);
	tcase_add_test(tc, cancel_races_the_connection);
	tcase_add_loop_test(tc, out_of_descriptors, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
