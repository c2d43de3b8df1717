/*
 * resolver: who asks is told once, later, on its own loop; lookups are shared, kept, and bounded.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "node/resolver.h"
#include "tests/support/any_loop.h"

#define QUESTIONS 64

static struct hb_loop *loop;
static struct resolver *resolver;
static _Atomic uint64_t now_ms;

/* Lookups wait until they are let through. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static unsigned begun, in_lookup;

static struct told {
	unsigned times;
	int err;
	size_t count;
	struct hb_ip first;
} told[QUESTIONS];

static uint64_t fake_now(void *owner)
{
	(void)owner;
	return now_ms;
}

/* "n3.x": three addresses; "none": no such name; "bad": the servers fail. */
static int fake_lookup(void *owner, const char *host, struct hb_ip *ips, size_t max)
{
	(void)owner;
	pthread_mutex_lock(&lock);
	begun++;
	in_lookup++;
	pthread_cond_broadcast(&changed);
	while (held)
		pthread_cond_wait(&changed, &lock);
	in_lookup--;
	pthread_mutex_unlock(&lock);
	if (strcmp(host, "none") == 0)
		return -ENOENT;
	if (strcmp(host, "bad") == 0)
		return -EAGAIN;
	for (size_t i = 0; i < (size_t)(host[1] - '0') && i < max; i++) {
		ips[i] = (struct hb_ip){ .b = { [10] = 0xff, [11] = 0xff, 10, 0, 0 } };
		ips[i].b[15] = (uint8_t)(i + 1);
	}
	return host[1] - '0';
}

static void hold(bool on)
{
	pthread_mutex_lock(&lock);
	held = on;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_in_lookup(unsigned count)
{
	pthread_mutex_lock(&lock);
	while (in_lookup < count)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void start(struct resolver_options options)
{
	options.lookup = fake_lookup;
	options.now_ms = fake_now;
	memset(told, 0, sizeof(told));
	now_ms = 1000;
	begun = in_lookup = 0;
	held = false;
	loop = test_loop_new(NULL);
	resolver = resolver_new(&options);
	ck_assert(loop && resolver);
}

static void end(void)
{
	hold(false);
	resolver_free(resolver);
	hb_loop_free(loop);
}

static void on_done(void *ctx, int err, const struct hb_ip *ips, size_t count)
{
	struct told *one = ctx;

	one->times++;
	one->err = err;
	one->count = count;
	if (count > 0)
		one->first = ips[0];
}

static struct resolver_question *ask(unsigned i, const char *host)
{
	struct resolver_question *question = resolver_ask(resolver, loop, host, on_done, &told[i]);

	ck_assert_ptr_nonnull(question);
	ck_assert_uint_eq(told[i].times, 0); /* never from inside */
	return question;
}

static void wait_told(unsigned i)
{
	while (told[i].times == 0)
		ck_assert_int_eq(hb_loop_turn(loop, UINT64_MAX), 0);
	ck_assert_uint_eq(told[i].times, 1);
}

/* clang-format off */
static const struct {
	const char *name, *host;
	int err;
	size_t count;
} answers[] = {
	{ "one address",             "n1.example", 0, 1 },
	{ "several",                 "n4.example", 0, 4 },
	{ "no such name",            "none", -ENOENT, 0 },
	{ "the servers fail",        "bad", -EAGAIN, 0 },
	{ "found, without address",  "n0", -ENOENT, 0 },
	{ "no name at all",          "", -EINVAL, 0 },
};
/* clang-format on */

START_TEST(is_answered)
{
	start((struct resolver_options){ 0 });
	(void)ask(0, answers[_i].host);
	wait_told(0);
	ck_assert_msg(told[0].err == answers[_i].err, "%s: %d", answers[_i].name, told[0].err);
	ck_assert_msg(told[0].count == answers[_i].count, "%s", answers[_i].name);
	if (told[0].count > 0)
		ck_assert_uint_eq(told[0].first.b[15], 1);
	ck_assert_uint_gt(strlen(resolver_strerror(told[0].err)), 0);
	end();
}
END_TEST

START_TEST(a_long_name)
{
	char host[RESOLVER_HOST_MAX + 2];

	memset(host, '1', sizeof(host));
	host[0] = 'n';
	host[RESOLVER_HOST_MAX] = host[RESOLVER_HOST_MAX + 1] = 0;
	start((struct resolver_options){ 0 });
	(void)ask(0, host);
	host[RESOLVER_HOST_MAX] = '1';
	(void)ask(1, host);
	wait_told(0);
	wait_told(1);
	ck_assert_int_eq(told[0].err, 0);
	ck_assert_int_eq(told[1].err, -EINVAL);
	end();
}
END_TEST

START_TEST(askers_share_a_lookup)
{
	start((struct resolver_options){ 0 });
	hold(true);
	(void)ask(0, "n1.example");
	wait_in_lookup(1);
	(void)ask(1, "n1.example");
	(void)ask(2, "N1.EXAMPLE");
	hold(false);
	for (unsigned i = 0; i < 3; i++) {
		wait_told(i);
		ck_assert_uint_eq(told[i].count, 1);
	}
	ck_assert_uint_eq(begun, 1);
	end();
}
END_TEST

START_TEST(kept_for_a_time)
{
	start((struct resolver_options){ 0 });
	(void)ask(0, "n1.example");
	(void)ask(1, "none");
	wait_told(0);
	wait_told(1);
	ck_assert_uint_eq(begun, 2);
	now_ms += RESOLVER_UNKNOWN_MS - 1;
	(void)ask(2, "n1.example");
	(void)ask(3, "none");
	wait_told(2);
	wait_told(3);
	ck_assert_uint_eq(begun, 2);
	ck_assert_int_eq(told[2].err, 0);
	ck_assert_int_eq(told[3].err, -ENOENT);
	now_ms++;
	(void)ask(4, "none");
	(void)ask(5, "n1.example");
	wait_told(4);
	wait_told(5);
	ck_assert_uint_eq(begun, 3);
	now_ms += RESOLVER_KNOWN_MS;
	(void)ask(6, "n1.example");
	wait_told(6);
	ck_assert_uint_eq(begun, 4);
	end();
}
END_TEST

START_TEST(a_slow_name_does_not_hold_others)
{
	start((struct resolver_options){ .threads_max = 2 });
	hold(true);
	(void)ask(0, "n1.slow");
	(void)ask(1, "n1.other");
	(void)ask(2, "n1.third");
	wait_in_lookup(2);
	ck_assert_uint_eq(begun, 2); /* and no more than two */
	hold(false);
	for (unsigned i = 0; i < 3; i++)
		wait_told(i);
	end();
}
END_TEST

START_TEST(a_known_name_needs_no_thread)
{
	start((struct resolver_options){ .threads_max = 1 });
	(void)ask(0, "n2.known");
	wait_told(0);
	hold(true);
	(void)ask(1, "n1.slow");
	wait_in_lookup(1);
	(void)ask(2, "n2.known");
	wait_told(2);
	ck_assert_uint_eq(told[2].count, 2);
	ck_assert_uint_eq(told[1].times, 0);
	end();
}
END_TEST

START_TEST(deadline)
{
	start((struct resolver_options){ .deadline_ms = 1 });
	hold(true);
	(void)ask(0, "n1.slow");
	wait_told(0);
	ck_assert_int_eq(told[0].err, -ETIMEDOUT);
	/* The lookup goes on, for those who ask again. */
	wait_in_lookup(1);
	end();
}
END_TEST

START_TEST(cancelled)
{
	struct resolver_question *waiting, *posted;

	start((struct resolver_options){ 0 });
	hold(true);
	waiting = ask(0, "n1.example");
	(void)ask(1, "n1.example");
	wait_in_lookup(1);
	resolver_cancel(waiting);
	resolver_cancel(NULL);
	hold(false);
	wait_told(1);
	posted = ask(2, "n1.example"); /* known: its answer is on its way at once */
	resolver_cancel(posted);
	(void)ask(3, "n1.example");
	wait_told(3);
	ck_assert_uint_eq(told[0].times + told[2].times, 0);
	end();
}
END_TEST

START_TEST(bounds)
{
	char host[16];

	start((struct resolver_options){ .threads_max = 1, .lookups_max = 4 });
	hold(true);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(host, sizeof(host), "n1.%u", i);
		(void)ask(i, host);
	}
	wait_told(4);
	ck_assert_int_eq(told[4].err, -EBUSY);
	hold(false);
	for (unsigned i = 0; i < 4; i++) {
		wait_told(i);
		ck_assert_int_eq(told[i].err, 0);
	}
	end();

	start((struct resolver_options){ .questions_max = 2 });
	hold(true);
	for (unsigned i = 0; i < 3; i++)
		(void)ask(i, "n1.example");
	wait_told(2);
	ck_assert_int_eq(told[2].err, -EBUSY);
	hold(false);
	wait_told(0);
	wait_told(1);
	end();
}
END_TEST

START_TEST(old_names_make_room)
{
	start((struct resolver_options){ .names_max = 2, .threads_max = 3 });
	for (unsigned i = 0; i < 3; i++) {
		(void)ask(i, (const char *[]){ "n1.a", "n1.b", "n1.c" }[i]);
		wait_told(i);
	}
	(void)ask(3, "n1.b");
	wait_told(3);
	ck_assert_uint_eq(begun, 3);
	(void)ask(4, "n1.a"); /* was the oldest: in place of b, as asking does not make young */
	wait_told(4);
	ck_assert_uint_eq(begun, 4);
	hold(true);
	now_ms += RESOLVER_KNOWN_MS;
	(void)ask(5, "n1.d");
	(void)ask(6, "n1.e");
	(void)ask(7, "n1.f"); /* both are being looked up: there is none to let go */
	wait_told(7);
	ck_assert_int_eq(told[7].err, -EBUSY);
	end();
}
END_TEST

START_TEST(freed_while_it_looks_up)
{
	start((struct resolver_options){ 0 });
	hold(true);
	(void)ask(0, "n1.example");
	wait_in_lookup(1);
	end();
	ck_assert_uint_eq(told[0].times, 0);
}
END_TEST

/* The C library's own: without a name server. */
START_TEST(by_the_c_library)
{
	struct hb_ip ip;

	start((struct resolver_options){ 0 });
	resolver_free(resolver);
	resolver = resolver_new(NULL);
	ck_assert_ptr_nonnull(resolver);
	(void)ask(0, "192.0.2.7");
	(void)ask(1, "2001:db8::7");
	(void)ask(2, "localhost");
	for (unsigned i = 0; i < 3; i++)
		wait_told(i);
	ck_assert_int_eq(hb_ip_parse("192.0.2.7", 9, &ip), 0);
	ck_assert(told[0].err == 0 && told[0].count == 1 && hb_ip_equal(&told[0].first, &ip));
	ck_assert_int_eq(hb_ip_parse("2001:db8::7", 11, &ip), 0);
	ck_assert(told[1].err == 0 && told[1].count == 1 && hb_ip_equal(&told[1].first, &ip));
	ck_assert_int_eq(told[2].err, 0);
	ck_assert(hb_ip_is_loopback(&told[2].first));
	end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("resolver");
	TCase *tcase = tcase_create("resolver");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, is_answered, 0, HB_ARRAY_LEN(answers));
	tcase_add_test(tcase, a_long_name);
	tcase_add_test(tcase, askers_share_a_lookup);
	tcase_add_test(tcase, kept_for_a_time);
	tcase_add_test(tcase, a_slow_name_does_not_hold_others);
	tcase_add_test(tcase, a_known_name_needs_no_thread);
	tcase_add_test(tcase, deadline);
	tcase_add_test(tcase, cancelled);
	tcase_add_test(tcase, bounds);
	tcase_add_test(tcase, old_names_make_room);
	tcase_add_test(tcase, freed_while_it_looks_up);
	tcase_add_test(tcase, by_the_c_library);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
