/*
 * policy: the truth tables of reference/datapath 4.5, row by row, and what goes beyond them.
 */
#include <stdio.h>

#include "mesh/policy.h"
#include "unit/agent/mesh/mesh_text.h"

#define IDENTITY "spiffe://td/ns/namespace/sa/account"

/* One enforced ALLOW: allowed is matched. */
static const char one_policy[] =
    "workloads:\n"
    "- {uid: w, namespace: app, workloadIps: [127.0.0.2], services: {}}\n"
    "policies:\n"
    "- {name: p, namespace: app, scope: Namespace, action: Allow,\n"
    "   dryRun: false, rules: %s}\n";

static struct policy_verdict ask(const struct snapshot *s, const char *identity, bool stands)
{
	struct policy_query query = {
		.src = addr_of("127.0.0.1:40000"),
		.identity = identity,
		.dst = addr_of("127.0.0.2:8080"),
		.stands = stands,
	};
	struct policy_verdict verdict;

	policy_judge(s, snapshot_workload_by_uid(s, "w"), &query, &verdict);
	return verdict;
}

static struct policy_verdict judge(const struct snapshot *s, const char *identity)
{
	return ask(s, identity, false);
}

/* clang-format off */
static const struct {
	const char *rules;
	bool plaintext, mtls;
} contents[] = {
	{ "[]", false, false },
	{ "[[]]", true, true },
	{ "[[[]]]", true, true },
	{ "[[[{}]]]", false, false },
	{ "[[[{}, {destinationPorts: [8080]}]]]", true, true },
	{ "[[[{}], [{destinationPorts: [8080]}]]]", false, false },
	{ "[[[{namespaces: [!Exact namespace]}]]]", false, true },
	{ "[[[{notNamespaces: [!Exact namespace]}]]]", true, false },
	{ "[[[{namespaces: [!Presence []]}]]]", false, true },
	{ "[[[{notNamespaces: [!Presence []]}]]]", true, false },
	{ "[[[{namespaces: [!Prefix \"\"]}]]]", true, true },
	{ "[[[{namespaces: [!Prefix name]}]]]", false, true },
	{ "[[[{namespaces: [!Suffix space]}]]]", false, true },
	{ "[[[{namespaces: [!Exact namespac]}]]]", false, false },
	{ "[[[{namespaces: [!Exact Namespace]}]]]", false, false },
	{ "[[[{namespaces: [!Suffix a-namespace]}]]]", false, false },
	{ "[[[{principals: [!Prefix \"\"]}]]]", false, true },
	{ "[[[{principals: [!Exact td/ns/namespace/sa/account]}]]]", false, true },
	{ "[[[{principals: [!Exact spiffe://td/ns/namespace/sa/account]}]]]", false, false },
	{ "[[[{principals: [!Suffix /sa/account]}]]]", false, true },
	{ "[[[{principals: [!Prefix td/ns/namespace/]}]]]", false, true },
	{ "[[[{principals: [!Presence []]}]]]", false, true },
	{ "[[[{notPrincipals: [!Presence []]}]]]", true, false },
	{ "[[[{notPrincipals: [!Exact other]}]]]", true, true },
	{ "[[[{principals: [!Exact other, !Suffix account]}]]]", false, true },
	{ "[[[{serviceAccounts: [{namespace: namespace, serviceAccount: account}]}]]]", false, true },
	{ "[[[{serviceAccounts: [{namespace: other, serviceAccount: account}]}]]]", false, false },
	{ "[[[{notServiceAccounts: [{namespace: namespace, serviceAccount: account}]}]]]", true, false },
	{ "[[[{sourceIps: [127.0.0.1/32]}]]]", true, true },
	{ "[[[{notSourceIps: [127.0.0.1/32]}]]]", false, false },
	{ "[[[{sourceIps: [127.0.0.2/32]}]]]", false, false },
	{ "[[[{sourceIps: [127.0.0.0/31]}]]]", true, true },
	{ "[[[{sourceIps: [127.0.0.2/31]}]]]", false, false },
	{ "[[[{sourceIps: [0.0.0.0/0]}]]]", true, true },
	{ "[[[{sourceIps: [\"::/0\"]}]]]", false, false },
	{ "[[[{sourceIps: [\"::ffff:127.0.0.1/128\"]}]]]", false, false },
	{ "[[[{sourceIps: [\"::ffff:127.0.0.1/8\"]}]]]", false, false },
	{ "[[[{destinationIps: [127.0.0.1/24]}]]]", true, true },
	{ "[[[{notDestinationIps: [127.0.0.1/24]}]]]", false, false },
	{ "[[[{destinationPorts: [80]}, {destinationPorts: [8080]}]]]", true, true },
	{ "[[[{destinationPorts: [80]}], [{destinationPorts: [8080]}]]]", false, false },
	{ "[[[{destinationPorts: [80]}]], [[{destinationPorts: [8080]}]]]", true, true },
	{ "[[[{destinationPorts: [80, 8080]}]]]", true, true },
	{ "[[[{destinationPorts: [8080], notDestinationPorts: [8080]}]]]", false, false },
	{ "[[[{principals: [!Presence []], destinationPorts: [8080]}]]]", false, true },
};
/* clang-format on */

START_TEST(content)
{
	struct policy_verdict plaintext, mtls, empty;
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), one_policy, contents[_i].rules);
	s = mesh_from(yaml);
	plaintext = judge(s, NULL);
	empty = judge(s, "");
	mtls = judge(s, IDENTITY);
	ck_assert_msg(plaintext.allowed == contents[_i].plaintext, "plaintext: %s",
	              contents[_i].rules);
	ck_assert_msg(empty.allowed == plaintext.allowed, "empty identity: %s", contents[_i].rules);
	ck_assert_msg(mtls.allowed == contents[_i].mtls, "mTLS: %s", contents[_i].rules);
	snapshot_unref(s);
}
END_TEST

START_TEST(service_account_ignores_trust_domain)
{
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), one_policy,
	         "[[[{serviceAccounts: [{namespace: namespace, serviceAccount: account}]}]]]");
	s = mesh_from(yaml);
	ck_assert(judge(s, "spiffe://elsewhere/ns/namespace/sa/account").allowed);
	ck_assert(!judge(s, "spiffe://td/ns/namespace/sa/other").allowed);
	snapshot_unref(s);
}
END_TEST

#define MATCHING "[[]]"
#define NOT      "[[[{destinationPorts: [1]}]]]"
#define P(name, ns, scope, action, dry, rules)                                                     \
	"- {name: " name ", namespace: '" ns "', scope: " scope ", action: " action                \
	", dryRun: " dry ", rules: " rules "}\n"
#define MINE(name, action, dry, rules) P(name, "app", "Namespace", action, dry, rules)

/* clang-format off */
static const struct {
	const char *name, *listed, *policies, *want;
	bool allowed;
} sets[] = {
	{ "none", "", "", "no allow policies", true },
	{ "one ALLOW with no rules", "", MINE("a", "Allow", "false", "[]"),
	  "allow policies exist, but none allowed", false },
	{ "one DENY with no rules", "", MINE("d", "Deny", "false", "[]"), "no allow policies", true },
	{ "ALLOW matching + DENY matching", "",
	  MINE("a", "Allow", "false", MATCHING) MINE("d", "Deny", "false", MATCHING),
	  "explicitly denied by: app/d", false },
	{ "ALLOW matching + DENY not matching", "",
	  MINE("a", "Allow", "false", MATCHING) MINE("d", "Deny", "false", NOT),
	  "allowed by: app/a", true },
	{ "ALLOW not matching + DENY not matching", "",
	  MINE("a", "Allow", "false", NOT) MINE("d", "Deny", "false", NOT),
	  "allow policies exist, but none allowed", false },
	{ "only dry-run DENY matching", "", MINE("d", "Deny", "true", MATCHING),
	  "no allow policies", true },
	{ "only dry-run ALLOW not matching", "", MINE("a", "Allow", "true", NOT),
	  "no allow policies", true },
	{ "enforced ALLOW not matching + dry-run ALLOW matching", "",
	  MINE("a", "Allow", "false", NOT) MINE("b", "Allow", "true", MATCHING),
	  "allow policies exist, but none allowed", false },
	{ "a listed policy is missing: denied (ztunnel lets it pass)", "app/gone", "",
	  "denied by a policy that is not known: app/gone", false },
	{ "missing, though an ALLOW matches", "app/gone", MINE("a", "Allow", "false", MATCHING),
	  "denied by a policy that is not known: app/gone", false },
	{ "missing, and no ALLOW that is known matches", "app/gone", MINE("a", "Allow", "false", NOT),
	  "denied by a policy that is not known: app/gone", false },
	{ "missing, and a DENY that can be named", "app/gone", MINE("d", "Deny", "false", MATCHING),
	  "explicitly denied by: app/d", false },
	{ "first by key is named: DENY", "",
	  MINE("z", "Deny", "false", MATCHING) MINE("b", "Deny", "false", MATCHING)
	  P("c", "", "Global", "Deny", "false", NOT), "explicitly denied by: app/b", false },
	{ "first by key is named: ALLOW", "",
	  MINE("z", "Allow", "false", MATCHING) MINE("b", "Allow", "false", MATCHING),
	  "allowed by: app/b", true },
	{ "first by key is named: missing", "app/z, app/b", "",
	  "denied by a policy that is not known: app/b", false },
	{ "global applies", "", P("g", "root", "Global", "Deny", "false", MATCHING),
	  "explicitly denied by: root/g", false },
	{ "namespace scope without a namespace applies everywhere", "",
	  P("g", "", "Namespace", "Deny", "false", MATCHING), "explicitly denied by: /g", false },
	{ "another namespace does not apply", "",
	  P("o", "other", "Namespace", "Deny", "false", MATCHING), "no allow policies", true },
	{ "another namespace applies when listed", "other/o",
	  P("o", "other", "Namespace", "Deny", "false", MATCHING), "explicitly denied by: other/o", false },
	{ "a selector policy does not apply by itself", "",
	  P("s", "app", "WorkloadSelector", "Deny", "false", MATCHING), "no allow policies", true },
	{ "a selector policy applies when listed", "app/s",
	  P("s", "app", "WorkloadSelector", "Deny", "false", MATCHING), "explicitly denied by: app/s", false },
	{ "listed and in force anyway", "app/a", MINE("a", "Allow", "false", MATCHING),
	  "allowed by: app/a", true },
	{ "a dry-run policy that is listed is known", "app/d", MINE("d", "Deny", "true", MATCHING),
	  "no allow policies", true },
};
/* clang-format on */

START_TEST(set)
{
	struct policy_verdict verdict;
	char yaml[4096], got[160];
	struct snapshot *s;

	snprintf(yaml, sizeof(yaml),
	         "workloads:\n- {uid: w, namespace: app, workloadIps: [127.0.0.2], services: {}, "
	         "authorizationPolicies: [%s]}\npolicies:\n%s",
	         sets[_i].listed, sets[_i].policies);
	s = mesh_from(yaml);
	verdict = judge(s, IDENTITY);
	policy_verdict_format(&verdict, got, sizeof(got));
	ck_assert_msg(verdict.allowed == sets[_i].allowed && strcmp(got, sets[_i].want) == 0,
	              "%s: %s", sets[_i].name, got);
	/* A connection that stands is ended by what is known to deny it, and by nothing else. */
	ck_assert_msg(ask(s, IDENTITY, true).allowed ==
	                  (sets[_i].allowed || verdict.reason == POLICY_MISSING),
	              "%s, standing", sets[_i].name);
	snapshot_unref(s);
}
END_TEST

/* A denial that only says "none allowed" can still be explained. */
START_TEST(none_allowed_names_a_policy)
{
	struct policy_verdict verdict;
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), one_policy, NOT);
	s = mesh_from(yaml);
	verdict = judge(s, NULL);
	ck_assert_int_eq(verdict.reason, POLICY_NONE_ALLOWED);
	ck_assert_str_eq(verdict.key, "app/p");
	ck_assert_ptr_null(verdict.by);
	snapshot_unref(s);
}
END_TEST

/* clang-format off */
static const struct { /* what dry-run policies say, beside a verdict that they never change */
	const char *name, *policies, *denies, *allows, *lacks;
	bool allowed, would_be;
} audits[] = {
	{ "none", "", NULL, NULL, NULL, true, true },
	{ "a DENY that matches", MINE("d", "Deny", "true", MATCHING), "app/d", NULL, NULL, true, false },
	{ "a DENY that does not", MINE("d", "Deny", "true", NOT), NULL, NULL, NULL, true, true },
	{ "an ALLOW that matches", MINE("a", "Allow", "true", MATCHING), NULL, "app/a", NULL, true, true },
	{ "an ALLOW that does not", MINE("a", "Allow", "true", NOT), NULL, NULL, "app/a", true, false },
	{ "one that does, one that does not",
	  MINE("a", "Allow", "true", NOT) MINE("b", "Allow", "true", MATCHING),
	  NULL, "app/b", NULL, true, true },
	{ "an enforced ALLOW matches anyway",
	  MINE("a", "Allow", "false", MATCHING) MINE("b", "Allow", "true", NOT),
	  NULL, NULL, NULL, true, true },
	{ "it would lift a denial",
	  MINE("a", "Allow", "false", NOT) MINE("b", "Allow", "true", MATCHING),
	  NULL, "app/b", NULL, false, true },
	{ "it cannot lift a DENY",
	  MINE("d", "Deny", "false", MATCHING) MINE("b", "Allow", "true", MATCHING),
	  NULL, "app/b", NULL, false, false },
	{ "the first by key is named",
	  MINE("z", "Deny", "true", MATCHING) MINE("b", "Deny", "true", MATCHING),
	  "app/b", NULL, NULL, true, false },
};
/* clang-format on */

static bool is_key(const struct policy *policy, const char *key)
{
	return policy && key ? strcmp(policy->key, key) == 0 : !policy && !key;
}

START_TEST(audit)
{
	struct policy_verdict verdict;
	struct snapshot *s;
	char yaml[4096];

	snprintf(yaml, sizeof(yaml),
	         "workloads:\n- {uid: w, namespace: app, workloadIps: [127.0.0.2], services: {}}\n"
	         "policies:\n%s",
	         audits[_i].policies);
	s = mesh_from(yaml);
	verdict = judge(s, IDENTITY);
	ck_assert_msg(verdict.allowed == audits[_i].allowed &&
	                  is_key(verdict.audit.denies, audits[_i].denies) &&
	                  is_key(verdict.audit.allows, audits[_i].allows) &&
	                  is_key(verdict.audit.lacks, audits[_i].lacks) &&
	                  policy_audit_allows(&verdict) == audits[_i].would_be,
	              "%s", audits[_i].name);
	snapshot_unref(s);
}
END_TEST

/* clang-format off */
static const struct {
	const char *rules, *listed, *want;
} explained[] = {
	{ "[[]]", "", "app/p rule 1" },
	{ "[[[{destinationPorts: [1]}]], [[{destinationPorts: [8080]}]]]", "", "app/p rule 2" },
	{ "[[[{destinationPorts: [1]}]]]", "", "app/p, of which no rule matches" },
	{ "[]", "app/gone", "app/gone, which is not known" },
};
/* clang-format on */

START_TEST(the_rule_that_decided_is_named)
{
	struct policy_verdict verdict;
	struct snapshot *s;
	char yaml[1024], got[160];

	snprintf(yaml, sizeof(yaml),
	         "workloads:\n- {uid: w, namespace: app, workloadIps: [127.0.0.2], services: {}, "
	         "authorizationPolicies: [%s]}\npolicies:\n"
	         "- {name: p, namespace: app, scope: Namespace, action: Allow, dryRun: false, "
	         "rules: %s}\n",
	         explained[_i].listed, explained[_i].rules);
	s = mesh_from(yaml);
	verdict = judge(s, IDENTITY);
	policy_verdict_explain(&verdict, got, sizeof(got));
	ck_assert_str_eq(got, explained[_i].want);
	snapshot_unref(s);
}
END_TEST

START_TEST(an_identity_that_does_not_parse_is_none)
{
	struct snapshot *s;
	char yaml[1024];

	snprintf(yaml, sizeof(yaml), one_policy, "[[[{principals: [!Presence []]}]]]");
	s = mesh_from(yaml);
	ck_assert(!judge(s, "spiffe://td/ns/namespace").allowed);
	snapshot_unref(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, content, 0, HB_ARRAY_LEN(contents));
	tcase_add_test(tc, service_account_ignores_trust_domain);
	tcase_add_loop_test(tc, set, 0, HB_ARRAY_LEN(sets));
	tcase_add_loop_test(tc, audit, 0, HB_ARRAY_LEN(audits));
	tcase_add_loop_test(tc, the_rule_that_decided_is_named, 0, HB_ARRAY_LEN(explained));
	tcase_add_test(tc, none_allowed_names_a_policy);
	tcase_add_test(tc, an_identity_that_does_not_parse_is_none);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
