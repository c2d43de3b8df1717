/*
 * admin: what a client that behaves is told, and where the server listens.
 */
#include <fcntl.h>
#include <netinet/in.h>

#include "unit/agent/admin_fixture.h"

/* clang-format off */
static const struct {
	const char *name, *request, *status, *field, *body; /* field, body: NULL is not looked at */
} rows[] = {
	{ "a route", "GET /hello HTTP/1.1\r\n\r\n", "200 OK", "Content-Length: 10\r\n", "hello you\n" },
	{ "it closes", "GET /hello HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", "200 OK", "Connection: close\r\n", "hello you\n" },
	{ "its type", "GET /hello HTTP/1.1\r\n\r\n", "200 OK", "Content-Type: text/plain\r\n", NULL },
	{ "a query", "GET /hello?name=J%C3%BCrgen HTTP/1.1\r\n\r\n", "200 OK", NULL, "hello Jürgen\n" },
	{ "two requests at once: the first", "GET /hello?name=a HTTP/1.1\r\n\r\nGET /hello?name=b HTTP/1.1\r\n\r\n", "200 OK", NULL, "hello a\n" },
	{ "HEAD", "HEAD /hello HTTP/1.1\r\n\r\n", "200 OK", "Content-Length: 10\r\n", "" },
	{ "HEAD of nothing", "HEAD /nothing HTTP/1.1\r\n\r\n", "404 Not Found", NULL, "" },
	{ "POST with a body", "POST /do HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "200 OK", NULL, "hello you\n" },
	{ "one path, two methods", "POST /both HTTP/1.1\r\n\r\n", "200 OK", NULL, "POST\n" },
	{ "any method", "BREW /any HTTP/1.1\r\n\r\n", "200 OK", NULL, "BREW\n" },
	{ "an unknown path", "GET /config HTTP/1.1\r\n\r\n", "404 Not Found", "Content-Length: 0\r\n", "" },
	{ "a path that only begins alike", "GET /hello/ HTTP/1.1\r\n\r\n", "404 Not Found", NULL, "" },
	{ "a wrong method", "POST /hello HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "" },
	{ "a wrong method of another", "GET /do HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Allow: POST\r\n", "" },
	{ "a wrong method of two", "PUT /both HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Allow: GET, HEAD, POST\r\n", "" },
	{ "a wrong method, with words", "GET /told HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Allow: POST\r\n", "POST it\n" },
	{ "the index", "GET / HTTP/1.1\r\n\r\n", "200 OK", "Content-Type: text/html; charset=utf-8\r\n", NULL },
	{ "not HTTP", "hello\n\n", "400 Bad Request", NULL, "400 Bad Request\n" },
	{ "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported", NULL, NULL },
};
/* clang-format on */

START_TEST(answers)
{
	char *answer = ask(rows[_i].request), status[64];

	ck_assert_msg(answer, "%s: no answer", rows[_i].name);
	snprintf(status, sizeof(status), "HTTP/1.1 %s\r\n", rows[_i].status);
	ck_assert_msg(strncmp(answer, status, strlen(status)) == 0, "%s: answered %s",
	              rows[_i].name, answer);
	ck_assert_msg(!rows[_i].field || strstr(answer, rows[_i].field), "%s: answered %s",
	              rows[_i].name, answer);
	ck_assert_msg(!rows[_i].body || strcmp(body_of(answer), rows[_i].body) == 0,
	              "%s: answered %s", rows[_i].name, answer);
	free(answer);
}
END_TEST

START_TEST(index_lists_routes)
{
	char *answer = ask("GET / HTTP/1.1\r\n\r\n");

	for (size_t i = 0; i < HB_ARRAY_LEN(routes); i++) {
		if (strcmp(routes[i].path, "/") == 0)
			continue;
		ck_assert_msg(strstr(answer, routes[i].path), "%s is missing", routes[i].path);
		ck_assert_msg(strstr(answer, routes[i].help), "%s is missing", routes[i].help);
	}
	free(answer);
}
END_TEST

START_TEST(half_closed_client)
{
	int fd = client();
	char *answer;

	say(fd, "GET /hello HTTP/1.1\r\n\r\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	answer = hear(fd, 5000, NULL);
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
}
END_TEST

START_TEST(byte_by_byte)
{
	const char *request = "GET /hello HTTP/1.1\r\n\r\n";
	int fd = client();
	char *answer;

	for (size_t i = 0; request[i]; i++) {
		ck_assert_int_eq(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		turn();
	}
	answer = hear(fd, 5000, NULL);
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
}
END_TEST

START_TEST(big_answer)
{
	int fd = client();
	const char *body;
	char *answer;
	size_t len;

	say(fd, "GET /big HTTP/1.1\r\n\r\n");
	answer = hear(fd, 30000, &len);
	ck_assert_ptr_nonnull(answer);
	body = body_of(answer);
	ck_assert_uint_eq(len - (size_t)(body - answer), BIG_BYTES);
	for (size_t i = 0; i < BIG_BYTES; i++)
		if (body[i] != (char)('a' + i % 23))
			ck_abort_msg("byte %zu is %d", i, body[i]);
	free(answer);
}
END_TEST

START_TEST(late_answer)
{
	int fd = client();
	char *answer;

	say(fd, "GET /late HTTP/1.1\r\n\r\n");
	while (!waiting)
		turn();
	for (int i = 0; i < 10; i++)
		turn();
	admin_reply(waiting, 202, "text/plain", "now\n", 4);
	answer = hear(fd, 5000, NULL);
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 202 Accepted\r\n"), answer);
	ck_assert_str_eq(body_of(answer), "now\n");
	free(answer);
}
END_TEST

START_TEST(socket_is_private)
{
	mode_t before = umask(0);
	struct stat st;

	umask(before);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(paths)
{
	struct admin *other = admin_new(loop, routes, 1, NULL);
	char name[256], file[160];
	int fd;

	/* Somebody listens there: us. The connection that finds out must do no harm. */
	ck_assert_int_eq(admin_listen_unix(other, path), -EADDRINUSE);
	for (int i = 0; i < 10; i++)
		turn();
	free(ask("GET /hello HTTP/1.1\r\n\r\n"));

	snprintf(file, sizeof(file), "%s/file", dir);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(admin_listen_unix(other, file), -EEXIST);
	ck_assert_int_eq(access(file, F_OK), 0);
	unlink(file);

	memset(name, 'a', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(admin_listen_unix(other, name), -ENAMETOOLONG);
	ck_assert_int_eq(admin_listen_unix(other, "/nonexistent/admin.sock"), -ENOENT);
	ck_assert_int_eq(admin_listen_tcp(other, "localhost:1"), -EINVAL);
	admin_free(other);
}
END_TEST

/* What kill -9 leaves behind: a file, and nobody who listens. */
START_TEST(stale_socket)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *answer;

	close_server();
	closed_times = 0;
	memcpy(sun.sun_path, path, strlen(path) + 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	server = admin_new(loop, routes, HB_ARRAY_LEN(routes), NULL);
	ck_assert_int_eq(admin_listen_unix(server, path), 0);
	answer = ask("GET /hello HTTP/1.1\r\n\r\n");
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
}
END_TEST

/* A successor has put its own socket there: the predecessor's end leaves it alone. */
START_TEST(successor_keeps_its_socket)
{
	struct admin *predecessor = server;
	char *answer;

	ck_assert_int_eq(unlink(path), 0);
	server = admin_new(loop, routes, HB_ARRAY_LEN(routes), NULL);
	ck_assert_int_eq(admin_listen_unix(server, path), 0);
	admin_close(predecessor, on_server_closed);
	while (closed_times == 0)
		turn();
	closed_times = 0;
	admin_free(predecessor);
	answer = ask("GET /hello HTTP/1.1\r\n\r\n");
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
}
END_TEST

/* The listening TCP socket that admin_listen_tcp() made with port 0. */
static struct sockaddr_in6 find_tcp(void)
{
	struct sockaddr_in6 sa;

	for (int fd = 0; fd < 64; fd++) {
		socklen_t len = sizeof(sa);
		int listening = 0;
		socklen_t size = sizeof(listening);

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 &&
		    listening && getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
		    (sa.sin6_family == AF_INET || sa.sin6_family == AF_INET6))
			return sa;
	}
	ck_abort_msg("no TCP listener");
}

START_TEST(over_tcp)
{
	struct sockaddr_in6 sa;
	char *answer;
	int fd;

	ck_assert_int_eq(admin_listen_tcp(server, "127.0.0.1:0"), 0);
	sa = find_tcp();
	fd = socket(sa.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
	    connect(fd, (struct sockaddr *)&sa,
	            sa.sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(sa)),
	    0);
	say(fd, "GET /hello HTTP/1.1\r\n\r\n");
	answer = hear(fd, 5000, NULL);
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admin");
	TCase *tc = tcase_create("server");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, answers, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, index_lists_routes);
	tcase_add_test(tc, half_closed_client);
	tcase_add_test(tc, byte_by_byte);
	tcase_add_test(tc, big_answer);
	tcase_add_test(tc, late_answer);
	tcase_add_test(tc, socket_is_private);
	tcase_add_test(tc, paths);
	tcase_add_test(tc, stale_socket);
	tcase_add_test(tc, successor_keeps_its_socket);
	tcase_add_test(tc, over_tcp);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
