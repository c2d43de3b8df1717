/*
 * policy: may this peer reach this port of this workload, and which rule said so
 * (reference/datapath 4). Pure; no allocation.
 *
 * A policy that the workload lists and that is not in the snapshot denies (design, promise 2), but
 * ends no connection that is there already: istiod tells of the list first, and of the policy a
 * moment later.
 */
#pragma once

#include "mesh/store.h"

struct policy_query {
	struct hb_addr src;   /* TCP source as the agent sees it */
	const char *identity; /* peer's spiffe:// text; NULL or "": plaintext */
	struct hb_addr dst;   /* the pod's address and the app's port */
	bool stands;          /* it was allowed before, and is asked about again */
};

enum policy_reason {
	POLICY_NO_ALLOW_POLICIES, /* allowed: nothing restricts it */
	POLICY_ALLOWED_BY,        /* by names the policy */
	POLICY_DENIED_BY,         /* by names the policy */
	POLICY_NONE_ALLOWED,      /* allow policies exist, but none allowed */
	POLICY_MISSING,           /* key names a listed policy that is not known: denied, or
	                           * allowed where it stands */
};

/*
 * What dry-run policies (AUDIT) would have said. Of several that match the first by key is named.
 * They never change a verdict.
 */
struct policy_audit {
	const struct policy *denies; /* a DENY that matches, or NULL */
	const struct policy *allows; /* an ALLOW that matches, or NULL */
	const struct policy *lacks;  /* an ALLOW that does not, where none does, enforced or not */
};

struct policy_verdict {
	bool allowed;
	enum policy_reason reason;
	const struct policy *by; /* or NULL */
	size_t rule;             /* of by->rules, the first that matched */
	const char *key;         /* "ns/name" of what decided, or of an allow policy that did not
	                          * match (so that a denial can be explained); "" when there is none */
	struct policy_audit audit;
};

void policy_judge(const struct snapshot *s, const struct workload *dst,
                  const struct policy_query *query, struct policy_verdict *ret_verdict);
/* ztunnel's own words: "allow policies exist, but none allowed", "explicitly denied by: ns/name".
 */
void policy_verdict_format(const struct policy_verdict *verdict, char *out, size_t size);
/* Our words, for people: "app/deny-all rule 1" (rules count from 1), "app/gone, which is not
 * known";
 * "" when no policy has a part in it. */
void policy_verdict_explain(const struct policy_verdict *verdict, char *out, size_t size);
/* Would it be allowed, were the dry-run policies in force too? */
bool policy_audit_allows(const struct policy_verdict *verdict);
