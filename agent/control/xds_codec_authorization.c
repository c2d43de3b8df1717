/*
 * xds_codec_authorization: Authorization: a policy (reference/controlplane 3.5, 3.6).
 */
#include "authorization.pb-c.h"
#include "control/xds_codec_parts.h"

/* A kind that is not set, or not known, drops the text, as in ztunnel; counted. */
static bool string_kind(const Istio__Security__StringMatch *in, enum match_kind *ret_kind,
                        const ProtobufCBinaryData **ret_text)
{
	static const ProtobufCBinaryData nothing = { 0 };

	switch (in->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		*ret_kind = MATCH_EXACT;
		*ret_text = &in->exact;
		return true;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		*ret_kind = MATCH_PREFIX;
		*ret_text = &in->prefix;
		return true;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		*ret_kind = MATCH_SUFFIX;
		*ret_text = &in->suffix;
		return true;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE:
		*ret_kind = MATCH_PRESENCE;
		*ret_text = &nothing;
		return true;
	default:
		return false;
	}
}

static int strings_read(struct xds_reader *r, const char *field,
                        Istio__Security__StringMatch *const *in, size_t count,
                        const struct string_match **ret_items, size_t *ret_count)
{
	struct string_match *items = xds_array(r, count, sizeof(*items));
	size_t kept = 0;
	int err = items ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		const ProtobufCBinaryData *text;

		if (!string_kind(in[i], &items[kept].kind, &text)) {
			r->skipped++;
			continue;
		}
		err = xds_text(r, field, text->data, text->len, &items[kept++].text);
	}
	*ret_items = items;
	*ret_count = kept;
	return err;
}

/* An address that is none is dropped, as in ztunnel; counted. */
static int cidrs_read(struct xds_reader *r, Istio__Security__Address *const *in, size_t count,
                      const struct cidr_match **ret_items, size_t *ret_count)
{
	struct cidr_match *items = xds_array(r, count, sizeof(*items));
	size_t kept = 0;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const ProtobufCBinaryData *address = &in[i]->address;
		struct cidr_match *item = &items[kept];

		if (xds_ip(r, "", address->data, address->len, &item->ip) < 0 ||
		    xds_cidr(&item->ip, address->len, in[i]->length, &item->prefix) < 0)
			r->skipped++;
		else
			kept++;
	}
	*ret_items = items;
	*ret_count = kept;
	return 0;
}

static int port_list_read(struct xds_reader *r, const char *field, const uint32_t *in, size_t count,
                          const uint16_t **ret_items, size_t *ret_count)
{
	uint16_t *items = xds_array(r, count, sizeof(*items));
	int err = items ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++)
		err = xds_port(r, field, in[i], &items[i]);
	*ret_items = items;
	*ret_count = count;
	return err;
}

static int accounts_read(struct xds_reader *r, Istio__Security__ServiceAccountMatch *const *in,
                         size_t count, const struct account_match **ret_items, size_t *ret_count)
{
	struct account_match *items = xds_array(r, count, sizeof(*items));
	int err = items ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		err = xds_text(r, "service_accounts", in[i]->namespace_.data, in[i]->namespace_.len,
		               &items[i].ns);
		if (!err)
			err = xds_text(r, "service_accounts", in[i]->serviceaccount.data,
			               in[i]->serviceaccount.len, &items[i].sa);
	}
	*ret_items = items;
	*ret_count = count;
	return err;
}

/* A list of the message onto the list of the model with the same name. */
#define STRINGS(name)  strings_read(r, #name, in->name, in->n_##name, &m->name.items, &m->name.count)
#define CIDRS(name)    cidrs_read(r, in->name, in->n_##name, &m->name.items, &m->name.count)
#define PORTS(name)    port_list_read(r, #name, in->name, in->n_##name, &m->name.items, &m->name.count)
#define ACCOUNTS(name) accounts_read(r, in->name, in->n_##name, &m->name.items, &m->name.count)

static int match_read(struct xds_reader *r, const Istio__Security__Match *in,
                      struct policy_match *m)
{
	int err = STRINGS(namespaces);

	err = err ? err : STRINGS(not_namespaces);
	err = err ? err : STRINGS(principals);
	err = err ? err : STRINGS(not_principals);
	err = err ? err : CIDRS(source_ips);
	err = err ? err : CIDRS(not_source_ips);
	err = err ? err : CIDRS(destination_ips);
	err = err ? err : CIDRS(not_destination_ips);
	err = err ? err : PORTS(destination_ports);
	err = err ? err : PORTS(not_destination_ports);
	err = err ? err : ACCOUNTS(service_accounts);
	return err ? err : ACCOUNTS(not_service_accounts);
}

static int clause_read(struct xds_reader *r, const Istio__Security__Clause *in,
                       struct policy_clause *clause)
{
	struct policy_match *matches = xds_array(r, in->n_matches, sizeof(*matches));
	int err = matches ? 0 : -ENOMEM;

	for (size_t i = 0; i < in->n_matches && !err; i++)
		err = match_read(r, in->matches[i], &matches[i]);
	clause->matches = matches;
	clause->count = in->n_matches;
	return err;
}

static int rule_read(struct xds_reader *r, const Istio__Security__Rule *in,
                     struct policy_rule *rule)
{
	struct policy_clause *clauses = xds_array(r, in->n_clauses, sizeof(*clauses));
	int err = clauses ? 0 : -ENOMEM;

	for (size_t i = 0; i < in->n_clauses && !err; i++)
		err = clause_read(r, in->clauses[i], &clauses[i]);
	rule->clauses = clauses;
	rule->count = in->n_clauses;
	return err;
}

static int policy_put(struct xds_reader *r, const Istio__Security__Authorization *in)
{
	/* The numbers of Scope and Action are the model's. */
	_Static_assert(SCOPE_GLOBAL == 0 && SCOPE_NAMESPACE == 1 && SCOPE_WORKLOAD == 2 &&
	                   ACTION_ALLOW == 0 && ACTION_DENY == 1,
	               "as on the wire");
	struct policy_rule *rules = xds_array(r, in->n_rules, sizeof(*rules));
	struct policy policy = { .dry_run = in->dry_run, .rules = rules, .key = r->name };
	int err = rules ? 0 : -ENOMEM;

	if (!err)
		err = xds_text(r, "name", in->name.data, in->name.len, &policy.name);
	if (!err)
		err = xds_text(r, "namespace", in->namespace_.data, in->namespace_.len, &policy.ns);
	if (!err)
		err = xds_enum(r, "scope", in->scope, 3);
	if (!err)
		err = xds_enum(r, "action", in->action, 2);
	for (size_t i = 0; i < in->n_rules && !err; i++)
		err = rule_read(r, in->rules[i], &rules[i]);
	if (err)
		return err;
	policy.scope = (enum policy_scope)in->scope;
	policy.action = (enum policy_action)in->action;
	policy.rules_count = in->n_rules;
	return xds_told(r, store_put_policy(r->store, &policy));
}

int xds_put_authorization(struct xds_reader *r, const uint8_t *bytes, size_t size)
{
	ProtobufCAllocator allocator = { xds_alloc, xds_alloc_free, r };
	Istio__Security__Authorization *authorization;

	r->no_memory = false;
	authorization = istio__security__authorization__unpack(&allocator, size, bytes);
	if (!authorization)
		return r->no_memory ? -ENOMEM : xds_fail(r, "the value is no Authorization");
	return policy_put(r, authorization);
}
