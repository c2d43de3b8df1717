/*
 * objects: workloads and policies; services are objects_service.c's.
 */
#include "mesh/objects.h"

#include <string.h>

#include "mesh/hash.h"
#include "mesh/identity.h"
#include "mesh/objects_parts.h"
#include "mesh/pack.h"
#include "mesh/texts.h"

/* The words of a workload that others have too. */
#define TEXT(name) offsetof(struct workload, name)
static const size_t workload_texts[] = {
	TEXT(ns),
	TEXT(service_account),
	TEXT(trust_domain),
	TEXT(cluster_id),
	TEXT(network),
	TEXT(node),
	TEXT(hostname),
	TEXT(workload_name),
	TEXT(region),
	TEXT(workload_type),
	TEXT(canonical_name),
	TEXT(canonical_revision),
	TEXT(zone),
	TEXT(subzone),
	TEXT(identity),
};
#undef TEXT

static const char **text_at(struct workload *w, size_t offset)
{
	return (const char **)(void *)((char *)w + offset);
}

bool words_equal(const struct words *a, const struct words *b, size_t size)
{
	for (size_t i = 0; i < size / sizeof(uintptr_t); i++) {
		uintptr_t x = a->at[i], y = b->at[i];

		if (x != y && (x - a->base >= a->base_size || x - a->base != y - b->base))
			return false;
	}
	return true;
}

int ref_keep(struct heap *heap, const struct mesh_ref *in, struct mesh_ref *out)
{
	if (in->kind == REF_NONE)
		return 0;
	out->port = in->port;
	out->network = text_new(heap, in->network);
	if (!out->network)
		return -ENOMEM;
	if (in->kind == REF_ADDRESS) {
		out->ip = in->ip;
	} else {
		out->hostname = text_new(heap, in->hostname);
		if (!out->hostname) {
			text_unref(heap, out->network);
			return -ENOMEM;
		}
	}
	out->kind = in->kind;
	return 0;
}

void ref_drop(struct heap *heap, const struct mesh_ref *ref)
{
	if (ref->kind == REF_NONE)
		return;
	text_unref(heap, ref->network);
	if (ref->kind == REF_HOSTNAME)
		text_unref(heap, ref->hostname);
}

/*
 * Workloads.
 */
static void workload_done(struct heap *heap, struct counted *counted)
{
	struct workload_object *object = hb_container_of(counted, struct workload_object, counted);
	struct workload *w = &object->workload;

	for (size_t i = 0; i < HB_ARRAY_LEN(workload_texts); i++)
		text_unref(heap, *text_at(w, workload_texts[i]));
	for (size_t i = 0; i < w->policies_count; i++)
		text_unref(heap, w->policies[i]);
	for (size_t i = 0; i < w->services_count; i++)
		text_unref(heap, w->services[i].service);
	ref_drop(heap, &w->waypoint);
	ref_drop(heap, &w->gateway);
}

/* A pod's name is the end of its uid, and need not be there twice. */
static const char *name_pack(struct pack *p, const char *name, const char *uid,
                             const char *packed_uid)
{
	size_t len = name ? strlen(name) : 0, uid_len = strlen(uid);

	if (len && len <= uid_len && strcmp(uid + uid_len - len, name) == 0)
		return p->base ? packed_uid + uid_len - len : "";
	return pack_text(p, name);
}

/* What is not a text in common. @out is all 0 but for what is set here. */
static void workload_pack(struct pack *p, const struct workload *in, struct workload *out)
{
	struct membership *services = PACK(p, in->services, in->services_count);

	if (services)
		memset(services, 0, in->services_count * sizeof(*services));
	out->policies = PACK(p, in->policies, in->policies_count);
	if (out->policies)
		memset((void *)(uintptr_t)out->policies, 0,
		       in->policies_count * sizeof(*out->policies));
	out->ips = PACK(p, in->ips, in->ips_count);
	for (size_t i = 0; i < in->services_count; i++) {
		const struct endpoint *from = &in->services[i].endpoint;
		struct mesh_port *ports = PACK(p, from->ports, from->ports_count);

		if (!services)
			continue;
		services[i].endpoint.ports = ports;
		services[i].endpoint.ports_count = from->ports_count;
		services[i].endpoint.status = in->status;
		services[i].endpoint.workload = out;
	}
	out->uid = pack_text(p, in->uid);
	out->name = name_pack(p, in->name, in->uid, out->uid);
	for (size_t i = 0; services && i < in->services_count; i++)
		services[i].endpoint.workload_uid = out->uid;
	out->services = services;
}

static int workload_texts_keep(struct heap *heap, const struct workload *in, struct workload *out)
{
	struct membership *services = (struct membership *)(uintptr_t)out->services;
	const char **policies = (const char **)(uintptr_t)out->policies;

	for (size_t i = 0; i < HB_ARRAY_LEN(workload_texts); i++) {
		const char **text = text_at(out, workload_texts[i]);

		*text =
		    text_new(heap, *text_at((struct workload *)(uintptr_t)in, workload_texts[i]));
		if (!*text)
			return -ENOMEM;
	}
	for (size_t i = 0; i < in->policies_count; i++, out->policies_count++) {
		policies[i] = text_new(heap, in->policies[i]);
		if (!policies[i])
			return -ENOMEM;
	}
	for (size_t i = 0; i < in->services_count; i++, out->services_count++) {
		services[i].service = text_new(heap, in->services[i].service);
		if (!services[i].service)
			return -ENOMEM;
	}
	return 0;
}

static int identity_keep(struct heap *heap, struct workload *w)
{
	hb_cleanup(hb_free_ptr) char *text = NULL;

	if (*w->identity)
		return 0;
	text = identity_format(w->trust_domain, w->ns, w->service_account);
	w->identity = text ? text_new(heap, text) : NULL;
	return w->identity ? 0 : -ENOMEM;
}

struct workload_object *workload_object_new(struct heap *heap, const struct workload *in)
{
	struct pack p = { .at = sizeof(struct workload_object) };
	struct workload measured = { 0 };
	struct workload_object *object;
	struct workload *w;

	workload_pack(&p, in, &measured);
	object = heap_new(heap, COUNTED_WORKLOAD, p.at);
	if (!object)
		return NULL;
	p = (struct pack){ .base = (char *)object, .at = sizeof(*object) };
	w = &object->workload;
	workload_pack(&p, in, w);
	w->ips_count = in->ips_count;
	w->capacity = in->capacity;
	w->protocol = in->protocol;
	w->status = in->status;
	w->host_network = in->host_network;
	w->native_tunnel = in->native_tunnel;
	w->has_app_tunnel = in->has_app_tunnel;
	w->app_tunnel_proxy = in->app_tunnel_proxy;
	w->app_tunnel_port = in->app_tunnel_port;
	if (workload_texts_keep(heap, in, w) < 0 || identity_keep(heap, w) < 0 ||
	    ref_keep(heap, &in->waypoint, &w->waypoint) < 0 ||
	    ref_keep(heap, &in->gateway, &w->gateway) < 0) {
		counted_unref(heap, object);
		return NULL;
	}
	return object;
}

bool workload_object_equal(const struct workload_object *a, const struct workload_object *b)
{
	/* All but the header, and what the store itself writes. */
	size_t begin = offsetof(struct workload_object, workload);
	size_t skip = offsetof(struct workload_object, workload.policies_changed);
	size_t size = (size_t)a->counted.units * 8;
	struct words x = words_of(a, begin, a, size), y = words_of(b, begin, b, size);

	if (a->counted.units != b->counted.units || !words_equal(&x, &y, skip - begin))
		return false;
	skip += sizeof(a->workload.policies_changed);
	x = words_of(a, skip, a, size);
	y = words_of(b, skip, b, size);
	return words_equal(&x, &y, size - skip);
}

/*
 * Policies: nothing in them is shared.
 */
static void strings_pack(struct pack *p, const struct string_match **items, size_t count)
{
	const struct string_match *in = *items;
	struct string_match *out = PACK(p, in, count);

	for (size_t i = 0; i < count; i++) {
		const char *text = pack_text(p, in[i].text);

		if (out)
			out[i] = (struct string_match){ .kind = in[i].kind, .text = text };
	}
	if (p->base)
		*items = out;
}

static void accounts_pack(struct pack *p, const struct account_match **items, size_t count)
{
	const struct account_match *in = *items;
	struct account_match *out = PACK(p, in, count);

	for (size_t i = 0; i < count; i++) {
		const char *ns = pack_text(p, in[i].ns), *sa = pack_text(p, in[i].sa);

		if (out)
			out[i] = (struct account_match){ .ns = ns, .sa = sa };
	}
	if (p->base)
		*items = out;
}

/* Lists whose items point nowhere. */
#define PLAIN_PACK(p, list)                                                                        \
	do {                                                                                       \
		void *copy_ = PACK(p, (list).items, (list).count);                                 \
		if ((p)->base)                                                                     \
			(list).items = copy_;                                                      \
	} while (0)

/* Its lists still point to what they were copied from. */
static void match_pack(struct pack *p, struct policy_match m, struct policy_match *out)
{
	strings_pack(p, &m.namespaces.items, m.namespaces.count);
	strings_pack(p, &m.not_namespaces.items, m.not_namespaces.count);
	strings_pack(p, &m.principals.items, m.principals.count);
	strings_pack(p, &m.not_principals.items, m.not_principals.count);
	accounts_pack(p, &m.service_accounts.items, m.service_accounts.count);
	accounts_pack(p, &m.not_service_accounts.items, m.not_service_accounts.count);
	PLAIN_PACK(p, m.source_ips);
	PLAIN_PACK(p, m.not_source_ips);
	PLAIN_PACK(p, m.destination_ips);
	PLAIN_PACK(p, m.not_destination_ips);
	PLAIN_PACK(p, m.destination_ports);
	PLAIN_PACK(p, m.not_destination_ports);
	if (out)
		*out = m;
}

static const struct policy_match *matches_pack(struct pack *p, const struct policy_clause *clause)
{
	struct policy_match *out = PACK(p, clause->matches, clause->count);

	for (size_t i = 0; i < clause->count; i++)
		match_pack(p, clause->matches[i], out ? &out[i] : NULL);
	return out;
}

static const struct policy_clause *clauses_pack(struct pack *p, const struct policy_rule *rule)
{
	struct policy_clause *out = PACK(p, rule->clauses, rule->count);

	for (size_t i = 0; i < rule->count; i++) {
		const struct policy_match *matches = matches_pack(p, &rule->clauses[i]);

		if (out)
			out[i].matches = matches;
	}
	return out;
}

static void policy_pack(struct pack *p, const struct policy *in, struct policy *out)
{
	struct policy_rule *rules = PACK(p, in->rules, in->rules_count);
	size_t ns_len = strlen(in->ns);
	char *key;

	for (size_t i = 0; i < in->rules_count; i++) {
		const struct policy_clause *clauses = clauses_pack(p, &in->rules[i]);

		if (rules)
			rules[i].clauses = clauses;
	}
	out->rules = rules;
	out->name = pack_text(p, in->name);
	out->ns = pack_text(p, in->ns);
	if (in->key && *in->key) {
		out->key = pack_text(p, in->key);
		return;
	}
	key = p->base ? p->base + p->at : NULL;
	p->at += ns_len + 1 + strlen(in->name) + 1;
	if (!key)
		return;
	memcpy(key, in->ns, ns_len);
	key[ns_len] = '/';
	memcpy(key + ns_len + 1, in->name, strlen(in->name) + 1);
	out->key = key;
}

struct policy_object *policy_object_new(struct heap *heap, const struct policy *in)
{
	struct pack p = { .at = sizeof(struct policy_object) };
	struct policy from = *in, measured = { 0 };
	struct policy_object *object;

	from.ns = from.ns ? from.ns : "";
	from.name = from.name ? from.name : "";
	policy_pack(&p, &from, &measured);
	object = heap_new(heap, COUNTED_POLICY, p.at);
	if (!object)
		return NULL;
	p = (struct pack){ .base = (char *)object, .at = sizeof(*object) };
	policy_pack(&p, &from, &object->policy);
	object->policy.scope = in->scope;
	object->policy.action = in->action;
	object->policy.dry_run = in->dry_run;
	object->policy.rules_count = in->rules_count;
	return object;
}

bool policy_object_equal(const struct policy_object *a, const struct policy_object *b)
{
	size_t begin = offsetof(struct policy_object, policy);
	size_t size = (size_t)a->counted.units * 8;
	struct words x = words_of(a, begin, a, size), y = words_of(b, begin, b, size);

	return a->counted.units == b->counted.units && words_equal(&x, &y, size - begin);
}

void objects_init_heap(struct heap *heap)
{
	heap->done[COUNTED_WORKLOAD] = workload_done;
	service_objects_init_heap(heap);
}
