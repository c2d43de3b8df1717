/*
 * admin: clients that are slow, greedy, gone or too many cost a bounded time and amount.
 */
#include "unit/agent/admin_fixture.h"

START_TEST(slow_head)
{
	uint64_t before = now_ms();
	int fd = client();
	char *answer;

	say(fd, "GET /hello HTTP/1.1\r\n");
	answer = hear(fd, 8000, NULL);
	ck_assert_ptr_nonnull(answer);
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 408 Request Timeout\r\n"), answer);
	ck_assert_uint_ge(now_ms() - before, 1900);
	free(answer);
}
END_TEST

START_TEST(silent_client_is_told)
{
	char *answer = hear(client(), 8000, NULL);

	ck_assert_ptr_nonnull(answer);
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 408 "), answer);
	free(answer);
}
END_TEST

START_TEST(endless_head)
{
	static char line[1024];
	int fd = client();
	char *answer;

	memset(line, 'a', sizeof(line) - 2);
	say(fd, "GET /hello HTTP/1.1\r\nA:");
	for (int i = 0; i < 9; i++)
		say(fd, line);
	answer = hear(fd, 5000, NULL);
	ck_assert_ptr_nonnull(answer);
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 431 "), answer);
	free(answer);
}
END_TEST

/* What comes behind the head is left in the socket: the client is held up, not our memory. */
START_TEST(flood_behind_the_head)
{
	static char flood[65536];
	uint64_t until = now_ms() + 500;
	size_t taken = 0;
	int fd = client();
	char *answer;

	say(fd, "GET /late HTTP/1.1\r\n\r\n");
	while (now_ms() < until) {
		ssize_t n = send(fd, flood, sizeof(flood), MSG_DONTWAIT | MSG_NOSIGNAL);

		taken += n > 0 ? (size_t)n : 0;
		turn();
	}
	ck_assert_uint_lt(taken, 4u << 20);
	ck_assert_uint_lt(hb_buf_pool_slots_out(hb_loop_pool(loop)), 64);
	ck_assert_ptr_nonnull(waiting);
	admin_reply(waiting, 200, "text/plain", "ok\n", 3);
	answer = hear(fd, 15000, NULL);
	ck_assert_ptr_nonnull(answer);
	free(answer);
}
END_TEST

/* A reader that does not read: few buffers meanwhile, and cut off in the end. */
START_TEST(reader_that_stands_still)
{
	uint64_t before = now_ms();
	int fd = client();
	char byte, *answer;
	size_t len;

	say(fd, "GET /some HTTP/1.1\r\n\r\n");
	while (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0)
		turn();
	while (now_ms() - before < 11000) {
		turn();
		ck_assert_uint_lt(hb_buf_pool_slots_out(hb_loop_pool(loop)), 64);
	}
	answer = hear(fd, 2000, &len);
	ck_assert_ptr_nonnull(answer);
	ck_assert_uint_lt(len, SOME_BYTES);
	free(answer);
}
END_TEST

START_TEST(too_many_clients)
{
	int fds[65];
	char *answer;

	for (int i = 0; i < 65; i++) {
		fds[i] = client();
		turn();
	}
	answer = hear(fds[64], 5000, NULL);
	ck_assert_ptr_nonnull(answer);
	ck_assert_str_eq(answer, "");
	ck_assert_uint_eq(admin_refused(server), 1);
	free(answer);

	/* One leaves: there is room again. */
	close(fds[0]);
	for (int i = 0; i < 10; i++)
		turn();
	answer = ask("GET /hello HTTP/1.1\r\n\r\n");
	ck_assert_str_eq(body_of(answer), "hello you\n");
	free(answer);
	for (int i = 1; i < 64; i++)
		close(fds[i]);
	ck_assert_uint_eq(admin_refused(server), 1);
}
END_TEST

START_TEST(gone_before_the_answer)
{
	int fd = client();

	say(fd, "GET /late HTTP/1.1\r\n\r\n");
	while (!waiting)
		turn();
	close(fd);
	for (int i = 0; i < 50; i++)
		turn();
	admin_reply(waiting, 200, "text/plain", "too late\n", 9);
	for (int i = 0; i < 10; i++)
		turn();
}
END_TEST

START_TEST(gone_in_the_answer)
{
	char some[4096];
	int fd = client();

	say(fd, "GET /big HTTP/1.1\r\n\r\n");
	while (recv(fd, some, sizeof(some), MSG_DONTWAIT) < 0)
		turn();
	close(fd);
	for (int i = 0; i < 20; i++)
		turn();
}
END_TEST

START_TEST(gone_before_asking)
{
	int fd = client();

	turn();
	close(fd);
	fd = client();
	say(fd, "GET /hel");
	turn();
	close(fd);
	for (int i = 0; i < 20; i++)
		turn();
	free(ask("GET /hello HTTP/1.1\r\n\r\n"));
}
END_TEST

/* The end comes while clients are in every state; nothing of them is left. */
START_TEST(closed_in_the_middle)
{
	int silent = client(), half = client(), big = client(), late = client();

	say(half, "GET /he");
	say(big, "GET /big HTTP/1.1\r\n\r\n");
	say(late, "GET /late HTTP/1.1\r\n\r\n");
	while (!waiting)
		turn();
	for (int i = 0; i < 5; i++)
		turn();
	admin_close(server, on_server_closed);
	for (int i = 0; i < 200; i++)
		turn();
	ck_assert_int_eq(closed_times, 0); /* a handler still owes its answer */
	admin_reply(waiting, 200, "text/plain", "", 0);
	while (closed_times == 0)
		turn();
	admin_free(server);
	server = NULL;
	close(silent);
	close(half);
	close(big);
	close(late);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("admin_hostile");
	TCase *tc = tcase_create("server");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, slow_head);
	tcase_add_test(tc, silent_client_is_told);
	tcase_add_test(tc, endless_head);
	tcase_add_test(tc, flood_behind_the_head);
	tcase_add_test(tc, reader_that_stands_still);
	tcase_add_test(tc, too_many_clients);
	tcase_add_test(tc, gone_before_the_answer);
	tcase_add_test(tc, gone_in_the_answer);
	tcase_add_test(tc, gone_before_asking);
	tcase_add_test(tc, closed_in_the_middle);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
