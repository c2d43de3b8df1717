/*
 * worker: the messages it takes, with real sockets in a namespace of the test's own and no capture:
 * so all that is dialled is a loop to ourselves, and must be refused. Exits 77 without the right to
 * make a namespace.
 */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "config/settings.h"
#include "control/meshfile.h"
#include "log.h"
#include "node/netns.h"
#include "proxy/listeners.h"
#include "proxy/worker.h"
#include "support/own_netns.h"

static const char mesh[] = "workloads:\n"
			   "- uid: one\n"
			   "  name: a\n"
			   "  namespace: demo\n"
			   "  serviceAccount: a\n"
			   "  trustDomain: td\n"
			   "  node: n\n"
			   "  protocol: HBONE\n"
			   "  workloadIps: [10.0.0.1]\n"
			   "  services: {}\n";
static const char nobody[] = "workloads: []\n";

static const struct podnet captured; /* by BPF, which is not here */
static struct hb_loop *loop;
static struct settings settings;
static struct worker *worker;
static struct pod_spec *spec;
static struct listeners listeners;
static unsigned ready, answers;
static _Atomic unsigned wishes[3]; /* by enum credential_wish */

static void on_ready(struct listeners *l)
{
	ready++;
}

static void on_answer(struct worker_ask *ask)
{
	answers++;
}

static bool on_wish(void *owner, const char *identity, enum credential_wish wish)
{
	if (strcmp(identity, "spiffe://td/ns/demo/sa/a") == 0)
		wishes[wish]++;
	return true;
}

static void turn_until(const unsigned *what, unsigned want)
{
	for (int i = 0; i < 100 && *what < want; i++)
		ck_assert_int_eq(hb_loop_turn(loop, 100), 0);
	ck_assert_uint_eq(*what, want);
}

static struct snapshot *snapshot_of(const char *text)
{
	struct snapshot *snapshot = NULL;
	char why[256] = "";

	ck_assert_msg(meshfile_parse("test", text, strlen(text), &snapshot, why, sizeof(why)) == 0,
	              "%s", why);
	return snapshot;
}

static void add_pod(bool awaits)
{
	int fds[POD_SOCKETS];

	spec = pod_spec_new(1, "demo", "a", "a", netns_open("/proc/self/ns/net"), &captured);
	ck_assert_ptr_nonnull(spec);
	listeners = (struct listeners){
		.pod = spec->key,
		.netns_fd = spec->netns_fd,
		.workers = 1,
		.ipv6 = true,
		.net = &captured,
		.on_ready = on_ready,
	};
	listeners_start(&listeners, loop);
	turn_until(&ready, 1);
	spec->awaits_workload = awaits;
	listeners_take(&listeners, 0, fds);
	ck_assert_int_eq(worker_add_pod(worker, pod_spec_ref(spec), fds), 0);
}

static void up_as(bool awaits, const char *text)
{
	struct worker_options options = {
		.count = 1,
		.settings = &settings,
		.wish = on_wish,
	};
	struct snapshot *snapshot = snapshot_of(text);
	char why[64];

	ck_assert_int_eq(log_set_levels("off", why, sizeof(why)), 0);
	settings = (struct settings){ .node_name = "n", .network = "", .cluster_id = "" };
	loop = hb_loop_new(NULL);
	ck_assert_ptr_nonnull(loop);
	options.control = loop;
	ready = answers = 0;
	for (size_t i = 0; i < HB_ARRAY_LEN(wishes); i++)
		wishes[i] = 0;
	ck_assert_int_eq(worker_start(&options, snapshot, &worker), 0);
	snapshot_unref(snapshot);
	add_pod(awaits);
}

static void up(void)
{
	up_as(false, mesh);
}

static void up_unknown(void)
{
	up_as(true, nobody);
}

static void down(void)
{
	struct worker_ask stop = { .on_answer = on_answer };
	unsigned before = answers;

	worker_stop(worker, &stop);
	turn_until(&answers, before + 1);
	worker_join(worker);
	listeners_stop(&listeners);
	pod_spec_unref(spec);
	hb_loop_free(loop);
}

/* Connects to one of our ports. The descriptor, or -errno. */
static int dial(uint16_t port)
{
	struct hb_addr addr = { { { [15] = 1 } }, port };
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(&addr, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* What reading from @fd ends with: 0, or -errno; waits for at most 5 s. */
static int fate(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char byte;
	ssize_t got;

	ck_assert_int_eq(poll(&poll_fd, 1, 5000), 1);
	got = read(fd, &byte, 1);
	close(fd);
	return got < 0 ? -errno : (int)got;
}

/* The error of the newest ended flow. */
static void newest_error(char *out, size_t size)
{
	struct worker_dump dump = { .ask.on_answer = on_answer, .kind = DUMP_RECENT };
	const char *error;

	worker_dump(worker, &dump);
	turn_until(&answers, answers + 1);
	ck_assert_uint_ge(dump.count, 1);
	error = strstr(dump.pieces[0].text, "\"error\":");
	ck_assert_ptr_nonnull(error);
	snprintf(out, size, "%s", error);
	worker_dump_done(&dump);
}

static const uint16_t ports[] = { POD_PORT_OUTBOUND, POD_PORT_PLAIN, POD_PORT_HBONE };

START_TEST(a_loop_to_ourselves_is_reset_and_said)
{
	char error[256];

	ck_assert_int_eq(fate(dial(ports[_i])), -ECONNRESET);
	newest_error(error, sizeof(error));
	ck_assert_msg(strstr(error, "attempted recursive call to ourselves"), "%s", error);
}
END_TEST

START_TEST(the_identity_of_a_pod_is_asked_for)
{
	ck_assert_int_eq(fate(dial(ports[0])), -ECONNRESET); /* so the pod has been added */
	ck_assert_uint_eq(wishes[CREDENTIAL_HOLD], 1);
}
END_TEST

START_TEST(what_it_counts_is_copied)
{
	struct worker_metrics question = { .ask.on_answer = on_answer };
	unsigned before = answers;

	worker_metrics(worker, &question);
	turn_until(&answers, before + 1);
	ck_assert_ptr_nonnull(question.copy);
	ck_assert_ptr_nonnull(question.flows);
	ck_assert_uint_eq(
	    *metrics_at(question.copy, METRIC_SOCKETS_OPEN, (const char *[]){ "source" }), 0);
	metrics_free(question.copy);
	flow_metrics_free(question.flows);
}
END_TEST

START_TEST(a_removed_pod_is_refused)
{
	struct worker_ask ask = { .on_answer = on_answer };
	struct worker_ask again = { .on_answer = on_answer };

	worker_remove_pod(worker, &ask, spec);
	turn_until(&answers, 1);
	ck_assert_int_eq(dial(ports[_i]), -ECONNREFUSED);
	worker_remove_pod(worker, &again, spec);
	turn_until(&answers, 2);
	ck_assert_uint_eq(atomic_load(&spec->refs), 1);
}
END_TEST

START_TEST(a_new_snapshot_is_looked_at)
{
	ck_assert_int_eq(worker_set_snapshot(worker, snapshot_of(nobody)), 0);
	ck_assert_int_eq(fate(dial(ports[0])), -ECONNRESET);
	ck_assert_int_eq(worker_set_snapshot(worker, snapshot_of(mesh)), 0);
	ck_assert_int_eq(fate(dial(ports[0])), -ECONNRESET);
	/* Held, let go when it was nobody's, and held again. */
	ck_assert_uint_eq(wishes[CREDENTIAL_HOLD], 2);
	ck_assert_uint_eq(wishes[CREDENTIAL_RELEASE], 1);
}
END_TEST

START_TEST(draining_accepts_nothing)
{
	struct worker_ask ask = { .on_answer = on_answer };

	worker_drain(worker, &ask);
	turn_until(&answers, 1);
	ck_assert_int_eq(dial(ports[_i]), -ECONNREFUSED);
}
END_TEST

/* Nothing has become of @fd within 200 ms. */
static void expect_waiting(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(poll(&poll_fd, 1, 200), 0);
}

START_TEST(a_workload_that_comes_is_waited_for)
{
	char error[256];
	int fd = dial(ports[_i]);

	expect_waiting(fd);
	ck_assert_int_eq(worker_set_snapshot(worker, snapshot_of(mesh)), 0);
	ck_assert_int_eq(fate(fd), -ECONNRESET);
	newest_error(error, sizeof(error));
	ck_assert_msg(strstr(error, "attempted recursive call to ourselves"), "%s", error);
}
END_TEST

START_TEST(a_workload_that_does_not_come)
{
	char error[256];
	int fd = dial(POD_PORT_HBONE);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	expect_waiting(fd);
	ck_assert_int_eq(poll(&poll_fd, 1, 10000), 1);
	ck_assert_int_eq(fate(fd), -ECONNRESET);
	newest_error(error, sizeof(error));
	ck_assert_ptr_nonnull(strstr(error, "\"error\":\""));
}
END_TEST

START_TEST(a_pod_is_removed_while_somebody_waits)
{
	struct worker_ask ask = { .on_answer = on_answer };
	int fd = dial(ports[_i]);

	expect_waiting(fd);
	worker_remove_pod(worker, &ask, spec);
	turn_until(&answers, 1);
	ck_assert_int_eq(fate(fd), -ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("worker");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (own_netns() < 0) {
		printf("skipped: needs root to make a network namespace\n");
		srunner_free(runner);
		return 77;
	}
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, up, down);
	tcase_add_loop_test(tc, a_loop_to_ourselves_is_reset_and_said, 0, HB_ARRAY_LEN(ports));
	tcase_add_test(tc, what_it_counts_is_copied);
	tcase_add_test(tc, the_identity_of_a_pod_is_asked_for);
	tcase_add_loop_test(tc, a_removed_pod_is_refused, 0, HB_ARRAY_LEN(ports));
	tcase_add_test(tc, a_new_snapshot_is_looked_at);
	tcase_add_loop_test(tc, draining_accepts_nothing, 0, HB_ARRAY_LEN(ports));
	suite_add_tcase(suite, tc);
	tc = tcase_create("unknown");
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, up_unknown, down);
	tcase_add_loop_test(tc, a_workload_that_comes_is_waited_for, 0, HB_ARRAY_LEN(ports));
	tcase_add_test(tc, a_workload_that_does_not_come);
	tcase_add_loop_test(tc, a_pod_is_removed_while_somebody_waits, 0, HB_ARRAY_LEN(ports));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
