/*
 * baggage: keys in order, empty and unspeakable ones left out; and the sources of dials to apps.
 */
#include <check.h>
#include <string.h>

#include "proxy/appdial.h"
#include "proxy/baggage.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *cluster, *ns, *type, *workload_name, *canonical, *revision, *region, *zone;
	const char *want;
} rows[] = {
	{ "all of it", "c1", "demo", "Deployment", "web", "web-svc", "v1", "r", "z",
	  "k8s.cluster.name=c1,k8s.namespace.name=demo,k8s.deployment.name=web,service.name=web-svc,"
	  "service.version=v1,cloud.region=r,cloud.availability_zone=z" },
	{ "no type is a pod", "c1", "demo", "", "web", "", "", "", "",
	  "k8s.cluster.name=c1,k8s.namespace.name=demo,k8s.pod.name=web" },
	{ "a type that nobody reads is a pod", "c1", "", "StatefulSet", "db", "", "", "", "",
	  "k8s.cluster.name=c1,k8s.pod.name=db" },
	{ "capital letters", "c1", "", "CronJob", "tick", "", "", "", "",
	  "k8s.cluster.name=c1,k8s.cronjob.name=tick" },
	{ "our own cluster", "", "demo", "", "", "", "", "", "",
	  "k8s.cluster.name=ours,k8s.namespace.name=demo" },
	{ "what may not stand in a header", "c1", "a\r\nb", "", "x,y", "", "k=v", "\x7f", "",
	  "k8s.cluster.name=c1" },
};
/* clang-format on */

START_TEST(formats)
{
	struct workload w = { .cluster_id = rows[_i].cluster,
		              .ns = rows[_i].ns,
		              .workload_type = rows[_i].type,
		              .workload_name = rows[_i].workload_name,
		              .canonical_name = rows[_i].canonical,
		              .canonical_revision = rows[_i].revision,
		              .region = rows[_i].region,
		              .zone = rows[_i].zone };
	char *got = baggage_format(&w, "ours");

	ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: %s", rows[_i].name, got);
	free(got);
}
END_TEST

START_TEST(nobody_says_nothing)
{
	char *got = baggage_format(NULL, "ours");

	ck_assert_str_eq(got, "");
	free(got);
}
END_TEST

/* Never 127.0.0.x, where apps listen; never a last byte of 0 or 255. */
START_TEST(sources_rotate_and_stay_in_range)
{
	static const uint32_t turns[] = { 0,     1,         253,       254,       65023,
		                          65024, 16516095u, 16516096u, UINT32_MAX };
	static const struct hb_ip v4 = { { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1 } };
	static const struct hb_ip v6 = { { [0] = 0xfd, [15] = 1 } };
	struct hb_addr last = appdial_source(&v4, UINT32_MAX - 1);

	for (size_t i = 0; i < HB_ARRAY_LEN(turns); i++) {
		struct hb_addr addr = appdial_source(&v4, turns[i]);

		ck_assert(hb_ip_is_v4(&addr.ip) && hb_ip_is_loopback(&addr.ip));
		ck_assert_msg(addr.ip.b[13] >= 1 && addr.ip.b[13] <= 254, "%u", turns[i]);
		ck_assert_msg(addr.ip.b[15] >= 1 && addr.ip.b[15] <= 254, "%u", turns[i]);
		ck_assert_uint_eq(addr.port, 0);
		ck_assert_msg(!hb_ip_equal(&addr.ip, &last.ip), "%u is as the one before",
		              turns[i]);
		last = addr;
	}
	last = appdial_source(&v6, 7);
	ck_assert(hb_ip_equal(&last.ip, &v6) && last.port == 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("baggage");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, formats, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, nobody_says_nothing);
	tcase_add_test(tc, sources_rotate_and_stay_in_range);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
