/*
 * meshfile_policy: one item of "policies" (reference/controlplane 10.3).
 */
#include <string.h>

#include "control/meshfile_parts.h"

/*
 * The lists of a match differ only in what they hold: each is a pointer to items and their count.
 * Copied as bytes, for the compiler sees as many types as there are lists.
 */
struct list {
	const void *items;
	size_t count;
};

typedef int (*item_read)(struct reader *r, const struct yaml_node *node, void *ret_item);

static int list_read(struct reader *r, const struct yaml_node *node, const char *expected,
                     size_t size, item_read read_item, void *member)
{
	int err = reader_list(r, node, expected);
	struct list list = { .count = node->count };
	char *items;

	if (err)
		return err;
	items = reader_array(r, node, node->count, size);
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < node->count && !err; i++)
		err = read_item(r, node->items[i], items + i * size);
	list.items = items;
	memcpy(member, &list, sizeof(list));
	return err;
}

static const struct word kinds[] = {
	{ "Exact", MATCH_EXACT },
	{ "Prefix", MATCH_PREFIX },
	{ "Suffix", MATCH_SUFFIX },
	{ "Presence", MATCH_PRESENCE },
	{ NULL, 0 },
};

static const char string_expected[] = "!Exact text, !Prefix text, !Suffix text or !Presence []";

static bool kind_lookup(const char *text, enum match_kind *ret_kind)
{
	for (const struct word *word = kinds; word->text; word++) {
		if (strcmp(word->text, text) == 0) {
			*ret_kind = (enum match_kind)word->value;
			return true;
		}
	}
	return false;
}

/* !Exact text, and as JSON has it {Exact: text}. */
static int string_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	struct string_match *match = ret_item;
	const struct yaml_node *value = node;
	const char *kind = node->tag[0] == '!' ? node->tag + 1 : "";

	if (!*node->tag && node->kind == YAML_MAP && node->count == 1) {
		value = node->items[0];
		kind = value->key;
		if (*value->tag)
			return reader_expect(r, value, string_expected);
	}
	if (!kind_lookup(kind, &match->kind))
		return reader_expect(r, node, string_expected);
	match->text = "";
	if (match->kind == MATCH_PRESENCE) {
		bool empty = value->kind == YAML_SCALAR ? !*value->text && !value->quoted
		                                        : value->count == 0;

		return empty ? 0 : reader_expect(r, value, "nothing after Presence, or []");
	}
	if (value->kind != YAML_SCALAR)
		return reader_expect(r, value, string_expected);
	match->text = value->text;
	return 0;
}

static int account_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	static const struct field fields[] = {
		{ "namespace", FIELD_NAME, FIELD_AT(struct account_match, ns), REQUIRED },
		{ "serviceAccount", FIELD_NAME, FIELD_AT(struct account_match, sa), REQUIRED },
	};

	return fields_read(r, node, "a service account", fields, HB_ARRAY_LEN(fields), ret_item);
}

static int cidr_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	static const char expected[] = "\"ip/prefix\"";
	struct cidr_match *match = ret_item;
	int err = reader_scalar(r, node, expected);

	if (!err && cidr_parse(node->text, &match->ip, &match->prefix) < 0)
		err = reader_expect(r, node, expected);
	return err;
}

static int port_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	uint32_t port;

	if (node->kind != YAML_SCALAR || *node->tag || node->quoted ||
	    number_parse(node->text, UINT16_MAX, &port) < 0)
		return reader_expect(r, node, "a port from 0 to 65535");
	*(uint16_t *)ret_item = (uint16_t)port;
	return 0;
}

static int strings_read(struct reader *r, const struct yaml_node *node, void *member)
{
	return list_read(r, node, "a list of matches, each !Exact, !Prefix, !Suffix or !Presence",
	                 sizeof(struct string_match), string_read, member);
}

static int accounts_read(struct reader *r, const struct yaml_node *node, void *member)
{
	return list_read(r, node, "a list of {namespace, serviceAccount}",
	                 sizeof(struct account_match), account_read, member);
}

static int cidrs_read(struct reader *r, const struct yaml_node *node, void *member)
{
	return list_read(r, node, "a list of \"ip/prefix\"", sizeof(struct cidr_match), cidr_read,
	                 member);
}

static int port_list_read(struct reader *r, const struct yaml_node *node, void *member)
{
	return list_read(r, node, "a list of ports", sizeof(uint16_t), port_read, member);
}

static int match_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	/* clang-format off: a table. */
#define AT(member) FIELD_AT(struct policy_match, member), .read
	static const struct field fields[] = {
		{ "namespaces", FIELD_OTHER, AT(namespaces) = strings_read },
		{ "notNamespaces", FIELD_OTHER, AT(not_namespaces) = strings_read },
		{ "principals", FIELD_OTHER, AT(principals) = strings_read },
		{ "notPrincipals", FIELD_OTHER, AT(not_principals) = strings_read },
		{ "serviceAccounts", FIELD_OTHER, AT(service_accounts) = accounts_read },
		{ "notServiceAccounts", FIELD_OTHER, AT(not_service_accounts) = accounts_read },
		{ "sourceIps", FIELD_OTHER, AT(source_ips) = cidrs_read },
		{ "notSourceIps", FIELD_OTHER, AT(not_source_ips) = cidrs_read },
		{ "destinationIps", FIELD_OTHER, AT(destination_ips) = cidrs_read },
		{ "notDestinationIps", FIELD_OTHER, AT(not_destination_ips) = cidrs_read },
		{ "destinationPorts", FIELD_OTHER, AT(destination_ports) = port_list_read },
		{ "notDestinationPorts", FIELD_OTHER, AT(not_destination_ports) = port_list_read },
	};
#undef AT
	/* clang-format on */

	return fields_read(r, node, "a match of a policy", fields, HB_ARRAY_LEN(fields), ret_item);
}

static const char rules_expected[] = "a list of rules, each a list of clauses, each a list of "
				     "matches";

static int clause_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	_Static_assert(sizeof(struct policy_clause) == sizeof(struct list), "items and count");
	return list_read(r, node, rules_expected, sizeof(struct policy_match), match_read,
	                 ret_item);
}

static int rule_read(struct reader *r, const struct yaml_node *node, void *ret_item)
{
	_Static_assert(sizeof(struct policy_rule) == sizeof(struct list), "items and count");
	return list_read(r, node, rules_expected, sizeof(struct policy_clause), clause_read,
	                 ret_item);
}

static int rules_read(struct reader *r, const struct yaml_node *node, void *member)
{
	struct policy *policy = member;
	struct list list = { 0 };
	int err = list_read(r, node, rules_expected, sizeof(struct policy_rule), rule_read, &list);

	policy->rules = list.items;
	policy->rules_count = list.count;
	return err;
}

int meshfile_policy(struct reader *r, const struct yaml_node *node)
{
	static const struct word scopes[] = {
		{ "Global", SCOPE_GLOBAL },
		{ "Namespace", SCOPE_NAMESPACE },
		{ "WorkloadSelector", SCOPE_WORKLOAD },
		{ NULL, 0 },
	};
	static const struct word actions[] = {
		{ "Allow", ACTION_ALLOW },
		{ "Deny", ACTION_DENY },
		{ NULL, 0 },
	};
	static const struct field fields[] = {
		{ "name", FIELD_NAME, FIELD_AT(struct policy, name), REQUIRED },
		{ "namespace", FIELD_NAME, FIELD_AT(struct policy, ns), REQUIRED },
		{ "scope", FIELD_WORD, FIELD_AT(struct policy, scope), REQUIRED, scopes },
		{ "action", FIELD_WORD, FIELD_AT(struct policy, action), REQUIRED, actions },
		{ "dryRun", FIELD_BOOL, FIELD_AT(struct policy, dry_run), REQUIRED },
		{ "rules", FIELD_OTHER, .need = REQUIRED, .read = rules_read },
	};
	struct policy policy = { 0 };
	int err = fields_read(r, node, "a policy", fields, HB_ARRAY_LEN(fields), &policy);

	return err ? err : store_put_policy(r->store, &policy);
}
