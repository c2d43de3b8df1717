/*
 * prefetch: identities of the node's own workloads are held while the mesh knows them.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "control/meshfile.h"
#include "control/prefetch.h"
#include "mesh/store.h"

static struct hb_loop *loop;
static struct certmanager *certs;
static struct prefetch prefetch;
static struct store *store;
static char asked[512]; /* the last parts of identities, in order */

static int on_start(struct cert_source *source, struct cert_request *request, char *why,
                    size_t why_size)
{
	size_t len = strlen(asked);

	snprintf(asked + len, sizeof(asked) - len, "%s ", strrchr(request->identity, '/') + 1);
	return 0;
}

static void on_cancel(struct cert_source *source, struct cert_request *request)
{
}

static void on_free(struct cert_source *source)
{
}

static void on_news(void *owner, const struct certmanager_news *news)
{
}

static void setup(void)
{
	static const struct cert_source_ops ops = { on_start, on_cancel, on_free };
	static struct cert_source source = { .ops = &ops };

	loop = hb_loop_new(NULL);
	certs = certmanager_new(loop, &(struct certmanager_options){
					  .source = &source, .on_news = on_news, .linger_ms = 1 });
	store = store_new(&(struct store_options){ .node = "n1" });
	ck_assert(loop && certs && store);
	asked[0] = '\0';
}

static void teardown(void)
{
	certmanager_free(certs);
	prefetch_done(&prefetch);
	store_free(store);
	hb_loop_free(loop);
}

static void turn(void)
{
	for (int i = 0; i < 5; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 5), 0);
}

/* "NAME:NODE:PROTOCOL ..." is all the mesh, each with the service account NAME. */
static void mesh(const char *all)
{
	char text[4096] = "workloads:\n", words[512], name[16], node[16], protocol[16];
	struct snapshot *snapshot;
	char why[256];
	int n = 0;

	snprintf(words, sizeof(words), "%s", all);
	for (char *rest = words, *word; (word = strsep(&rest, " ")) && *word; n++) {
		size_t len = strlen(text);

		ck_assert_int_eq(sscanf(word, "%15[^:]:%15[^:]:%15s", name, node, protocol), 3);
		snprintf(text + len, sizeof(text) - len,
		         "- {uid: u%d, name: p%d, namespace: a, serviceAccount: %s, node: %s, "
		         "protocol: %s, services: {}, workloadIps: [10.0.0.%d]}\n",
		         n, n, name, node, protocol, n + 1);
	}
	ck_assert_msg(meshfile_sync_text(store, "test", n ? text : "workloads: []\n",
	                                 strlen(n ? text : "workloads: []\n"), why,
	                                 sizeof(why)) == 0,
	              "%s", why);
	ck_assert_int_eq(store_publish(store, &snapshot, NULL), 0);
	ck_assert_int_eq(prefetch_update(&prefetch, certs, snapshot), 0);
	snapshot_unref(snapshot); /* identities do not hang on it */
	turn();
}

static void count_one(const struct certmanager_row *row, void *arg)
{
	++*(unsigned *)arg;
}

static unsigned known(void)
{
	unsigned count = 0;

	certmanager_each(certs, count_one, &count);
	return count;
}

START_TEST(our_own)
{
	mesh("b:n1:HBONE a:n1:HBONE c:n2:HBONE d:n1:TCP a:n1:HBONE");
	ck_assert_str_eq(asked, "a b ");
	ck_assert_uint_eq(prefetch.count, 2);
}
END_TEST

START_TEST(come_and_go)
{
	mesh("a:n1:HBONE b:n1:HBONE");
	mesh("b:n1:HBONE c:n1:HBONE");
	ck_assert_str_eq(asked, "a b c ");
	ck_assert_uint_eq(known(), 2);
	mesh("b:n2:HBONE c:n1:TCP"); /* moved away, and left the mesh */
	ck_assert_uint_eq(known(), 0);
	mesh("b:n1:HBONE");
	ck_assert_str_eq(asked, "a b c b ");
	mesh("");
	ck_assert_uint_eq(known(), 0);
}
END_TEST

START_TEST(one_of_two_goes)
{
	mesh("a:n1:HBONE a:n1:HBONE");
	mesh("a:n1:HBONE");
	ck_assert_uint_eq(known(), 1);
	ck_assert_str_eq(asked, "a ");
}
END_TEST

START_TEST(a_pod_holds_it_still)
{
	mesh("a:n1:HBONE");
	ck_assert_int_eq(certmanager_hold(certs, "spiffe://cluster.local/ns/a/sa/a", CERT_WARMUP),
	                 0);
	mesh("");
	ck_assert_uint_eq(known(), 1);
	certmanager_release(certs, "spiffe://cluster.local/ns/a/sa/a");
	turn();
	ck_assert_uint_eq(known(), 0);
}
END_TEST

START_TEST(no_node)
{
	store_free(store);
	store = store_new(NULL);
	mesh("a:n1:HBONE");
	ck_assert_uint_eq(known(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prefetch");
	TCase *tc = tcase_create("meshes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, our_own);
	tcase_add_test(tc, come_and_go);
	tcase_add_test(tc, one_of_two_goes);
	tcase_add_test(tc, a_pod_holds_it_still);
	tcase_add_test(tc, no_node);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
