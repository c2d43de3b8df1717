/*
 * policy: matching, and the order in which policies speak (reference/datapath 4.3, 4.4).
 */
#include "mesh/policy.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "mesh/cidr.h"
#include "mesh/identity.h"

struct peer { /* the query, with the identity taken apart */
	const struct policy_query *query;
	bool has_identity;
	const char *principal; /* the identity without its scheme */
	struct identity_view identity;
};

static bool text_matches(const struct string_match *match, const char *text, size_t len)
{
	size_t want = strlen(match->text);

	switch (match->kind) {
	case MATCH_EXACT:
		return len == want && memcmp(text, match->text, len) == 0;
	case MATCH_PREFIX:
		return len >= want && memcmp(text, match->text, want) == 0;
	case MATCH_SUFFIX:
		return len >= want && memcmp(text + len - want, match->text, want) == 0;
	case MATCH_PRESENCE:
		return len > 0;
	}
	return false;
}

static bool namespace_hits(const struct peer *peer, const void *item)
{
	if (!peer->has_identity)
		return text_matches(item, "", 0);
	return text_matches(item, peer->identity.ns, peer->identity.ns_len);
}

static bool principal_hits(const struct peer *peer, const void *item)
{
	return peer->has_identity && text_matches(item, peer->principal, strlen(peer->principal));
}

/* The trust domain is ignored. */
static bool account_hits(const struct peer *peer, const void *item)
{
	const struct account_match *match = item;
	const struct identity_view *id = &peer->identity;

	return peer->has_identity && strlen(match->ns) == id->ns_len &&
	       memcmp(match->ns, id->ns, id->ns_len) == 0 && strlen(match->sa) == id->sa_len &&
	       memcmp(match->sa, id->sa, id->sa_len) == 0;
}

static bool source_hits(const struct peer *peer, const void *item)
{
	const struct cidr_match *match = item;

	return cidr_contains(&match->ip, match->prefix, &peer->query->src.ip);
}

static bool destination_hits(const struct peer *peer, const void *item)
{
	const struct cidr_match *match = item;

	return cidr_contains(&match->ip, match->prefix, &peer->query->dst.ip);
}

static bool port_hits(const struct peer *peer, const void *item)
{
	return *(const uint16_t *)item == peer->query->dst.port;
}

struct list { /* any MATCH_LIST */
	const void *items;
	size_t count, size;
	bool (*hits)(const struct peer *peer, const void *item);
};

static bool any_hits(const struct list *list, const struct peer *peer)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->hits(peer, (const char *)list->items + i * list->size))
			return true;
	}
	return false;
}

static bool match_matches(const struct policy_match *m, const struct peer *peer)
{
#define LIST(name, hits)                                                                           \
	{                                                                                          \
		m->name.items, m->name.count, sizeof(*m->name.items), hits                         \
	}
#define PAIR(name, hits)                                                                           \
	{                                                                                          \
		LIST(name, hits), LIST(not_##name, hits)                                           \
	}
	const struct list pairs[][2] = {
		PAIR(destination_ports, port_hits),   PAIR(namespaces, namespace_hits),
		PAIR(service_accounts, account_hits), PAIR(principals, principal_hits),
		PAIR(source_ips, source_hits),        PAIR(destination_ips, destination_hits),
	};
#undef PAIR
#undef LIST
	bool empty = true;

	for (size_t i = 0; i < HB_ARRAY_LEN(pairs); i++) {
		const struct list *want = &pairs[i][0], *not_want = &pairs[i][1];

		if (want->count == 0 && not_want->count == 0)
			continue;
		empty = false;
		if ((want->count && !any_hits(want, peer)) || any_hits(not_want, peer))
			return false;
	}
	return !empty; /* a match that asks for nothing is inert */
}

static bool clause_matches(const struct policy_clause *clause, const struct peer *peer)
{
	for (size_t i = 0; i < clause->count; i++) {
		if (match_matches(&clause->matches[i], peer))
			return true;
	}
	return clause->count == 0;
}

static bool rule_matches(const struct policy_rule *rule, const struct peer *peer)
{
	for (size_t i = 0; i < rule->count; i++) {
		if (!clause_matches(&rule->clauses[i], peer))
			return false;
	}
	return true;
}

#define NO_RULE SIZE_MAX

/* The first rule that matches, or NO_RULE. */
static size_t policy_matches(const struct policy *policy, const struct peer *peer)
{
	for (size_t i = 0; i < policy->rules_count; i++) {
		if (rule_matches(&policy->rules[i], peer))
			return i;
	}
	return NO_RULE;
}

/*
 * What the policies seen so far say. Of several that would decide alike the first by key is named,
 * so the answer does not depend on the order of lists or indexes.
 */
struct hit {
	const struct policy *policy; /* NULL: none */
	size_t rule;
};

struct said { /* by those in force, or by the dry-run ones */
	struct hit denied, allowed;
	const struct policy *unmatched; /* ALLOW that did not match */
};

struct tally {
	struct said said[2]; /* [policy->dry_run] */
	const char *missing;
};

static bool is_first(const char *key, const char *than)
{
	return !than || strcmp(key, than) < 0;
}

static void judge_one(struct tally *tally, const struct policy *policy, const struct peer *peer)
{
	struct said *said = &tally->said[policy->dry_run];
	struct hit *hit = policy->action == ACTION_DENY ? &said->denied : &said->allowed;
	size_t rule = NO_RULE;

	if (is_first(policy->key, hit->policy ? hit->policy->key : NULL))
		rule = policy_matches(policy, peer);
	if (rule != NO_RULE)
		*hit = (struct hit){ policy, rule };
	else if (policy->action == ACTION_ALLOW &&
	         is_first(policy->key, said->unmatched ? said->unmatched->key : NULL))
		said->unmatched = policy; /* read only when none allowed */
}

static void judge_namespace(struct tally *tally, const struct snapshot *s, const char *ns,
                            const struct peer *peer)
{
	const struct policy *policy;
	struct policies_iter iter;

	snapshot_policies_of(s, ns, &iter);
	while ((policy = policies_next(&iter)))
		judge_one(tally, policy, peer);
}

static void judge_listed(struct tally *tally, const struct snapshot *s, const struct workload *w,
                         const struct peer *peer)
{
	for (size_t i = 0; i < w->policies_count; i++) {
		const struct policy *policy = snapshot_policy_by_key(s, w->policies[i]);

		if (policy)
			judge_one(tally, policy, peer);
		else if (is_first(w->policies[i], tally->missing))
			tally->missing = w->policies[i];
	}
}

/* reference/datapath 4.3 */
static void decide(const struct tally *tally, bool stands, struct policy_verdict *verdict)
{
	const struct said *said = &tally->said[false];
	struct hit by = { 0 };

	if (said->denied.policy) {
		verdict->reason = POLICY_DENIED_BY;
		by = said->denied;
	} else if (tally->missing) {
		verdict->reason = POLICY_MISSING;
		verdict->key = tally->missing;
		/* Even where known ALLOW policies do not match: the missing one may be one that
		 * does. */
		verdict->allowed = stands;
	} else if (said->allowed.policy) {
		verdict->reason = POLICY_ALLOWED_BY;
		by = said->allowed;
		verdict->allowed = true;
	} else if (said->unmatched) {
		verdict->reason = POLICY_NONE_ALLOWED;
		verdict->key = said->unmatched->key;
	} else {
		verdict->reason = POLICY_NO_ALLOW_POLICIES;
		verdict->allowed = true;
	}
	verdict->by = by.policy;
	verdict->rule = by.rule;
	if (by.policy)
		verdict->key = by.policy->key;
}

void policy_judge(const struct snapshot *s, const struct workload *dst,
                  const struct policy_query *query, struct policy_verdict *ret_verdict)
{
	struct policy_verdict verdict = { .key = "" };
	struct peer peer = { .query = query };
	struct tally tally = { 0 };
	const struct said *dry = &tally.said[true];

	/* An identity that does not parse is none: it can only lose what identities gain. */
	if (query->identity && identity_parse(query->identity, &peer.identity) == 0) {
		peer.has_identity = true;
		peer.principal = peer.identity.trust_domain;
	}
	judge_namespace(&tally, s, "", &peer);
	if (*dst->ns)
		judge_namespace(&tally, s, dst->ns, &peer);
	judge_listed(&tally, s, dst, &peer);

	decide(&tally, query->stands, &verdict);
	verdict.audit.denies = dry->denied.policy;
	verdict.audit.allows = dry->allowed.policy;
	if (!dry->allowed.policy && !tally.said[false].allowed.policy)
		verdict.audit.lacks = dry->unmatched;
	*ret_verdict = verdict;
}

bool policy_audit_allows(const struct policy_verdict *verdict)
{
	const struct policy_audit *audit = &verdict->audit;

	if (verdict->reason == POLICY_DENIED_BY || verdict->reason == POLICY_MISSING ||
	    audit->denies)
		return false;
	return verdict->reason == POLICY_ALLOWED_BY || audit->allows ||
	       (verdict->reason == POLICY_NO_ALLOW_POLICIES && !audit->lacks);
}

void policy_verdict_explain(const struct policy_verdict *verdict, char *out, size_t size)
{
	if (verdict->by)
		snprintf(out, size, "%s rule %zu", verdict->key, verdict->rule + 1);
	else if (verdict->reason == POLICY_MISSING)
		snprintf(out, size, "%s, which is not known", verdict->key);
	else if (verdict->reason == POLICY_NONE_ALLOWED)
		snprintf(out, size, "%s, of which no rule matches", verdict->key);
	else
		snprintf(out, size, "%s", "");
}

void policy_verdict_format(const struct policy_verdict *verdict, char *out, size_t size)
{
	switch (verdict->reason) {
	case POLICY_NO_ALLOW_POLICIES:
		snprintf(out, size, "no allow policies");
		return;
	case POLICY_ALLOWED_BY:
		snprintf(out, size, "allowed by: %s", verdict->key);
		return;
	case POLICY_DENIED_BY:
		snprintf(out, size, "explicitly denied by: %s", verdict->key);
		return;
	case POLICY_NONE_ALLOWED:
		snprintf(out, size, "allow policies exist, but none allowed");
		return;
	case POLICY_MISSING:
		snprintf(out, size, "denied by a policy that is not known: %s", verdict->key);
		return;
	}
	snprintf(out, size, "unknown");
}
