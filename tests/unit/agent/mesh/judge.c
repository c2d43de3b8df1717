/*
 * judge: policy_judge() for a program that asks by pipe. "judge MESH.YAML" answers each line
 * "uid identity source destination" (identity "-": none) with "allowed reason key rule audit".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/meshfile.h"
#include "mesh/policy.h"

static const char *const reasons[] = {
	[POLICY_NO_ALLOW_POLICIES] = "no-allow-policies",
	[POLICY_ALLOWED_BY] = "allowed-by",
	[POLICY_DENIED_BY] = "denied-by",
	[POLICY_NONE_ALLOWED] = "none-allowed",
	[POLICY_MISSING] = "missing",
};

static const char *key_of(const struct policy *policy)
{
	return policy ? policy->key : "-";
}

static int answer(const struct snapshot *s, char *line)
{
	char *rest = line, *uid = strsep(&rest, " "), *identity = strsep(&rest, " ");
	char *source = strsep(&rest, " "), *destination = strsep(&rest, "\n");
	const struct workload *workload = destination ? snapshot_workload_by_uid(s, uid) : NULL;
	struct policy_query query = { 0 };
	struct policy_verdict verdict;

	if (!workload || hb_addr_parse(source, strlen(source), &query.src) < 0 ||
	    hb_addr_parse(destination, strlen(destination), &query.dst) < 0)
		return -1;
	query.identity = strcmp(identity, "-") != 0 ? identity : NULL;
	policy_judge(s, workload, &query, &verdict);
	printf("%d %s %s %zu %s %s %s %d\n", verdict.allowed, reasons[verdict.reason],
	       *verdict.key ? verdict.key : "-", verdict.rule, key_of(verdict.audit.denies),
	       key_of(verdict.audit.allows), key_of(verdict.audit.lacks),
	       policy_audit_allows(&verdict));
	return 0;
}

int main(int argc, char **argv)
{
	struct snapshot *s = NULL;
	char why[1024], *line = NULL;
	size_t size = 0;
	int failed = 0;

	if (argc != 2 || meshfile_load(argv[1], &s, why, sizeof(why)) < 0) {
		fprintf(stderr, "judge: %s\n", argc == 2 ? why : "expected one mesh file");
		return 2;
	}
	while (!failed && getline(&line, &size, stdin) > 0) {
		failed = answer(s, line);
		if (failed)
			fprintf(stderr, "judge: cannot answer this question\n");
	}
	free(line);
	snapshot_unref(s);
	return failed ? 2 : 0;
}
