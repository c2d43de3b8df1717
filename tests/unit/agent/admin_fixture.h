/*
 * admin_fixture: a server on a Unix socket of its own, and clients whose bytes the test moves
 * itself, all on one thread: turn() gives the server a turn.
 */
#pragma once

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <hbone/loop.h>

#include "admin.h"

#define BIG_BYTES  (8u << 20)
#define SOME_BYTES (1000u << 10) /* more than sockets hold, less than a MiB */

static struct hb_loop *loop;
static struct admin *server;
static char dir[] = "/tmp/culvert-admin-XXXXXX", path[128];
static struct admin_request *waiting; /* by /late */
static int closed_times, fds_before;

static void on_hello(struct admin_request *request, void *owner)
{
	const char *name = admin_query(request, "name");
	char body[64];
	int n = snprintf(body, sizeof(body), "hello %s\n", name ? name : "you");

	admin_reply(request, 200, "text/plain", body, (size_t)n);
}

static void on_method(struct admin_request *request, void *owner)
{
	char body[32];
	int n = snprintf(body, sizeof(body), "%s\n", admin_method(request));

	admin_reply(request, 200, "text/plain", body, (size_t)n);
}

static void reply_bytes(struct admin_request *request, size_t len)
{
	char *body = malloc(len);

	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	admin_reply(request, 200, "text/plain", body, len);
	free(body);
}

static void on_big(struct admin_request *request, void *owner)
{
	reply_bytes(request, BIG_BYTES);
}

static void on_some(struct admin_request *request, void *owner)
{
	reply_bytes(request, SOME_BYTES);
}

static void on_late(struct admin_request *request, void *owner)
{
	waiting = request;
}

static const struct admin_route routes[] = {
	{ "GET", "/hello", on_hello, "says hello", NULL },
	{ "POST", "/do", on_hello, "does", NULL },
	{ "GET", "/both", on_hello, "is read", NULL },
	{ "POST", "/both", on_method, "is written", NULL },
	{ "*", "/any", on_method, "says the method", NULL },
	{ "GET", "/big", on_big, "says much", NULL },
	{ "GET", "/some", on_some, "says some", NULL },
	{ "GET", "/late", on_late, "waits", NULL },
	{ "*", "/", admin_index, "this page", NULL },
	{ "POST", "/told", on_hello, "says how", "POST it\n" },
};

static int count_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(fds))
		count++;
	closedir(fds);
	return count;
}

static void on_server_closed(void *owner)
{
	closed_times++;
}

static void turn(void)
{
	ck_assert_int_ge(hb_loop_turn(loop, 5), 0);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/admin.sock", dir);
	fds_before = count_fds();
	loop = hb_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	server = admin_new(loop, routes, HB_ARRAY_LEN(routes), NULL);
	ck_assert_ptr_nonnull(server);
	ck_assert_int_eq(admin_listen_unix(server, path), 0);
}

static void close_server(void)
{
	uint64_t until = now_ms() + 5000;

	admin_close(server, on_server_closed);
	ck_assert_int_eq(closed_times, 0); /* never from inside */
	while (closed_times == 0 && now_ms() < until)
		turn();
	ck_assert_int_eq(closed_times, 1);
	admin_free(server);
	server = NULL;
}

/* Whatever a test did, nothing may be left. */
static void tear_down(void)
{
	if (server)
		close_server();
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	ck_assert_int_eq(count_fds(), fds_before);
	ck_assert_msg(access(path, F_OK) < 0, "the socket file is left behind");
	ck_assert_int_eq(rmdir(dir), 0);
}

static int client(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, path, strlen(path) + 1);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* All the server says until it ends; NULL when it has not within @wait_ms. Closes @fd. */
static char *hear(int fd, uint64_t wait_ms, size_t *ret_len)
{
	size_t len = 0, size = 1 << 16;
	char *text = malloc(size);
	uint64_t until = now_ms() + wait_ms;

	while (now_ms() < until) {
		ssize_t n = recv(fd, text + len, size - len - 1, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET)) {
			text[len] = '\0';
			if (ret_len)
				*ret_len = len;
			close(fd);
			return text;
		}
		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			turn();
			continue;
		}
		len += (size_t)n;
		if (size - len < 4096)
			text = realloc(text, size *= 2);
		ck_assert_ptr_nonnull(text);
	}
	free(text);
	close(fd);
	return NULL;
}

static char *ask(const char *request)
{
	int fd = client();

	say(fd, request);
	return hear(fd, 5000, NULL);
}

static const char *body_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");

	ck_assert_msg(end, "no head in: %s", answer);
	return end + 4;
}
