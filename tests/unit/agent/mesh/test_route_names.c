/*
 * route: endpoints that are known by a host name only: which of its addresses is taken, in what
 * order they are tried, and what of the route follows from it.
 */
#include "mesh/hash.h"
#include "unit/agent/mesh/route_text.h"

/* clang-format off */
#define W(uid, more) "- {uid: " uid ", namespace: app, trustDomain: td, serviceAccount: " uid ", " more "}\n"
#define S(name, vips, more) "- {name: " name ", namespace: app, hostname: " name ", vips: [" vips "], ports: {80: 8080}, " more "}\n"

static const char mesh[] =
	"workloads:\n"
	W("src", "workloadIps: [10.0.0.1], services: {}")
	W("plain", "hostname: a.example, workloadIps: [], services: {app/plain: {80: 8080}, app/two: {80: 8080}}")
	W("other", "workloadIps: [10.0.0.9], services: {app/two: {80: 8080}}")
	W("mesh", "hostname: b.example, workloadIps: [], protocol: HBONE, services: {app/mesh: {80: 8080}}")
	W("wp", "hostname: wp.example, workloadIps: [], services: {}")
	"services:\n"
	S("plain", "/10.96.0.1, \"/fd96::1\"", "")
	S("mesh", "/10.96.0.2", "")
	S("two", "/10.96.0.3", "")
	S("viawp", "/10.96.0.4", "waypoint: {destination: app/wp.example, hboneMtlsPort: 15009}");

static const struct {
	const char *name, *dst;
	const char *ips[4];
	const char *want; /* each that may be taken first, in order of the text */
} first[] = {
	{ "one address", "10.96.0.1:80", { "192.0.2.1" }, "plain 192.0.2.1:8080, " },
	{ "any of several", "10.96.0.1:80", { "192.0.2.1", "192.0.2.2", "192.0.2.3" },
	  "plain 192.0.2.1:8080, plain 192.0.2.2:8080, plain 192.0.2.3:8080, " },
	{ "the family that was dialled: IPv4", "10.96.0.1:80", { "2001:db8::1", "192.0.2.1", "2001:db8::2" }, "plain 192.0.2.1:8080, " },
	{ "the family that was dialled: IPv6", "[fd96::1]:80", { "192.0.2.1", "2001:db8::1", "192.0.2.2" }, "plain [2001:db8::1]:8080, " },
	{ "the other family where there is no other", "[fd96::1]:80", { "192.0.2.1", "192.0.2.2" }, "plain 192.0.2.1:8080, plain 192.0.2.2:8080, " },
	{ "on HBONE the authority is the address too", "10.96.0.2:80", { "192.0.2.1" }, "hbone 192.0.2.1:15008 192.0.2.1:8080 mesh, " },
	{ "a waypoint is asked for what was dialled", "10.96.0.4:80", { "192.0.2.1" }, "hbone 192.0.2.1:15009 10.96.0.4:80 wp, " },
};
/* clang-format on */

struct names {
	struct hb_ip ips[4];
	size_t count;
};

static struct names names_of(const char *const *texts)
{
	struct names names = { .count = 0 };

	while (names.count < 4 && texts[names.count]) {
		names.ips[names.count] = ip_of(texts[names.count]);
		names.count++;
	}
	return names;
}

static struct route_query query_of(const struct snapshot *s, const char *dst, uint64_t random)
{
	return (struct route_query){
		.src = snapshot_workload_by_uid(s, "src"),
		.src_ip = ip_of("10.0.0.1"),
		.network = "",
		.dst = addr_of(dst),
		.random = random,
	};
}

START_TEST(taken_first)
{
	struct names names = names_of(first[_i].ips);
	char seen[3][256] = { "" }, text[256], got[1024] = "";
	struct snapshot *s = mesh_from(mesh);
	struct route route;
	size_t kinds = 0, at;

	for (uint64_t random = 0; random < 200; random++) {
		struct route_query query = query_of(s, first[_i].dst, random);

		route_decide(s, &query, &route);
		ck_assert_ptr_nonnull(route.lookup);
		ck_assert(route_resolve(&route, &query, names.ips, names.count));
		ck_assert(route.other_addresses == (names.count > 1));
		route_format(&route, text, sizeof(text));
		for (at = 0; at < kinds && strcmp(seen[at], text) < 0; at++)
			;
		if (at < kinds && strcmp(seen[at], text) == 0)
			continue;
		ck_assert_msg(kinds < 3, "%s: %s", first[_i].name, text);
		memmove(seen[at + 1], seen[at], (kinds++ - at) * sizeof(seen[0]));
		strcpy(seen[at], text);
	}
	for (at = 0; at < kinds; at++) {
		strcat(got, seen[at]);
		strcat(got, ", ");
	}
	ck_assert_msg(strcmp(got, first[_i].want) == 0, "%s: %s", first[_i].name, got);
	snapshot_unref(s);
}
END_TEST

/* Each address once, those of the family first, then no more. */
START_TEST(one_after_another)
{
	struct names names =
	    names_of((const char *[]){ "2001:db8::1", "192.0.2.1", "192.0.2.2", NULL });
	struct snapshot *s = mesh_from(mesh);

	for (uint64_t random = 0; random < 20; random++) {
		struct route_query query = query_of(s, "10.96.0.1:80", random);
		uint64_t tried[3];
		struct route route;

		query.view.tried = tried;
		for (size_t i = 0; i < 3; i++) {
			query.view.tried_count = i;
			route_decide(s, &query, &route);
			ck_assert(route_resolve(&route, &query, names.ips, names.count));
			ck_assert(hb_ip_is_v4(&route.next_hop.ip) == (i < 2));
			ck_assert(route.other_addresses == (i < 2));
			tried[i] = route.address_key;
			ck_assert(!balance_is_tried(&query.view, tried[i]));
		}
		query.view.tried_count = 3;
		route_decide(s, &query, &route);
		ck_assert(!route_resolve(&route, &query, names.ips, names.count));
	}
	snapshot_unref(s);
}
END_TEST

/* What failed for others just now is taken when nothing else is left, though its family fits. */
START_TEST(avoided)
{
	struct names names = names_of((const char *[]){ "2001:db8::1", "192.0.2.1", NULL });
	static struct balance_memory memory;
	struct snapshot *s = mesh_from(mesh);
	struct route_query query = query_of(s, "10.96.0.1:80", 1);
	struct route route;

	query.view.memory = &memory;
	query.view.now_ms = 1000;
	route_decide(s, &query, &route);
	ck_assert(route_resolve(&route, &query, names.ips, names.count));
	ck_assert(hb_ip_is_v4(&route.next_hop.ip));
	balance_failed(&memory, route.address_key, 1000);
	route_decide(s, &query, &route);
	ck_assert(route_resolve(&route, &query, names.ips, names.count));
	ck_assert(!hb_ip_is_v4(&route.next_hop.ip));
	balance_failed(&memory, route.address_key, 1000);
	route_decide(s, &query, &route);
	ck_assert(route_resolve(&route, &query, names.ips, names.count));
	ck_assert(hb_ip_is_v4(&route.next_hop.ip));
	query.view.now_ms += BALANCE_AVOID_MS;
	ck_assert(route_resolve(&route, &query, names.ips, names.count));
	ck_assert(hb_ip_is_v4(&route.next_hop.ip));
	snapshot_unref(s);
}
END_TEST

/* An address that was tried does not change whom the draw falls on. */
START_TEST(the_same_endpoint)
{
	struct snapshot *s = mesh_from(mesh);
	struct hb_ip ip = ip_of("192.0.2.1");

	for (uint64_t random = 0; random < 20; random++) {
		struct route_query query = query_of(s, "10.96.0.3:80", random);
		struct route route, again;
		uint64_t tried;

		route_decide(s, &query, &route);
		if (!route.lookup)
			continue;
		ck_assert(route_resolve(&route, &query, &ip, 1));
		tried = route.address_key;
		query.view.tried = &tried;
		query.view.tried_count = 1;
		route_decide(s, &query, &again);
		ck_assert_ptr_eq(again.workload, route.workload);
		tried = route.key; /* now the endpoint itself */
		route_decide(s, &query, &again);
		ck_assert_ptr_ne(again.workload, route.workload);
		ck_assert_ptr_null(again.lookup);
	}
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route_names");
	TCase *tc = tcase_create("names");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, taken_first, 0, HB_ARRAY_LEN(first));
	tcase_add_test(tc, one_after_another);
	tcase_add_test(tc, avoided);
	tcase_add_test(tc, the_same_endpoint);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
