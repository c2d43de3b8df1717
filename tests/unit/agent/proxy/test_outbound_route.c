/*
 * outbound_route: what is counted of outbound connections: limits of the pool, and names looked up.
 */
#include <check.h>

#include "proxy/outbound_route.h"

/* clang-format off */
static const struct {
	int code;
	const char *reason; /* NULL: no limit */
} limits[] = {
	{ HB_E_POOL_CONNECTIONS, "pool-connections" },
	{ HB_E_KEY_CONNECTIONS,  "key-connections" },
	{ HB_E_POOL_WAITERS,     "pool-waiters" },
	{ HB_E_KEY_WAITERS,      "key-waiters" },
	{ HB_E_LIMIT,            NULL },
	{ -ECONNREFUSED,         NULL },
	{ 0,                     NULL },
};
/* clang-format on */

START_TEST(limits_of_the_pool)
{
	struct metrics *metrics = metrics_new();

	ck_assert_ptr_nonnull(metrics);
	outbound_count_limit(metrics, limits[_i].code);
	for (size_t i = 0; i < HB_ARRAY_LEN(limits) && limits[i].reason; i++) {
		uint64_t got = *metrics_at(metrics, METRIC_CONNECTIONS_REFUSED, &limits[i].reason);

		ck_assert_msg(got == (i == (size_t)_i), "%s: %llu", limits[i].reason,
		              (unsigned long long)got);
	}
	metrics_free(metrics);
}
END_TEST

START_TEST(lookups)
{
	const struct workload src = {
		.workload_name = "w",
		.canonical_name = "c",
		.canonical_revision = "",
		.ns = "n",
		.identity = "spiffe://td/ns/n/sa/a",
		.cluster_id = "Kubernetes",
	};
	const struct route route = { .lookup = "db.example.com" };
	const char *values[] = {
		"w",       "c",          "unknown",       "n", "spiffe://td/ns/n/sa/a", "c",
		"unknown", "Kubernetes", "db.example.com"
	};
	struct metrics *metrics = metrics_new();

	ck_assert_ptr_nonnull(metrics);
	outbound_count_lookup(metrics, &src, &route);
	outbound_count_lookup(metrics, &src, &route);
	ck_assert_uint_eq(*metrics_at(metrics, METRIC_ON_DEMAND_DNS, values), 2);
	metrics_free(metrics);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("outbound_route");
	TCase *tc = tcase_create("counted");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, limits_of_the_pool, 0, HB_ARRAY_LEN(limits));
	tcase_add_test(tc, lookups);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
