/*
 * headers: what may be said and what is understood, as ztunnel has it, and where we are stricter.
 */
#include <hbone/headers.h>

#include <check.h>
#include <stdio.h>
#include <string.h>

#define LINES_MAX 3

/* clang-format off */
static const struct {
	const char *name;
	const char *cluster, *ns, *workload, *service, *version, *region, *zone;
	enum hb_workload_type type;
	const char *want;
} said[] = {
	{ "all of it", "c1", "demo", "web", "web-svc", "v1", "r", "z", HB_WORKLOAD_DEPLOYMENT,
	  "k8s.cluster.name=c1,k8s.namespace.name=demo,k8s.deployment.name=web,"
	  "service.name=web-svc,service.version=v1,cloud.region=r,cloud.availability_zone=z" },
	{ "nothing", "", "", "", "", "", "", "", HB_WORKLOAD_POD, "" },
	{ "absent", NULL, NULL, NULL, NULL, NULL, NULL, "z", HB_WORKLOAD_POD,
	  "cloud.availability_zone=z" },
	{ "a job", "", "", "w", "", "", "", "", HB_WORKLOAD_JOB, "k8s.job.name=w" },
	{ "a cron job", "", "", "w", "", "", "", "", HB_WORKLOAD_CRONJOB, "k8s.cronjob.name=w" },
	{ "a pod", "", "", "w", "", "", "", "", HB_WORKLOAD_POD, "k8s.pod.name=w" },
	{ "a comma", "a,b", "ok", "", "", "", "", "", HB_WORKLOAD_POD, "k8s.namespace.name=ok" },
	{ "an equals sign", "a=b", "ok", "", "", "", "", "", HB_WORKLOAD_POD, "k8s.namespace.name=ok" },
	{ "a header of its own", "a\r\nb: c", "ok", "", "", "", "", "", HB_WORKLOAD_POD,
	  "k8s.namespace.name=ok" },
	{ "a blank", "a b", "ok", "", "", "", "", "", HB_WORKLOAD_POD, "k8s.namespace.name=ok" },
	{ "not ASCII", "\xc3\xa4", "ok\x7f", "w", "", "", "", "", HB_WORKLOAD_POD, "k8s.pod.name=w" },
};

static const struct {
	const char *name;
	const char *lines[LINES_MAX];
	int err;
	const char *want; /* the fields that are there, joined by '|' */
} heard[] = {
	{ "all of it", { "k8s.cluster.name=c1,k8s.namespace.name=demo,k8s.deployment.name=web,"
	  "service.name=s,service.version=v1,cloud.region=r,cloud.availability_zone=z" }, 0,
	  "c1|demo|web|s|v1|r|z" },
	{ "no lines", { NULL }, 0, "||||||" },
	{ "an empty line", { "" }, 0, "||||||" },
	{ "several lines", { "k8s.cluster.name=c1", "k8s.namespace.name=n", "cloud.region=r" }, 0,
	  "c1|n||||r|" },
	{ "a cron job", { "k8s.cronjob.name=w" }, 0, "||w||||" },
	{ "a pod", { "k8s.pod.name=w" }, 0, "||w||||" },
	{ "a job", { "k8s.job.name=w" }, 0, "||w||||" },
	{ "the later wins", { "service.name=a,service.name=b", "service.name=c" }, 0, "|||c|||" },
	{ "an empty value is none", { "service.name=a,service.name=" }, 0, "||||||" },
	{ "no equals sign", { "service.name" }, 0, "||||||" },
	{ "a second equals sign", { "service.name=a=b,cloud.zone=z" }, 0, "|||a|||" },
	{ "unknown keys", { "x=y,service.name=a,k8s.daemonset.name=d" }, 0, "|||a|||" },
	{ "keys are exact", { " service.name=a,Service.name=b,service.name =c" }, 0, "||||||" },
	{ "only separators", { ",,=,==,=,", "=" }, 0, "||||||" },
	{ "a blank is part of it", { "service.name= a b\t" }, 0, "||| a b\t|||" },
	{ "not visible", { "service.name=a\x01" }, -EINVAL, NULL },
	{ "not ASCII", { "service.name=a", "service.version=\xc3\xa4" }, -EINVAL, NULL },
	{ "delete", { "\x7f" }, -EINVAL, NULL },
};

static const struct {
	const char *name, *src, *host, *want;
} forwarded[] = {
	{ "an address", "10.0.0.1:1234", NULL, "for=\"10.0.0.1:1234\"" },
	{ "IPv6", "[fd00::1]:1", "", "for=\"[fd00::1]:1\"" },
	{ "a service", "10.0.0.1:80", "app.ns.svc.cluster.local",
	  "for=\"10.0.0.1:80\";host=app.ns.svc.cluster.local" },
	{ "no host's name", "10.0.0.1:80", "a;host=b", "for=\"10.0.0.1:80\"" },
	{ "a line's end", "10.0.0.1:80", "a\r\nb: c", "for=\"10.0.0.1:80\"" },
};

static const struct {
	const char *name, *text, *want; /* want NULL: none */
} hosts[] = {
	{ "ours", "for=\"10.0.0.1:80\";host=app.ns", "app.ns" },
	{ "in quotes", "host=\"app.ns\"", "app.ns" },
	{ "one quote", "host=\"app.ns", "app.ns" },
	{ "the other quote", "host=app.ns\"", "app.ns" },
	{ "only one pair", "host=\"\"app.ns\"\"", "\"app.ns\"" },
	{ "blanks around it", "for=x; \thost=app.ns \t;by=y", "app.ns" },
	{ "the first", "host=a;host=b", "a" },
	{ "the first, though empty", "host=;host=b", NULL },
	{ "no host", "for=\"10.0.0.1:80\"", NULL },
	{ "capital letters", "Host=a", NULL },
	{ "a blank before the sign", "host =a", NULL },
	{ "only quotes", "host=\"\"", NULL },
	{ "one quote alone", "host=\"", NULL },
	{ "nothing", "", NULL },
	{ "cut short", "hos", NULL },
	{ "not ASCII", "for=\xc3\xa4;host=a", NULL },
	{ "a control", "for=\x01;host=a", NULL },
};

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static const struct {
	const char *name, *text, *want; /* want NULL: refused */
} traces[] = {
	{ "the standard's example", "00-" TRACE "-" SPAN "-01", "00-" TRACE "-" SPAN "-01" },
	{ "capital letters", "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-00",
	  "00-" TRACE "-" SPAN "-00" },
	{ "a version to come", "cc-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00" },
	{ "version ff", "ff-" TRACE "-" SPAN "-00", NULL },
	{ "too short", "00-" TRACE "-" SPAN "-0", NULL },
	{ "too long", "00-" TRACE "-" SPAN "-000", NULL },
	{ "more behind", "cc-" TRACE "-" SPAN "-00-x", NULL },
	{ "empty", "", NULL },
	/* 55 characters each. */
	{ "no dash", "0000000000000000000000000000000000000000000000000000000", NULL },
	{ "one dash", "00-0000000000000000000000000000000000000000000000000000", NULL },
	{ "two dashes", "00-" TRACE "-0000000000000000000", NULL },
	{ "too many", "00-" TRACE "-b7ad6b71692033-1-00", NULL },
	{ "dashes elsewhere", "0-00af7651916cd43dd8448eb211c80319c-" SPAN "-00", NULL },
	{ "only dashes", "-------------------------------------------------------", NULL },
	{ "a sign", "00-+af7651916cd43dd8448eb211c80319c-" SPAN "-00", NULL },
	{ "not hex", "00-" TRACE "-" SPAN "-0g", NULL },
	{ "a trace of zeros", "00-00000000000000000000000000000000-" SPAN "-00", NULL },
	{ "a parent of zeros", "00-" TRACE "-0000000000000000-00", NULL },
};

static const struct {
	const char *name, *said, *own;
	bool want;
} networks[] = {
	{ "the same", "net-1", "net-1", false },
	{ "letters' case apart", "Net-1", "nET-1", false },
	{ "another", "net-2", "net-1", true },
	{ "longer", "net-11", "net-1", true },
	{ "shorter", "net-", "net-1", true },
	{ "both without a name", "", "", false },
	{ "only the peer without", "", "net-1", true },
	{ "only we without", "net-1", "", true },
	{ "cannot be shown", "\x01", "net-1", false },
};
/* clang-format on */

START_TEST(baggage_is_said)
{
	struct hb_baggage b = {
		.cluster = hb_span(said[_i].cluster),
		.ns = hb_span(said[_i].ns),
		.workload = hb_span(said[_i].workload),
		.service = hb_span(said[_i].service),
		.version = hb_span(said[_i].version),
		.region = hb_span(said[_i].region),
		.zone = hb_span(said[_i].zone),
		.type = said[_i].type,
	};
	char out[HB_BAGGAGE_SIZE];

	hb_baggage_format(&b, out);
	ck_assert_msg(strcmp(out, said[_i].want) == 0, "%s: %s", said[_i].name, out);
}
END_TEST

START_TEST(baggage_is_heard)
{
	struct hb_span lines[LINES_MAX];
	struct hb_baggage b;
	size_t count = 0;
	char got[512];
	int err;

	while (count < LINES_MAX && heard[_i].lines[count]) {
		lines[count] = hb_span(heard[_i].lines[count]);
		count++;
	}
	err = hb_baggage_parse(lines, count, &b);
	ck_assert_msg(err == heard[_i].err, "%s: %d", heard[_i].name, err);
	if (err)
		return;
	snprintf(got, sizeof(got), "%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s", (int)b.cluster.len,
	         b.cluster.text, (int)b.ns.len, b.ns.text, (int)b.workload.len, b.workload.text,
	         (int)b.service.len, b.service.text, (int)b.version.len, b.version.text,
	         (int)b.region.len, b.region.text, (int)b.zone.len, b.zone.text);
	ck_assert_msg(strcmp(got, heard[_i].want) == 0, "%s: %s", heard[_i].name, got);
}
END_TEST

/* The longest that a peer can make us keep or say. */
START_TEST(baggage_is_capped)
{
	static char value[20000], line[20100];
	char out[HB_BAGGAGE_SIZE];
	struct hb_baggage b;
	struct hb_span all = { line, 0 }, v = { value, sizeof(value) };

	memset(value, 'a', sizeof(value));
	b = (struct hb_baggage){ v, v, v, v, v, v, v, HB_WORKLOAD_DEPLOYMENT };
	hb_baggage_format(&b, out);
	ck_assert_uint_lt(strlen(out), HB_BAGGAGE_SIZE - 1); /* nothing was cut but the values */
	ck_assert_int_eq(hb_baggage_parse(&(struct hb_span){ out, strlen(out) }, 1, &b), 0);
	ck_assert_uint_eq(b.cluster.len, HB_BAGGAGE_VALUE_MAX);
	ck_assert_uint_eq(b.zone.len, HB_BAGGAGE_VALUE_MAX);

	all.len =
	    (size_t)snprintf(line, sizeof(line), "service.name=%.*s", (int)sizeof(value), value);
	ck_assert_int_eq(hb_baggage_parse(&all, 1, &b), 0);
	ck_assert_uint_eq(b.service.len, HB_BAGGAGE_VALUE_MAX);
}
END_TEST

START_TEST(type_of_the_workload)
{
	struct hb_span line = hb_span("k8s.pod.name=a,k8s.job.name=b");
	struct hb_baggage b;

	ck_assert_int_eq(hb_baggage_parse(&line, 1, &b), 0);
	ck_assert_int_eq(b.type, HB_WORKLOAD_JOB);
}
END_TEST

START_TEST(forwarded_is_said)
{
	char out[HB_FORWARDED_SIZE], host[HB_HOST_MAX + 2];
	struct hb_addr src;

	ck_assert_int_eq(hb_addr_parse(forwarded[_i].src, strlen(forwarded[_i].src), &src), 0);
	hb_forwarded_format(&src, forwarded[_i].host, out);
	ck_assert_msg(strcmp(out, forwarded[_i].want) == 0, "%s: %s", forwarded[_i].name, out);

	memset(host, 'h', sizeof(host));
	host[HB_HOST_MAX + 1] = '\0'; /* one too many */
	hb_forwarded_format(&src, host, out);
	ck_assert_ptr_null(strstr(out, "host="));
	hb_forwarded_format(&src, host + 1, out);
	ck_assert_uint_eq(hb_forwarded_host(out, strlen(out)).len, HB_HOST_MAX);
}
END_TEST

START_TEST(forwarded_is_heard)
{
	const char *want = hosts[_i].want ? hosts[_i].want : "";
	struct hb_span got = hb_forwarded_host(hosts[_i].text, strlen(hosts[_i].text));

	ck_assert_msg(got.len == strlen(want) && (!got.len || !memcmp(got.text, want, got.len)),
	              "%s: %.*s", hosts[_i].name, (int)got.len, got.text);
}
END_TEST

START_TEST(host_is_capped)
{
	char text[sizeof("host=") + HB_HOST_MAX + 1];

	memset(text, 'h', sizeof(text));
	memcpy(text, "host=", 5);
	ck_assert_uint_eq(hb_forwarded_host(text, 5 + HB_HOST_MAX).len, HB_HOST_MAX);
	ck_assert_uint_eq(hb_forwarded_host(text, 5 + HB_HOST_MAX + 1).len, 0);
}
END_TEST

START_TEST(traceparent)
{
	struct hb_traceparent parent;
	char out[HB_TRACEPARENT_LEN + 1];
	int err = hb_traceparent_parse(traces[_i].text, strlen(traces[_i].text), &parent);

	ck_assert_msg(err == (traces[_i].want ? 0 : -EINVAL), "%s: %d", traces[_i].name, err);
	if (err)
		return;
	hb_traceparent_format(&parent, out);
	ck_assert_msg(strcmp(out, traces[_i].want) == 0, "%s: %s", traces[_i].name, out);
}
END_TEST

START_TEST(network)
{
	bool got =
	    hb_network_differs(networks[_i].said, strlen(networks[_i].said), networks[_i].own);

	ck_assert_msg(got == networks[_i].want, "%s", networks[_i].name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("headers");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, baggage_is_said, 0, HB_ARRAY_LEN(said));
	tcase_add_loop_test(tc, baggage_is_heard, 0, HB_ARRAY_LEN(heard));
	tcase_add_test(tc, baggage_is_capped);
	tcase_add_test(tc, type_of_the_workload);
	tcase_add_loop_test(tc, forwarded_is_said, 0, HB_ARRAY_LEN(forwarded));
	tcase_add_loop_test(tc, forwarded_is_heard, 0, HB_ARRAY_LEN(hosts));
	tcase_add_test(tc, host_is_capped);
	tcase_add_loop_test(tc, traceparent, 0, HB_ARRAY_LEN(traces));
	tcase_add_loop_test(tc, network, 0, HB_ARRAY_LEN(networks));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
