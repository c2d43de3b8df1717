/*
 * zds: a script of what istio-cni says, and what became of it. A row is one of
 * reference/controlplane 6.3, or one of ztunnel's own tests by its name there
 * (reference/datapath 7.9).
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "control/zds.h"

/*
 * said:    C connected    X disconnected    S snapshot sent    ? the pending are tried again
 *          +a1 add uid a in namespace 1     ~a1 without info   ^a without a descriptor
 *          =a keep   ={ with a descriptor   -a del   &a1 add with an empty uid
 *          ! starts fail from here on       $ they succeed again
 * became:  (a1 started   )a1 stopped   !a1 start failed   . acked   x acked with an error
 *          R connect anew
 */
/* clang-format off */
static const struct {
	const char *name, *said, *became, *pods; /* pods at the end, those pending with a ? */
	bool ready;
	const char *error; /* in the last ack */
} rows[] = {
	/* controlplane 6.3 */
	{ "add, unknown uid", "C+a1S", "(a1..", "a", true, "" },
	{ "add, unknown uid, after the snapshot", "CS+a1", ".(a1.", "a", true, "" },
	{ "add, unknown uid, which fails", "CS!+a1", ".!a1x", "a?", false, "add a (ns/a): it just fails" },
	{ "add, known uid, same namespace", "CS+a1+a1", ".(a1..", "a", true, "" },
	{ "add, known uid, another namespace", "CS+a1+a2", ".(a1.)a1(a2.", "a", true, "" },
	{ "add without info", "CS~a1", ".x", "", true, "add a: no workload info" },
	{ "add without info of one that is served", "C+a1SXC~a1S", "(a1..x.", "a", true, "" },
	{ "keep before the snapshot", "C+a1SXC=aS", "(a1....", "a", true, "" },
	{ "keep before the snapshot, unknown uid", "C=aS", "..", "", true, "" },
	{ "keep after the snapshot", "CS=a", ".xR", "", true, "after the snapshot" },
	{ "del before the snapshot", "C+a1SXC=a-aS", "(a1....)a1.", "", true, "" },
	{ "del before the snapshot of one just added", "C+a1-aS", "(a1..)a1.", "", true, "" },
	{ "del after the snapshot", "CS+a1-a", ".(a1.)a1.", "", true, "" },
	{ "del of an unknown uid", "CS-a", "..", "", true, "" },
	{ "snapshot drops what was not mentioned", "C+a1+b2SXC=bS", "(a1.(b2...)a1.", "b", true, "" },
	{ "snapshot for the second time", "CSS", ".xR", "", true, "second time" },
	{ "the snapshot is per connection", "CSXCS", "..", "", true, "" },
	/* what else there is */
	{ "not ready before the snapshot", "C+a1", "(a1.", "a", false, "" },
	{ "not ready when away; pods stay", "C+a1SX", "(a1..", "a", false, "" },
	{ "not ready anew until the next snapshot", "C+a1SXC", "(a1..", "a", false, "" },
	{ "kept while another is added", "C+a1SXC+b2=aS", "(a1..(b2...", "ab", true, "" },
	{ "retry succeeds", "CS!+a1$?", ".!a1x(a1", "a", true, "just fails" },
	{ "retry fails again", "CS!+a1??", ".!a1x!a1!a1", "a?", false, "just fails" },
	{ "a new connection forgets what is pending", "CS!+a1XCS$?", ".!a1x.", "", true, "" },
	{ "add without a descriptor", "CS^a", ".x", "", true, "no descriptor" },
	{ "a descriptor with keep", "C={", "xR", "", false, "takes none" },
	{ "add without a uid", "CS&a1", ".x", "", true, "has no uid" },
	{ "two pods in one namespace", "CS+a1+b1", ".(a1.x", "ab?", false, "that of ns/a (a)" },
	{ "the other one goes", "CS+a1+b1-a?", ".(a1.x)a1.(b1", "b", true, "" },
	{ "the other one was of the last connection", "C+a1SXC+b1S", "(a1..x)a1(b1.", "b", true, "" },
	{ "a pod that moves into its own place again", "CS+a1+a2+a1", ".(a1.)a1(a2.)a2(a1.", "a", true, "" },
	/* datapath 7.9: pod lifecycle */
	{ "add_workload_starts_a_proxy", "C+a1", "(a1.", "a", false, "" },
	{ "idemepotency_add_workload_starts_only_one_proxy", "C+a1+a1", "(a1..", "a", false, "" },
	{ "idemepotency_add_workload_fails", "C!+a1+a1", "!a1x!a1x", "a?", false, "just fails" },
	{ "workload_added_while_pending", "C!+a1$+a1", "!a1x(a1.", "a", false, "" },
	{ "idempotency_add_workload_fails_and_then_deleted", "CS!+a1-a", ".!a1x.", "", true, "" },
	{ "del_workload_before_snapshot_removes_from_snapshot_and_pending", "C!+a1-aS$?", "!a1x..", "", true, "" },
	{ "add_delete_add_workload_starts_only_one_proxy", "CS+a1-a+a1", ".(a1.)a1.(a1.", "a", true, "" },
	{ "proxy_added_then_kept_with_new_snapshot", "C+a1SXC=aS", "(a1....", "a", true, "" },
	{ "add_with_different_netns_keeps_latest_proxy", "C+a1+a2S", "(a1.)a1(a2..", "a", true, "" },
	{ "no_workload_info_rejected", "C~a1", "x", "", false, "no workload info" },
	/* datapath 7.9: the stream */
	{ "test_process_add", "C+a1S", "(a1..", "a", true, "" },
	{ "test_process_add_failed_announce, test_process_failed", "C!+a1S", "!a1x.", "a?", false, "" },
	{ "test_process_add_and_del", "CS+a1-a", ".(a1.)a1.", "", true, "" },
	{ "test_process_snapshot_with_missing_workload", "C+a1+b2SXC+b2S", "(a1.(b2...)a1.", "b", true, "" },
};
/* clang-format on */

static char became[256];
static bool fails;

static void note(char mark)
{
	size_t used = strlen(became);

	snprintf(became + used, sizeof(became) - used, "%c", mark);
}

static void note_pod(char mark, const struct zds_pod *pod)
{
	size_t used = strlen(became);

	snprintf(became + used, sizeof(became) - used, "%c%s%u", mark, pod->uid,
	         (unsigned)pod->netns.ino);
}

static int on_start(void *owner, struct zds_pod *pod, char *why, size_t why_size)
{
	ck_assert_int_ge(fcntl(pod->netns.fd, F_GETFD), 0);
	note_pod(fails ? '!' : '(', pod);
	snprintf(why, why_size, "%s", fails ? "it just fails" : "");
	return fails ? -EADDRINUSE : 0;
}

static void on_stop(void *owner, struct zds_pod *pod)
{
	note_pod(')', pod);
}

static const struct zds_ops ops = { .start = on_start, .stop = on_stop };

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static struct zds_netns netns(unsigned n)
{
	struct zds_netns netns = { .fd = open("/dev/null", O_RDONLY), .dev = 4, .ino = n };

	ck_assert_int_ge(netns.fd, 0);
	return netns;
}

/* Says what stands at @at, and returns what is behind it. */
static const char *say(struct zds *zds, const char *at, struct zds_answer *answer)
{
	char uid[2] = { at[1], 0 };
	struct zds_request request = {
		.has_info = true, .uid = uid, .name = uid, .ns = "ns", .service_account = "sa"
	};
	struct zds_netns with = { .fd = -1 };

	switch (*at) {
	case '&':
	case '~':
	case '+':
		request.kind = ZDS_ADD;
		request.has_info = *at != '~';
		request.uid = *at == '&' ? "" : uid;
		with = netns((unsigned)at[2] - '0');
		at += 3;
		break;
	case '^':
		request.kind = ZDS_ADD;
		at += 2;
		break;
	case '=':
		request.kind = ZDS_KEEP;
		if (at[1] == '{')
			with = netns(1);
		at += 2;
		break;
	case '-':
		request.kind = ZDS_DEL;
		at += 2;
		break;
	default:
		ck_assert_int_eq(*at, 'S');
		request.kind = ZDS_SNAPSHOT_SENT;
		at++;
	}
	zds_handle(zds, &request, with, answer);
	note(*answer->error ? 'x' : '.');
	return at;
}

static void play(struct zds *zds, const char *at, struct zds_answer *answer)
{
	while (*at) {
		switch (*at) {
		case 'C':
			zds_connected(zds);
			break;
		case 'X':
			zds_disconnected(zds);
			break;
		case '?':
			zds_retry(zds);
			break;
		case '!':
		case '$':
			fails = *at == '!';
			break;
		default:
			at = say(zds, at, answer);
			if (answer->reconnect)
				note('R');
			continue;
		}
		at++;
	}
}

START_TEST(scripts)
{
	unsigned before = open_fds();
	struct zds zds;
	struct zds_answer answer = { .error = "" };
	char pods[32] = "";

	became[0] = 0;
	fails = false;
	zds_init(&zds, &ops, NULL);
	play(&zds, rows[_i].said, &answer);
	hb_list_for_each (node, &zds.pods) {
		const struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		snprintf(pods + strlen(pods), sizeof(pods) - strlen(pods), "%s%s", pod->uid,
		         pod->up ? "" : "?");
	}
	ck_assert_msg(strcmp(became, rows[_i].became) == 0, "%s: became %s, want %s", rows[_i].name,
	              became, rows[_i].became);
	ck_assert_msg(strcmp(pods, rows[_i].pods) == 0, "%s: pods %s, want %s", rows[_i].name, pods,
	              rows[_i].pods);
	ck_assert_msg(zds_is_ready(&zds) == rows[_i].ready, "%s: ready is not %d", rows[_i].name,
	              rows[_i].ready);
	ck_assert_msg(*rows[_i].error ? strstr(answer.error, rows[_i].error) != NULL
	                              : answer.error[0] == 0,
	              "%s: error \"%s\", want \"%s\"", rows[_i].name, answer.error, rows[_i].error);
	zds_done(&zds);
	ck_assert_msg(open_fds() == before, "%s: descriptors are left", rows[_i].name);
}
END_TEST

static int on_start_blindly(void *owner, struct zds_pod *pod, char *why, size_t why_size)
{
	return 0;
}

START_TEST(too_many_pods)
{
	static const struct zds_ops blind = { .start = on_start_blindly };
	struct zds_request request = {
		.kind = ZDS_ADD, .has_info = true, .ns = "ns", .service_account = ""
	};
	struct zds_answer answer;
	struct zds zds;
	char uid[16];

	zds_init(&zds, &blind, NULL);
	zds_connected(&zds);
	request.uid = request.name = uid;
	for (unsigned i = 0; i <= ZDS_PODS_MAX; i++) {
		/* Descriptors that nobody has open: there may be fewer than pods. */
		struct zds_netns in = { .fd = (1 << 24) + (int)i, .ino = i };

		snprintf(uid, sizeof(uid), "p%u", i);
		zds_handle(&zds, &request, in, &answer);
		ck_assert_msg((*answer.error != 0) == (i == ZDS_PODS_MAX), "%u: %s", i,
		              answer.error);
	}
	ck_assert_ptr_nonnull(strstr(answer.error, "there are 4096 pods already"));
	ck_assert_uint_eq(zds.count, ZDS_PODS_MAX);
	zds_done(&zds);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zds");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, scripts, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, too_many_pods);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
